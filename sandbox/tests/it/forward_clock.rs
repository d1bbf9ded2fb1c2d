//! A sandbox that runs alone: its clock is turned from outside.

use std::sync::{Arc, atomic::Ordering};

use chrono::{DateTime, Utc};
use sandbox::{Clock, ForwardClock, Sandbox, SandboxConfig, SystemClock};
use serde_json::Value;

use crate::{
    merchant_crypto::is_signed,
    shop::{Shop, client, listen_for_notices},
};

async fn turn(sandbox: &Sandbox, body: &'static str) -> (u16, Value) {
    let answer = client().post(format!("{}/__sandbox/clock", sandbox.url())).body(body).send().await.expect("sent");
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.expect("text")).expect("JSON"))
}

#[tokio::test]
async fn a_day_of_repetitions_is_played_in_seconds() {
    let config = SandboxConfig { clock: Arc::new(ForwardClock::default()), ..SandboxConfig::default() };
    let (notify_url, mut notices, refusing) = listen_for_notices().await;
    let sandbox = Sandbox::start(config).await.expect("started");
    let mut shop = Shop::open().await;
    (shop.merchant, shop.sandbox, shop.notify_url) = (sandbox.merchant().clone(), sandbox, notify_url);
    let now = SystemClock.now();
    shop.clock.advance(now - shop.clock.now());

    refusing.store(usize::MAX, Ordering::SeqCst);
    shop.paid("ORDER-1", 100).await;
    let (status, said) = turn(&shop.sandbox, r#"{"forward_s": 90000}"#).await;
    assert_eq!(status, 200);
    let turned: DateTime<Utc> = said["now"].as_str().expect("a time").parse().expect("RFC 3339");
    assert!((turned - now).num_hours() >= 25, "{turned}");
    let mut times = 0;
    while let Ok((headers, body)) = notices.try_recv() {
        times += 1;
        // The merchant's clock was not turned, and it takes no signature that is older than five minutes.
        let signed_at: i64 = headers["wechatpay-timestamp"].to_str().expect("text").parse().expect("seconds");
        assert!((signed_at - now.timestamp()).abs() < 60);
        assert!(is_signed(&shop.merchant, &headers, std::str::from_utf8(&body).expect("UTF-8")));
    }
    assert_eq!(times, 16);
    assert_eq!(shop.trade_state("ORDER-1").await, "SUCCESS", "what the merchant signs now is taken");
}

#[tokio::test]
async fn a_clock_that_others_share_is_not_turned_and_none_goes_back() {
    let shop = Shop::open().await;
    let (status, said) = turn(&shop.sandbox, r#"{"forward_s": 60}"#).await;
    assert_eq!(status, 409);
    assert!(said["error"].as_str().expect("why").contains("payonce sandbox"), "{said}");
    for wrong in [r#"{"forward_s": -1}"#, r#"{"forward_s": 4000000000}"#, r#"{"back_s": 1}"#, ""] {
        assert_eq!(turn(&shop.sandbox, wrong).await.0, 400, "{wrong}");
    }
}
