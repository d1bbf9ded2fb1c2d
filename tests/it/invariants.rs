//! What must hold is asked, and each question finds what it asks for.

use std::process::Command;

use domain::Duration;
use payonce::payments::ports::Clock;
use payonce::store::{Depth, Invariant};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement, TransactionTrait};

use crate::support::shop::eventually;
use crate::support::{Backend, Shop, on_every_store};

on_every_store!(each_finds_its_violation);

/// What breaks each of them, on an order that is paid and partly refunded, one that is being paid and one that is
/// closed.
const PLANTED: [(&str, &[&str]); 33] = [
    ("one_winner", &["UPDATE orders SET winner = 'pay_other' WHERE status = 'PARTIALLY_REFUNDED'"]),
    ("paid_by_winner", &["UPDATE payments SET winner_of = NULL"]),
    ("winner_pays_total", &["UPDATE orders SET total_minor = total_minor + 1"]),
    ("success_has_a_place", &["UPDATE payments SET winner_of = NULL"]),
    ("amounts_agree", &["UPDATE payments SET amount_minor = amount_minor + 1"]),
    ("verified_success", &["UPDATE payments SET gateway_transaction_id = NULL"]),
    ("success_is_final", &["UPDATE payments SET status = 'CLOSED' WHERE status = 'SUCCEEDED'"]),
    ("payment_after_intent", &["DELETE FROM events WHERE type = 'payment.created'"]),
    ("refund_after_intent", &["DELETE FROM events WHERE type = 'refund.requested'"]),
    ("refund_counters", &["UPDATE payments SET refunded = refunded + 1"]),
    ("refunds_within_paid", &["UPDATE payments SET refund_reserved = paid + 1"]),
    ("refund_of_success", &["UPDATE payments SET paid_currency = 'JPY'"]),
    ("refund_status", &["UPDATE orders SET status = 'PAID' WHERE status = 'PARTIALLY_REFUNDED'"]),
    ("surplus_goes_back", &["DELETE FROM refunds", "UPDATE payments SET surplus = TRUE WHERE status = 'SUCCEEDED'"]),
    (
        "surplus_in_time",
        &["UPDATE payments SET surplus = TRUE, since = '2020-01-01 00:00:00' WHERE status = 'SUCCEEDED'"],
    ),
    ("payments_looked_at", &["UPDATE payments SET next_at = NULL"]),
    ("refunds_looked_at", &["UPDATE refunds SET status = 'UNKNOWN', next_at = NULL"]),
    ("approved_by_another", &["UPDATE refunds SET approval = 'GIVEN', approved_by = requested_by"]),
    ("orders_looked_at", &["UPDATE orders SET next_at = NULL"]),
    ("live_attempt", &["UPDATE payments SET status = 'FAILED' WHERE status = 'PENDING'"]),
    ("one_live_attempt", &["UPDATE orders SET open_payment = 'pay_other' WHERE status = 'PAYING'"]),
    ("daily_sums", &["UPDATE customer_days SET sum_minor = sum_minor + 1"]),
    ("events_without_gap", &["DELETE FROM events WHERE version = 2"]),
    ("events_go_out", &["UPDATE orders SET webhook_version = version + 1"]),
    ("lease_is_short", &["UPDATE operations SET state = 'RUNNING', lease_until = '2020-01-01 00:00:00'"]),
    ("one_charge_per_number", &["UPDATE payments SET gateway_transaction_id = '1'"]),
    ("one_payment_per_number", &["INSERT INTO payments SELECT * FROM payments"]),
    ("one_refund_per_number", &["INSERT INTO refunds SELECT * FROM refunds"]),
    ("one_outcome_per_key", &["UPDATE operations SET subject = 'alice', idempotency_key = 'the-same-key-0000'"]),
    ("quote_made_its_order", &["INSERT INTO quotes VALUES ('prices', '1', 'ord_other', '2020-01-01 00:00:00')"]),
    ("outcome_is_there", &["DELETE FROM orders"]),
    ("one_effect_per_notification", &["INSERT INTO notifications SELECT * FROM notifications"]),
    ("notifications_looked_at", &["UPDATE notifications SET outcome = 'UNKNOWN_NUMBER', next_at = NULL"]),
];

/// These break what happened lately by taking it away.
const NOT_LATELY: [&str; 3] = ["payment_after_intent", "refund_after_intent", "events_without_gap"];

/// A shop with something of everything.
async fn busy(backend: Backend) -> Shop {
    let shop = Shop::open_with(backend, &[("PAYONCE_CUSTOMER_DAILY_MAX_MINOR", "CNY:1000000")]).await;
    let (order, _) = shop.paid_order("MUG").await;
    shop.refund(&Shop::key(), &order, Some(2_500)).await.at("/refundOrder");
    shop.advance(Duration::seconds(6)).await;
    shop.open_order("TEA").await;
    let (closed, _) = shop.open_order("BOOK").await;
    shop.cancel("alice", &Shop::key(), &closed).await.at("/cancelOrder");
    shop.check_invariants().await;
    shop
}

/// Tables without a single constraint, so that anything can be planted.
async fn lawless(db: &DatabaseConnection) {
    let tables = ["order_lines", "events", "refunds", "payments", "orders", "operations", "notifications"];
    for table in tables.into_iter().chain(["customer_days", "quotes"]) {
        db.execute_unprepared(&format!("ALTER TABLE {table} RENAME TO lawful_{table}")).await.unwrap();
        db.execute_unprepared(&format!("CREATE TABLE {table} AS SELECT * FROM lawful_{table}")).await.unwrap();
    }
}

async fn each_finds_its_violation(backend: Backend) {
    let shop = busy(backend).await;
    let now = shop.clock.now();
    let url = shop.database_url.clone();
    shop.close().await;
    let db = Database::connect(&url).await.unwrap();
    lawless(&db).await;
    let backend = db.get_database_backend();
    let all = Invariant::all();
    for invariant in &all {
        let Some(sql) = invariant.sql(backend, Depth::Everything, now) else { continue };
        let name = invariant.name;
        if name == "nobody_idles" {
            continue;
        }
        let (_, plants) = PLANTED.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("nothing breaks {name}"));
        let tx = db.begin().await.unwrap();
        for plant in *plants {
            tx.execute_unprepared(plant).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        let found = tx.query_all_raw(Statement::from_string(backend, sql)).await.unwrap();
        assert!(!found.is_empty(), "{name} does not find {plants:?}");
        if let Some(sql) = invariant.sql(backend, Depth::Lately, now).filter(|_| !NOT_LATELY.contains(&name)) {
            let found = tx.query_all_raw(Statement::from_string(backend, sql)).await.unwrap();
            assert!(!found.is_empty(), "{name} does not find lately {plants:?}");
        }
        tx.rollback().await.unwrap();
    }
    assert_eq!(PLANTED.len() + 1, all.len());
    db.close().await.unwrap();
}

#[tokio::test]
async fn a_session_that_idles_in_a_transaction_is_found() {
    let url = Backend::PostgresAndRedis.fresh().await;
    let db = Database::connect(&url).await.unwrap();
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared("SELECT 1").await.unwrap();
    let all = Invariant::all();
    let idles = all.iter().find(|i| i.name == "nobody_idles").unwrap();
    let sql = idles.sql(DbBackend::Postgres, Depth::Lately, domain::Timestamp::UNIX_EPOCH).unwrap();
    eventually("the idle session is found", async || {
        let found = db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql.clone())).await.unwrap();
        found.len() == 1
    })
    .await;
    tx.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_counts_violations_and_doctor_names_them() {
    let shop = busy(Backend::Sqlite).await;
    let doctor = |shop: &Shop| {
        let output = Command::new(env!("CARGO_BIN_EXE_payonce"))
            .args(["doctor", "--deep"])
            .env("PAYONCE_DATABASE_URL", &shop.database_url)
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (well, said) = doctor(&shop);
    assert!(well && said.contains("ok    refund_counters"), "{said}");
    let db = Database::connect(&shop.database_url).await.unwrap();
    db.execute_unprepared("UPDATE payments SET refunded = refunded - 1 WHERE refunded > 0").await.unwrap();
    db.close().await.unwrap();
    let (well, said) = doctor(&shop);
    assert!(!well && said.contains("FAIL  refund_counters"), "{said}");
    assert!(said.contains("ok    one_winner"), "{said}");
    eventually("the metric counts it", async || {
        shop.clock.turn(Duration::minutes(1));
        tokio::task::yield_now().await;
        let metrics = shop.http().get(shop.url("/metrics")).send().await.unwrap().text().await.unwrap();
        metrics.contains("payonce_invariant_violations{invariant=\"refund_counters\"} 1")
    })
    .await;
}
