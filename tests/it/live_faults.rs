//! Live status while Redis breaks in every way: everybody who watches reaches the newest state within six seconds
//! of its commit, and nobody sees a version after a higher one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::clock::TurnedClock;
use crate::support::event_stream::EventStream;
use crate::support::redis_cluster::RedisCluster;
use crate::support::redis_sentinel::RedisSentinel;
use crate::support::redis_server::RedisServer;
use crate::support::watcher::Watcher;
use crate::support::{Answer, Backend, Shop};

const STATUS: &str = "subscription($id: ID!) { paymentStatus(orderId: $id) { version orderStatus } }";
/// From a commit to every subscriber, whatever Redis does.
const WITHIN: Duration = Duration::from_secs(6);
const SEEDS: u64 = 20;
/// Shops at a time: each is two applications on the one PostgreSQL.
const AT_ONCE: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_to_redis_every_watcher_reaches_the_newest_state() {
    let begun = Instant::now();
    let trials = stream::iter(0..SEEDS).map(|seed| async move { (seed, trial(seed).await) });
    let trials: Vec<(u64, Trial)> = trials.buffer_unordered(AT_ONCE).collect().await;
    let wrong: Vec<String> = trials
        .iter()
        .flat_map(|(seed, trial)| trial.wrong.iter().map(move |what| format!("seed {seed}: {what}")))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let streams: usize = trials.iter().map(|(_, trial)| trial.streams).sum();
    let slowest = trials.iter().map(|(_, trial)| trial.slowest).max().unwrap();
    println!("{streams} streams through {SEEDS} trials in {:?}, the slowest {slowest:?} late", begun.elapsed());
}

/// Announcements are spread over the cluster's bus, so one connection to any master hears all; that master may go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_masters_leaves_no_watcher_behind() {
    let mut redis = RedisCluster::start_with_replicas().await;
    let mut stage = Stage::open(&redis.url).await;
    let mut orders = stage.orders(3).await;
    stage.change(&mut orders, 0).await;
    for master in 0..2 {
        let kill = async { redis.masters[master].kill() };
        tokio::join!(kill, stage.change(&mut orders, master + 1));
    }
    for master in &redis.masters {
        master.text("CLIENT KILL TYPE pubsub").await;
    }
    let trial = stage.end(orders).await;
    assert!(trial.wrong.is_empty(), "{:#?}", trial.wrong);
}

/// A process that stops says so, and the next one goes on from the newest state.
#[tokio::test]
async fn who_watches_a_process_that_stops_goes_on_at_another() {
    let (database, clock) = (Backend::Sqlite.fresh().await, Arc::new(TurnedClock::at_now()));
    let one = Shop::open_on(Backend::Sqlite, database.clone(), clock.clone(), &[]).await;
    let two = Shop::open_on(Backend::Sqlite, database, clock, &[]).await;
    let order = two.create("alice", &Shop::key(), "TEA", 1, false).await.text("/createOrder/order/id");
    let mut watcher = one.watch("alice", &order).await;
    let token = one.token("alice", "customer");
    let mut events = EventStream::open(&one, &token, STATUS, json!({"id": order})).await;
    let seen = watcher.event().await["version"].as_i64().unwrap();
    events.response().await;
    one.close().await;
    assert_eq!(watcher.hear().await, json!({"closed": 1001}));
    // Not complete: there is more to hear, elsewhere.
    assert_eq!(events.next().await, None);
    two.cancel("alice", &Shop::key(), &order).await.at("/cancelOrder");
    let mut watcher = two.watch("alice", &order).await;
    let next = watcher.event().await;
    assert_eq!(next["orderStatus"], "CLOSED");
    assert!(next["version"].as_i64().unwrap() > seen, "{next} after {seen}");
    assert_eq!(watcher.hear().await["type"], "complete");
}

/// Two applications on one PostgreSQL, behind this Redis.
struct Stage {
    one: Shop,
    two: Shop,
    trial: Trial,
}

/// What came of it.
#[derive(Default)]
struct Trial {
    streams: usize,
    slowest: Duration,
    wrong: Vec<String>,
}

/// An order, and what each of its watchers has seen.
struct Watched {
    id: String,
    payment: String,
    seen: Vec<(&'static str, watch::Receiver<Seen>)>,
    readers: JoinSet<()>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    version: i64,
    wrong: Option<String>,
}

impl Stage {
    async fn open(redis: &str) -> Self {
        // One after the other: a database is made and migrated for each.
        static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _turn = TURN.lock().await;
        let (database, clock) = (Backend::PostgresAndRedis.fresh().await, Arc::new(TurnedClock::at_now()));
        let settings = [("PAYONCE_REDIS_URL", redis)];
        let one = Shop::open_on(Backend::PostgresAndRedis, database.clone(), clock.clone(), &settings).await;
        let two = Shop::open_on(Backend::PostgresAndRedis, database, clock, &settings).await;
        Self { one, two, trial: Trial::default() }
    }

    /// Orders without a payment, each watched over a socket and an event stream in both applications.
    async fn orders(&mut self, count: usize) -> Vec<Watched> {
        let mut orders = Vec::new();
        for _ in 0..count {
            let id = self.one.create("alice", &Shop::key(), "TEA", 1, false).await.text("/createOrder/order/id");
            let mut order = Watched { id, payment: String::new(), seen: Vec::new(), readers: JoinSet::new() };
            for (shop, names) in
                [(&self.one, ["socket here", "events here"]), (&self.two, ["socket there", "events there"])]
            {
                let token = shop.token("alice", "customer");
                let socket = shop.watch("alice", &order.id).await;
                let events = EventStream::open(shop, &token, STATUS, json!({"id": order.id})).await;
                let (tell, seen) = watch::channel(Seen::default());
                order.readers.spawn(over_socket(socket, tell));
                order.seen.push((names[0], seen));
                let (tell, seen) = watch::channel(Seen::default());
                order.readers.spawn(over_events(events, tell));
                order.seen.push((names[1], seen));
            }
            self.trial.streams += order.seen.len();
            orders.push(order);
        }
        orders
    }

    /// Changes every order at once: asks to pay, pays or cancels, and asks money back; then waits until everybody
    /// has seen it.
    async fn change(&mut self, orders: &mut [Watched], round: usize) {
        let (one, two) = (&self.one, &self.two);
        let changes = orders.iter_mut().enumerate().map(|(n, order)| async move {
            // Each order is changed by one application only: each has a sandbox of its own.
            let shop = if n == 0 { one } else { two };
            let key = Shop::key();
            match (round, n) {
                (0, _) => {
                    let paying = insist(async || shop.repay("alice", &key, &order.id).await).await;
                    order.payment = paying.text("/repayOrder/payment/id");
                }
                (1, 1) => {
                    insist(async || shop.cancel("alice", &key, &order.id).await).await.at("/cancelOrder");
                }
                (1, _) => shop.payer_pays(&order.payment).await,
                (_, 1) => {}
                _ => {
                    let some = (n == 0).then_some(100);
                    insist(async || shop.refund(&key, &order.id, some).await).await.at("/refundOrder");
                }
            }
            let answered = Instant::now();
            let newest = two.order(&order.id).await;
            let version = newest["version"].as_i64().unwrap();
            (order.reached(version, answered).await, newest)
        });
        let reached = futures_util::future::join_all(changes).await;
        for ((slowest, wrong), newest) in reached {
            self.trial.slowest = self.trial.slowest.max(slowest);
            self.trial.wrong.extend(wrong.into_iter().map(|what| format!("round {round}: {what}, but {newest}")));
        }
    }

    /// Looks a last time at what everybody saw.
    async fn end(mut self, orders: Vec<Watched>) -> Trial {
        for order in &orders {
            let newest = self.two.order(&order.id).await["version"].as_i64().unwrap();
            let (_, wrong) = order.reached(newest, Instant::now()).await;
            self.trial.wrong.extend(wrong);
        }
        drop(orders);
        self.one.close().await;
        self.two.close().await;
        self.trial
    }
}

/// Sends the same key again while it is told to.
async fn insist(ask: impl AsyncFn() -> Answer) -> Answer {
    loop {
        let answer = ask().await;
        if answer.extension("retrySameKey") != true {
            return answer;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

impl Watched {
    /// How long after that everybody had seen this version; who has not, or saw what must not be.
    async fn reached(&self, version: i64, since: Instant) -> (Duration, Vec<String>) {
        let mut wrong = Vec::new();
        for (name, seen) in &self.seen {
            let mut seen = seen.clone();
            let left = WITHIN.saturating_sub(since.elapsed());
            let newest = timeout(left, seen.wait_for(|seen| seen.wrong.is_some() || seen.version >= version)).await;
            let reached = newest.is_ok_and(|seen| seen.is_ok());
            let now = seen.borrow().clone();
            match (reached, now.wrong) {
                (_, Some(what)) => wrong.push(format!("{name}: {what}")),
                (true, None) => {}
                (false, None) => {
                    wrong.push(format!("{name}: {WITHIN:?} later at {} instead of {version}", now.version))
                }
            }
        }
        (since.elapsed(), wrong)
    }
}

fn see(tell: &watch::Sender<Seen>, event: &Value) {
    let version = event["data"]["paymentStatus"]["version"].as_i64();
    tell.send_modify(|seen| match version {
        Some(version) if version > seen.version => seen.version = version,
        _ => seen.wrong = Some(format!("{} was followed by {event}", seen.version)),
    });
}

async fn over_socket(mut watcher: Watcher, tell: watch::Sender<Seen>) {
    loop {
        let message = watcher.listen().await;
        match message["type"].as_str() {
            Some("next") => see(&tell, &message["payload"]),
            Some("complete") => break,
            _ => return tell.send_modify(|seen| seen.wrong = Some(format!("heard {message}"))),
        }
    }
    // What was seen stays to be read.
    tell.closed().await;
}

async fn over_events(mut events: EventStream, tell: watch::Sender<Seen>) {
    loop {
        match events.listen().await {
            Some(event) if event.name == "next" => see(&tell, &serde_json::from_str(&event.data).unwrap()),
            Some(_) => break,
            None => return tell.send_modify(|seen| seen.wrong = Some("the stream broke off".to_owned())),
        }
    }
    tell.closed().await;
}

/// A Redis that can be broken.
enum Redis {
    One(Box<RedisServer>),
    WatchedOver(Box<RedisSentinel>),
}

/// One seed: three orders, four watchers each, three rounds of changes with Redis broken in the middle of each.
async fn trial(seed: u64) -> Trial {
    let mut random = Random(seed);
    let mut redis = match seed % 7 {
        6 => Redis::WatchedOver(Box::new(RedisSentinel::start().await)),
        _ => Redis::One(Box::new(RedisServer::start().await)),
    };
    let url = match &redis {
        Redis::One(redis) => redis.url.clone(),
        Redis::WatchedOver(redis) => redis.url.clone(),
    };
    let mut stage = Stage::open(&url).await;
    let mut orders = stage.orders(3).await;
    for round in 0..3 {
        // The first is the seed's own, so that every fault has its turn; the others are left to chance.
        let fault = if round == 0 { seed } else { random.next() };
        let moment = Duration::from_millis(random.next() % 60);
        let broken = async {
            sleep(moment).await;
            redis.break_it(fault, &mut random).await;
        };
        tokio::join!(broken, stage.change(&mut orders, round));
    }
    stage.end(orders).await
}

impl Redis {
    async fn break_it(&mut self, fault: u64, random: &mut Random) {
        let server = match self {
            Redis::One(redis) => redis,
            // Killed: the sentinels promote its replica. Started again it follows that one.
            Redis::WatchedOver(redis) => &mut redis.first,
        };
        match fault % 6 {
            0 => server.kill(),
            1 => server.start_again().await,
            2 => _ = (server.text("FLUSHALL").await, server.text("SCRIPT FLUSH").await),
            3 => _ = server.text("CLIENT KILL TYPE pubsub").await,
            4 => _ = (server.text("CLIENT KILL TYPE normal").await, server.text("CLIENT KILL TYPE pubsub").await),
            _ => {
                server.start_again().await;
                server.freeze().await;
                sleep(Duration::from_millis(random.next() % 2_000)).await;
                server.thaw();
            }
        }
    }
}

/// SplitMix64: the same seed, the same choices.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
