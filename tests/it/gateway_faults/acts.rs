//! How each call is made to go wrong, and where things stand right after and a minute or some later.

use domain::Duration;
use sandbox::Call;
use serde_json::{Value, json};

use super::knob;
use super::table::Row;
use crate::support::{Answer, Shop};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    WechatPay,
    Alipay,
}

impl Gateway {
    pub const BOTH: [Self; 2] = [Self::WechatPay, Self::Alipay];
}

/// The act of the row's call, with its fault.
pub async fn act(shop: &Shop, gateway: Gateway, row: &Row) -> (String, String) {
    match row.call {
        "open" => open(shop, gateway, row).await,
        "find" => find(shop, gateway, row).await,
        "close" => close(shop, gateway, row).await,
        "refund" => refund(shop, gateway, row).await,
        "find_refund" => find_refund(shop, gateway, row).await,
        "notify" => notify(shop, gateway, row).await,
        other => panic!("nobody calls {other}"),
    }
}

async fn open(shop: &Shop, gateway: Gateway, row: &Row) -> (String, String) {
    fail(shop, row, None).await;
    let placed = place(shop, gateway, "TEA").await;
    let (order, payment) = (placed.text("/createOrder/order/id"), placed.text("/createOrder/payment/id"));
    let mut right_after = placed.text("/createOrder/payment/status");
    let action = placed.at("/createOrder/payment/action");
    if right_after == "PENDING" && !text(&action["url"]).ends_with(&payment) {
        right_after += " elsewhere";
    }
    a_minute(shop).await;
    let later = text(&shop.order(&order).await["payments"][0]["status"]);
    if later == "PENDING" {
        shop.payer_pays(&payment).await;
    }
    assert_eq!(shop.order(&order).await["status"], "PAID", "{row}");
    assert_eq!(charged(shop, &payment), [1_280], "{row}");
    (right_after, later)
}

async fn find(shop: &Shop, gateway: Gateway, row: &Row) -> (String, String) {
    let (order, payment) = opened(shop, gateway, "TEA").await;
    go_wrong(shop, json!({"call": "notify", "fault": "drop", "number": payment})).await;
    pay(shop, &payment).await;
    fail(shop, row, Some(&payment)).await;
    let synced = shop.sync("alice", &order).await.text("/syncOrder/status");
    let right_after = after(shop, Call::Find, &payment, synced);
    a_minute(shop).await;
    assert_eq!(charged(shop, &payment), [1_280], "{row}");
    (right_after, status(shop, &order).await)
}

async fn close(shop: &Shop, gateway: Gateway, row: &Row) -> (String, String) {
    let (order, payment) = opened(shop, gateway, "TEA").await;
    shop.scanned(&payment).await;
    fail(shop, row, Some(&payment)).await;
    let key = Shop::key();
    let cancelled = answer(async || shop.cancel("alice", &key, &order).await).await;
    let closed = status(shop, &order).await;
    assert_eq!(cancelled.code(), if closed == "PAID" { "ORDER_ALREADY_PAID" } else { "" }, "{row}");
    let right_after = after(shop, Call::Find, &payment, closed);
    a_minute(shop).await;
    let later = status(shop, &order).await;
    let expected: &[i64] = if later == "PAID" { &[1_280] } else { &[] };
    assert!(shop.sandbox().pay(&payment).await.is_err(), "{row}: it can still be paid");
    assert_eq!(charged(shop, &payment), expected, "{row}");
    (right_after, later)
}

async fn refund(shop: &Shop, gateway: Gateway, row: &Row) -> (String, String) {
    let (order, payment) = opened(shop, gateway, "MUG").await;
    shop.payer_pays(&payment).await;
    fail(shop, row, None).await;
    if row.ms.is_some() && !row.is_slow() {
        // Nobody tells us, so we ask while it is not found.
        go_wrong(shop, json!({"call": "notify", "fault": "drop"})).await;
    }
    let key = Shop::key();
    let asked = answer(async || shop.refund(&key, &order, Some(2_500)).await).await;
    let right_after = asked.text("/refundOrder/refund/status");
    some_minutes(shop).await;
    let later = refunds(shop, &order).await;
    let expected: &[i64] = match (row.fault.as_str(), later.as_str()) {
        ("one_less", _) => &[2_499],
        ("one_more", _) => &[2_501],
        (_, "SUCCEEDED") => &[2_500],
        _ => &[],
    };
    assert_eq!(went_back(shop, &payment), expected, "{row}");
    let later = after(shop, Call::Refund, &asked.text("/refundOrder/refund/id"), later);
    (right_after, later)
}

async fn find_refund(shop: &Shop, gateway: Gateway, row: &Row) -> (String, String) {
    let (order, payment) = opened(shop, gateway, "MUG").await;
    shop.payer_pays(&payment).await;
    go_wrong(shop, json!({"call": "refund", "fault": "lose_answer"})).await;
    go_wrong(shop, json!({"call": "notify", "fault": "drop"})).await;
    let key = Shop::key();
    let asked = answer(async || shop.refund(&key, &order, Some(2_500)).await).await;
    assert_eq!(asked.at("/refundOrder/refund/status"), "UNKNOWN", "{row}");
    let refund = asked.text("/refundOrder/refund/id");
    fail(shop, row, Some(&refund)).await;
    shop.advance(Duration::seconds(2)).await;
    let right_after = after(shop, Call::FindRefund, &refund, refunds(shop, &order).await);
    a_minute(shop).await;
    assert_eq!(went_back(shop, &payment), [2_500], "{row}");
    (right_after, refunds(shop, &order).await)
}

async fn notify(shop: &Shop, gateway: Gateway, row: &Row) -> (String, String) {
    let (order, payment) = opened(shop, gateway, "TEA").await;
    fail(shop, row, Some(&payment)).await;
    pay(shop, &payment).await;
    let right_after = status(shop, &order).await;
    a_minute(shop).await;
    let seen = shop.order(&order).await;
    // Created, opened, paid: however often it was told, paid once.
    assert_eq!(seen["version"], 4, "{row}: {seen}");
    assert_eq!(charged(shop, &payment), [1_280], "{row}");
    (right_after, text(&seen["status"]))
}

/// The state, and how many calls it took where it took more than one.
fn after(shop: &Shop, call: Call, number: &str, state: String) -> String {
    let calls = shop.sandbox().calls();
    match calls.iter().filter(|c| c.call == call && c.number.as_deref() == Some(number)).count() {
        0 | 1 => state,
        times => format!("{state} after {times}"),
    }
}

async fn fail(shop: &Shop, row: &Row, number: Option<&str>) {
    let mut fault = json!({"call": row.call, "fault": row.fault, "times": row.times, "number": number});
    if let Some(ms) = row.ms {
        fault["ms"] = json!(ms);
    }
    go_wrong(shop, fault).await;
}

pub async fn go_wrong(shop: &Shop, fault: Value) {
    knob(shop, reqwest::Method::POST, "faults", fault).await;
}

async fn place(shop: &Shop, gateway: Gateway, sku: &str) -> Answer {
    let method = match gateway {
        Gateway::WechatPay => json!({"gateway": "WECHAT_PAY", "product": "NATIVE"}),
        Gateway::Alipay => json!({"gateway": "ALIPAY", "product": "PRECREATE"}),
    };
    let input = json!({"lines": [{"sku": sku, "quantity": 1}], "payment": method, "allowDuplicate": true});
    let key = Shop::key();
    answer(async || shop.create_with("alice", &key, input.clone()).await).await
}

/// An order with a payment that the payer can make: their ids.
pub async fn opened(shop: &Shop, gateway: Gateway, sku: &str) -> (String, String) {
    let placed = place(shop, gateway, sku).await;
    assert_eq!(placed.at("/createOrder/payment/status"), "PENDING", "{}", placed.body);
    (placed.text("/createOrder/order/id"), placed.text("/createOrder/payment/id"))
}

/// The payer pays, and what comes of it is done.
pub async fn pay(shop: &Shop, payment: &str) {
    shop.sandbox().pay(payment).await.unwrap();
    shop.sandbox().settled().await;
}

/// What may be sent again is sent again with the same key, as a client would.
async fn answer(mut ask: impl AsyncFnMut() -> Answer) -> Answer {
    loop {
        let answer = ask().await;
        if answer.extension("retrySameKey") != true {
            return answer;
        }
    }
}

/// Long enough for the questions that follow a doubt.
pub async fn a_minute(shop: &Shop) {
    for seconds in [2, 5, 10, 20, 40] {
        shop.advance(Duration::seconds(seconds)).await;
    }
}

/// Long enough for what follows from their answers.
pub async fn some_minutes(shop: &Shop) {
    a_minute(shop).await;
    for _ in 0..2 {
        shop.advance(Duration::minutes(1)).await;
    }
}

pub async fn status(shop: &Shop, order: &str) -> String {
    text(&shop.order(order).await["status"])
}

pub async fn refunds(shop: &Shop, order: &str) -> String {
    let order = shop.order(order).await;
    let refunds = order["refunds"].as_array().unwrap().iter();
    refunds.map(|refund| text(&refund["status"])).collect::<Vec<_>>().join(" + ")
}

/// What the gateway took for a payment, charge by charge.
pub fn charged(shop: &Shop, payment: &str) -> Vec<i64> {
    shop.ledger().charges.iter().filter(|c| c.number == payment).map(|c| c.minor).collect()
}

/// What the gateway gave back of a payment, refund by refund.
pub fn went_back(shop: &Shop, payment: &str) -> Vec<i64> {
    shop.ledger().refunds.iter().filter(|r| r.payment_number == payment).map(|r| r.minor).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
