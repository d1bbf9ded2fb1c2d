//! The trade bill, type `ALL`: payments and refunds in the order in which they happened.

use domain::{Currency, Money};

use super::sheet::{Row, Sheet, same};
use crate::payments::ports::{BillEntry, BillLine};

/// Reads the lines and counts what they add up to.
pub(super) struct TradeSheet {
    mchid: String,
    paid: i64,
    refunded: i64,
}

impl TradeSheet {
    /// Of this merchant; apps may be several.
    pub(super) fn new(mchid: &str) -> Self {
        Self { mchid: mchid.to_owned(), paid: 0, refunded: 0 }
    }
}

impl Sheet for TradeSheet {
    type Line = BillLine;

    fn line(&mut self, row: &Row<'_>) -> Result<BillLine, String> {
        if row.text("商户号")? != self.mchid {
            return Err("a line is about another merchant".to_owned());
        }
        if row.text("货币种类")? != Currency::CNY.code() {
            return Err("货币种类 is not CNY".to_owned());
        }
        // What the order cost and what of it was asked back; coupons are between the provider and the payer.
        let (paid, refunded) = (row.fen("订单金额")?, row.fen("申请退款金额")?);
        let (entry, fen) = match row.text("交易状态")? {
            "SUCCESS" => (BillEntry::Payment, paid),
            "REFUND" | "REVOKED" => {
                let done = row.text("退款状态")? == "SUCCESS";
                (BillEntry::Refund { number: row.text("商户退款单号")?.to_owned(), done }, refunded)
            }
            _ => return Err("交易状态 is neither SUCCESS nor REFUND nor REVOKED".to_owned()),
        };
        let add = |sum: i64, fen: i64| sum.checked_add(fen).ok_or("the sums are too large");
        (self.paid, self.refunded) = (add(self.paid, paid)?, add(self.refunded, refunded)?);
        Ok(BillLine {
            payment: row.text("商户订单号")?.to_owned(),
            transaction_id: row.text("微信订单号")?.to_owned(),
            entry,
            amount: Money::new(fen, Currency::CNY),
            at: row.time("交易时间")?,
        })
    }

    fn check(&self, lines: u64, summary: &Row<'_>) -> Result<(), String> {
        let promised = summary.count("总交易单数")?;
        if promised != lines {
            return Err(format!("{promised} lines were promised and {lines} came"));
        }
        same("订单总金额", summary.fen("订单总金额")?, self.paid)?;
        same("申请退款总金额", summary.fen("申请退款总金额")?, self.refunded)
    }
}
