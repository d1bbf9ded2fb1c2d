//! paymentStatus: the state first, then every newer one, then the end.

use crate::support::watcher::Watcher;
use crate::support::{Backend, Shop};
use serde_json::json;

#[tokio::test]
async fn two_watchers_on_two_processes_see_the_same_end() {
    let clock = std::sync::Arc::new(crate::support::clock::TurnedClock::at_now());
    let backend = Backend::PostgresAndRedis;
    let database = backend.fresh().await;
    let one = Shop::open_on(backend, database.clone(), clock.clone(), &[]).await;
    let two = Shop::open_on(backend, database, clock, &[]).await;
    let (order, payment) = one.open_order("TEA").await;
    let mut near = one.watch("alice", &order).await;
    let mut far = two.watch("alice", &order).await;
    one.payer_pays(&payment).await;
    near.until("PAID").await;
    far.until("PAID").await;
    one.close().await;
    assert_eq!(near.hear().await, json!({"closed": 1001}));
    two.close().await;
}

#[tokio::test]
async fn a_closed_order_completes_at_once() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, _) = shop.open_order("TEA").await;
    shop.cancel("alice", &Shop::key(), &order).await.at("/cancelOrder");
    let mut watcher = shop.watch("alice", &order).await;
    assert_eq!(watcher.event().await["orderStatus"], "CLOSED");
    assert_eq!(watcher.hear().await["type"], "complete");
}

#[tokio::test]
async fn somebody_elses_order_is_not_shown() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, _) = shop.open_order("TEA").await;
    let mut watcher = shop.watch("mallory", &order).await;
    let refused = watcher.hear().await;
    assert_eq!(refused["id"], "1");
    let text = refused.to_string();
    assert!(text.contains("NOT_FOUND"), "{text}");
}

#[tokio::test]
async fn a_mutation_over_the_socket_is_refused() {
    let shop = Shop::open(Backend::Sqlite).await;
    let mut watcher = Watcher::connect(&shop).await;
    let token = shop.token("alice", "customer");
    watcher.say(json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {token}")}})).await;
    assert_eq!(watcher.hear().await["type"], "connection_ack");
    let query = "mutation { cancelOrder(idempotencyKey: \"0123456789abcdef\", input: {orderId: \"x\"}) { replayed } }";
    watcher.say(json!({"id": "m", "type": "subscribe", "payload": {"query": query}})).await;
    let refused = watcher.hear().await;
    assert_eq!((&refused["type"], &refused["id"]), (&json!("error"), &json!("m")), "{refused}");
}

#[tokio::test]
async fn a_bad_token_or_none_in_time_closes_the_socket() {
    let shop = Shop::open(Backend::Sqlite).await;
    let mut watcher = Watcher::connect(&shop).await;
    watcher.say(json!({"type": "connection_init", "payload": {"authorization": "Bearer nonsense"}})).await;
    assert_eq!(watcher.hear().await, json!({"closed": 4403}));
    let mut early = Watcher::connect(&shop).await;
    early.say(json!({"id": "1", "type": "subscribe", "payload": {"query": "{ __typename }"}})).await;
    assert_eq!(early.hear().await, json!({"closed": 4401}));
}
