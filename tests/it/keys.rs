//! Keys outlive their claims: one that is purged never executes again.

use domain::Duration;
use sea_orm::{ConnectionTrait, Database, Statement};
use serde_json::json;

use crate::support::shop::eventually;
use crate::support::{Backend, Shop, on_every_store};

on_every_store!(a_purged_key_says_what_it_made_and_does_nothing);

async fn claims(shop: &Shop) -> i64 {
    let db = Database::connect(&shop.database_url).await.unwrap();
    let sql = "SELECT COUNT(*) AS n FROM operations";
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap().unwrap();
    db.close().await.unwrap();
    row.try_get("", "n").unwrap()
}

async fn a_purged_key_says_what_it_made_and_does_nothing(backend: Backend) {
    let shop = Shop::open(backend).await;
    let [created, repaid, refunded, cancelled] = [Shop::key(), Shop::key(), Shop::key(), Shop::key()];
    let order = shop.create("alice", &created, "MUG", 1, false).await.text("/createOrder/order/id");
    let payment = shop.repay("alice", &repaid, &order).await.text("/repayOrder/payment/id");
    shop.payer_pays(&payment).await;
    let refund = shop.refund(&refunded, &order, Some(1_000)).await.text("/refundOrder/refund/id");
    let (other, _) = shop.open_order("TEA").await;
    shop.cancel("alice", &cancelled, &other).await.at("/cancelOrder/order");
    // One that still runs is never forgotten.
    let (_, running) = shop.open_order("PIN").await;
    let db = Database::connect(&shop.database_url).await.unwrap();
    let far = if backend == Backend::MariaDb { "2999-01-01 00:00:00" } else { "2999-01-01 00:00:00+00:00" };
    let sql = format!(
        "UPDATE operations SET state = 'RUNNING', lease_holder = 'x', lease_until = '{far}' WHERE payment_id = '{running}'"
    );
    db.execute_unprepared(&sql).await.unwrap();
    db.close().await.unwrap();

    shop.advance(Duration::days(30) - Duration::minutes(2)).await;
    assert_eq!(shop.app.payments.purge_keys().await.unwrap(), 0, "they are kept for 30 days");
    assert_eq!(shop.create("alice", &created, "MUG", 1, false).await.at("/createOrder/replayed"), true);
    // The server does it by itself.
    shop.advance(Duration::hours(1)).await;
    eventually("old keys are forgotten", async || claims(&shop).await == 1).await;

    let expired = [
        (shop.create("alice", &created, "MUG", 1, false).await, "orderId", &order),
        (shop.repay("alice", &repaid, &order).await, "paymentId", &payment),
        (shop.refund(&refunded, &order, Some(1_000)).await, "refundId", &refund),
    ];
    for (answer, name, made) in expired {
        assert_eq!(answer.code(), "IDEMPOTENCY_KEY_EXPIRED", "{}", answer.body);
        assert_eq!((answer.extension("orderId"), answer.extension(name)), (json!(order), json!(made)));
        assert_eq!(answer.extension("retrySameKey"), false);
    }
    // A cancellation made nothing, and its order is over.
    assert_eq!(shop.cancel("alice", &cancelled, &other).await.code(), "ORDER_CLOSED");
    assert_eq!((claims(&shop).await, shop.ledger().charges.len(), shop.ledger().refunds.len()), (1, 1, 1));
    assert_eq!(shop.order(&order).await["refunded"]["minor"], "1000");
}
