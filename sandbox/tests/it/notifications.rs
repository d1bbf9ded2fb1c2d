//! What the gateway tells the merchant by itself.

use std::sync::atomic::Ordering;

use chrono::TimeDelta;
use sandbox::{Call, FaultKind};
use serde_json::Value;

use crate::{merchant_crypto::is_signed, shop::Shop};

#[tokio::test]
async fn a_notification_is_repeated_by_schedule_under_the_same_id_until_taken() {
    let mut shop = Shop::open().await;
    shop.refusing.store(3, Ordering::SeqCst);
    shop.paid("ORDER-1", 100).await;
    let mut seen = Vec::new();
    for pause in [15, 15, 30, 0] {
        let (headers, body) = shop.raw_notice().await;
        shop.verify(&headers, std::str::from_utf8(&body).expect("UTF-8"));
        let envelope: Value = serde_json::from_slice(&body).expect("JSON");
        let sent_at: i64 = headers["wechatpay-timestamp"].to_str().expect("text").parse().expect("seconds");
        seen.push((envelope["id"].clone(), sent_at - 1_767_225_600));
        shop.sandbox.settled().await;
        shop.clock.advance(TimeDelta::seconds(pause));
    }
    let id = seen[0].0.clone();
    assert_eq!(seen, [(id.clone(), 0), (id.clone(), 15), (id.clone(), 30), (id, 60)]);
    shop.clock.advance(TimeDelta::days(2));
    shop.sandbox.settled().await;
    assert!(shop.notices.try_recv().is_err(), "taken, so never again");
}

#[tokio::test]
async fn a_probe_comes_before_the_real_notification_and_does_not_verify() {
    let mut shop = Shop::open().await;
    shop.fault(Call::Notify, FaultKind::Signtest);
    shop.paid("ORDER-1", 100).await;
    let (headers, body) = shop.raw_notice().await;
    let signature = headers["wechatpay-signature"].to_str().expect("text");
    assert!(signature.starts_with("WECHATPAY/SIGNTEST/"));
    assert!(!is_signed(&shop.merchant, &headers, std::str::from_utf8(&body).expect("UTF-8")));
    shop.sandbox.settled().await;
    shop.clock.advance(TimeDelta::seconds(15));
    assert_eq!(shop.notice().await.1["out_trade_no"], "ORDER-1");
}

#[tokio::test]
async fn notifications_can_be_lost_doubled_and_late() {
    let mut shop = Shop::open().await;
    shop.fault(Call::Notify, FaultKind::Drop);
    shop.paid("ORDER-1", 100).await;
    shop.sandbox.settled().await;
    assert!(shop.notices.try_recv().is_err(), "lost");
    shop.clock.advance(TimeDelta::seconds(15));
    assert_eq!(shop.notice().await.1["out_trade_no"], "ORDER-1");

    shop.fault(Call::Notify, FaultKind::Duplicate);
    shop.paid("ORDER-2", 100).await;
    let (first, second) = (shop.notice().await.0, shop.notice().await.0);
    assert_eq!(first["id"], second["id"]);

    shop.fault(Call::Notify, FaultKind::DelayMs(86_400_000));
    shop.paid("ORDER-3", 100).await;
    shop.sandbox.settled().await;
    assert!(shop.notices.try_recv().is_err(), "held back");
    shop.clock.advance(TimeDelta::days(1));
    assert_eq!(shop.notice().await.1["out_trade_no"], "ORDER-3");
}
