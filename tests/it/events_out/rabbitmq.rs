//! RabbitMQ: confirmed before it is marked, and nothing lost when it dies.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use domain::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

use super::{happened, one, schema};
use crate::support::rabbitmq::{Consumer, Delivered, RabbitMq};
use crate::support::{Backend, Shop};

/// Between Payonce and its broker: loses answers when it is told to.
struct Between {
    port: u16,
    lose: Arc<AtomicU32>,
}

impl Between {
    async fn start(broker: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, lose) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU32::new(0)));
        let losing = lose.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let losing = losing.clone();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", broker)).await else { return };
                    let (mut from_client, mut to_client) = client.into_split();
                    let (mut from_server, mut to_server) = server.into_split();
                    let there = async { copy(&mut from_client, &mut to_server).await.map(drop) };
                    let back = async {
                        let mut bytes = [0; 4_096];
                        loop {
                            let n = from_server.read(&mut bytes).await?;
                            let lost = losing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
                            if n == 0 || lost.is_ok() {
                                return Ok::<(), std::io::Error>(());
                            }
                            to_client.write_all(&bytes[..n]).await?;
                        }
                    };
                    tokio::select! {
                        _ = there => {}
                        _ = back => {}
                    }
                    // Both ends are closed here.
                });
            }
        });
        Self { port, lose }
    }

    fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }
}

/// Waits, a minute at most, until everything that has happened is delivered and marked.
async fn all_delivered(shop: &Shop, consumer: &Consumer) {
    for _ in 0..600 {
        let got: HashSet<(String, i64)> = consumer.got().iter().map(key).collect();
        let behind: i64 = one(shop, "SELECT COUNT(*) AS it FROM orders WHERE amqp_at IS NOT NULL").await;
        if behind == 0
            && happened(shop).await.iter().all(|(order, version, _)| got.contains(&(order.clone(), *version)))
        {
            return;
        }
        shop.clock.turn(Duration::seconds(1));
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("events are lost: {:?} of {}", consumer.got().len(), happened(shop).await.len());
}

fn key(delivered: &Delivered) -> (String, i64) {
    let event = &delivered.event;
    (event["orderId"].as_str().unwrap().to_owned(), event["version"].as_i64().unwrap())
}

/// Of each order, what came first of each version came in order; what came again came under the same id.
fn in_order(got: &[Delivered]) {
    let mut newest: HashMap<String, i64> = HashMap::new();
    let mut ids: HashMap<(String, i64), String> = HashMap::new();
    for one in got {
        let (order, version) = key(one);
        assert!(one.persistent && one.event["id"] == one.message_id.as_str(), "{one:?}");
        assert_eq!(one.event["type"], one.routing_key.as_str());
        schema::check(&one.event);
        let id = ids.entry((order.clone(), version)).or_insert_with(|| one.message_id.clone());
        assert_eq!(*id, one.message_id, "another id for the same event");
        let seen = newest.entry(order).or_default();
        assert!(version <= *seen + 1, "version {version} came before {}", *seen + 1);
        *seen = version.max(*seen);
    }
    let different: HashSet<&String> = ids.values().collect();
    assert_eq!(different.len(), ids.len(), "one id for two events");
}

/// One test, for a broker takes its time to start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_comes_in_order_whatever_becomes_of_confirms_and_of_the_broker() {
    let mut broker = RabbitMq::start().await;
    a_lost_confirm_repeats_one_event_under_its_id(&broker).await;
    a_broker_that_is_killed_while_orders_flow_loses_nothing_and_holds_up_nobody(&mut broker).await;
}

async fn a_lost_confirm_repeats_one_event_under_its_id(broker: &RabbitMq) {
    for (backend, exchange) in [(Backend::Sqlite, "confirms-sqlite"), (Backend::PostgresAndRedis, "confirms-postgres")]
    {
        let between = Between::start(broker.port()).await;
        let consumer = Consumer::join(&broker.url(), exchange).await;
        let settings = [("PAYONCE_AMQP_URL", &*between.url()), ("PAYONCE_AMQP_EXCHANGE", exchange)];
        let shop = Shop::open_with(backend, &settings).await;
        let (order, _) = shop.paid_order("MUG").await;
        assert_eq!(shop.refund(&Shop::key(), &order, None).await.code(), "");
        shop.advance(Duration::seconds(30)).await;
        all_delivered(&shop, &consumer).await;
        in_order(&consumer.got());
        assert_eq!(consumer.got().len(), happened(&shop).await.len(), "nothing came twice yet");
        // The broker has it and said so, and nobody heard.
        between.lose.store(1, Ordering::Relaxed);
        shop.create("alice", &Shop::key(), "TEA", 1, false).await.text("/createOrder/order/id");
        all_delivered(&shop, &consumer).await;
        in_order(&consumer.got());
        assert_eq!(between.lose.load(Ordering::Relaxed), 0);
        assert_eq!(consumer.got().len(), happened(&shop).await.len() + 1, "what was not confirmed comes again");
        shop.check_invariants().await;
        shop.close().await;
    }
}

async fn a_broker_that_is_killed_while_orders_flow_loses_nothing_and_holds_up_nobody(broker: &mut RabbitMq) {
    let mut shops = Vec::new();
    for (backend, exchange) in [(Backend::Sqlite, "on-sqlite"), (Backend::PostgresAndRedis, "on-postgres")] {
        let consumer = Consumer::join(&broker.url(), exchange).await;
        let settings = [("PAYONCE_AMQP_URL", &*broker.url()), ("PAYONCE_AMQP_EXCHANGE", exchange)];
        let shop = Arc::new(Shop::open_with(backend, &settings).await);
        let ordering = {
            let shop = shop.clone();
            tokio::spawn(async move {
                for n in 0..60 {
                    let order = shop.create("alice", &Shop::key(), "TEA", n % 9 + 1, n % 3 == 0).await;
                    let order = order.text("/createOrder/order/id");
                    if n % 2 == 0 {
                        assert_eq!(shop.cancel("alice", &Shop::key(), &order).await.code(), "");
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            })
        };
        shops.push((shop, consumer, ordering));
    }
    for wait in [700] {
        tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
        broker.kill();
        broker.start_again().await;
    }
    for (shop, consumer, ordering) in shops {
        ordering.await.unwrap();
        all_delivered(&shop, &consumer).await;
        in_order(&consumer.got());
        shop.check_invariants().await;
        Arc::into_inner(shop).unwrap().close().await;
    }
}
