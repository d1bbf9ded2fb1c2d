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

#[tokio::test]
async fn a_subscription_never_completes_without_a_word() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, _) = shop.open_order("TEA").await;
    let mut watcher = Watcher::connect(&shop).await;
    let token = shop.token("alice", "customer");
    watcher.say(json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {token}")}})).await;
    assert_eq!(watcher.hear().await["type"], "connection_ack");
    let field = format!("paymentStatus(orderId: \"{order}\") {{ version }}");
    for (id, query) in [
        ("a", format!("subscription {{ ...a }} fragment a on Subscription {{ {field} }}")),
        ("b", format!("subscription {{ ... on Subscription {{ {field} }} }}")),
    ] {
        watcher.say(json!({"id": id, "type": "subscribe", "payload": {"query": query}})).await;
        let first = watcher.hear().await;
        assert!(first["type"] == "error" || first["type"] == "next", "{first}");
    }
}

/// Answers to pings wait to be written; a client that sends nothing else and does not read is let go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_pings_and_does_not_read_is_let_go() {
    use tokio::io::AsyncWriteExt;
    let shop = Shop::open(Backend::Sqlite).await;
    let mut socket = tokio::net::TcpStream::connect(shop.app.address).await.unwrap();
    let upgrade = format!(
        "GET /graphql HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n",
        shop.app.address
    );
    socket.write_all(upgrade.as_bytes()).await.unwrap();
    // A masked ping of 120 bytes; the mask is zero.
    let mut ping = vec![0x89, 0x80 | 120, 0, 0, 0, 0];
    ping.extend([b'p'; 120]);
    let pings = ping.repeat(1_000);
    let flood = async {
        // Far more than the system's own buffers hold both ways: only a closed socket ends this.
        for _ in 0..2_000 {
            if socket.write_all(&pings).await.is_err() {
                return true;
            }
        }
        false
    };
    let closed = tokio::time::timeout(std::time::Duration::from_secs(30), flood).await;
    assert_eq!(closed, Ok(true), "250 MB of pings were taken, or nobody let go");
}
