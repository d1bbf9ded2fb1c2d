//! Bills, and certificate mode: what only Alipay's side of the wire can show.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::alipay_shop::Shop;

const BILL: &str = "alipay.data.dataservice.bill.downloadurl.query";

#[tokio::test]
async fn a_bill_is_there_on_the_next_morning_for_half_a_minute_an_address() {
    let shop = Shop::open().await;
    shop.paid("ORDER_1", "1.00").await;
    let ask = async |kind: &str, date: &str| shop.ask(BILL, json!({"bill_type": kind, "bill_date": date})).await;
    for (kind, date, sub_code) in [
        ("trade", "2026-01-01", "BILL_NOT_EXIST"),
        ("trade", "2025-12-31", "BILL_NOT_EXIST"),
        ("trade", "01.01.2026", "INVAILID_ARGUMENTS"),
        ("signcustomer", "2026-01-01", "TYPE_NOT_SUPPORTED"),
    ] {
        assert_eq!(ask(kind, date).await["sub_code"], sub_code, "{kind} {date}");
    }
    shop.clock.advance(TimeDelta::hours(25) - TimeDelta::seconds(1));
    assert_eq!(ask("trade", "2026-01-01").await["sub_code"], "BILL_NOT_EXIST");
    shop.clock.advance(TimeDelta::seconds(1));
    let answer = ask("trade", "2026-01-01").await;
    let url = answer["bill_download_url"].as_str().expect("an address");
    assert!(url.starts_with(&format!("{}/downloadBillFile.resource?", shop.sandbox.url())), "{url}");
    let get = async || shop.client.get(url).send().await.expect("an answer");
    let file = get().await;
    assert_eq!(file.status(), 200);
    let file = file.bytes().await.expect("a file");
    // In GBK, and without the flag (2048) that would say UTF-8.
    let name = b"_20260101_\xd2\xb5\xce\xf1\xc3\xf7\xcf\xb8.csv";
    assert!(file.starts_with(b"PK\x03\x04\x14\0\0\0"));
    assert!(file.windows(name.len()).any(|window| window == name));
    shop.clock.advance(TimeDelta::seconds(30));
    assert_eq!(get().await.status(), 403);
}

#[tokio::test]
async fn whoever_names_a_certificate_is_answered_with_the_gateways() {
    let shop = Shop::open().await;
    let certificates = &shop.merchant.certificates;
    let ours = [
        ("app_cert_sn", certificates.app_cert_sn.as_str()),
        ("alipay_root_cert_sn", certificates.root_cert_sn.as_str()),
    ];
    let ask = async |more: &[(&str, &str)]| {
        let form = shop.signed("alipay.trade.query", &json!({"out_trade_no": "NOBODYS"}), more);
        shop.send(form).await.expect("an answer").text().await.expect("text")
    };
    let plain = ask(&[]).await;
    assert!(plain.contains("ACQ.TRADE_NOT_EXIST") && !plain.contains("alipay_cert_sn"), "{plain}");
    let named = ask(&ours).await;
    let between = format!("}},\"alipay_cert_sn\":\"{}\",\"sign\":\"", certificates.alipay_cert_sn);
    assert!(named.contains("ACQ.TRADE_NOT_EXIST") && named.contains(&between), "{named}");
    for wrong in [&ours[..1], &ours[1..], &[("app_cert_sn", "0"), ours[1]], &[ours[0], ("alipay_root_cert_sn", "0")]] {
        let answer = ask(wrong).await;
        assert!(answer.contains("isv.invalid-parameter"), "{answer}");
    }
    let refused: Value = serde_json::from_str(&ask(&ours[..1]).await).expect("JSON");
    assert!(refused["sign"].is_string() && refused["alipay_cert_sn"].is_string(), "{refused}");
}
