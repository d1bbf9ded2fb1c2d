//! Webhooks: signed, in order, again and again, and then for people.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::Duration;
use entity::order;
use payonce::payments::ports::Clock;
use sea_orm::{Database, EntityTrait};
use serde_json::{Value, json};

use super::ledger::{Ledger, Outcome};
use super::{SECRET, change, happened, one, schema};
use crate::support::shop::eventually;
use crate::support::webhook::{Reply, WebhookReceiver};
use crate::support::{Answer, Backend, Shop, on_every_store};

on_every_store!(
    an_orders_events_come_signed_and_in_order,
    an_order_whose_events_are_not_taken_waits_and_no_other_does,
    after_a_day_an_event_is_a_dead_letter_until_it_is_resent,
    what_was_told_and_not_marked_comes_again_under_the_same_id,
);

async fn shop_with(receiver: &WebhookReceiver, backend: Backend) -> Shop {
    Shop::open_with(backend, &[("PAYONCE_WEBHOOK_URL", &receiver.url), ("PAYONCE_WEBHOOK_SECRET", SECRET)]).await
}

/// Waits until everything that has happened was told.
async fn all_told(shop: &Shop, receiver: &WebhookReceiver) {
    eventually("everything is told", async || {
        let told: HashSet<(String, i64)> = receiver.got().iter().map(|r| key(&r.event)).collect();
        happened(shop).await.iter().all(|(order, version, _)| told.contains(&(order.clone(), *version)))
    })
    .await;
    eventually("everything is marked", async || {
        one::<i64>(shop, "SELECT COUNT(*) AS it FROM orders WHERE webhook_at IS NOT NULL").await == 0
    })
    .await;
}

/// Waits until nothing is due, nor being told: what is not taken waits for its next time.
async fn rested(shop: &Shop) {
    eventually("what is due was told", async || {
        let db = Database::connect(&shop.database_url).await.unwrap();
        let orders = order::Entity::find().all(&db).await.unwrap();
        db.close().await.unwrap();
        let now = shop.clock.now();
        let being_told = now + Duration::seconds(60);
        orders.iter().all(|order| order.webhook_at.is_none_or(|at| at > now && at != being_told))
    })
    .await;
}

fn key(event: &Value) -> (String, i64) {
    (event["orderId"].as_str().unwrap().to_owned(), event["version"].as_i64().unwrap())
}

async fn an_orders_events_come_signed_and_in_order(backend: Backend) {
    let receiver = WebhookReceiver::start().await;
    let shop = shop_with(&receiver, backend).await;
    let (order, payment) = shop.paid_order("MUG").await;
    assert_eq!(shop.refund(&Shop::key(), &order, Some(2_500)).await.code(), "");
    let unpaid = shop.create("alice", &Shop::key(), "TEA", 1, false).await.text("/createOrder/order/id");
    assert_eq!(shop.cancel("alice", &Shop::key(), &unpaid).await.code(), "");
    shop.advance(Duration::seconds(30)).await;
    all_told(&shop, &receiver).await;

    let got = receiver.got();
    let told: Vec<_> = got.iter().map(|r| (key(&r.event), r.event["type"].clone())).collect();
    for (order, version, kind) in happened(&shop).await {
        let fits = told.iter().filter(|(key, told)| *key == (order.clone(), version) && *told == kind).count();
        assert_eq!(fits, 1, "{kind} of {order}");
    }
    assert_eq!(receiver.versions(&order), (1..=got.len() as i64 - 2).collect::<Vec<_>>());
    let ids: HashSet<&str> = got.iter().map(|r| r.id.as_str()).collect();
    assert_eq!(ids.len(), got.len());
    let now = shop.clock.now().timestamp();
    for one in &got {
        assert!(one.is_genuine(SECRET, now) && one.event["id"] == one.id.as_str());
        assert!(!one.is_genuine("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", now) && !one.is_genuine(SECRET, now + 600));
        schema::check(&one.event);
        assert!(!String::from_utf8_lossy(&one.body).contains("alice"), "a customer's name left the house");
    }
    let paid = got.iter().find(|r| r.event["type"] == "order.paid").unwrap();
    let facts = json!({"paymentId": payment, "amount": {"minor": "10000", "currency": "CNY"}, "late": false});
    assert_eq!(paid.event["facts"], facts);
    // Somebody who consumes them as documented ships once, however often they come.
    let path = std::env::temp_dir().join(format!("payonce_ledger_{}", Shop::key()));
    let ledger = Ledger::open(&path.display().to_string()).await.unwrap();
    let mut outcomes = Vec::new();
    for one in got.iter().chain(&got) {
        outcomes.push(ledger.take(&one.event).await.unwrap());
    }
    assert_eq!(ledger.parcels().await.unwrap(), 1);
    let count = |outcome| outcomes.iter().filter(|o| **o == outcome).count();
    assert_eq!((count(Outcome::Shipped), count(Outcome::ShippedBefore)), (1, 1));
    std::fs::remove_file(path).unwrap();
    shop.check_invariants().await;
    shop.close().await;
}

async fn an_order_whose_events_are_not_taken_waits_and_no_other_does(backend: Backend) {
    let receiver = WebhookReceiver::start().await;
    let shop = shop_with(&receiver, backend).await;
    let (stuck, _) = shop.open_order("TEA").await;
    all_told(&shop, &receiver).await;
    let before = receiver.got().len();
    let refused = stuck.clone();
    receiver.answers(move |event| Reply::Status(if event["orderId"] == refused.as_str() { 500 } else { 200 }));
    assert_eq!(shop.cancel("alice", &Shop::key(), &stuck).await.code(), "");
    let (other, _) = shop.paid_order("MUG").await;
    eventually("the other order's events come", async || receiver.versions(&other).len() >= 4).await;
    eventually("the first of them was tried", async || {
        receiver.got().iter().skip(before).any(|r| key(&r.event).0 == stuck)
    })
    .await;
    // No redirect is followed, and neither that nor a 4xx is an answer.
    for status in [307, 410] {
        let refused = stuck.clone();
        receiver.answers(move |event| Reply::Status(if event["orderId"] == refused.as_str() { status } else { 200 }));
        rested(&shop).await;
        let tried = receiver.versions(&stuck).len();
        shop.clock.turn(Duration::hours(3));
        eventually("it is tried again", async || receiver.versions(&stuck).len() > tried).await;
    }
    rested(&shop).await;
    receiver.answers(|_| Reply::Status(202));
    shop.clock.turn(Duration::hours(3));
    all_told(&shop, &receiver).await;
    // Whatever was told again was the same one, and nothing after it came before it was taken.
    let tries = receiver.versions(&stuck);
    assert!(tries.is_sorted(), "{tries:?}");
    let again: HashSet<(String, i64)> = receiver.got().iter().map(|r| (r.id.clone(), key(&r.event).1)).collect();
    let ids: HashSet<&String> = again.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), again.len());
    shop.check_invariants().await;
    shop.close().await;
}

async fn dead_letters(shop: &Shop, role: &str) -> Answer {
    let document =
        "{ deadLetters { nodes { eventId orderId version type reason resending failingSince triedAt at } } }";
    shop.ask(&shop.token("ada", role), document, json!({})).await
}

async fn resend(shop: &Shop, role: &str, ids: Value) -> Answer {
    let document = "mutation($ids: [ID!]) { resendDeadLetters(eventIds: $ids) }";
    shop.ask(&shop.token("ada", role), document, json!({"ids": ids})).await
}

async fn after_a_day_an_event_is_a_dead_letter_until_it_is_resent(backend: Backend) {
    let receiver = WebhookReceiver::start().await;
    let open = Arc::new(AtomicBool::new(false));
    let is_open = open.clone();
    receiver.answers(move |_| Reply::Status(if is_open.load(Ordering::Relaxed) { 200 } else { 503 }));
    let shop = shop_with(&receiver, backend).await;
    let order = shop.create("alice", &Shop::key(), "TEA", 1, false).await.text("/createOrder/order/id");
    assert_eq!(shop.cancel("alice", &Shop::key(), &order).await.code(), "");
    let letters = async || dead_letters(&shop, "admin").await.at("/deadLetters/nodes").as_array().unwrap().len();
    let mut turned = Duration::zero();
    let mut tries = 0;
    while letters().await < 2 {
        assert!(turned < Duration::hours(30), "given up too late");
        eventually("it is tried", async || receiver.got().len() > tries || letters().await > 0).await;
        rested(&shop).await;
        tries = receiver.got().len();
        // More than the longest pause.
        turned += Duration::hours(3);
        shop.clock.turn(Duration::hours(3));
    }
    assert!(turned >= Duration::hours(24), "given up too early, after {turned}");
    assert!((8..16).contains(&tries), "{tries}");
    let listed = dead_letters(&shop, "admin").await.at("/deadLetters/nodes");
    assert_eq!(
        (listed[0]["type"].as_str(), listed[0]["version"].as_i64(), listed[0]["reason"].as_str()),
        (Some("order.created"), Some(1), Some("answered 503"))
    );
    // Not for everybody.
    for role in ["customer", "support", "refunder"] {
        assert_eq!(dead_letters(&shop, role).await.code(), "FORBIDDEN");
        assert_eq!(resend(&shop, role, json!(null)).await.code(), "FORBIDDEN");
    }
    // Once more, and it is not taken: it stays.
    let first = listed[0]["eventId"].clone();
    let came = receiver.got().len();
    assert_eq!(resend(&shop, "admin", json!([first])).await.at("/resendDeadLetters"), 1);
    eventually("it is tried", async || receiver.got().len() > came).await;
    eventually("it stays", async || {
        let listed = dead_letters(&shop, "admin").await.at("/deadLetters/nodes");
        listed.as_array().unwrap().len() == 2 && listed[0]["resending"] == false
    })
    .await;
    // The order goes on meanwhile, and what is resent is taken.
    open.store(true, Ordering::Relaxed);
    assert_eq!(resend(&shop, "admin", json!(null)).await.at("/resendDeadLetters"), 2);
    eventually("the list is empty", async || letters().await == 0).await;
    assert_eq!(receiver.got().last().unwrap().event["version"], 2);
    assert_eq!(resend(&shop, "admin", json!(null)).await.at("/resendDeadLetters"), 0);
    assert_eq!(resend(&shop, "admin", json!(["evt_1"])).await.code(), "NOT_FOUND");
    let ids: HashSet<String> = receiver.got().iter().map(|r| r.id.clone()).collect();
    assert_eq!(ids.len(), 2, "an event has one id");
    shop.check_invariants().await;
    shop.close().await;
}

async fn what_was_told_and_not_marked_comes_again_under_the_same_id(backend: Backend) {
    let receiver = WebhookReceiver::start().await;
    let shop = shop_with(&receiver, backend).await;
    let order = shop.create("alice", &Shop::key(), "TEA", 1, false).await.text("/createOrder/order/id");
    all_told(&shop, &receiver).await;
    assert_eq!(receiver.versions(&order), [1]);
    // As a process leaves it that dies after the answer: taken for a minute, and not marked.
    let until = (shop.clock.now() + Duration::seconds(60)).format("%Y-%m-%d %H:%M:%S%.6f").to_string();
    let until = if backend == Backend::MariaDb { until } else { format!("{until}+00:00") };
    let until = if backend == Backend::Sqlite { until.replace(' ', "T") } else { until };
    change(&shop, &format!("UPDATE orders SET webhook_version = 0, webhook_at = '{until}'")).await;
    shop.advance(Duration::seconds(30)).await;
    assert_eq!(receiver.versions(&order), [1], "nobody else tells it before its time is over");
    shop.clock.turn(Duration::seconds(31));
    all_told(&shop, &receiver).await;
    assert_eq!(receiver.versions(&order), [1, 1]);
    let got = receiver.got();
    assert_eq!((&got[0].id, &got[0].body), (&got[1].id, &got[1].body));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_says_nothing_is_not_waited_for_long() {
    let receiver = WebhookReceiver::start().await;
    let shop = shop_with(&receiver, Backend::Sqlite).await;
    let silent = Arc::new(AtomicBool::new(true));
    let is_silent = silent.clone();
    receiver.answers(move |_| if is_silent.load(Ordering::Relaxed) { Reply::Silence } else { Reply::Status(200) });
    shop.create("alice", &Shop::key(), "TEA", 1, false).await.text("/createOrder/order/id");
    eventually("it is told", async || receiver.got().len() == 1).await;
    silent.store(false, Ordering::Relaxed);
    let failing = "SELECT COUNT(*) AS it FROM orders WHERE webhook_failing_since IS NOT NULL";
    for _ in 0..15 {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        if one::<i64>(&shop, failing).await == 1 {
            break;
        }
    }
    assert_eq!(one::<i64>(&shop, failing).await, 1, "still waiting after 15 s");
    shop.clock.turn(Duration::seconds(10));
    all_told(&shop, &receiver).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_the_work_and_none_is_done_twice() {
    let receiver = WebhookReceiver::start().await;
    let first = shop_with(&receiver, Backend::PostgresAndRedis).await;
    let settings = [("PAYONCE_WEBHOOK_URL", receiver.url.as_str()), ("PAYONCE_WEBHOOK_SECRET", SECRET)];
    let database = first.database_url.clone();
    let second = Shop::open_on(Backend::PostgresAndRedis, database, first.clock.clone(), &settings).await;
    let orders = (0..20).map(|n| {
        let shop = if n % 2 == 0 { &first } else { &second };
        async move { shop.create("alice", &Shop::key(), "TEA", n + 1, false).await.text("/createOrder/order/id") }
    });
    futures_util::future::join_all(orders).await;
    all_told(&first, &receiver).await;
    for _ in 0..5 {
        first.advance(Duration::seconds(2)).await;
    }
    assert_eq!(receiver.got().len(), 20);
    second.close().await;
    first.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_told_from_when_it_is_configured_and_of_what_others_do() {
    let without = Shop::open(Backend::PostgresAndRedis).await;
    let ordered =
        async |shop: &Shop| shop.create("alice", &Shop::key(), "TEA", 1, false).await.text("/createOrder/order/id");
    let early = ordered(&without).await;
    let noted = "SELECT COUNT(*) AS it FROM orders WHERE amqp_version IS NOT NULL OR amqp_at IS NOT NULL \
                 OR webhook_version IS NOT NULL OR webhook_at IS NOT NULL";
    assert_eq!(one::<i64>(&without, noted).await, 0, "without a channel nothing is noted");
    let receiver = WebhookReceiver::start().await;
    let settings = [("PAYONCE_WEBHOOK_URL", receiver.url.as_str()), ("PAYONCE_WEBHOOK_SECRET", SECRET)];
    let (database, clock) = (without.database_url.clone(), without.clock.clone());
    let with = Shop::open_on(Backend::PostgresAndRedis, database, clock, &settings).await;
    // What happened before is not told; what happens from now on is.
    assert_eq!(with.cancel("alice", &Shop::key(), &early).await.code(), "");
    // An order that it knows of, changed by a process that knows of no webhook.
    let late = ordered(&with).await;
    assert_eq!(without.cancel("alice", &Shop::key(), &late).await.code(), "");
    let behind = "SELECT COUNT(*) AS it FROM orders WHERE webhook_at IS NOT NULL";
    eventually("everything is told", async || {
        with.clock.turn(Duration::seconds(1));
        one::<i64>(&with, behind).await == 0
    })
    .await;
    assert_eq!((receiver.versions(&early), receiver.versions(&late)), (vec![2], vec![1, 2]));
    with.check_invariants().await;
    with.close().await;
    without.close().await;
}
