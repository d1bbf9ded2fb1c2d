//! Two at once about one order: whoever comes first, it ends as if they had come one after the other. A hundred times
//! each; the seed chooses by how much one is ahead of the other, the machine does the rest.

use std::collections::HashMap;
use std::time::Duration;

use domain::Duration as Turn;
use entity::{order, payment, refund};
use futures_util::future::join;
use futures_util::{StreamExt, stream};
use sandbox::{Call, Fault, FaultKind};
use sea_orm::{ConnectionTrait, Database, EntityTrait, QueryOrder, Statement};
use serde_json::json;

use crate::support::{Answer, Backend, Shop};

/// How often each is tried.
const TIMES: usize = 100;
/// So many orders are under way at once.
const AT_ONCE: usize = 8;

/// Each race on both stores.
macro_rules! races {
    ($($name:ident),+ $(,)?) => { $(
        mod $name {
            use crate::support::Backend;
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() { super::$name(Backend::Sqlite).await }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres_and_redis() { super::$name(Backend::PostgresAndRedis).await }
        }
    )+ };
}

races!(
    repay_against_payment,
    cancel_against_payment,
    expiry_against_payment,
    a_question_against_a_notification,
    both_gateways_paid,
);

/// Chance by seed: SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than this.
    fn within(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.next() % most.as_micros() as u64)
    }
}

/// What a race has come to, order by order.
struct End {
    order: order::Model,
    payments: Vec<payment::Model>,
    refunds: Vec<refund::Model>,
    /// What the gateways took.
    charged: usize,
}

impl End {
    fn shown(&self) -> String {
        format!("{:?}", (&self.order, &self.payments, &self.refunds))
    }

    /// The money came too late, and is back.
    fn is_returned(&self) -> bool {
        let surplus = self.payments.iter().filter(|p| p.surplus).count();
        surplus == 1 && matches!(&self.refunds[..], [back] if back.status == "SUCCEEDED" && back.reason == "SURPLUS")
    }
}

/// So many orders with an open payment, TEA by WeChat Pay Native.
async fn open_orders(shop: &Shop, times: usize) -> Vec<(String, String)> {
    stream::iter(0..times).map(|_| open_order(shop)).buffer_unordered(AT_ONCE).collect().await
}

async fn open_order(shop: &Shop) -> (String, String) {
    let key = Shop::key();
    let opened = insist(async || shop.create("alice", &key, "TEA", 1, true).await).await;
    (opened.text("/createOrder/order/id"), opened.text("/createOrder/payment/id"))
}

/// The payer's finger on the cashier page; whether the gateway took the money.
async fn pay(shop: &Shop, payment: &str) -> bool {
    let cashier = format!("{}/cashier/{payment}/pay", shop.sandbox().url());
    shop.http().post(cashier).send().await.unwrap();
    shop.ledger().charges.iter().any(|c| c.number == payment)
}

async fn repay(shop: &Shop, order: &str, alipay: bool) -> Answer {
    let key = Shop::key();
    let method = if alipay {
        json!({"gateway": "ALIPAY", "product": "PRECREATE"})
    } else {
        json!({"gateway": "WECHAT_PAY", "product": "H5", "returnUrl": "https://shop.example/"})
    };
    insist(async || shop.repay_by("alice", &key, order, method.clone()).await).await
}

async fn cancel(shop: &Shop, order: &str) -> Answer {
    let key = Shop::key();
    insist(async || shop.cancel("alice", &key, order).await).await
}

/// How long it takes with nobody else at work: the payer comes anywhere within a few times that.
async fn takes(act: impl Future<Output = Answer>) -> Duration {
    let since = std::time::Instant::now();
    act.await;
    since.elapsed()
}

/// What may be sent again is sent again with the same key, as a client would.
async fn insist(mut ask: impl AsyncFnMut() -> Answer) -> Answer {
    for _ in 0..100 {
        let answer = ask().await;
        if answer.extension("retrySameKey") != true {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never answered")
}

const UNDECIDED: &str = "SELECT (SELECT COUNT(*) FROM payments WHERE status IN ('CREATED', 'UNKNOWN')) \
    + (SELECT COUNT(*) FROM refunds WHERE status IN ('REQUESTED', 'PROCESSING', 'UNKNOWN')) \
    + (SELECT COUNT(*) FROM orders WHERE closing IS NOT NULL) AS undecided, \
    (SELECT COUNT(*) FROM payments WHERE status = 'SUCCEEDED') AS paid";

/// Everything has come to rest, and the gateways and the store agree.
async fn ends(shop: &Shop) -> HashMap<String, End> {
    let db = Database::connect(&shop.database_url).await.unwrap();
    for _ in 0..20 {
        shop.advance(Turn::seconds(15)).await;
        let row =
            db.query_one_raw(Statement::from_string(db.get_database_backend(), UNDECIDED)).await.unwrap().unwrap();
        let (undecided, paid): (i64, i64) = (row.try_get("", "undecided").unwrap(), row.try_get("", "paid").unwrap());
        if undecided == 0 && paid == shop.ledger().charges.len() as i64 {
            break;
        }
    }
    shop.check_invariants().await;
    let charges = shop.ledger().charges;
    let orders = order::Entity::find().all(&db).await.unwrap();
    let mut ends: HashMap<i64, End> = orders
        .into_iter()
        .map(|order| (order.seq, End { order, payments: vec![], refunds: vec![], charged: 0 }))
        .collect();
    for payment in payment::Entity::find().order_by_asc(payment::Column::Seq).all(&db).await.unwrap() {
        let end = ends.get_mut(&payment.order_seq).unwrap();
        end.charged += charges.iter().filter(|c| c.number == payment.id).count();
        end.payments.push(payment);
    }
    for refund in refund::Entity::find().all(&db).await.unwrap() {
        ends.get_mut(&refund.order_seq).unwrap().refunds.push(refund);
    }
    db.close().await.unwrap();
    ends.into_values().map(|end| (end.order.id.clone(), end)).collect()
}

/// Both ends must have been seen, or nothing raced.
fn both(what: &str, one: usize, other: usize) {
    assert!(one > 0 && other > 0, "{what}: {one} against {other}");
}

async fn repay_against_payment(backend: Backend) {
    let shop = Shop::open(backend).await;
    let mut chance = Chance(1);
    let orders = open_orders(&shop, TIMES).await;
    let (order, _) = open_order(&shop).await;
    let alone = takes(repay(&shop, &order, true)).await;
    let raced = orders.iter().map(|(order, first)| {
        let payer = chance.within(6 * alone);
        let alipay = chance.next().is_multiple_of(2);
        let shop = &shop;
        async move {
            let paid = async {
                tokio::time::sleep(payer).await;
                pay(shop, first).await
            };
            let (paid, repaid) = join(paid, repay(shop, order, alipay)).await;
            (order, paid, repaid)
        }
    });
    let raced: Vec<_> = stream::iter(raced).buffer_unordered(AT_ONCE).collect().await;
    let ends = ends(&shop).await;
    for (order, paid, repaid) in &raced {
        let end = &ends[*order];
        if *paid {
            assert_eq!(repaid.code(), "ORDER_ALREADY_PAID", "{}", end.shown());
            assert_eq!((end.order.status.as_str(), end.payments.len(), end.charged), ("PAID", 1, 1), "{}", end.shown());
        } else {
            assert_eq!(repaid.at("/repayOrder/payment/status"), "PENDING");
            let statuses: Vec<&str> = end.payments.iter().map(|p| p.status.as_str()).collect();
            assert_eq!((end.order.status.as_str(), &statuses[..]), ("PAYING", &["CLOSED", "PENDING"][..]));
        }
    }
    let paid = raced.iter().filter(|(_, paid, _)| *paid).count();
    both("paid or changed", paid, TIMES - paid);
}

async fn cancel_against_payment(backend: Backend) {
    let shop = Shop::open(backend).await;
    let mut chance = Chance(2);
    let orders = open_orders(&shop, TIMES).await;
    let (order, _) = open_order(&shop).await;
    let alone = takes(cancel(&shop, &order)).await;
    // Some payers can pay what is closed.
    for (_, payment) in orders.iter().filter(|_| chance.next().is_multiple_of(4)) {
        shop.sandbox().fault(Fault::new(Call::Pay, FaultKind::AlthoughClosed).unwrap().number(payment));
    }
    let raced = orders.iter().map(|(order, payment)| {
        let payer = chance.within(6 * alone);
        let shop = &shop;
        async move {
            let paid = async {
                tokio::time::sleep(payer).await;
                pay(shop, payment).await
            };
            let (paid, cancelled) = join(paid, cancel(shop, order)).await;
            (order, paid, cancelled)
        }
    });
    let raced: Vec<_> = stream::iter(raced).buffer_unordered(AT_ONCE).collect().await;
    let ends = ends(&shop).await;
    let (mut won, mut closed) = (0, 0);
    for (order, paid, cancelled) in &raced {
        let end = &ends[*order];
        if cancelled.code() == "ORDER_ALREADY_PAID" {
            won += 1;
            assert!(*paid);
            assert_eq!((end.order.status.as_str(), end.charged, end.refunds.len()), ("PAID", 1, 0), "{}", end.shown());
        } else {
            closed += 1;
            assert_eq!(cancelled.at("/cancelOrder/order/status"), "CLOSED");
            assert_eq!(end.order.status, "CLOSED");
            assert_eq!(*paid, end.is_returned(), "{}", end.shown());
        }
    }
    both("paid or cancelled", won, closed);
}

async fn expiry_against_payment(backend: Backend) {
    let shop = Shop::open(backend).await;
    let mut chance = Chance(3);
    let mut raced: Vec<(String, bool)> = Vec::new();
    // A turn of the clock makes all of them due at once, so they come in rounds.
    for _ in 0..TIMES / 20 {
        let orders = open_orders(&shop, 20).await;
        for (_, payment) in orders.iter().filter(|_| chance.next().is_multiple_of(2)) {
            shop.sandbox().fault(Fault::new(Call::Pay, FaultKind::AlthoughClosed).unwrap().number(payment));
        }
        let payers = orders.iter().map(|(order, payment)| {
            let head = chance.within(Duration::from_millis(400));
            let shop = &shop;
            async move {
                tokio::time::sleep(head).await;
                (order.clone(), pay(shop, payment).await)
            }
        });
        let time = async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            shop.clock.turn(Turn::minutes(30));
        };
        let (paid, ()) = join(futures_util::future::join_all(payers), time).await;
        raced.extend(paid);
        shop.quiet().await;
        shop.sandbox().settled().await;
        shop.sandbox().clear_faults();
    }
    let ends = ends(&shop).await;
    let (mut won, mut expired) = (0, 0);
    for (order, paid) in &raced {
        let end = &ends[order];
        match end.order.status.as_str() {
            "PAID" => {
                won += 1;
                assert_eq!((end.charged, end.refunds.len()), (1, 0), "{}", end.shown());
            }
            "CLOSED" => {
                expired += 1;
                assert_eq!(end.order.close_reason.as_deref(), Some("EXPIRED"));
                assert_eq!(*paid, end.is_returned(), "{}", end.shown());
            }
            _ => panic!("{}", end.shown()),
        }
    }
    both("paid or expired", won, expired);
}

async fn a_question_against_a_notification(backend: Backend) {
    let shop = Shop::open(backend).await;
    let mut chance = Chance(4);
    let orders = open_orders(&shop, TIMES).await;
    let raced = orders.iter().map(|(order, payment)| {
        let heads = [chance.within(Duration::from_millis(10)), chance.within(Duration::from_millis(10))];
        let shop = &shop;
        async move {
            let paid = async {
                tokio::time::sleep(heads[0]).await;
                pay(shop, payment).await
            };
            let asked = async {
                tokio::time::sleep(heads[1]).await;
                insist(async || shop.sync("alice", order).await).await.text("/syncOrder/status")
            };
            let (paid, status) = join(paid, asked).await;
            assert!(paid && ["PAYING", "PAID"].contains(&status.as_str()), "{status}");
        }
    });
    stream::iter(raced).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    for end in ends(&shop).await.values() {
        // Created, opened, paid: told twice at the same moment, recorded once.
        assert_eq!((end.order.status.as_str(), end.order.version, end.charged), ("PAID", 4, 1), "{}", end.shown());
    }
}

async fn both_gateways_paid(backend: Backend) {
    let shop = Shop::open(backend).await;
    let mut chance = Chance(5);
    let orders = open_orders(&shop, TIMES).await;
    // WeChat Pay answers nobody any more, and everybody goes to Alipay.
    for call in [Call::Find, Call::Close] {
        for (_, first) in &orders {
            shop.sandbox().fault(Fault::new(call, FaultKind::HttpError(503)).unwrap().times(1_000).number(first));
        }
    }
    let alipay = json!({"gateway": "ALIPAY", "product": "PRECREATE"});
    let keys: Vec<String> = orders.iter().map(|_| Shop::key()).collect();
    let repay = |n: usize| shop.repay_by("alice", &keys[n], &orders[n].0, alipay.clone());
    let early: Vec<Answer> = stream::iter(0..TIMES).map(repay).buffered(AT_ONCE).collect().await;
    assert!(early.iter().all(|a| a.extension("retrySameKey") == true), "{early:?}");
    shop.advance(Turn::seconds(10)).await;
    let insisting = stream::iter(0..TIMES).map(|n| insist(async move || repay(n).await));
    let seconds: Vec<Answer> = insisting.buffered(AT_ONCE).collect().await;
    let seconds: Vec<String> = seconds.iter().map(|a| a.text("/repayOrder/payment/id")).collect();
    let raced = orders.iter().zip(&seconds).map(|((_, first), second)| {
        let heads = [chance.within(Duration::from_millis(20)), chance.within(Duration::from_millis(20))];
        let shop = &shop;
        async move {
            let [one, other] = [(first, heads[0]), (second, heads[1])].map(async |(payment, head)| {
                tokio::time::sleep(head).await;
                pay(shop, payment).await
            });
            join(one, other).await
        }
    });
    let raced: Vec<(bool, bool)> = stream::iter(raced).buffer_unordered(AT_ONCE).collect().await;
    shop.sandbox().settled().await;
    shop.sandbox().clear_faults();
    shop.advance(Turn::minutes(1)).await;
    let ends = ends(&shop).await;
    let (mut first_won, mut second_won) = (0, 0);
    for end in ends.values() {
        assert_eq!(end.order.status, "PAID", "{}", end.shown());
        assert!(end.charged == 1 && end.refunds.is_empty() || end.charged == 2 && end.is_returned(), "{}", end.shown());
        let winner = end.payments.iter().position(|p| p.winner_of.is_some()).unwrap();
        *[&mut first_won, &mut second_won][winner] += 1;
    }
    assert!(raced.iter().filter(|(one, other)| *one && *other).count() > TIMES / 2, "too few paid at both");
    both("won at", first_won, second_won);
}
