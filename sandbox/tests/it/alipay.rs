//! Alipay's `gateway.do`: opening, paying, closing, refunding, and what the merchant is told.

use std::{fs, sync::atomic::Ordering};

use chrono::TimeDelta;
use sandbox::{Call, PayError};
use serde_json::{Value, json};

use crate::{
    alipay_shop::{Shop, form},
    kept::Home,
};

#[tokio::test]
async fn an_order_is_scanned_paid_told_found_and_refunded() {
    let mut shop = Shop::open().await;
    let link = shop.precreated("ORDER_1", "88.88").await;
    assert_eq!(link, format!("{}/cashier/ORDER_1", shop.sandbox.url()));
    assert_eq!(shop.status("ORDER_1").await, "ACQ.TRADE_NOT_EXIST", "not a trade before the scan");

    let page = shop.client.get(&link).send().await.expect("a page").text().await.expect("text");
    assert!(page.contains("Alipay") && page.contains("¥88.88") && page.contains("Tea 茶"), "{page}");
    assert_eq!(shop.status("ORDER_1").await, "WAIT_BUYER_PAY");
    let answer = shop.client.post(format!("{link}/decline")).send().await.expect("sent");
    assert_eq!(answer.status(), 303);
    assert_eq!(shop.status("ORDER_1").await, "WAIT_BUYER_PAY");
    for _ in 0..2 {
        shop.client.post(format!("{link}/pay")).send().await.expect("paid");
    }
    let notice = shop.notice().await;
    let trade = shop.find("ORDER_1").await;
    assert_eq!((&trade["trade_status"], &trade["total_amount"]), (&json!("TRADE_SUCCESS"), &json!("88.88")));
    assert_eq!(trade["send_pay_date"], "2026-01-01 08:00:00");
    for (name, value) in [
        ("trade_status", "TRADE_SUCCESS"),
        ("out_trade_no", "ORDER_1"),
        ("trade_no", trade["trade_no"].as_str().expect("a number")),
        ("total_amount", "88.88"),
        ("seller_id", &shop.merchant.seller_id),
        ("app_id", &shop.merchant.app_id),
        ("gmt_payment", "2026-01-01 08:00:00"),
        ("subject", "Tea 茶"),
    ] {
        assert_eq!(notice[name], value, "{name}");
    }

    let part = shop.refund("REFUND_1", "ORDER_1", "40.00").await;
    assert_eq!((&part["fund_change"], &part["refund_fee"]), (&json!("Y"), &json!("40.00")));
    let notice = shop.notice().await;
    assert_eq!((&*notice["trade_status"], &*notice["out_biz_no"]), ("TRADE_SUCCESS", "REFUND_1"));
    assert_eq!((&*notice["refund_fee"], &*notice["gmt_refund"]), ("40.00", "2026-01-01 08:00:00.000"));
    let found = shop.find_refund("REFUND_1", "ORDER_1").await;
    assert_eq!((&found["refund_status"], &found["refund_amount"]), (&json!("REFUND_SUCCESS"), &json!("40.00")));
    assert_eq!(found["gmt_refund_pay"], "2026-01-01 08:00:00");
    assert_eq!(shop.find_refund("REFUND_2", "ORDER_1").await, json!({"code": "10000", "msg": "Success"}));

    let rest = shop.refund("REFUND_2", "ORDER_1", "48.88").await;
    assert_eq!((&rest["fund_change"], &rest["refund_fee"]), (&json!("Y"), &json!("88.88")), "the fee is cumulative");
    assert_eq!(shop.status("ORDER_1").await, "TRADE_CLOSED");
    shop.sandbox.settled().await;
    assert!(shop.notices.try_recv().is_err(), "nobody is told of a full refund");
    let refunds = vec![("REFUND_1".to_owned(), 4000), ("REFUND_2".to_owned(), 4888)];
    assert_eq!(shop.moved(), (vec![("ORDER_1".to_owned(), 8888)], refunds));
}

#[tokio::test]
async fn a_refund_asked_for_again_moves_nothing() {
    let shop = Shop::open().await;
    shop.paid("ORDER_1", "10.00").await;
    for (number, yuan, said) in [
        ("REFUND_1", "4.00", "Y"),
        ("REFUND_1", "4.0", "N"),
        ("REFUND_1", "5.00", "ACQ.DISCORDANT_REPEAT_REQUEST"),
        ("REFUND_2", "6.01", "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"),
        ("REFUND_2", "6.00", "Y"),
        ("REFUND_2", "6.00", "N"),
        ("REFUND_3", "0.01", "ACQ.TRADE_HAS_CLOSE"),
    ] {
        let node = shop.refund(number, "ORDER_1", yuan).await;
        let answer = node["fund_change"].as_str().or(node["sub_code"].as_str());
        assert_eq!(answer, Some(said), "{number} {yuan}");
    }
    assert_eq!(shop.moved().1.iter().map(|(_, minor)| minor).sum::<i64>(), 1000);
    assert_eq!(shop.refund("R", "NOBODYS", "1.00").await["sub_code"], "ACQ.TRADE_NOT_EXIST");
    shop.scanned("ORDER_2", "1.00").await;
    assert_eq!(shop.refund("R", "ORDER_2", "1.00").await["sub_code"], "ACQ.TRADE_STATUS_ERROR");
    shop.paid("ORDER_3", "1.00").await;
    shop.clock.advance(TimeDelta::days(366));
    assert_eq!(shop.status("ORDER_3").await, "TRADE_FINISHED");
    assert_eq!(shop.refund("R", "ORDER_3", "1.00").await["sub_code"], "ACQ.TRADE_HAS_FINISHED");
}

#[tokio::test]
async fn only_a_trade_that_waits_can_be_closed() {
    let shop = Shop::open().await;
    shop.precreated("ORDER_1", "1.00").await;
    assert_eq!(shop.close("ORDER_1").await, "ACQ.TRADE_NOT_EXIST", "never scanned");
    shop.sandbox.pay("ORDER_1").await.expect("the QR code still works");
    assert_eq!(shop.close("ORDER_1").await, "ACQ.TRADE_STATUS_ERROR");
    shop.scanned("ORDER_2", "1.00").await;
    assert_eq!(shop.close("ORDER_2").await, "closed");
    assert_eq!(shop.close("ORDER_2").await, "ACQ.TRADE_STATUS_ERROR");
    assert_eq!(shop.sandbox.pay("ORDER_2").await, Err(PayError::Closed));
    assert_eq!(shop.status("ORDER_2").await, "TRADE_CLOSED");
    shop.scanned("ORDER_3", "1.00").await;
    shop.clock.advance(TimeDelta::hours(3));
    assert_eq!(shop.status("ORDER_3").await, "TRADE_CLOSED", "by itself");
    assert_eq!(shop.sandbox.pay("ORDER_3").await, Err(PayError::Expired));
}

#[tokio::test]
async fn a_cancel_closes_what_waits_and_gives_back_what_was_paid() {
    let shop = Shop::open().await;
    let nothing = shop.cancel("NOBODYS").await;
    assert_eq!((&nothing["code"], nothing.get("action")), (&json!("10000"), None));
    shop.precreated("ORDER_1", "1.00").await;
    assert_eq!(shop.cancel("ORDER_1").await.get("action"), None, "there is no trade yet");
    assert_eq!(shop.sandbox.pay("ORDER_1").await, Err(PayError::Closed), "the QR code is void");
    shop.scanned("ORDER_2", "1.00").await;
    assert_eq!(shop.cancel("ORDER_2").await["action"], "close");
    shop.paid("ORDER_3", "1.00").await;
    for _ in 0..2 {
        let node = shop.cancel("ORDER_3").await;
        assert_eq!((&node["code"], &node["retry_flag"]), (&json!("10000"), &json!("N")));
    }
    assert_eq!(shop.moved().1, [("ORDER_3".to_owned(), 100)], "once");
    shop.paid("ORDER_4", "1.00").await;
    shop.clock.advance(TimeDelta::hours(25));
    assert_eq!(shop.cancel("ORDER_4").await["sub_code"], "ACQ.TRADE_CANCEL_TIME_OUT");
}

#[tokio::test]
async fn the_same_order_again_is_the_same_and_another_is_refused() {
    let shop = Shop::open().await;
    let link = shop.precreated("ORDER_1", "1.00").await;
    assert_eq!(shop.precreated("ORDER_1", "1.0").await, link);
    assert_eq!(shop.precreate("ORDER_1", "2.00").await["sub_code"], "ACQ.CONTEXT_INCONSISTENT");
    shop.sandbox.pay("ORDER_1").await.expect("paid");
    assert_eq!(shop.precreate("ORDER_1", "1.00").await["sub_code"], "ACQ.TRADE_HAS_SUCCESS");
    shop.scanned("ORDER_2", "1.00").await;
    shop.close("ORDER_2").await;
    assert_eq!(shop.precreate("ORDER_2", "1.00").await["sub_code"], "ACQ.TRADE_HAS_CLOSE");
    shop.precreated("ORDER_3", "1.00").await;
    shop.clock.advance(TimeDelta::hours(2));
    assert_eq!(shop.sandbox.pay("ORDER_3").await, Err(PayError::Expired), "a QR code lives two hours");
    assert_eq!(shop.precreate("ORDER_3", "2.00").await["code"], "10000", "and leaves nothing behind");
    assert_eq!(shop.moved().0.len(), 1);
}

#[tokio::test]
async fn a_browser_comes_to_the_gateway_pays_and_goes_back_with_signed_parameters() {
    let mut shop = Shop::open().await;
    let (page, wap, app) = ("alipay.trade.page.pay", "alipay.trade.wap.pay", "alipay.trade.app.pay");
    for (method, number, code) in [
        (page, "ORDER_1", "FAST_INSTANT_TRADE_PAY"),
        (wap, "ORDER_2", "QUICK_WAP_WAY"),
        (app, "ORDER_3", "QUICK_MSECURITY_PAY"),
    ] {
        let order = json!({"out_trade_no": number, "total_amount": "0.01", "subject": "Tea", "product_code": code});
        let signed = shop.signed(method, &order, &[("return_url", "http://shop.example/back?x=1&y=<")]);
        let url = format!("{}?{signed}", shop.sandbox.public_alipay_gateway_url());
        let by_link = shop.client.get(&url).send().await.expect("sent");
        let by_form = shop.send(signed).await.expect("sent");
        let cashier = format!("{}/cashier/{number}", shop.sandbox.url());
        for answer in [by_link, by_form] {
            assert_eq!(answer.status(), 302);
            assert_eq!(answer.headers()["location"], cashier);
        }
        assert_eq!(shop.status(number).await, "WAIT_BUYER_PAY");
        let text = async || shop.client.get(&cashier).send().await.expect("a page").text().await.expect("text");
        assert!(!text().await.contains("Return to the shop"));
        shop.sandbox.pay(number).await.expect("paid");
        let paid = text().await;
        let link = paid.split_once("class=\"back\" href=\"").map(|(_, rest)| rest.split('"').next().expect("a link"));
        if method == app {
            assert_eq!(link, None, "an app comes back by itself");
        } else {
            let link = link.expect("a link").replace("&amp;", "&");
            let (own, ours) = link.split_once("&app_id=").expect("the gateway's come last");
            assert_eq!(own, "http://shop.example/back?x=1&y=%3C");
            let back = form(&format!("app_id={ours}"));
            assert!(shop.is_genuine(&back), "{back:?}");
            assert_eq!((&*back["out_trade_no"], &*back["method"]), (number, &*format!("{method}.return")));
            assert!(!back.contains_key("trade_status"));
        }
        assert_eq!(shop.notice().await["out_trade_no"], number);
    }
    let wrong = shop.signed(page, &json!({"out_trade_no": "ORDER_4"}), &[]);
    let refused = shop.send(wrong).await.expect("sent");
    assert_eq!(refused.status(), 200);
    assert_eq!(refused.headers()["content-type"], "text/html;charset=GBK");
    assert!(refused.text().await.expect("text").contains("ACQ.INVALID_PARAMETER"));
}

#[tokio::test]
async fn who_has_not_signed_is_refused() {
    let shop = Shop::open().await;
    let (method, content) = ("alipay.trade.query", json!({"out_trade_no": "ORDER_1"}));
    let raw = async |form: String| shop.send(form).await.expect("sent").text().await.expect("text");
    let stranger = raw(shop.signed(method, &content, &[("app_id", "2021")])).await;
    assert!(stranger.contains("isv.invalid-app-id") && !stranger.contains("\"sign\""), "{stranger}");
    let altered = raw(shop.signed(method, &content, &[]).replace("ORDER_1", "ORDER_2")).await;
    assert_eq!(shop.verified(method, &altered).expect("signed")["sub_code"], "isv.invalid-signature");
    let unknown = raw(shop.signed("alipay.trade.order.settle", &content, &[])).await;
    assert!(unknown.starts_with(r#"{"error_response":{"code":"40002""#) && unknown.contains("isv.invalid-method"));
    let calls: Vec<_> = shop.sandbox.calls().into_iter().map(|call| (call.call, call.status)).collect();
    assert_eq!(calls, [(Call::Find, Some(200)), (Call::Find, Some(200))]);
}

/// Puts the vectors' keys where the sandbox looks for its own.
fn vectors_keys(home: &Home) -> Value {
    let read = |file: &str| -> Value {
        let path = format!("{}/../tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_slice(&fs::read(path).expect("vectors")).expect("JSON")
    };
    let keys = &read("keys.json")["alipay"];
    let folder = home.path().join("alipay");
    fs::create_dir_all(&folder).expect("a folder");
    let put = |file: &str, text: &str| fs::write(folder.join(file), text).expect("written");
    put("ids.json", &json!({"app_id": keys["app_id"], "seller_id": keys["seller_id"]}).to_string());
    put("app_private_key.pem", keys["app"]["private_pkcs8_pem"].as_str().expect("a key"));
    put("alipay_private_key.pem", keys["alipay"]["private_pkcs8_pem"].as_str().expect("a key"));
    let (files, numbers) = (&keys["cert_mode"], &read("alipay-request.json")["cert_sn"]);
    fs::create_dir_all(folder.join("certificates")).expect("a folder");
    put("certificates/numbers.json", &numbers.to_string());
    for (file, name) in [
        ("appCertPublicKey.crt", "app_cert_pem"),
        ("alipayCertPublicKey_RSA2.crt", "alipay_public_cert_pem"),
        ("alipayRootCert.crt", "alipay_root_certs_pem"),
    ] {
        put(&format!("certificates/{file}"), files[name].as_str().expect("a certificate"));
    }
    read("alipay-request.json")
}

#[tokio::test]
async fn requests_of_every_sdk_are_understood_by_post_and_by_get() {
    let home = Home::new("alipay-vectors");
    let vectors = vectors_keys(&home);
    let shop = Shop::open_at(Some(home.path().to_owned())).await;
    for case in vectors["cases"].as_array().expect("a list") {
        let text = |name: &str| case[name].as_str().unwrap_or_default();
        let query = text("target").split_once('?').map_or("", |(_, query)| query);
        let body = if text("order_string").is_empty() { text("body") } else { text("order_string") };
        let all = [query, body].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("&");
        let url = |query: &str| format!("{}?{query}", shop.sandbox.alipay_gateway_url());
        let by_get = shop.client.get(url(&all)).send().await.expect("sent");
        let kind = "application/x-www-form-urlencoded;charset=utf-8";
        let by_post = shop.client.post(url(query)).header("content-type", kind).body(body.to_owned());
        for answer in [by_get, by_post.send().await.expect("sent")] {
            let (status, raw) = (answer.status().as_u16(), answer.text().await.expect("text"));
            let expected = match text("id") {
                "bill_url" => "BILL_NOT_EXIST",
                "aes_encrypted_biz_content" => "isv.invalid-parameter",
                id if id.contains("page_pay") || id.contains("wap_pay") || id.contains("app_pay") => "",
                "precreate" => "\"code\":\"10000\"",
                "cancel" => "\"retry_flag\":\"N\"",
                _ => "ACQ.TRADE_NOT_EXIST",
            };
            assert_eq!(status, if expected.is_empty() { 302 } else { 200 }, "{}: {raw}", case["id"]);
            assert!(raw.contains(expected), "{}: {raw}", case["id"]);
        }
    }
}

#[tokio::test]
async fn a_notification_is_repeated_by_schedule_under_the_same_id_until_the_right_word() {
    let mut shop = Shop::open().await;
    shop.refusing.store(3, Ordering::SeqCst);
    shop.paid("ORDER_1", "1.00").await;
    let mut seen = Vec::new();
    for pause in [240, 600, 600, 0] {
        let notice = shop.notice().await;
        seen.push((notice["notify_id"].clone(), notice["notify_time"].clone()));
        shop.sandbox.settled().await;
        shop.clock.advance(TimeDelta::seconds(pause));
    }
    let times: Vec<_> = seen.iter().map(|(_, time)| &time[11..]).collect();
    assert_eq!(times, ["08:00:00", "08:04:00", "08:14:00", "08:24:00"]);
    assert!(seen.iter().all(|(id, _)| *id == seen[0].0));
    shop.clock.advance(TimeDelta::days(3));
    shop.sandbox.settled().await;
    assert!(shop.notices.try_recv().is_err(), "taken, so never again");
}
