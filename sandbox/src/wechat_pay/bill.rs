//! The bill of a day: payments and refunds as WeChat Pay writes them down. UTF-8 with a BOM, CRLF, a backtick
//! before each cell, amounts in yuan, and a summary at the end.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Timelike, Utc};
use serde_json::Value;

use super::{
    book::Book,
    exchange::Asked,
    order::Order,
    refund::{Ending, Refund},
    refusal::Refusal,
};
use crate::clock::beijing;

/// Ready from this hour of the next day on.
const READY_AT: u32 = 10;
const MERCHANT_BALANCE: i64 = 10_000;

/// Every column of the trade bill, with those that only the bill of refunds has.
const TRADE: [&str; 29] = [
    "交易时间",
    "公众账号ID",
    "商户号",
    "特约商户号",
    "设备号",
    "微信订单号",
    "商户订单号",
    "用户标识",
    "交易类型",
    "交易状态",
    "付款银行",
    "货币种类",
    "应结订单金额",
    "代金券金额",
    "退款申请时间",
    "退款成功时间",
    "微信退款单号",
    "商户退款单号",
    "退款金额",
    "充值券退款金额",
    "退款类型",
    "退款状态",
    "商品名称",
    "商户数据包",
    "手续费",
    "费率",
    "订单金额",
    "申请退款金额",
    "费率备注",
];
const OF_REFUNDS_ONLY: [&str; 2] = ["退款申请时间", "退款成功时间"];
const NOT_OF_PAYMENTS: [&str; 9] = [
    "退款申请时间",
    "退款成功时间",
    "微信退款单号",
    "商户退款单号",
    "退款金额",
    "充值券退款金额",
    "退款类型",
    "退款状态",
    "申请退款金额",
];
const TRADE_SUMMARY: &str =
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";
const FUND_FLOW: &str = "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),资金变更提交申请人,备注,业务凭证号";
const FUND_FLOW_SUMMARY: &str = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额";

/// Which bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BillKind {
    All,
    Payments,
    Refunds,
    /// The merchant's money; `true`: on the account where all of it is.
    FundFlow(bool),
}

impl BillKind {
    pub(super) fn trade(asked: &Asked) -> Result<Self, Refusal> {
        match asked.query("bill_type").unwrap_or("ALL") {
            "ALL" => Ok(Self::All),
            "SUCCESS" => Ok(Self::Payments),
            "REFUND" => Ok(Self::Refunds),
            other => Err(wrong("/bill_type", other, "不在枚举范围内")),
        }
    }

    pub(super) fn fund_flow(asked: &Asked) -> Result<Self, Refusal> {
        match asked.query("account_type").unwrap_or("BASIC") {
            "BASIC" => Ok(Self::FundFlow(true)),
            "OPERATION" | "FEES" => Ok(Self::FundFlow(false)),
            other => Err(wrong("/account_type", other, "不在枚举范围内")),
        }
    }
}

fn wrong(field: &str, value: &str, issue: &str) -> Refusal {
    Refusal::parameter("query", field, &Value::from(value), issue)
}

/// The day, if its bill can be there at `now`.
pub(super) fn day(asked: Option<&str>, now: DateTime<Utc>) -> Result<NaiveDate, Refusal> {
    let text = asked.unwrap_or_default();
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|day| day.to_string() == text);
    let day = day.ok_or_else(|| wrong("/bill_date", text, "日期格式错误"))?;
    let beijing = now.naive_utc() + TimeDelta::hours(8);
    let today = beijing.date();
    if day >= today {
        return Err(wrong("/bill_date", text, "仅支持查询当日以前的账单"));
    }
    if today.checked_sub_days(Days::new(92)).is_some_and(|oldest| day < oldest) {
        return Err(wrong("/bill_date", text, "仅支持三个月内的账单"));
    }
    if day.succ_opt() == Some(today) && beijing.hour() < READY_AT {
        return Err(Refusal::new(400, "STATEMENT_CREATING", "账单生成中"));
    }
    Ok(day)
}

/// The whole file.
pub(super) fn write(book: &Book, kind: BillKind, day: NaiveDate) -> Result<String, Refusal> {
    let mut entries = entries(book, day);
    let (columns, summary) = match kind {
        BillKind::FundFlow(with_money) => {
            entries.retain(|entry| with_money && entry.moved_money());
            return fund_flow(&entries);
        }
        BillKind::All => (without(&OF_REFUNDS_ONLY), TRADE_SUMMARY),
        BillKind::Payments => {
            entries.retain(|entry| entry.refund.is_none());
            (without(&NOT_OF_PAYMENTS), TRADE_SUMMARY)
        }
        BillKind::Refunds => {
            entries.retain(|entry| entry.refund.is_some());
            (without(&[]), TRADE_SUMMARY)
        }
    };
    let cells = |entry: &Entry<'_>| columns.iter().map(|column| entry.cell(column)).collect::<Vec<_>>();
    let lines: Vec<_> = entries.iter().map(cells).collect();
    let payments = entries.iter().filter(|entry| entry.refund.is_none()).map(|entry| entry.order.prepay.total);
    let paid: i64 = payments.clone().sum();
    let fees: i64 = payments.map(fee).sum();
    let refunded: i64 = entries.iter().filter_map(|entry| entry.refund).map(|refund| refund.request.refund).sum();
    let sums = vec![
        entries.len().to_string(),
        yuan(paid),
        yuan(refunded),
        yuan(0),
        yuan(fees) + "000",
        yuan(paid),
        yuan(refunded),
    ];
    file(&columns.join(","), lines, summary, sums)
}

fn fund_flow(entries: &[Entry<'_>]) -> Result<String, Refusal> {
    let (mut balance, mut sums) = (MERCHANT_BALANCE, [(0, 0); 2]);
    let mut lines = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        let out = entry.refund.is_some();
        let minor = entry.refund.map_or(entry.order.prepay.total, |refund| refund.request.refund);
        balance += if out { -minor } else { minor };
        let (count, sum) = &mut sums[usize::from(out)];
        (*count, *sum) = (*count + 1, *sum + minor);
        let transaction = entry.order.paid().map_or("", |(id, _)| id);
        let (business, voucher) =
            entry.refund.map_or((transaction, transaction), |r| (r.refund_id.as_str(), r.request.number.as_str()));
        let word = if out { "退款" } else { "交易" };
        lines.push(vec![
            time(entry.at()),
            business.to_owned(),
            format!("{}{number:016}", entry.order.prepay.mchid),
            word.to_owned(),
            word.to_owned(),
            if out { "支出" } else { "收入" }.to_owned(),
            yuan(minor),
            yuan(balance),
            "system".to_owned(),
            format!("{word}总金额{}元;含手续费 0.00 元", yuan(minor)),
            voucher.to_owned(),
        ]);
    }
    let [(incomes, income), (expenses, expense)] = sums;
    let summary = [lines.len().to_string(), incomes.to_string(), yuan(income), expenses.to_string(), yuan(expense)];
    file(FUND_FLOW, lines, FUND_FLOW_SUMMARY, summary.to_vec())
}

fn file(columns: &str, lines: Vec<Vec<String>>, summary: &str, sums: Vec<String>) -> Result<String, Refusal> {
    if lines.is_empty() {
        return Err(Refusal::new(400, "NO_STATEMENT_EXIST", "账单文件不存在"));
    }
    let mut text = format!("\u{feff}{columns}\r\n");
    for line in lines {
        text += &format!("`{}\r\n", line.join(",`"));
    }
    Ok(text + &format!("{summary}\r\n`{}\r\n", sums.join(",`")))
}

/// A payment, or one of its refunds.
struct Entry<'a> {
    order: &'a Order,
    refund: Option<&'a Refund>,
}

/// What was paid, and what refunds were asked for, on this day of Beijing's calendar, in order.
fn entries(book: &Book, day: NaiveDate) -> Vec<Entry<'_>> {
    let payments = book.orders().values().map(|order| Entry { order, refund: None });
    let refunds = book.refunds().filter_map(|refund| {
        let order = book.orders().get(&refund.payment_number)?;
        Some(Entry { order, refund: Some(refund) })
    });
    let of_day = |entry: &Entry<'_>| {
        let paid = entry.order.paid().is_some();
        paid && (entry.at().naive_utc() + TimeDelta::hours(8)).date() == day
    };
    let mut entries: Vec<_> = payments.chain(refunds).filter(of_day).collect();
    entries.sort_by_key(Entry::at);
    entries
}

impl Entry<'_> {
    fn at(&self) -> DateTime<Utc> {
        let paid_at = self.order.paid().map_or(DateTime::UNIX_EPOCH, |(_, at)| at);
        self.refund.map_or(paid_at, |refund| refund.created_at)
    }

    fn moved_money(&self) -> bool {
        self.refund.is_none_or(|refund| refund.ending == Ending::Success && refund.ended_at.is_some())
    }

    fn cell(&self, column: &str) -> String {
        let (order, prepay) = (self.order, &self.order.prepay);
        let of_payment = |minor| yuan(if self.refund.is_none() { minor } else { 0 });
        let of_refund =
            |cell: &dyn Fn(&Refund) -> String, otherwise: &str| self.refund.map_or_else(|| otherwise.to_owned(), cell);
        match column {
            "交易时间" => time(self.at()),
            "公众账号ID" => prepay.appid.clone(),
            "商户号" => prepay.mchid.clone(),
            "特约商户号" => "0".to_owned(),
            "微信订单号" => order.paid().map_or_else(String::new, |(id, _)| id.to_owned()),
            "商户订单号" => prepay.number.clone(),
            "用户标识" => order.payer().to_owned(),
            "交易类型" => serde_json::json!(prepay.trade_type).as_str().unwrap_or_default().to_owned(),
            "交易状态" => if self.refund.is_some() { "REFUND" } else { "SUCCESS" }.to_owned(),
            "付款银行" => "OTHERS".to_owned(),
            "货币种类" => "CNY".to_owned(),
            "应结订单金额" | "订单金额" => of_payment(prepay.total),
            "代金券金额" | "充值券退款金额" => yuan(0),
            "退款申请时间" => of_refund(&|refund| time(refund.created_at), ""),
            "退款成功时间" => of_refund(&|refund| refund.ended_at.map(time).unwrap_or_default(), ""),
            "微信退款单号" => of_refund(&|refund| refund.refund_id.clone(), "0"),
            "商户退款单号" => of_refund(&|refund| refund.request.number.clone(), "0"),
            "退款金额" | "申请退款金额" => of_refund(&|refund| yuan(refund.request.refund), "0.00"),
            "退款类型" => of_refund(&|_| "ORIGINAL".to_owned(), ""),
            "退款状态" => of_refund(&|refund| state(refund).to_owned(), ""),
            // A comma or a backtick of the merchant's would end the cell.
            "商品名称" => prepay.description.replace([',', '`', '\r', '\n'], " "),
            "商户数据包" => prepay.attach.replace([',', '`', '\r', '\n'], " "),
            "手续费" => of_payment(fee(prepay.total)) + "000",
            "费率" => "0.60%".to_owned(),
            _ => String::new(),
        }
    }
}

fn state(refund: &Refund) -> &'static str {
    match (refund.ended_at, refund.ending) {
        (None, _) => "PROCESSING",
        (Some(_), Ending::Success) => "SUCCESS",
        (Some(_), Ending::Closed) => "FAIL",
        (Some(_), Ending::Abnormal) => "CHANGE",
    }
}

fn without(columns: &[&str]) -> Vec<&'static str> {
    TRADE.into_iter().filter(|column| !columns.contains(column)).collect()
}

fn time(at: DateTime<Utc>) -> String {
    beijing(at, "%Y-%m-%d %H:%M:%S")
}

fn yuan(minor: i64) -> String {
    format!("{}{}.{:02}", if minor < 0 { "-" } else { "" }, minor.abs() / 100, minor.abs() % 100)
}

/// 0.60 %, to the fen.
fn fee(minor: i64) -> i64 {
    (minor * 6 + 500) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn headers_are_those_of_the_vectors() {
        let vectors = vectors::read("wechat-bill.json");
        let lines = |name: &str| {
            let text = vectors[name]["text"].as_str().expect("text").trim_start_matches('\u{feff}');
            text.split("\r\n").filter(|line| !line.starts_with('`')).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            lines("tradebill_ALL"),
            [without(&OF_REFUNDS_ONLY).join(","), TRADE_SUMMARY.to_owned(), String::new()]
        );
        assert_eq!(lines("fundflow"), [FUND_FLOW, FUND_FLOW_SUMMARY, ""]);
    }

    #[test]
    fn a_bill_is_there_from_ten_oclock_of_the_next_day() {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).expect("a time").to_utc();
        let code = |asked: &str, now: &str| day(Some(asked), at(now)).err().map(|refusal| refusal.code);
        let now = "2026-11-20T10:00:00+08:00";
        assert_eq!(code("2026-11-19", now), None);
        assert_eq!(code("2026-11-19", "2026-11-20T09:59:59+08:00"), Some("STATEMENT_CREATING"));
        assert_eq!(code("2026-11-18", "2026-11-20T00:00:00+08:00"), None);
        for wrong in ["2026-11-20", "2026-11-21", "2026-08-01", "2026-1-1", "yesterday", ""] {
            assert_eq!(code(wrong, now), Some("PARAM_ERROR"), "{wrong}");
        }
    }
}
