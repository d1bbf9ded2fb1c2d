//! Live status over sockets and event streams: for a payer one order, for staff all of them.

use crate::support::event_stream::{Event, EventStream};
use crate::support::watcher::Watcher;
use crate::support::{Backend, Shop, on_every_store};
use serde_json::{Value, json};

const STATUS: &str = "subscription($id: ID!) { paymentStatus(orderId: $id) { orderId version orderStatus order { id remainingSeconds } payment { status } } }";
const ACTIVITY: &str = "subscription($filter: OrderFilter) { orderActivity(filter: $filter) { orderId version orderStatus order { customerId } } }";

fn complete() -> Option<Event> {
    Some(Event { name: "complete".to_owned(), data: String::new() })
}

async fn staff(shop: &Shop, filter: Value) -> Watcher {
    let mut watcher = Watcher::connect(shop).await;
    let token = shop.token("sam", "support");
    watcher.say(json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {token}")}})).await;
    assert_eq!(watcher.hear().await["type"], "connection_ack");
    let subscribe = json!({"query": ACTIVITY, "variables": {"filter": filter}});
    watcher.say(json!({"id": "1", "type": "subscribe", "payload": subscribe})).await;
    // A ping is answered after what was said before it, the subscription.
    watcher.say(json!({"id": "q", "type": "subscribe", "payload": {"query": "{ __typename }"}})).await;
    // What has just happened may be told first.
    while watcher.hear().await["id"] != "q" {}
    assert_eq!(watcher.hear().await["type"], "complete");
    watcher
}

async fn activity(watcher: &mut Watcher) -> (String, i64, String) {
    let message = watcher.hear().await;
    let event = &message["payload"]["data"]["orderActivity"];
    let text = |name: &str| event[name].as_str().unwrap_or_else(|| panic!("{message}")).to_owned();
    (text("orderId"), event["version"].as_i64().unwrap(), text("orderStatus"))
}

on_every_store!(a_payer_follows_an_order_over_an_event_stream);

async fn a_payer_follows_an_order_over_an_event_stream(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, payment) = shop.open_order("TEA").await;
    let token = shop.token("alice", "customer");
    let mut stream = EventStream::open(&shop, &token, STATUS, json!({"id": order})).await;
    assert_eq!((stream.status(), stream.header("content-type")), (200, "text/event-stream; charset=utf-8"));
    assert_eq!(stream.header("cache-control"), "no-cache");
    let first = stream.response().await;
    assert_eq!(first["data"]["paymentStatus"]["orderStatus"], "PAYING", "{first}");
    shop.payer_pays(&payment).await;
    let mut version = first["data"]["paymentStatus"]["version"].as_i64().unwrap();
    loop {
        let next = stream.response().await["data"]["paymentStatus"].take();
        assert!(next["version"].as_i64().unwrap() > version, "{next} after {version}");
        version = next["version"].as_i64().unwrap();
        if next["orderStatus"] == "PAID" {
            break;
        }
    }
    shop.refund(&Shop::key(), &order, None).await.at("/refundOrder");
    while stream.response().await["data"]["paymentStatus"]["orderStatus"] != "REFUNDED" {
        shop.advance(domain::Duration::seconds(70)).await;
    }
    assert_eq!(stream.next().await, complete());
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn an_event_stream_answers_queries_and_says_what_is_wrong() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, _) = shop.open_order("TEA").await;
    let (alice, mallory) = (shop.token("alice", "customer"), shop.token("mallory", "customer"));
    let mut query = EventStream::open(&shop, "", "{ __typename }", json!({})).await;
    assert_eq!(query.response().await, json!({"data": {"__typename": "Query"}}));
    assert_eq!(query.next().await, complete());
    for (token, document, code) in [
        (&mallory, STATUS, "NOT_FOUND"),
        (&String::new(), STATUS, "UNAUTHENTICATED"),
        (&alice, "subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        (&alice, "subscription {", "GRAPHQL_PARSE_FAILED"),
        (&alice, ACTIVITY, "FORBIDDEN"),
    ] {
        let variables = if document == STATUS { json!({"id": order}) } else { json!({}) };
        let mut stream = EventStream::open(&shop, token, document, variables).await;
        assert_eq!(stream.status(), 200, "{document}");
        let refused = stream.response().await;
        assert_eq!(refused["errors"][0]["extensions"]["code"], code, "{refused}");
        assert!(refused.get("data").is_none(), "{refused}");
        assert_eq!(stream.next().await, complete());
    }
    let cancel = "mutation { cancelOrder(idempotencyKey: \"0123456789abcdef\", input: {orderId: \"x\"}) { replayed } }";
    assert_eq!(EventStream::open(&shop, &alice, cancel, json!({})).await.status(), 405);
    assert_eq!(EventStream::open(&shop, "nonsense", "{ __typename }", json!({})).await.status(), 401);
    let by_url = shop.http().get(shop.url("/graphql?query=%7B__typename%7D")).header("accept", "text/event-stream");
    let mut by_url = EventStream::of(by_url.send().await.unwrap());
    assert_eq!(by_url.response().await, json!({"data": {"__typename": "Query"}}));
}

#[tokio::test]
async fn an_event_stream_ends_with_its_token_and_with_the_server_and_is_not_complete_then() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, _) = shop.open_order("TEA").await;
    let token = shop.token("alice", "customer");
    let mut stream = EventStream::open(&shop, &token, STATUS, json!({"id": order})).await;
    stream.response().await;
    // The token lasts thirty days.
    shop.clock.turn(domain::Duration::days(31));
    while let Some(event) = stream.next().await {
        assert_eq!(event.name, "next");
    }
    let (order, _) = shop.open_order("MUG").await;
    let mut stream = EventStream::open(&shop, &shop.token("alice", "customer"), STATUS, json!({"id": order})).await;
    stream.response().await;
    shop.close().await;
    assert_eq!(stream.next().await, None);
}

on_every_store!(staff_see_every_order_that_changes_and_only_those_they_asked_for);

async fn staff_see_every_order_that_changes_and_only_those_they_asked_for(backend: Backend) {
    let shop = Shop::open(backend).await;
    let mut all = staff(&shop, json!(null)).await;
    let mut bobs = staff(&shop, json!({"customerId": "bob"})).await;
    let mut paid = staff(&shop, json!({"status": ["PAID"]})).await;
    let (order, payment) = shop.open_order("TEA").await;
    shop.payer_pays(&payment).await;
    let bobs_order = shop.create("bob", &Shop::key(), "MUG", 1, false).await.text("/createOrder/order/id");
    assert_eq!(activity(&mut paid).await.0, order);
    assert_eq!(activity(&mut bobs).await.0, bobs_order);
    let mut version = 0;
    loop {
        let (of, next, status) = activity(&mut all).await;
        if of == order {
            assert!(next > version, "{next} after {version}");
            version = next;
            if status == "PAID" {
                break;
            }
        }
    }
}

/// Hints are lost with Redis; the comparison with the store finds what they would have told.
#[tokio::test]
async fn staff_and_payers_see_the_changes_of_another_process_without_redis() {
    let clock = std::sync::Arc::new(crate::support::clock::TurnedClock::at_now());
    let redis = crate::support::redis_server::RedisServer::start().await;
    let database = Backend::Sqlite.fresh().await;
    let settings = [("PAYONCE_REDIS_URL", redis.url.as_str())];
    let one = Shop::open_on(Backend::Sqlite, database.clone(), clock.clone(), &settings).await;
    let two = Shop::open_on(Backend::Sqlite, database, clock, &settings).await;
    let (order, payment) = one.open_order("TEA").await;
    let mut payer = two.watch("alice", &order).await;
    let mut all = staff(&two, json!(null)).await;
    assert_eq!(payer.event().await["orderStatus"], "PAYING");
    drop(redis);
    let begun = std::time::Instant::now();
    one.payer_pays(&payment).await;
    payer.until("PAID").await;
    while activity(&mut all).await
        != (order.clone(), one.order(&order).await["version"].as_i64().unwrap(), "PAID".into())
    {}
    assert!(begun.elapsed().as_secs_f64() < 8.0, "{:?}", begun.elapsed());
}

/// What two thousand are shown is read and executed once: the order's events are selected, which reads the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_are_shown_is_made_once() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, payment) = shop.open_order("TEA").await;
    let token = shop.token("alice", "customer");
    let mut streams = Vec::new();
    for _ in 0..100 {
        let mut stream = EventStream::open(&shop, &token, STATUS, json!({"id": order})).await;
        stream.response().await;
        streams.push(stream);
    }
    shop.payer_pays(&payment).await;
    let mut shown = std::collections::BTreeSet::new();
    for stream in &mut streams {
        loop {
            let next = stream.next().await.unwrap();
            let paid = next.data.contains("\"PAID\"");
            shown.insert(next.data);
            if paid {
                break;
            }
        }
    }
    // One text for each version, whoever reads it.
    let versions: std::collections::BTreeSet<String> = shown
        .iter()
        .map(|text| serde_json::from_str::<Value>(text).unwrap()["data"]["paymentStatus"]["version"].to_string())
        .collect();
    assert_eq!(shown.len(), versions.len(), "{shown:?}");
}
