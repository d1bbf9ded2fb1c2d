//! Opening, finding and closing orders, and who may.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use sandbox::{Call, Clock, PayError};
use serde_json::{Value, json};

use crate::{merchant_crypto::authorization, shop::Shop};

#[tokio::test]
async fn an_order_is_opened_paid_notified_and_found() {
    let mut shop = Shop::open().await;
    let answer = shop.opened("ORDER-1", 1280).await;
    shop.verify(&answer.headers, &answer.body);
    let link = format!("{}/cashier/ORDER-1", shop.sandbox.url());
    assert_eq!(answer.json(), json!({ "code_url": link }));
    assert_eq!(shop.trade_state("ORDER-1").await, "NOTPAY");
    assert!(shop.find("ORDER-1").await.json()["transaction_id"].is_null());

    shop.sandbox.pay("ORDER-1").await.expect("paid");
    assert_eq!(shop.charges(), [("ORDER-1".to_owned(), 1280)]);
    let (envelope, notice) = shop.notice().await;
    assert_eq!(envelope["event_type"], "TRANSACTION.SUCCESS");
    assert_eq!(envelope["create_time"], "2026-01-01T08:00:00+08:00");

    let found = shop.find("ORDER-1").await.json();
    assert_eq!(found, notice);
    assert_eq!(found["trade_state"], "SUCCESS");
    assert_eq!(found["amount"]["total"], 1280);
    let id = found["transaction_id"].as_str().expect("an id");
    let by_id = format!("/v3/pay/transactions/id/{id}?mchid={}", shop.merchant.mchid);
    assert_eq!(shop.get(&by_id).await.json(), found);
}

#[tokio::test]
async fn the_same_order_again_is_the_same_and_another_under_its_number_is_refused() {
    let shop = Shop::open().await;
    let first = shop.opened("ORDER-1", 100).await;
    assert_eq!(shop.opened("ORDER-1", 100).await.body, first.body);
    let other = shop.native(&shop.order("ORDER-1", 101)).await;
    assert_eq!(other.refusal(), (403, "OUT_TRADE_NO_USED".to_owned()));

    shop.sandbox.pay("ORDER-1").await.expect("paid");
    let again = shop.native(&shop.order("ORDER-1", 100)).await;
    assert_eq!(again.refusal(), (400, "ORDERPAID".to_owned()));
    assert_eq!(shop.sandbox.pay("ORDER-1").await, Err(PayError::AlreadyPaid));
    assert_eq!(shop.charges().len(), 1);

    shop.opened("ORDER-2", 100).await;
    shop.close("ORDER-2").await;
    let closed = shop.native(&shop.order("ORDER-2", 100)).await;
    assert_eq!(closed.refusal(), (400, "ORDER_CLOSED".to_owned()));
}

#[tokio::test]
async fn closing_is_idempotent_signed_and_refused_once_paid() {
    let shop = Shop::open().await;
    shop.opened("ORDER-1", 100).await;
    for _ in 0..2 {
        let closed = shop.close("ORDER-1").await;
        assert_eq!((closed.status, closed.body.as_str()), (204, ""));
        shop.verify(&closed.headers, "");
    }
    assert_eq!(shop.trade_state("ORDER-1").await, "CLOSED");
    assert_eq!(shop.sandbox.pay("ORDER-1").await, Err(PayError::Closed));

    shop.paid("ORDER-2", 100).await;
    assert_eq!(shop.close("ORDER-2").await.refusal(), (400, "ORDERPAID".to_owned()));
    assert_eq!(shop.close("ORDER-3").await.refusal(), (404, "ORDER_NOT_EXIST".to_owned()));
    assert_eq!(shop.find("ORDER-3").await.refusal(), (404, "ORDER_NOT_EXIST".to_owned()));
}

#[tokio::test]
async fn an_order_closes_by_itself_when_its_time_is_over() {
    let shop = Shop::open().await;
    let mut order = shop.order("ORDER-1", 100);
    order["time_expire"] = json!("2026-01-01T08:30:00+08:00");
    assert_eq!(shop.native(&order).await.status, 200);

    shop.clock.advance(TimeDelta::seconds(1799));
    assert_eq!(shop.trade_state("ORDER-1").await, "NOTPAY");
    shop.clock.advance(TimeDelta::seconds(1));
    assert_eq!(shop.sandbox.pay("ORDER-1").await, Err(PayError::Expired));
    assert_eq!(shop.trade_state("ORDER-1").await, "CLOSED");
    assert_eq!(shop.charges(), []);
}

#[tokio::test]
async fn wrong_fields_are_refused_by_name() {
    let shop = Shop::open().await;
    let long = "x".repeat(256);
    let wrong = [
        ("/out_trade_no", json!("SHORT")),
        ("/out_trade_no", json!("ORDER 1")),
        ("/out_trade_no", json!(&long[..33])),
        ("/amount/total", json!(0)),
        ("/amount/total", json!("100")),
        ("/amount/total", json!(1.5)),
        ("/amount/currency", json!("USD")),
        ("/description", json!("")),
        ("/description", json!(&long[..128])),
        ("/description", Value::Null),
        ("/attach", json!(&long[..129])),
        ("/notify_url", json!("https://shop.example/notify?order=1")),
        ("/notify_url", json!("ftp://shop.example/notify")),
        ("/notify_url", json!(format!("https://shop.example/{long}"))),
        ("/time_expire", json!("tomorrow")),
        ("/limit_pay", json!(["no_money"])),
        ("/mchid", json!("1900000002")),
    ];
    for (field, value) in wrong {
        let mut order = shop.order("ORDER-1", 100);
        let parent = if field.starts_with("/amount") { &mut order["amount"] } else { &mut order };
        parent[field.rsplit('/').next().expect("a name")] = value.clone();
        let answer = shop.native(&order).await;
        assert_eq!(answer.refusal(), (400, "PARAM_ERROR".to_owned()), "{field} {value}");
        assert_eq!(answer.json()["detail"]["field"], format!("/body{field}"), "{value}");
    }
    let mut order = shop.order("ORDER-1", 100);
    order["appid"] = json!("wx0000000000000000");
    let answer = shop.native(&order).await;
    assert_eq!(answer.refusal(), (400, "APPID_MCHID_NOT_MATCH".to_owned()));
    assert_eq!(shop.find("ORDER-1").await.status, 404, "nothing was opened");
}

#[tokio::test]
async fn only_what_the_merchant_signed_is_let_in() {
    let shop = Shop::open().await;
    let target = "/v3/pay/transactions/native";
    let body = shop.order("ORDER-1", 100).to_string();
    let now = shop.clock.now();
    let ask = async |at: DateTime<Utc>, signed: &str| {
        let authorization = authorization(&shop.merchant, at, &Method::POST, target, signed);
        let request = shop.client.post(shop.sandbox.url() + target).body(body.clone());
        let request = request.header("Content-Type", "application/json");
        let answer = request.header("Authorization", authorization).send().await.expect("sent");
        (answer.status().as_u16(), answer.headers().contains_key("request-id"))
    };
    assert_eq!(ask(now - TimeDelta::seconds(301), &body).await, (401, false));
    assert_eq!(ask(now + TimeDelta::seconds(301), &body).await, (401, false));
    assert_eq!(ask(now, &body.replace("Tea", "Ten")).await, (401, false));
    assert_eq!(ask(now - TimeDelta::seconds(300), &body).await, (200, true));
    assert_eq!(shop.calls(Call::Open, "ORDER-1"), [Some(401), Some(401), Some(401), Some(200)]);

    let unknown = shop.client.get(shop.sandbox.url() + "/v3/nothing").send().await.expect("sent");
    assert_eq!(unknown.status(), 404);
    assert_eq!(unknown.text().await.expect("text"), "");
    let method = shop.client.get(shop.sandbox.url() + target).send().await.expect("sent");
    assert_eq!(method.status(), 405);
    assert_eq!(method.text().await.expect("text"), "");
}

#[tokio::test]
async fn refund_calls_need_accept_and_user_agent_before_anything_else() {
    let shop = Shop::open().await;
    let nameless = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = shop.sandbox.url() + "/v3/refund/domestic/refunds/REFUND-1";
    let answer = nameless.get(url).header("Accept", "application/json").send().await;
    let answer = answer.expect("sent");
    assert_eq!(answer.status(), 400);
    assert!(answer.text().await.expect("text").contains("INVALID_REQUEST"));
}

#[tokio::test]
async fn an_encoded_number_is_verified_as_sent_and_understood() {
    let shop = Shop::open().await;
    shop.opened("A|B*C-D_01", 100).await;
    assert_eq!(shop.trade_state("A%7CB*C-D_01").await, "NOTPAY");
}
