//! The fund flow bill: what came to and went from one account of the merchant's at WeChat Pay.

use domain::{Currency, Money, Timestamp};
use futures_util::stream::BoxStream;

use super::sheet::{Row, Sheet, same};
use crate::payments::ports::GatewayError;

/// Which of the merchant's accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FundAccount {
    /// Where payments arrive.
    Basic,
    /// For marketing and payouts.
    Operation,
    /// Where fees are kept.
    Fees,
}

impl FundAccount {
    /// The provider's word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Basic => "BASIC",
            Self::Operation => "OPERATION",
            Self::Fees => "FEES",
        }
    }
}

/// One movement of money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FundFlow {
    /// When it was booked.
    pub at: Timestamp,
    /// The provider's number of what moved it: a transaction, a refund, a payout.
    pub business_number: String,
    /// The provider's number of the movement.
    pub flow_number: String,
    /// The provider's word for it, such as 交易 or 退款.
    pub kind: String,
    /// It came; else it went.
    pub income: bool,
    /// How much; always positive.
    pub amount: Money,
    /// What was there afterwards, in fen.
    pub balance: i64,
    /// The number of the business voucher: of a refund, ours.
    pub voucher: String,
}

/// The lines of a fund flow bill, as they come. An error ends it: what came before is not the whole bill.
pub type FundFlowStream = BoxStream<'static, Result<FundFlow, GatewayError>>;

/// Reads the lines and counts what they add up to: number and sum of what came, and of what went.
#[derive(Default)]
pub(super) struct FundFlowSheet {
    came: (u64, i64),
    went: (u64, i64),
}

impl Sheet for FundFlowSheet {
    type Line = FundFlow;

    fn line(&mut self, row: &Row<'_>) -> Result<FundFlow, String> {
        let fen = row.fen("收支金额(元)")?;
        let income = match row.text("收支类型")? {
            "收入" => true,
            "支出" => false,
            _ => return Err("收支类型 is neither 收入 nor 支出".to_owned()),
        };
        let (count, sum) = if income { &mut self.came } else { &mut self.went };
        *count += 1;
        *sum = sum.checked_add(fen).ok_or("the sums are too large")?;
        let text = |column| row.text(column).map(str::to_owned);
        Ok(FundFlow {
            at: row.time("记账时间")?,
            business_number: text("微信支付业务单号")?,
            flow_number: text("资金流水单号")?,
            kind: text("业务类型")?,
            income,
            amount: Money::new(fen, Currency::CNY),
            balance: row.fen("账户结余(元)")?,
            voucher: text("业务凭证号")?,
        })
    }

    fn check(&self, lines: u64, summary: &Row<'_>) -> Result<(), String> {
        same("资金流水总笔数", summary.count("资金流水总笔数")?, lines)?;
        same("收入笔数", summary.count("收入笔数")?, self.came.0)?;
        same("收入金额", summary.fen("收入金额")?, self.came.1)?;
        same("支出笔数", summary.count("支出笔数")?, self.went.0)?;
        same("支出金额", summary.fen("支出金额")?, self.went.1)
    }
}
