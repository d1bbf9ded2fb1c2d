//! Refunds: accepted, done, refused.

use chrono::TimeDelta;
use sandbox::{Call, FaultKind};
use serde_json::json;

use crate::shop::Shop;

#[tokio::test]
async fn a_refund_is_accepted_then_done_then_notified() {
    let mut shop = Shop::open().await;
    shop.paid("ORDER-1", 100).await;
    shop.notice().await;
    let answer = shop.ask_refund(&shop.refund("REFUND-1", "ORDER-1", 40, 100)).await;
    shop.verify(&answer.headers, &answer.body);
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("PROCESSING")));
    assert_eq!(shop.trade_state("ORDER-1").await, "REFUND");
    assert_eq!(shop.sandbox.ledger().refunds, []);

    shop.clock.advance(TimeDelta::seconds(1));
    let (envelope, notice) = shop.notice().await;
    assert_eq!(envelope["event_type"], "REFUND.SUCCESS");
    assert_eq!(notice["refund_status"], "SUCCESS");
    assert_eq!(notice["out_refund_no"], "REFUND-1");
    let found = shop.find_refund("REFUND-1").await.json();
    assert_eq!(found["status"], "SUCCESS");
    assert_eq!(found["success_time"], "2026-01-01T08:00:01+08:00");
    let ledger = serde_json::to_value(shop.sandbox.ledger().refunds).expect("JSON");
    let refund = json!({"number": "REFUND-1", "payment_number": "ORDER-1", "minor": 40, "currency": "CNY"});
    assert_eq!(ledger, json!([refund]));
}

#[tokio::test]
async fn refunds_never_exceed_what_was_paid_and_are_a_minute_apart() {
    let shop = Shop::open().await;
    shop.paid("ORDER-1", 100).await;
    let first = shop.refund("REFUND-1", "ORDER-1", 60, 100);
    let accepted = shop.ask_refund(&first).await;
    assert_eq!(shop.ask_refund(&first).await.json(), accepted.json(), "a repeat is no new refund");
    let other = shop.ask_refund(&shop.refund("REFUND-1", "ORDER-1", 40, 100)).await;
    assert_eq!(other.refusal(), (400, "INVALID_REQUEST".to_owned()));

    let second = shop.refund("REFUND-2", "ORDER-1", 40, 100);
    shop.clock.advance(TimeDelta::seconds(59));
    assert_eq!(shop.ask_refund(&second).await.refusal(), (429, "FREQUENCY_LIMITED".to_owned()));
    assert_eq!(shop.find_refund("REFUND-2").await.refusal(), (404, "RESOURCE_NOT_EXISTS".to_owned()));
    shop.clock.advance(TimeDelta::seconds(1));
    let too_much = shop.ask_refund(&shop.refund("REFUND-2", "ORDER-1", 41, 100)).await;
    assert_eq!(too_much.refusal(), (400, "INVALID_REQUEST".to_owned()));
    assert_eq!(shop.ask_refund(&second).await.status, 200);

    shop.clock.advance(TimeDelta::minutes(1));
    let refunded: i64 = shop.sandbox.ledger().refunds.iter().map(|refund| refund.minor).sum();
    assert_eq!(refunded, 100);
}

#[tokio::test]
async fn the_fifty_first_refund_of_an_order_is_refused() {
    let shop = Shop::open().await;
    shop.paid("ORDER-1", 100).await;
    for number in 1..=51 {
        shop.clock.advance(TimeDelta::minutes(1));
        let refund = shop.refund(&format!("REFUND-{number}"), "ORDER-1", 1, 100);
        let expected = if number <= 50 { 200 } else { 400 };
        assert_eq!(shop.ask_refund(&refund).await.status, expected, "{number}");
    }
    shop.clock.advance(TimeDelta::minutes(1));
    assert_eq!(shop.sandbox.ledger().refunds.len(), 50);
}

#[tokio::test]
async fn what_was_not_paid_or_not_so_cannot_be_refunded() {
    let shop = Shop::open().await;
    shop.opened("ORDER-1", 100).await;
    let unpaid = shop.ask_refund(&shop.refund("REFUND-1", "ORDER-1", 1, 100)).await;
    assert_eq!(unpaid.refusal(), (400, "INVALID_REQUEST".to_owned()));
    let unknown = shop.ask_refund(&shop.refund("REFUND-1", "ORDER-2", 1, 100)).await;
    assert_eq!(unknown.refusal(), (404, "RESOURCE_NOT_EXISTS".to_owned()));
    shop.sandbox.pay("ORDER-1").await.expect("paid");
    let total = shop.ask_refund(&shop.refund("REFUND-1", "ORDER-1", 1, 99)).await;
    assert_eq!(total.refusal(), (400, "INVALID_REQUEST".to_owned()));
    let mut euros = shop.refund("REFUND-1", "ORDER-1", 1, 100);
    euros["amount"]["currency"] = json!("EUR");
    assert_eq!(shop.ask_refund(&euros).await.refusal(), (400, "PARAM_ERROR".to_owned()));
}

#[tokio::test]
async fn a_refund_can_be_accepted_and_then_fail() {
    for (kind, status, left) in [(FaultKind::RefundClosed, "CLOSED", 200), (FaultKind::RefundAbnormal, "ABNORMAL", 400)]
    {
        let mut shop = Shop::open().await;
        shop.paid("ORDER-1", 100).await;
        shop.notice().await;
        shop.fault(Call::Refund, kind);
        let accepted = shop.ask_refund(&shop.refund("REFUND-1", "ORDER-1", 100, 100)).await;
        assert_eq!(accepted.json()["status"], "PROCESSING");
        shop.clock.advance(TimeDelta::minutes(1));
        let (envelope, notice) = shop.notice().await;
        assert_eq!(envelope["event_type"], format!("REFUND.{status}"));
        assert_eq!(notice["refund_status"], status);
        assert_eq!(shop.find_refund("REFUND-1").await.json()["status"], status);
        assert_eq!(shop.sandbox.ledger().refunds, [], "no money moved");
        let again = shop.ask_refund(&shop.refund("REFUND-2", "ORDER-1", 100, 100)).await;
        assert_eq!(again.status, left, "{status}");
    }
}
