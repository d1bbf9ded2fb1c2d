//! A store that has lost its last commits: the same keys derive the same numbers, the gateway knows them, and nobody
//! pays twice.

use std::sync::Arc;

use domain::Duration;
use payonce::payments::ports::Clock;
use sandbox::{Call, FaultKind};
use sea_orm::{ConnectionTrait, Database, Statement};
use serde_json::json;

use crate::support::clock::TurnedClock;
use crate::support::{Backend, Shop};

/// A shop whose database can be set back while its gateway, its clock and its address stay.
struct Rewindable {
    backend: Backend,
    clock: Arc<TurnedClock>,
    listen: String,
    home: std::path::PathBuf,
    /// The database that is restored: of a shop that has its products.
    base: String,
}

impl Rewindable {
    async fn new(backend: Backend) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let this = Self {
            backend,
            clock: Arc::new(TurnedClock::at_now()),
            listen: free.to_string(),
            home: std::env::temp_dir().join(format!("payonce_rewound_{}_{}", std::process::id(), free.port())),
            base: backend.fresh().await,
        };
        this.shop(this.base.clone()).await.close().await;
        this
    }

    async fn shop(&self, database: String) -> Shop {
        let settings =
            [("PAYONCE_LISTEN", self.listen.as_str()), ("PAYONCE_SANDBOX_HOME", self.home.to_str().unwrap())];
        Shop::open_on(self.backend, database, self.clock.clone(), &settings).await
    }

    /// Changes what the next one begins with.
    async fn base_becomes(&self, sql: &str) {
        let db = Database::connect(&self.base).await.unwrap();
        db.execute_unprepared(sql).await.unwrap();
        db.close().await.unwrap();
    }

    /// The shop with its database as it was at the beginning.
    async fn rewound(&self) -> Shop {
        self.shop(self.backend.copy(&self.base).await).await
    }
}

impl Drop for Rewindable {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.home).ok();
    }
}

macro_rules! on_stores_that_can_be_copied {
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

on_stores_that_can_be_copied!(
    an_unpaid_number_is_closed_and_the_operation_goes_on,
    a_number_that_was_paid_is_the_orders,
    a_refund_that_was_lost_here_is_recorded_and_not_made_again,
    a_refund_that_was_lost_with_its_payment_gets_its_number_again,
    money_that_went_back_as_surplus_does_not_win,
    a_repay_that_was_lost_is_not_forgotten_for_another_keys_attempt,
    a_repay_that_was_lost_and_paid_is_not_refused_because_the_order_is_paid,
    a_payment_that_nobody_asks_for_again_is_recorded_when_its_gateway_tells,
    refunds_that_were_lost_are_not_refused_for_one_that_takes_all,
);

async fn an_unpaid_number_is_closed_and_the_operation_goes_on(backend: Backend) {
    let rewindable = Rewindable::new(backend).await;
    let key = Shop::key();
    let mut numbers: Vec<String> = Vec::new();
    let mut order = String::new();
    for round in 0..3 {
        let shop = rewindable.rewound().await;
        let bought = shop.create("alice", &key, "MUG", 1, true).await;
        if round == 0 {
            order = bought.text("/createOrder/order/id");
        }
        assert_eq!(bought.text("/createOrder/order/id"), order, "the same key, the same order");
        assert_eq!(bought.at("/createOrder/payment/status"), "PENDING", "{}", bought.body);
        let number = bought.text("/createOrder/payment/id");
        assert!(!numbers.contains(&number), "other content under a number that is used");
        for earlier in &numbers {
            assert!(shop.sandbox().pay(earlier).await.is_err(), "an earlier one can still be paid");
        }
        numbers.push(number.clone());
        let again = shop.create("alice", &key, "MUG", 1, true).await;
        assert_eq!((again.text("/createOrder/payment/id"), again.at("/createOrder/replayed")), (number, true.into()));
        shop.check_invariants().await;
        if round < 2 {
            shop.close().await;
            // The order is placed anew, so its request says another time.
            rewindable.clock.turn(Duration::minutes(1));
            continue;
        }
        shop.payer_pays(&numbers[2]).await;
        assert_eq!(shop.order(&order).await["status"], "PAID");
        assert_eq!(shop.ledger().charges.len(), 1);
        shop.check_invariants().await;
        shop.close().await;
    }
}

async fn a_number_that_was_paid_is_the_orders(backend: Backend) {
    let rewindable = Rewindable::new(backend).await;
    let key = Shop::key();
    let shop = rewindable.rewound().await;
    let lost = shop.create("alice", &key, "MUG", 1, true).await;
    let payment = lost.text("/createOrder/payment/id");
    shop.fault(Call::Notify, FaultKind::Drop);
    shop.sandbox().pay(&payment).await.unwrap();
    shop.sandbox().settled().await;
    shop.close().await;

    let shop = rewindable.rewound().await;
    // The gateway tells again, of a number that nobody knows here: it waits.
    shop.advance(Duration::seconds(16)).await;
    assert_eq!(outcomes(&shop).await, ["UNKNOWN_NUMBER"]);
    let again = shop.create("alice", &key, "MUG", 1, true).await;
    assert_eq!(again.text("/createOrder/payment/id"), payment);
    assert_eq!(again.at("/createOrder/order/status"), "PAID", "{}", again.body);
    shop.advance(Duration::minutes(5)).await;
    assert_eq!(outcomes(&shop).await, ["APPLIED"]);
    assert_eq!(shop.ledger().charges.len(), 1);
    shop.check_invariants().await;
    shop.close().await;
}

async fn outcomes(shop: &Shop) -> Vec<String> {
    let db = Database::connect(&shop.database_url).await.unwrap();
    let sql = Statement::from_string(db.get_database_backend(), "SELECT outcome FROM notifications ORDER BY seq");
    let rows = db.query_all_raw(sql).await.unwrap();
    let outcomes = rows.iter().map(|r| r.try_get("", "outcome").unwrap()).collect();
    db.close().await.unwrap();
    outcomes
}

async fn a_refund_that_was_lost_here_is_recorded_and_not_made_again(backend: Backend) {
    let mut rewindable = Rewindable::new(backend).await;
    let shop = rewindable.rewound().await;
    let (order, _) = shop.paid_order("MUG").await;
    let base = shop.database_url.clone();
    shop.close().await;
    rewindable.base = base;

    let shop = rewindable.rewound().await;
    let key = Shop::key();
    let lost = shop.refund(&key, &order, Some(4_000)).await.text("/refundOrder/refund/id");
    shop.fault(Call::Notify, FaultKind::Drop);
    rewindable.clock.turn(Duration::seconds(2));
    shop.sandbox().settled().await;
    assert_eq!(shop.ledger().refunds.len(), 1);
    shop.close().await;

    let shop = rewindable.rewound().await;
    assert_eq!(shop.order(&order).await["refunds"], json!([]));
    shop.advance(Duration::seconds(16)).await;
    let told = shop.order(&order).await;
    assert_eq!((&told["status"], &told["refundable"]["minor"]), (&json!("PARTIALLY_REFUNDED"), &json!("6000")));
    assert_eq!((&told["refunds"][0]["id"], &told["refunds"][0]["reason"]), (&json!(lost), &json!("OUTSIDE")));
    // The client asks again, and gets that refund.
    let again = shop.refund(&key, &order, Some(4_000)).await;
    assert_eq!(again.at("/refundOrder/refund/id"), json!(lost));
    assert_eq!(shop.refund(&key, &order, Some(4_000)).await.at("/refundOrder/replayed"), true);
    assert_eq!(shop.ledger().refunds.len(), 1);
    shop.check_invariants().await;
    shop.close().await;
}

/// The payment is not known as paid any more: the gateway is asked before the refund is refused.
async fn a_refund_that_was_lost_with_its_payment_gets_its_number_again(backend: Backend) {
    let mut rewindable = Rewindable::new(backend).await;
    let shop = rewindable.rewound().await;
    let (order, payment) = shop.open_order("MUG").await;
    let base = shop.database_url.clone();
    shop.close().await;
    rewindable.base = base;

    let shop = rewindable.rewound().await;
    shop.payer_pays(&payment).await;
    let key = Shop::key();
    let lost = shop.refund(&key, &order, Some(4_000)).await.text("/refundOrder/refund/id");
    // Not so long that the payment is asked about by itself.
    rewindable.clock.turn(Duration::seconds(2));
    shop.sandbox().settled().await;
    assert_eq!(shop.ledger().refunds.len(), 1);
    shop.close().await;

    let shop = rewindable.rewound().await;
    let again = shop.refund(&key, &order, Some(4_000)).await;
    assert_eq!(again.at("/refundOrder/refund/id"), json!(lost), "{}", again.body);
    shop.advance(Duration::seconds(5)).await;
    let told = shop.order(&order).await;
    assert_eq!((&told["status"], &told["refundable"]["minor"]), (&json!("PARTIALLY_REFUNDED"), &json!("6000")));
    assert_eq!(shop.ledger().refunds.len(), 1);
    shop.check_invariants().await;
    shop.close().await;
}

/// Paid after it was cancelled, and given back; then the store forgets all of it.
async fn money_that_went_back_as_surplus_does_not_win(backend: Backend) {
    for method in
        [json!({"gateway": "ALIPAY", "product": "PRECREATE"}), json!({"gateway": "WECHAT_PAY", "product": "NATIVE"})]
    {
        let rewindable = Rewindable::new(backend).await;
        let (created, cancelled) = (Shop::key(), Shop::key());
        let input = json!({"lines": [{"sku": "MUG", "quantity": 1}], "payment": method, "allowDuplicate": true});
        let shop = rewindable.rewound().await;
        let bought = shop.create_with("alice", &created, input.clone()).await;
        let (order, payment) = (bought.text("/createOrder/order/id"), bought.text("/createOrder/payment/id"));
        assert_eq!(shop.cancel("alice", &cancelled, &order).await.at("/cancelOrder/order/status"), "CLOSED");
        shop.fault(Call::Pay, FaultKind::AlthoughClosed);
        shop.sandbox().pay(&payment).await.unwrap();
        for _ in 0..3 {
            shop.advance(Duration::seconds(5)).await;
        }
        let surplus = shop.order(&order).await["refunds"][0]["id"].clone();
        assert_eq!((shop.ledger().refunds.len(), json!(shop.ledger().refunds[0].number)), (1, surplus.clone()));
        shop.close().await;

        let shop = rewindable.rewound().await;
        let again = shop.create_with("alice", &created, input).await;
        let seen = (again.at("/createOrder/order/status"), again.at("/createOrder/payment/status"));
        assert_eq!(seen, (json!("PENDING_PAYMENT"), json!("SUCCEEDED")), "{}", again.body);
        // Its cancellation holds again.
        let closed = shop.cancel("alice", &cancelled, &order).await;
        assert_eq!(closed.at("/cancelOrder/order/status"), "CLOSED", "{}", closed.body);
        shop.advance(Duration::seconds(5)).await;
        let told = shop.order(&order).await;
        assert_eq!((&told["refunds"][0]["id"], &told["refunds"][0]["status"]), (&surplus, &json!("SUCCEEDED")));
        assert_eq!(shop.ledger().refunds.len(), 1);
        shop.check_invariants().await;
        shop.close().await;
    }
}

/// Two keys, one after the other; the store forgets both, and the second comes first.
async fn a_repay_that_was_lost_is_not_forgotten_for_another_keys_attempt(backend: Backend) {
    let mut rewindable = Rewindable::new(backend).await;
    let shop = rewindable.rewound().await;
    let order = shop.create("alice", &Shop::key(), "MUG", 1, false).await.text("/createOrder/order/id");
    let base = shop.database_url.clone();
    shop.close().await;
    rewindable.base = base;

    let shop = rewindable.rewound().await;
    let (first, second) = (Shop::key(), Shop::key());
    let lost = shop.repay("alice", &first, &order).await.text("/repayOrder/payment/id");
    shop.close().await;

    let shop = rewindable.rewound().await;
    let live = shop.repay("alice", &second, &order).await.text("/repayOrder/payment/id");
    assert_ne!(live, lost);
    let again = shop.repay("alice", &first, &order).await;
    assert_eq!(again.at("/repayOrder/payment/id"), json!(lost), "{}", again.body);
    assert_eq!(again.at("/repayOrder/payment/status"), "CLOSED");
    assert!(shop.sandbox().pay(&lost).await.is_err(), "two can be paid");
    assert_eq!(shop.repay("alice", &first, &order).await.at("/repayOrder/replayed"), true);
    // A key that was never used gets the attempt that is open, as ever.
    assert_eq!(shop.repay("alice", &Shop::key(), &order).await.at("/repayOrder/payment/id"), json!(live));
    shop.payer_pays(&live).await;
    assert_eq!(shop.order(&order).await["status"], "PAID");
    shop.check_invariants().await;
    shop.close().await;
}

/// The first was paid before the store forgot it, the second after: one of them goes back.
async fn a_repay_that_was_lost_and_paid_is_not_refused_because_the_order_is_paid(backend: Backend) {
    let mut rewindable = Rewindable::new(backend).await;
    let shop = rewindable.rewound().await;
    let order = shop.create("alice", &Shop::key(), "MUG", 1, false).await.text("/createOrder/order/id");
    let base = shop.database_url.clone();
    shop.close().await;
    rewindable.base = base;

    let shop = rewindable.rewound().await;
    let first = Shop::key();
    let lost = shop.repay("alice", &first, &order).await.text("/repayOrder/payment/id");
    shop.payer_pays(&lost).await;
    shop.close().await;

    let shop = rewindable.rewound().await;
    let live = shop.repay("alice", &Shop::key(), &order).await.text("/repayOrder/payment/id");
    shop.payer_pays(&live).await;
    let again = shop.repay("alice", &first, &order).await;
    assert_eq!(again.at("/repayOrder/payment/id"), json!(lost), "{}", again.body);
    assert_eq!(again.at("/repayOrder/payment/status"), "SUCCEEDED");
    shop.advance(Duration::seconds(5)).await;
    shop.advance(Duration::seconds(5)).await;
    let told = shop.order(&order).await;
    assert_eq!((&told["status"], &told["refunds"][0]["reason"]), (&json!("PAID"), &json!("SURPLUS")), "{told}");
    let ledger = shop.ledger();
    assert_eq!((ledger.charges.len(), ledger.refunds.len()), (2, 1));
    assert_eq!(ledger.refunds[0].payment_number, lost);
    assert_eq!(shop.repay("alice", &Shop::key(), &order).await.code(), "ORDER_ALREADY_PAID");
    shop.check_invariants().await;
    shop.close().await;
}

/// The payer still has the QR code, and the client does not come again.
async fn a_payment_that_nobody_asks_for_again_is_recorded_when_its_gateway_tells(backend: Backend) {
    for method in
        [json!({"gateway": "ALIPAY", "product": "PRECREATE"}), json!({"gateway": "WECHAT_PAY", "product": "NATIVE"})]
    {
        let mut rewindable = Rewindable::new(backend).await;
        let shop = rewindable.rewound().await;
        let order = shop.create("alice", &Shop::key(), "MUG", 1, false).await.text("/createOrder/order/id");
        let base = shop.database_url.clone();
        shop.close().await;
        rewindable.base = base;

        let shop = rewindable.rewound().await;
        let key = Shop::key();
        let lost = shop.repay_by("alice", &key, &order, method.clone()).await.text("/repayOrder/payment/id");
        shop.close().await;

        let shop = rewindable.rewound().await;
        shop.payer_pays(&lost).await;
        let told = shop.order(&order).await;
        assert_eq!((&told["status"], &told["payments"][0]["id"]), (&json!("PAID"), &json!(lost)), "{told}");
        let again = shop.repay_by("alice", &key, &order, method).await;
        assert_eq!(again.at("/repayOrder/payment/id"), json!(lost), "{}", again.body);
        assert_eq!(shop.ledger().charges.len(), 1);
        shop.check_invariants().await;
        shop.close().await;
    }
}

/// A part and then all that was left; the store forgets both, and the second comes first: all is more now.
async fn refunds_that_were_lost_are_not_refused_for_one_that_takes_all(backend: Backend) {
    for method in
        [json!({"gateway": "ALIPAY", "product": "PRECREATE"}), json!({"gateway": "WECHAT_PAY", "product": "NATIVE"})]
    {
        let mut rewindable = Rewindable::new(backend).await;
        let shop = rewindable.rewound().await;
        let input = json!({"lines": [{"sku": "MUG", "quantity": 1}], "payment": method});
        let bought = shop.create_with("alice", &Shop::key(), input).await;
        let order = bought.text("/createOrder/order/id");
        shop.payer_pays(&bought.text("/createOrder/payment/id")).await;
        let base = shop.database_url.clone();
        shop.close().await;
        rewindable.base = base;

        let shop = rewindable.rewound().await;
        let (part, rest) = (Shop::key(), Shop::key());
        // What is told of them is told to a shop that forgets it.
        let one = shop.refund(&part, &order, Some(4_000)).await.text("/refundOrder/refund/id");
        for _ in 0..4 {
            shop.advance(Duration::seconds(20)).await;
        }
        let two = shop.refund(&rest, &order, None).await.text("/refundOrder/refund/id");
        for _ in 0..4 {
            shop.advance(Duration::seconds(20)).await;
        }
        assert_eq!(shop.ledger().refunds.len(), 2);
        shop.close().await;

        let shop = rewindable.rewound().await;
        let all = shop.refund(&rest, &order, None).await;
        assert_eq!(all.at("/refundOrder/refund/id"), json!(two), "{}", all.body);
        let again = shop.refund(&part, &order, Some(4_000)).await;
        assert_eq!(again.at("/refundOrder/refund/id"), json!(one), "{}", again.body);
        for _ in 0..4 {
            shop.advance(Duration::seconds(20)).await;
        }
        let told = shop.order(&order).await;
        assert_eq!(told["status"], "REFUNDED", "{told}");
        let amount = |id: &str| {
            let refunds = told["refunds"].as_array().unwrap();
            refunds.iter().find(|r| r["id"] == id).map(|r| r["amount"]["minor"].clone()).unwrap()
        };
        assert_eq!((amount(&one), amount(&two)), (json!("4000"), json!("6000")), "{told}");
        assert_eq!(shop.ledger().refunds.len(), 2);
        shop.check_invariants().await;
        shop.close().await;
    }
}

/// Alipay does not find a QR code that nobody has scanned, but knows its number.
#[tokio::test]
async fn a_code_that_was_lost_here_can_still_be_paid_and_counts_once() {
    let rewindable = Rewindable::new(Backend::Sqlite).await;
    let key = Shop::key();
    let method = json!({"gateway": "ALIPAY", "product": "PRECREATE"});
    let input = json!({"lines": [{"sku": "MUG", "quantity": 1}], "payment": method, "allowDuplicate": true});
    let shop = rewindable.rewound().await;
    let lost = shop.create_with("alice", &key, input.clone()).await.text("/createOrder/payment/id");
    shop.close().await;
    // What the payer reads is another content.
    rewindable.base_becomes("UPDATE products SET name = 'Bigger mug' WHERE sku = 'MUG'").await;

    let shop = rewindable.rewound().await;
    let bought = shop.create_with("alice", &key, input).await;
    assert_eq!(bought.at("/createOrder/payment/status"), "PENDING", "{}", bought.body);
    assert_ne!(bought.text("/createOrder/payment/id"), lost);
    let order = bought.text("/createOrder/order/id");
    shop.payer_pays(&lost).await;
    shop.advance(Duration::seconds(20)).await;
    let paid = shop.order(&order).await;
    assert_eq!((&paid["status"], &paid["payments"][0]["status"]), (&json!("PAID"), &json!("SUCCEEDED")), "{paid}");
    assert_eq!(shop.ledger().charges.len(), 1);
    shop.check_invariants().await;
    shop.close().await;
}

/// Set back, and priced anew meanwhile: what was paid then does not fit now. Staff give it back.
#[tokio::test]
async fn a_payment_of_another_amount_is_given_back_by_staff() {
    let rewindable = Rewindable::new(Backend::Sqlite).await;
    let key = Shop::key();
    let shop = rewindable.rewound().await;
    let payment = shop.create("alice", &key, "MUG", 1, true).await.text("/createOrder/payment/id");
    shop.fault(Call::Notify, FaultKind::Drop);
    shop.sandbox().pay(&payment).await.unwrap();
    shop.close().await;
    rewindable.base_becomes("UPDATE products SET price_minor = 12000 WHERE sku = 'MUG'").await;

    let shop = rewindable.rewound().await;
    let again = shop.create("alice", &key, "MUG", 1, true).await;
    assert_eq!(again.at("/createOrder/payment/mismatch"), true, "{}", again.body);
    let order = again.text("/createOrder/order/id");
    assert_eq!(shop.repay("alice", &Shop::key(), &order).await.code(), "PAYMENT_IN_PROGRESS");
    let back = shop.refund(&Shop::key(), &order, None).await;
    assert_eq!(back.at("/refundOrder/refund/amount/minor"), "10000");
    shop.advance(Duration::seconds(6)).await;
    let open = shop.order(&order).await;
    assert_eq!((&open["status"], &open["refunds"][0]["status"]), (&json!("PENDING_PAYMENT"), &json!("SUCCEEDED")));
    shop.check_invariants().await;
    // Nothing is left of it: the order goes on as any other.
    let repaid = shop.repay("alice", &Shop::key(), &order).await.text("/repayOrder/payment/id");
    shop.payer_pays(&repaid).await;
    let paid = shop.order(&order).await;
    assert_eq!((&paid["status"], &paid["paid"]["minor"]), (&json!("PAID"), &json!("12000")));
    // By name it is the other payment's turn no more.
    let document = "mutation($key: IdempotencyKey!, $input: RefundOrderInput!) { refundOrder(idempotencyKey: $key, input: $input) { refund { id } } }";
    let input = json!({"orderId": order, "paymentId": payment, "reason": "OTHER"});
    let named = shop.ask(&shop.token("admin", "admin"), document, json!({"key": Shop::key(), "input": input})).await;
    assert_eq!(named.code(), "NOT_REFUNDABLE");
    shop.check_invariants().await;
    shop.close().await;
}

#[tokio::test]
async fn a_notification_that_no_order_ever_claims_comes_to_people() {
    let rewindable = Rewindable::new(Backend::Sqlite).await;
    let shop = rewindable.rewound().await;
    let payment = shop.create("alice", &Shop::key(), "MUG", 1, true).await.text("/createOrder/payment/id");
    shop.fault(Call::Notify, FaultKind::Drop);
    shop.sandbox().pay(&payment).await.unwrap();
    shop.close().await;
    let shop = rewindable.rewound().await;
    shop.advance(Duration::seconds(16)).await;
    shop.advance(Duration::minutes(59)).await;
    assert_eq!(outcomes(&shop).await, ["UNKNOWN_NUMBER"]);
    shop.advance(Duration::minutes(6)).await;
    assert_eq!(outcomes(&shop).await, ["FOR_PEOPLE"]);
    assert!(shop.clock.now() > payonce::app::SystemClock.now());
    shop.close().await;
}
