//! Bills of trades: where the file of a day is, and the file. Other types of bills there are none.

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::{Query, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{
    AlipayMerchant, Book,
    amount::yuan,
    answer::{Fields, Refusal},
    order::Content,
    parameters::TIME,
    trade::{BUYER_LOGON_ID, Trade},
    zip,
};
use crate::{clock::beijing, random::digits, world::World};

/// The real one's path.
pub(super) const PATH: &str = "/downloadBillFile.resource";
/// How long an address works.
const LINK: TimeDelta = TimeDelta::seconds(30);
/// Bills are there from nine in the morning of the next day.
const READY: TimeDelta = TimeDelta::hours(9);

const COLUMNS: &str = "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,\
    对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,\
    券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注";
const SUMMARY_COLUMNS: &str = "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）,\
    支付宝优惠（元）,商家优惠（元）,卡消费金额（元）,服务费（元）,分润（元）,实收净额（元）";

/// An address that was handed out.
#[derive(Debug)]
pub(crate) struct Link {
    id: String,
    day: NaiveDate,
    until: DateTime<Utc>,
}

/// Where the bill is: on the host that the caller reached.
pub(super) fn ask(
    book: &mut Book,
    content: &Value,
    merchant: &AlipayMerchant,
    host: &str,
    now: DateTime<Utc>,
) -> Result<Fields, Refusal> {
    let fields = Content::of(content)?;
    if fields.text("bill_type", 20)? != "trade" {
        return Err(Refusal::business("TYPE_NOT_SUPPORTED", "本沙箱只支持trade账单"));
    }
    let date = fields.text("bill_date", 15)?;
    let day = NaiveDate::parse_from_str(&date, "%Y-%m-%d")
        .map_err(|_| Refusal::business("INVAILID_ARGUMENTS", "bill_date应为yyyy-MM-dd"))?;
    let (_, end) = bounds(day).ok_or_else(|| Refusal::business("INVAILID_ARGUMENTS", "bill_date不合法"))?;
    if now < end + READY || entries(book, day, now).is_empty() {
        return Err(Refusal::business("BILL_NOT_EXIST", "账单不存在"));
    }
    let id = digits::<20>();
    book.bills.retain(|link| link.until > now);
    book.bills.push(Link { id: id.clone(), day, until: now + LINK });
    let url = format!(
        "http://{host}{PATH}?bizType=trade&userId={}0156&fileType=csv.zip&bizDates={}&fileId={id}",
        merchant.seller_id,
        day.format("%Y%m%d")
    );
    Ok(Fields::from([("bill_download_url", json!(url))]))
}

/// The file, for whoever has the address.
pub(super) async fn download(
    State(world): State<Arc<World>>,
    Query(asked): Query<HashMap<String, String>>,
) -> Response {
    let id = asked.get("fileId").cloned().unwrap_or_default();
    let seller_id = &world.keys.alipay().merchant.seller_id;
    let files = world.look(|state, now| {
        let book = &state.alipay;
        let link = book.bills.iter().find(|link| link.id == id && link.until > now)?;
        Some(files(book, seller_id, link.day, now))
    });
    match files.and_then(|files| zip::pack(&files)) {
        Some(file) => ([(CONTENT_TYPE, "application/octet-stream")], file).into_response(),
        None => (StatusCode::FORBIDDEN, "the address of this bill is not valid, or not any more").into_response(),
    }
}

/// One payment or refund.
struct Entry<'a> {
    trade: &'a Trade,
    /// The refund's number.
    refund: Option<&'a str>,
    /// Negative for refunds.
    fen: i64,
    at: DateTime<Utc>,
}

impl Entry<'_> {
    /// 0.6 %; given back with a refund.
    fn fee(&self) -> i64 {
        -(self.fen * 6 + self.fen.signum() * 500) / 1000
    }

    /// A TAB ends cells that spreadsheets would take for numbers.
    fn row(&self) -> String {
        let trade_no = self.trade.trade_no.as_deref().unwrap_or_default();
        let order = &self.trade.order;
        let (kind, number, remark) = match self.refund {
            Some(number) => ("退款", number, "正常退款"),
            None => ("交易", "", ""),
        };
        format!(
            "{trade_no}\t,{number_of_order}\t,{kind}\t,{subject},{created},{at},\t,\t,\t,\t,*三({BUYER_LOGON_ID})\t,\
             {amount},{amount},0.00,0.00,0.00,0.00,0.00,,0.00\t,0.00,{number}\t,{fee},0.00,{remark}\r\n",
            number_of_order = order.number,
            subject = order.subject,
            created = beijing(self.trade.created_at, TIME),
            at = beijing(self.at, TIME),
            amount = signed(self.fen),
            fee = signed(self.fee()),
        )
    }
}

/// The day from midnight to midnight in Beijing.
fn bounds(day: NaiveDate) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let zone = FixedOffset::east_opt(8 * 3600)?;
    let start = day.and_time(NaiveTime::MIN).and_local_timezone(zone).single()?.to_utc();
    Some((start, start + TimeDelta::days(1)))
}

/// What happened on that day, in the order in which it did.
fn entries(book: &Book, day: NaiveDate, now: DateTime<Utc>) -> Vec<Entry<'_>> {
    let Some((start, end)) = bounds(day) else { return Vec::new() };
    let paid = |trade: &'_ Trade| trade.status(now).paid_at();
    let payments =
        book.trades().filter_map(|trade| Some(Entry { trade, refund: None, fen: trade.order.total, at: paid(trade)? }));
    let refunds = book.trades().flat_map(|trade| {
        let entry = |refund: &'_ super::trade::Refund| (-refund.minor, refund.at);
        trade.refunds.iter().map(move |refund| {
            let (fen, at) = entry(refund);
            Entry { trade, refund: Some(&refund.number), fen, at }
        })
    });
    let mut entries: Vec<_> = payments.chain(refunds).filter(|entry| (start..end).contains(&entry.at)).collect();
    entries.sort_by_key(|entry| (entry.at, entry.refund.is_some()));
    entries
}

/// The list and its summary.
fn files(book: &Book, seller_id: &str, day: NaiveDate, now: DateTime<Utc>) -> [(String, String); 2] {
    let entries = entries(book, day, now);
    let account = format!("{seller_id}0156");
    let next = day + chrono::Days::new(1);
    let head = |kind: &str| {
        let (from, until) = (day.format("%Y年%m月%d日 00:00:00"), next.format("%Y年%m月%d日 00:00:00"));
        format!("#支付宝业务{kind}查询\r\n#账号：[{account}]\r\n#起始日期：[{from}]   终止日期：[{until}]\r\n")
    };
    let exported = format!("#导出时间：[{}]\r\n", beijing(now, "%Y年%m月%d日 %H:%M:%S"));
    let of = |refunds: bool| entries.iter().filter(move |entry| entry.refund.is_some() == refunds);
    let (paid, back): (i64, i64) = (of(false).map(|e| e.fen).sum(), of(true).map(|e| e.fen).sum());
    let (payments, refunds) = (of(false).count(), of(true).count());
    let fees: i64 = entries.iter().map(Entry::fee).sum();
    let rows: String = entries.iter().map(Entry::row).collect();
    let (line, more) = ("-".repeat(41), "-".repeat(36));
    let list = format!(
        "{head}#{line}业务明细列表{more}----\r\n{COLUMNS}\r\n{rows}#{line}业务明细列表结束{more}\r\n\
         #交易合计：{payments}笔，商家实收共{paid}元，商家优惠共0.00元\r\n\
         #退款合计：{refunds}笔，商家实收退款共{back}元，商家优惠退款共0.00元\r\n{exported}",
        head = head("明细"),
        paid = signed(paid),
        back = signed(back),
    );
    let net = paid + back;
    let summary = format!(
        "{head}#{line}业务汇总列表{more}----\r\n{SUMMARY_COLUMNS}\r\n\
         合计\t,,{payments},{refunds},{net},{net},0.00,0.00,0.00,{fees},0.00,{left}\r\n\
         #{shorter}业务汇总列表结束{more}-\r\n{exported}",
        head = head("汇总"),
        shorter = &line[1..],
        net = signed(net),
        fees = signed(fees),
        left = signed(net + fees),
    );
    let name = |kind: &str| format!("{account}_{}_业务明细{kind}.csv", day.format("%Y%m%d"));
    [(name(""), list), (name("(汇总)"), summary)]
}

fn signed(fen: i64) -> String {
    if fen < 0 { format!("-{}", yuan(-fen)) } else { yuan(fen) }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        alipay::{
            Keys,
            book::RefundRequest,
            order::{Order, Product},
            parameters::Parameters,
        },
        state::Journal,
        vectors,
    };

    #[test]
    fn the_bill_of_the_vectors_is_written_to_the_letter() {
        let at = |hour: i64, second: i64| {
            DateTime::from_timestamp(1_767_225_600, 0).expect("in range") - TimeDelta::hours(32)
                + TimeDelta::hours(hour)
                + TimeDelta::seconds(second)
        };
        let merchant = Keys::of_vectors().merchant;
        let (mut book, mut journal) = (Book::default(), Journal::default());
        let content = json!({"out_trade_no": "T20251231000001", "total_amount": "100.00", "subject": "大乐透2.1"});
        let order = Order::read(Product::QrCode, &Parameters::read("", b""), &content, &merchant.seller_id, at(9, 0));
        book.open(order.expect("an order"), at(9, 0)).expect("opened");
        book.scan("T20251231000001", at(10, 0));
        book.pay("T20251231000001", None, at(10, 5), &mut journal).expect("paid");
        let refund = json!({"out_trade_no": "T20251231000001", "out_request_no": "RF-1", "refund_amount": "40"});
        let refund = RefundRequest::read(&refund).expect("a refund");
        book.refund(refund, true, at(11, 0), &mut journal).expect("refunded");

        let trade_no = book.trades().next().and_then(|trade| trade.trade_no.clone()).expect("a number");
        let day = NaiveDate::from_ymd_opt(2025, 12, 31).expect("a day");
        let vectors: Value = vectors::read("alipay-bill.json");
        for (name, written) in files(&book, &merchant.seller_id, day, at(33, 0)) {
            let written = written.replace(&trade_no, "2025123122001470780000000001");
            assert_eq!(Some(written.as_str()), vectors["entries"][&name].as_str(), "{name}");
        }
        assert!(entries(&book, day + chrono::Days::new(1), at(33, 0)).is_empty());
    }
}
