//! Operations whose process died go on, and nothing happens twice.

use std::sync::Arc;

use crate::support::clock::TurnedClock;
use crate::support::shop::eventually;
use crate::support::{Backend, Shop, on_every_store};
use domain::Duration;
use sandbox::{Call, FaultKind};
use sea_orm::{ConnectionTrait, Database, Statement};
use serde_json::json;

on_every_store!(an_operation_that_stopped_after_its_intent_is_finished_by_another_process);

/// What is in the store when a process dies between its intent and the gateway's answer.
async fn an_operation_that_stopped_after_its_intent_is_finished_by_another_process(backend: Backend) {
    let clock = Arc::new(TurnedClock::at_now());
    let database = backend.fresh().await;
    let shop = Shop::open_on(backend, database.clone(), clock, &[]).await;
    let key = Shop::key();
    let bought = shop.create("alice", &key, "TEA", 1, true).await;
    let (order, payment) = (bought.text("/createOrder/order/id"), bought.text("/createOrder/payment/id"));
    // Set back to the intent: the answer was never recorded, and the lease has run out.
    let db = Database::connect(&database).await.unwrap();
    for sql in [
        "UPDATE payments SET status = 'CREATED', action = NULL, action_expires_at = NULL",
        "UPDATE orders SET version = 2",
        "DELETE FROM events WHERE version > 2",
        "UPDATE operations SET state = 'RUNNING', lease_holder = 'gone', lease_until = '2020-01-01 00:00:00+00:00'",
    ] {
        let sql = if backend == Backend::MariaDb { sql.replace("+00:00", "") } else { sql.to_owned() };
        db.execute_unprepared(&sql).await.unwrap();
    }
    db.close().await.unwrap();
    // The client asks again: it gets the same payment, with an action.
    eventually("the operation is finished", async || {
        let again = shop.create("alice", &key, "TEA", 1, true).await;
        again.code().is_empty() && again.at("/createOrder/payment/status") == "PENDING"
    })
    .await;
    let again = shop.create("alice", &key, "TEA", 1, true).await;
    assert_eq!(
        (again.text("/createOrder/payment/id"), again.at("/createOrder/replayed")),
        (payment.clone(), json!(true))
    );
    shop.payer_pays(&payment).await;
    assert_eq!(shop.order(&order).await["status"], "PAID");
    assert_eq!(shop.ledger().charges.len(), 1);
    shop.check_invariants().await;
}

#[tokio::test]
async fn an_orphan_is_finished_without_its_client() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, _) = shop.open_order("TEA").await;
    let db = Database::connect(&shop.database_url).await.unwrap();
    for sql in [
        "UPDATE payments SET status = 'CREATED', action = NULL, action_expires_at = NULL, next_at = '2999-01-01T00:00:00+00:00'",
        "UPDATE orders SET version = 2",
        "DELETE FROM events WHERE version > 2",
        "UPDATE operations SET state = 'RUNNING', lease_holder = 'gone', lease_until = '2020-01-01T00:00:00+00:00'",
    ] {
        db.execute_unprepared(sql).await.unwrap();
    }
    shop.advance(Duration::seconds(1)).await;
    assert_eq!(shop.order(&order).await["payments"][0]["status"], "PENDING");
    shop.check_invariants().await;
}

/// A process dies after it has sent a refund, and whoever goes on cannot even ask: that its question was not answered
/// says nothing about what was sent.
#[tokio::test]
async fn a_question_that_is_not_answered_does_not_make_a_refund_unsent() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, _) = shop.paid_order("MUG").await;
    shop.fault(Call::Refund, FaultKind::LoseAnswer);
    shop.fault(Call::Notify, FaultKind::Drop);
    let refund = shop.refund(&Shop::key(), &order, Some(2_500)).await;
    assert_eq!(refund.at("/refundOrder/refund/status"), "UNKNOWN");
    let db = Database::connect(&shop.database_url).await.unwrap();
    for sql in [
        "UPDATE refunds SET status = 'REQUESTED', next_at = '2999-01-01T00:00:00+00:00'",
        "UPDATE orders SET version = version - 1",
        "DELETE FROM events WHERE version > (SELECT version FROM orders)",
        "UPDATE operations SET state = 'RUNNING', lease_holder = 'gone', lease_until = '2020-01-01T00:00:00+00:00' WHERE name = 'refundOrder'",
    ] {
        db.execute_unprepared(sql).await.unwrap();
    }
    shop.fault(Call::FindRefund, FaultKind::RateLimited);
    shop.advance(Duration::seconds(1)).await;
    assert_eq!(shop.order(&order).await["refunds"][0]["status"], "UNKNOWN");
    for _ in 0..3 {
        shop.advance(Duration::seconds(20)).await;
    }
    assert_eq!(shop.order(&order).await["refunds"][0]["status"], "SUCCEEDED");
    assert_eq!(shop.ledger().refunds.len(), 1);
    shop.check_invariants().await;
}

#[tokio::test]
async fn who_takes_an_operation_over_has_the_time_to_ask_the_gateway() {
    let shop = Shop::open_with(Backend::Sqlite, &[("PAYONCE_LEASE", "300ms")]).await;
    let (order, _) = shop.open_order("TEA").await;
    let db = Database::connect(&shop.database_url).await.unwrap();
    for sql in [
        "UPDATE payments SET status = 'CREATED', action = NULL, action_expires_at = NULL, next_at = '2999-01-01T00:00:00+00:00'",
        "UPDATE orders SET version = 2",
        "DELETE FROM events WHERE version > 2",
        "UPDATE operations SET state = 'RUNNING', fence = 0, lease_holder = 'gone', lease_until = '2020-01-01T00:00:00+00:00'",
    ] {
        db.execute_unprepared(sql).await.unwrap();
    }
    // While the answer is on its way, nobody else may take it over.
    shop.fault(sandbox::Call::Find, sandbox::FaultKind::DelayMs(1_500));
    shop.clock.turn(domain::Duration::seconds(1));
    let sql = "SELECT lease_until > strftime('%Y-%m-%dT%H:%M:%S', 'now', '+5 seconds') AS enough FROM operations WHERE fence = 1";
    let mut enough = None;
    eventually("it is taken over", async || {
        let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
        enough = row.map(|r| r.try_get::<Option<bool>>("", "enough").unwrap());
        enough.is_some()
    })
    .await;
    assert_eq!(enough, Some(Some(true)), "the lease ends before the gateway's answer can be there");
    eventually("it is finished", async || shop.order(&order).await["payments"][0]["status"] == "PENDING").await;
    shop.check_invariants().await;
}

#[tokio::test]
async fn without_its_redis_everything_is_still_right() {
    let redis = crate::support::redis_server::RedisServer::start().await;
    let database = Backend::Sqlite.fresh().await;
    let clock = Arc::new(TurnedClock::at_now());
    let shop = Shop::open_on(Backend::Sqlite, database, clock, &[("PAYONCE_REDIS_URL", &redis.url)]).await;
    drop(redis);
    let shop = Arc::new(shop);
    let key = Shop::key();
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let (shop, key) = (shop.clone(), key.clone());
            tokio::spawn(async move { shop.create("alice", &key, "TEA", 1, true).await })
        })
        .collect();
    for call in calls {
        let answer = call.await.unwrap();
        assert!(["", "IDEMPOTENCY_IN_PROGRESS"].contains(&answer.code().as_str()), "{}", answer.body);
    }
    let all = shop.ask(&shop.token("alice", "customer"), "{ orders { nodes { id } } }", json!({})).await;
    assert_eq!(all.at("/orders/nodes").as_array().unwrap().len(), 1);
    assert_eq!(shop.sandbox().calls().iter().filter(|c| c.call == Call::Open).count(), 1);
    shop.check_invariants().await;
}
