//! Too many operations: turned away before anything begins, at no cost.

use std::sync::Arc;

use payonce::payments::PaymentError;
use sandbox::{Call, FaultKind};

use crate::support::desk::{Desk, Trouble};
use crate::support::shop::eventually;
use crate::support::{Backend, Shop};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_the_limit_are_turned_away_and_may_come_again() {
    let shop = Arc::new(Shop::open_with(Backend::Sqlite, &[("PAYONCE_MAX_OPERATIONS", "2")]).await);
    shop.sandbox().fault(sandbox::Fault::new(Call::Open, FaultKind::DelayMs(1_500)).unwrap().times(2));
    let keys = [Shop::key(), Shop::key()];
    let running = keys.clone().map(|key| {
        let shop = shop.clone();
        tokio::spawn(async move { shop.create("alice", &key, "TEA", 1, true).await })
    });
    eventually("both are at the gateway", async || {
        shop.sandbox().calls().iter().filter(|c| c.call == Call::Open).count() == 2
    })
    .await;
    let key = Shop::key();
    let away = shop.create("alice", &key, "TEA", 1, true).await;
    assert_eq!(away.code(), "OVERLOADED", "{}", away.body);
    assert_eq!((away.extension("retryable"), away.extension("retrySameKey")), (true.into(), true.into()));
    assert!(away.extension("retryAfterMs").as_u64().is_some_and(|ms| ms > 0));
    // A duplicate of one that runs is told so.
    assert_eq!(shop.create("alice", &keys[0], "TEA", 1, true).await.code(), "IDEMPOTENCY_IN_PROGRESS");
    for answer in running {
        assert_eq!(answer.await.unwrap().at("/createOrder/payment/status"), "PENDING");
    }
    // Nothing began: the same key, later.
    assert_eq!(shop.create("alice", &key, "TEA", 1, true).await.at("/createOrder/replayed"), false);
    shop.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_turned_away_without_touching_anything() {
    let desk = Arc::new(Desk::open_with(Backend::Sqlite, |settings| settings.max_operations = 1).await);
    desk.gateway.trouble("open", Trouble::Hang);
    let held = {
        let desk = desk.clone();
        tokio::spawn(async move { desk.create("the-first-one-0000").await })
    };
    eventually("the only place is taken", async || !desk.gateway.calls.lock().unwrap().is_empty()).await;
    let began = std::time::Instant::now();
    for n in 0..20_000 {
        let away = desk.create(&format!("one-of-a-flood-{n:06}")).await;
        assert!(matches!(away, Err(PaymentError::Overloaded)), "{away:?}");
    }
    let took = began.elapsed();
    assert!(took.as_secs() < 20, "{took:?} for 20,000");
    assert_eq!(desk.gateway.calls.lock().unwrap().len(), 1);
    held.abort();
}
