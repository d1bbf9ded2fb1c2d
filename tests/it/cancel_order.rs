//! cancelOrder and expiry: ask, close there, then here.

use crate::support::{Backend, Shop, on_every_store};
use domain::Duration;
use sandbox::{Call, FaultKind};

on_every_store!(
    an_order_with_an_open_payment_is_closed_there_and_here,
    an_order_that_was_paid_meanwhile_is_not_cancelled,
    an_order_expires_with_its_payment,
    while_the_gateway_is_silent_a_cancelled_order_closes_later_by_itself,
    an_answered_cancellation_is_not_taken_back,
);

async fn an_order_with_an_open_payment_is_closed_there_and_here(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, payment) = shop.open_order("TEA").await;
    assert_eq!(shop.cancel("mallory", &Shop::key(), &order).await.code(), "NOT_FOUND");
    let key = Shop::key();
    let closed = shop.cancel("alice", &key, &order).await;
    assert_eq!(
        (closed.at("/cancelOrder/order/status"), closed.at("/cancelOrder/order/closeReason")),
        ("CLOSED".into(), "CANCELLED".into())
    );
    assert_eq!(closed.at("/cancelOrder/order/payments/0/status"), "CLOSED");
    assert!(shop.sandbox().pay(&payment).await.is_err(), "the gateway still takes money for it");
    assert_eq!(shop.cancel("alice", &key, &order).await.at("/cancelOrder/replayed"), true);
    assert_eq!(shop.cancel("alice", &Shop::key(), &order).await.code(), "ORDER_CLOSED");
    shop.check_invariants().await;
}

async fn an_order_that_was_paid_meanwhile_is_not_cancelled(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, _) = shop.open_order("TEA").await;
    shop.fault(Call::Notify, FaultKind::Drop);
    shop.fault(Call::Close, FaultKind::PayDuringClose);
    let key = Shop::key();
    assert_eq!(shop.cancel("alice", &key, &order).await.code(), "ORDER_ALREADY_PAID");
    assert_eq!(shop.order(&order).await["status"], "PAID");
    // Nothing began: the key made no claim.
    assert_eq!(shop.cancel("alice", &key, &order).await.code(), "ORDER_ALREADY_PAID");
    shop.check_invariants().await;
}

async fn an_order_expires_with_its_payment(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, payment) = shop.open_order("TEA").await;
    shop.advance(Duration::minutes(30) + Duration::seconds(1)).await;
    shop.advance(Duration::seconds(10)).await;
    let closed = shop.order(&order).await;
    assert_eq!((&closed["status"], &closed["closeReason"]), (&"CLOSED".into(), &"EXPIRED".into()), "{closed}");
    assert!(shop.sandbox().pay(&payment).await.is_err());
    shop.check_invariants().await;
}

async fn while_the_gateway_is_silent_a_cancelled_order_closes_later_by_itself(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, _) = shop.open_order("TEA").await;
    for call in [Call::Find, Call::Close] {
        shop.sandbox().fault(sandbox::Fault::new(call, FaultKind::Error500).unwrap().times(6));
    }
    let asked = shop.cancel("alice", &Shop::key(), &order).await;
    assert_eq!(asked.at("/cancelOrder/order/status"), "PAYING");
    assert_eq!(asked.at("/cancelOrder/order/remainingSeconds"), 0);
    shop.sandbox().clear_faults();
    shop.advance(Duration::minutes(1)).await;
    shop.advance(Duration::minutes(1)).await;
    assert_eq!(shop.order(&order).await["status"], "CLOSED");
    shop.check_invariants().await;
}

async fn an_answered_cancellation_is_not_taken_back(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, payment) = shop.open_order("TEA").await;
    for call in [Call::Find, Call::Close] {
        shop.sandbox().fault(sandbox::Fault::new(call, FaultKind::Error500).unwrap().times(6));
    }
    let key = Shop::key();
    let asked = shop.cancel("alice", &key, &order).await;
    assert_eq!(asked.at("/cancelOrder/replayed"), false);
    shop.payer_pays(&payment).await;
    let again = shop.cancel("alice", &key, &order).await;
    assert_eq!(
        (again.at("/cancelOrder/replayed"), again.at("/cancelOrder/order/status")),
        (true.into(), "PAID".into())
    );
    shop.check_invariants().await;
}

#[tokio::test]
async fn a_replay_is_refused_to_who_may_not_see_the_order_any_more() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, _) = shop.open_order("TEA").await;
    let document = "mutation($key: IdempotencyKey!, $id: ID!) { cancelOrder(idempotencyKey: $key, input: {orderId: $id}) { replayed order { note } } }";
    let variables = serde_json::json!({"key": Shop::key(), "id": order});
    let as_admin = shop.ask(&shop.token("ops", "admin"), document, variables.clone()).await;
    assert_eq!(as_admin.at("/cancelOrder/replayed"), false);
    let as_customer = shop.ask(&shop.token("ops", "customer"), document, variables.clone()).await;
    assert_eq!(as_customer.code(), "NOT_FOUND");
    let as_support = shop.ask(&shop.token("ops", "support"), document, variables).await;
    assert_eq!(as_support.code(), "FORBIDDEN");
}
