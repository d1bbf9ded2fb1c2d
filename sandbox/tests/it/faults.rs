//! What goes wrong on request.

use std::time::Duration;

use reqwest::Method;
use sandbox::{Call, FaultKind};
use serde_json::{Value, json};

use crate::{merchant_crypto::is_signed, shop::Shop};

#[tokio::test]
async fn a_lost_answer_is_an_error_to_the_client_and_yet_it_happened() {
    let shop = Shop::open().await;
    shop.find("ORDER-0").await; // the connection is open and will be used again
    shop.fault(Call::Open, FaultKind::LoseAnswer);
    let order = shop.order("ORDER-1", 100).to_string();
    let lost = shop.try_ask(Method::POST, "/v3/pay/transactions/native", &order).await;
    assert!(lost.is_err(), "no answer is no answer");
    assert_eq!(shop.calls(Call::Open, "ORDER-1"), [None], "it was sent once");
    assert_eq!(shop.trade_state("ORDER-1").await, "NOTPAY");

    shop.fault(Call::Open, FaultKind::LoseRequest);
    let order = shop.order("ORDER-2", 100).to_string();
    let lost = shop.try_ask(Method::POST, "/v3/pay/transactions/native", &order).await;
    assert!(lost.is_err());
    assert_eq!(shop.find("ORDER-2").await.status, 404, "nothing happened");
}

#[tokio::test]
async fn errors_come_before_or_after_the_effect() {
    let shop = Shop::open().await;
    for (kind, status, found) in
        [(FaultKind::Error500, 500, 404), (FaultKind::RateLimited, 429, 404), (FaultKind::Error500After, 500, 200)]
    {
        let number = format!("ORDER-{kind:?}");
        shop.fault(Call::Open, kind);
        assert_eq!(shop.native(&shop.order(&number, 1)).await.refusal().0, status);
        assert_eq!(shop.find(&number).await.status, found, "{kind:?}");
    }
}

#[tokio::test]
async fn answers_can_be_unsigned_wrongly_signed_probes_late_or_anothers() {
    let shop = Shop::open().await;
    shop.opened("ORDER-1", 100).await;
    for kind in [FaultKind::Unsigned, FaultKind::WronglySigned, FaultKind::Signtest] {
        shop.fault(Call::Find, kind);
        let answer = shop.find("ORDER-1").await;
        assert_eq!(answer.status, 200);
        assert!(!is_signed(&shop.merchant, &answer.headers, &answer.body), "{kind:?}");
    }
    shop.fault(Call::Find, FaultKind::OtherAnswer);
    let other = shop.find("ORDER-1").await;
    shop.verify(&other.headers, &other.body);
    assert_eq!(other.json()["out_trade_no"], "ORDER-0");

    shop.fault(Call::Close, FaultKind::DelayMs(60_000));
    let slow = tokio::time::timeout(Duration::from_millis(300), shop.close("ORDER-1")).await;
    assert!(slow.is_err(), "the answer is late");
    assert_eq!(shop.trade_state("ORDER-1").await, "CLOSED", "the effect is not");
}

#[tokio::test]
async fn the_payer_can_pay_while_the_order_is_being_closed() {
    let shop = Shop::open().await;
    shop.opened("ORDER-1", 100).await;
    shop.fault(Call::Close, FaultKind::PayDuringClose);
    assert_eq!(shop.close("ORDER-1").await.refusal(), (400, "ORDERPAID".to_owned()));
    assert_eq!(shop.charges().len(), 1);

    shop.fault(Call::Refund, FaultKind::NotEnough);
    let refund = shop.refund("REFUND-1", "ORDER-1", 100, 100);
    assert_eq!(shop.ask_refund(&refund).await.refusal(), (403, "NOT_ENOUGH".to_owned()));
    assert_eq!(shop.ask_refund(&refund).await.status, 200);
}

#[tokio::test]
async fn the_knobs_work_over_http() {
    let shop = Shop::open().await;
    let url = |path: &str| format!("{}/__sandbox/{path}", shop.sandbox.url());
    let knob = async |body: &'static str| {
        let answer = shop.client.post(url("faults")).body(body).send().await.expect("sent");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let (status, list) = knob(r#"{"call":"open","fault":"nonsense"}"#).await;
    assert_eq!(status, 400);
    assert!(list.contains("lose_answer") && list.contains("find_refund"), "{list}");

    let other = r#"{"call":"open","fault":"error_500","times":2,"number":"ORDER-9"}"#;
    assert_eq!(knob(other).await.0, 204);
    shop.paid("ORDER-1", 1280).await;
    assert_eq!(shop.native(&shop.order("ORDER-9", 1)).await.status, 500);
    let cleared = shop.client.delete(url("faults")).send().await.expect("sent");
    assert_eq!(cleared.status(), 204);
    assert_eq!(shop.native(&shop.order("ORDER-9", 1)).await.status, 200);

    let read = async |path: &str| -> Value {
        let answer = shop.client.get(url(path)).send().await.expect("sent");
        serde_json::from_str(&answer.text().await.expect("text")).expect("JSON")
    };
    let charge = json!({
        "number": "ORDER-1", "gateway": "wechat_pay", "minor": 1280, "currency": "CNY",
        "paid_at": "2026-01-01T00:00:00Z",
    });
    assert_eq!(read("ledger").await, json!({"charges": [charge], "refunds": []}));
    let first = json!({"call": "open", "number": "ORDER-1", "at": "2026-01-01T00:00:00Z", "status": 200});
    assert_eq!(read("calls").await[0], first);
}

#[tokio::test]
async fn an_unpaid_order_can_be_on_its_way_and_a_new_one_not_found_yet() {
    let shop = Shop::open().await;
    shop.fault(Call::Open, FaultKind::LagMs(10_000));
    shop.opened("ORDER-1", 100).await;
    assert_eq!(shop.find("ORDER-1").await.refusal(), (404, "ORDER_NOT_EXIST".to_owned()));
    assert_eq!(shop.close("ORDER-1").await.refusal().0, 404);
    shop.clock.advance(chrono::TimeDelta::seconds(10));
    for (kind, state) in [(FaultKind::UserPaying, "USERPAYING"), (FaultKind::Accept, "ACCEPT")] {
        shop.fault(Call::Find, kind);
        assert_eq!(shop.trade_state("ORDER-1").await, state);
    }
    assert_eq!(shop.trade_state("ORDER-1").await, "NOTPAY");
}
