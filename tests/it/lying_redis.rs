//! Redis may lie as it likes: an order is placed once, its payer is charged once.

use std::sync::Arc;

use crate::support::clock::TurnedClock;
use crate::support::redis_proxy::{Lie, RedisProxy};
use crate::support::redis_server::RedisServer;
use crate::support::{Answer, Backend, Shop};
use serde_json::json;

/// Two processes of one shop, whose Redis lies.
async fn two_shops(backend: Backend) -> (RedisServer, RedisProxy, [Arc<Shop>; 2]) {
    let redis = RedisServer::start().await;
    let proxy = RedisProxy::start(&redis.url).await;
    let (database, clock) = (backend.fresh().await, Arc::new(TurnedClock::at_now()));
    let settings = [("PAYONCE_REDIS_URL", proxy.url.as_str())];
    let one = Shop::open_on(backend, database.clone(), clock.clone(), &settings).await;
    let two = Shop::open_on(backend, database, clock, &settings).await;
    (redis, proxy, [Arc::new(one), Arc::new(two)])
}

async fn buy_at_once(shops: &[Arc<Shop>; 2], sub: &'static str, count: usize, key: &str) -> Vec<Answer> {
    let calls: Vec<_> = (0..count)
        .map(|n| {
            let (shop, key) = (shops[n % 2].clone(), key.to_owned());
            tokio::spawn(async move { shop.create(sub, &key, "TEA", 1, true).await })
        })
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_redis_says_one_key_is_one_order_and_one_charge() {
    let (_redis, proxy, shops) = two_shops(Backend::PostgresAndRedis).await;
    let lies = [Lie::EverybodyWins, Lie::NobodyWins, Lie::Stale, Lie::Late];
    for (lie, sub) in lies.into_iter().zip(["alice", "carol", "dave", "erin"]) {
        proxy.lie(Lie::None);
        // So that there is something stale to be told.
        shops[0].create("bob", &Shop::key(), "TEA", 1, false).await;
        proxy.lie(lie);
        let count = if lie == Lie::EverybodyWins { 200 } else { 20 };
        let key = Shop::key();
        let charges = || shops.iter().map(|shop| shop.ledger().charges.len()).sum::<usize>();
        let opened = || -> usize {
            let calls =
                |shop: &Arc<Shop>| shop.sandbox().calls().iter().filter(|c| c.call == sandbox::Call::Open).count();
            shops.iter().map(calls).sum()
        };
        let (before, charged) = (opened(), charges());
        for answer in buy_at_once(&shops, sub, count, &key).await {
            assert!(["", "IDEMPOTENCY_IN_PROGRESS"].contains(&answer.code().as_str()), "{lie:?}: {}", answer.body);
        }
        let bought = shops[1].create(sub, &key, "TEA", 1, true).await;
        let payment = bought.text("/createOrder/payment/id");
        assert_eq!(bought.at("/createOrder/replayed"), json!(true), "{lie:?}");
        let all = shops[0].ask(&shops[0].token(sub, "customer"), "{ orders { nodes { id } } }", json!({})).await;
        assert_eq!(all.at("/orders/nodes").as_array().unwrap().len(), 1, "{lie:?}");
        assert_eq!(opened() - before, 1, "{lie:?}");
        // The sandbox that opened it takes the money; twice is refused.
        for shop in &shops {
            let pay = format!("{}/cashier/{payment}/pay", shop.sandbox().url());
            let _ = shop.http().post(pay).send().await.unwrap();
            shop.sandbox().settled().await;
        }
        assert_eq!(charges() - charged, 1, "{lie:?}");
        assert_eq!(shops[0].order(&bought.text("/createOrder/order/id")).await["status"], "PAID", "{lie:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_costs_two_round_trips_and_its_replay_none() {
    let (_redis, proxy, [shop, _]) = two_shops(Backend::Sqlite).await;
    let input = |n: usize| json!({"lines": [{"sku": "TEA", "quantity": n}]});
    // On a busy machine Redis may be late, and then it is asked less, or probed: such a round says nothing.
    for round in 0..20 {
        let before = proxy.exchanges();
        let keys: Vec<String> = (0..4).map(|_| Shop::key()).collect();
        for (n, key) in keys.iter().enumerate() {
            shop.create_with("alice", key, input(1 + 4 * round + n)).await.text("/createOrder/order/id");
            // The end is told in the background.
            let told = before + 2 * (n + 1);
            let waited = async {
                while proxy.exchanges() < told {
                    tokio::task::yield_now().await
                }
            };
            let _ = tokio::time::timeout(std::time::Duration::from_secs(1), waited).await;
        }
        for (n, key) in keys.iter().enumerate() {
            let again = shop.create_with("alice", key, input(1 + 4 * round + n)).await;
            assert_eq!(again.at("/createOrder/replayed"), true);
        }
        if proxy.exchanges() - before == 2 * keys.len() {
            return;
        }
    }
    panic!("never two to an order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_answer_makes_no_double_click_of_another_order() {
    let (_redis, proxy, [shop, _]) = two_shops(Backend::Sqlite).await;
    let input = |n: i64| json!({"lines": [{"sku": "TEA", "quantity": n}]});
    shop.create_with("alice", &Shop::key(), input(1)).await.text("/createOrder/order/id");
    let again = shop.create_with("alice", &Shop::key(), input(1)).await;
    assert_eq!(again.code(), "DUPLICATE_ORDER");
    // The same words again, now about something else.
    proxy.lie(Lie::Stale);
    shop.create_with("alice", &Shop::key(), input(2)).await.text("/createOrder/order/id");
}
