//! Keys outlive their claims: one that is purged never executes again.

use domain::Duration;
use sandbox::{Call, Fault, FaultKind};
use sea_orm::{ConnectionTrait, Database, Statement};
use serde_json::json;

use crate::support::shop::eventually;
use crate::support::{Backend, Shop, on_every_store};

on_every_store!(a_purged_key_says_what_it_made_and_does_nothing);

/// The number of a refund derives from the gateway, too: the same key must not make one at each.
#[tokio::test]
async fn a_purged_key_of_a_refund_makes_none_at_another_gateway() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, payment) = shop.open_order("MUG").await;
    shop.sandbox().fault(Fault::new(Call::Pay, FaultKind::OneMore).unwrap());
    shop.payer_pays(&payment).await;
    let key = Shop::key();
    let refund = shop.refund(&key, &order, None).await.text("/refundOrder/refund/id");
    shop.advance(Duration::minutes(2)).await;
    assert_eq!(shop.order(&order).await["refunds"][0]["status"], "SUCCEEDED");
    // Now it is paid by the other one.
    let document = "mutation($key: IdempotencyKey!, $id: ID!) { repayOrder(idempotencyKey: $key, input: \
        {orderId: $id, payment: {gateway: ALIPAY, product: PRECREATE}}) { payment { id } } }";
    let repaid = shop.ask(&shop.token("alice", "customer"), document, json!({"key": Shop::key(), "id": order})).await;
    shop.payer_pays(&repaid.text("/repayOrder/payment/id")).await;
    assert_eq!(shop.order(&order).await["status"], "PAID");
    // The claim is purged.
    let db = Database::connect(&shop.database_url).await.unwrap();
    let purge = format!("DELETE FROM operations WHERE refund_id = '{refund}'");
    assert_eq!(db.execute_unprepared(&purge).await.unwrap().rows_affected(), 1);
    db.close().await.unwrap();
    let again = shop.refund(&key, &order, None).await;
    assert_eq!((again.code().as_str(), again.extension("refundId")), ("IDEMPOTENCY_KEY_EXPIRED", json!(refund)));
    assert_eq!(shop.ledger().refunds.len(), 1);
    shop.check_invariants().await;
}

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
