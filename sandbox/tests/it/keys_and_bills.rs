//! WeChat Pay's certificates, its bills, and the query by its own number.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use chrono::TimeDelta;
use sandbox::KeyMode;
use serde_json::json;

use crate::shop::Shop;

const LIST: &str = "/v3/certificates";

fn signer(answer: &crate::shop::Answer) -> String {
    answer.headers["wechatpay-serial"].to_str().expect("text").to_owned()
}

#[tokio::test]
async fn certificates_are_listed_and_sign_as_the_knob_says() {
    let shop = Shop::open().await;
    shop.opened("ORDER-1", 100).await;
    assert_eq!(shop.get(LIST).await.refusal(), (404, "RESOURCE_NOT_EXISTS".to_owned()));
    let knob = format!("{}/__sandbox/key_mode", shop.sandbox.url());
    let set = async |mode: &str| {
        shop.client.post(&knob).body(json!({ "mode": mode }).to_string()).send().await.expect("an answer").status()
    };
    assert_eq!(set("nonsense").await, 400);
    assert_eq!(set("first_certificate").await, 204);
    let list = shop.get(LIST).await;
    let first = list.json()["data"][0]["serial_no"].as_str().expect("a serial").to_owned();
    assert_eq!((list.json()["data"].as_array().expect("a list").len(), signer(&list)), (1, first.clone()));
    shop.sandbox.set_key_mode(KeyMode::SecondAnnounced);
    let list = shop.get(LIST).await;
    let second = list.json()["data"][1]["serial_no"].as_str().expect("a serial").to_owned();
    assert!(first.len() == 40 && second.starts_with("0F") && second.len() == 40);
    assert_eq!(signer(&shop.find("ORDER-1").await), first);
    shop.sandbox.set_key_mode(KeyMode::SecondSigns);
    assert_eq!(signer(&shop.find("ORDER-1").await), second);
    shop.sandbox.set_key_mode(KeyMode::PublicKey);
    assert_eq!(signer(&shop.find("ORDER-1").await), shop.merchant.public_key_id);
}

#[tokio::test]
async fn an_order_is_found_by_its_transaction() {
    let shop = Shop::open().await;
    shop.paid("ORDER-1", 100).await;
    let id = shop.find("ORDER-1").await.json()["transaction_id"].as_str().expect("paid").to_owned();
    let target = |id: &str| format!("/v3/pay/transactions/id/{id}?mchid={}", shop.merchant.mchid);
    let found = shop.get(&target(&id)).await;
    shop.verify(&found.headers, &found.body);
    assert_eq!(found.json()["out_trade_no"], "ORDER-1");
    assert_eq!(shop.get(&target("4200000000000000000000000000")).await.refusal().1, "ORDER_NOT_EXIST");
}

#[tokio::test]
async fn a_bill_of_each_kind_is_there_the_next_day_for_five_minutes_and_unsigned() {
    let shop = Shop::open().await; // 08:00 in Beijing
    for number in ["ORDER-1", "ORDER-2"] {
        shop.paid(number, 100).await;
    }
    shop.opened("ORDER-3", 100).await;
    shop.ask_refund(&shop.refund("REFUND-1", "ORDER-1", 40, 100)).await;
    let bill = |query: &str| format!("/v3/bill/{query}&bill_date=2026-01-01");
    assert_eq!(shop.get(&bill("tradebill?a=b")).await.refusal().1, "PARAM_ERROR");
    shop.clock.advance(TimeDelta::hours(25));
    assert_eq!(shop.get(&bill("tradebill?a=b")).await.refusal().1, "STATEMENT_CREATING");
    shop.clock.advance(TimeDelta::hours(1));
    for (query, lines, sums) in [
        ("tradebill?bill_type=ALL", 3, "`3,`2.00,`0.40,`0.00,`0.02000,`2.00,`0.40"),
        ("tradebill?bill_type=SUCCESS", 2, "`2,`2.00,`0.00,`0.00,`0.02000,`2.00,`0.00"),
        ("tradebill?bill_type=REFUND", 1, "`1,`0.00,`0.40,`0.00,`0.00000,`0.00,`0.40"),
        ("fundflowbill?account_type=BASIC", 3, "`3,`2,`2.00,`1,`0.40"),
    ] {
        let place = shop.get(&bill(query)).await;
        shop.verify(&place.headers, &place.body);
        let place = place.json();
        let url = place["download_url"].as_str().expect("a URL");
        let target = url.strip_prefix(&shop.sandbox.url()).expect("its own");
        let file = shop.get(target).await;
        assert!(file.status == 200 && !file.headers.contains_key("wechatpay-signature"));
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, file.body.as_bytes());
        assert_eq!(place["hash_value"], hex::encode(hash));
        let all: Vec<_> = file.body.split("\r\n").collect();
        let cells = all.iter().filter(|line| line.starts_with('`'));
        assert_eq!((cells.count(), all[all.len() - 2]), (lines + 1, sums), "{query}");
        shop.clock.advance(TimeDelta::minutes(5));
        assert_eq!(shop.get(target).await.refusal().1, "RESOURCE_NOT_EXISTS");
    }
    for (query, code) in [
        ("fundflowbill?account_type=FEES", "NO_STATEMENT_EXIST"),
        ("fundflowbill?account_type=MINE", "PARAM_ERROR"),
        ("tradebill?bill_type=NONE", "PARAM_ERROR"),
        ("tradebill?tar_type=ZIP", "PARAM_ERROR"),
    ] {
        assert_eq!(shop.get(&bill(query)).await.refusal().1, code, "{query}");
    }
    assert_eq!(shop.get("/v3/bill/tradebill?bill_date=2025-12-31").await.refusal().1, "NO_STATEMENT_EXIST");
}

#[tokio::test]
async fn certificates_and_the_merchants_own_are_kept() {
    let home = crate::kept::Home::new("certificates");
    let serials = async || {
        let shop = Shop::open_at(Some(home.path().to_owned())).await;
        shop.sandbox.set_key_mode(KeyMode::SecondSigns);
        let list = shop.get(LIST).await.json();
        let serial = |n: usize| list["data"][n]["serial_no"].clone();
        let made = (shop.merchant.certificate_pem.clone(), serial(0), serial(1));
        shop.sandbox.stop().await;
        made
    };
    assert_eq!(serials().await, serials().await);
    assert!(home.path().join("wechat_pay/merchant_certificate.pem").exists());
}
