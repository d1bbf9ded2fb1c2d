//! repayOrder: one live attempt at a time, and never two payments that count.

use crate::support::{Backend, Shop, on_every_store};
use domain::Duration;
use sandbox::{Call, FaultKind};
use serde_json::json;

on_every_store!(
    an_order_without_payment_is_paid_later,
    an_earlier_payment_that_was_paid_meanwhile_wins,
    a_lost_answer_leaves_the_payment_unknown_and_the_resolver_finds_it,
    repay_is_refused_when_too_little_time_is_left_and_says_how_much,
);

async fn an_order_without_payment_is_paid_later(backend: Backend) {
    let shop = Shop::open(backend).await;
    let order = shop.create("alice", &Shop::key(), "BOOK", 1, false).await.text("/createOrder/order/id");
    let key = Shop::key();
    let first = shop.repay("alice", &key, &order).await;
    assert_eq!(first.at("/repayOrder/payment/status"), "PENDING");
    let payment = first.text("/repayOrder/payment/id");
    // The same method with an action that works: that payment again, under the old key and a new one.
    assert_eq!(shop.repay("alice", &key, &order).await.at("/repayOrder/replayed"), true);
    let again = shop.repay("alice", &Shop::key(), &order).await;
    assert_eq!(
        (again.text("/repayOrder/payment/id"), again.at("/repayOrder/replayed")),
        (payment.clone(), json!(false))
    );
    shop.payer_pays(&payment).await;
    assert_eq!(shop.repay("alice", &Shop::key(), &order).await.code(), "ORDER_ALREADY_PAID");
    // Somebody else's order is no order.
    assert_eq!(shop.repay("mallory", &Shop::key(), &order).await.code(), "NOT_FOUND");
    shop.check_invariants().await;
}

async fn an_earlier_payment_that_was_paid_meanwhile_wins(backend: Backend) {
    let shop = Shop::open(backend).await;
    // The gateway opened it, we never heard; the payer paid it, and no notification came.
    shop.fault(Call::Open, FaultKind::LoseAnswer);
    let bought = shop.create("alice", &Shop::key(), "BOOK", 1, true).await;
    assert_eq!(bought.at("/createOrder/payment/status"), "UNKNOWN");
    let (order, payment) = (bought.text("/createOrder/order/id"), bought.text("/createOrder/payment/id"));
    shop.fault(Call::Notify, FaultKind::Drop);
    shop.sandbox().pay(&payment).await.unwrap();
    let repaid = shop.repay("alice", &Shop::key(), &order).await;
    assert_eq!(repaid.code(), "ORDER_ALREADY_PAID", "{}", repaid.body);
    assert_eq!(shop.order(&order).await["status"], "PAID");
    shop.check_invariants().await;
}

async fn a_lost_answer_leaves_the_payment_unknown_and_the_resolver_finds_it(backend: Backend) {
    let shop = Shop::open(backend).await;
    shop.fault(Call::Open, FaultKind::LoseAnswer);
    let bought = shop.create("alice", &Shop::key(), "BOOK", 1, true).await;
    assert_eq!(bought.at("/createOrder/payment/status"), "UNKNOWN");
    let order = bought.text("/createOrder/order/id");
    shop.advance(Duration::seconds(5)).await;
    let payment = &shop.order(&order).await["payments"][0];
    assert_eq!(payment["status"], "PENDING");
    let number = payment["id"].as_str().unwrap();
    // Opened again with the same number and content: still one order at the gateway, payable.
    shop.payer_pays(number).await;
    assert_eq!(shop.order(&order).await["status"], "PAID");
    assert_eq!(shop.ledger().charges.len(), 1);
    shop.check_invariants().await;
}

async fn repay_is_refused_when_too_little_time_is_left_and_says_how_much(backend: Backend) {
    let shop = Shop::open(backend).await;
    let order = shop.create("alice", &Shop::key(), "BOOK", 1, false).await.text("/createOrder/order/id");
    shop.advance(Duration::minutes(29) + Duration::seconds(15)).await;
    let late = shop.repay("alice", &Shop::key(), &order).await;
    assert_eq!((late.code().as_str(), late.extension("remainingSeconds")), ("ORDER_EXPIRED", json!(45)));
    shop.advance(Duration::minutes(1)).await;
    let order = shop.order(&order).await;
    assert_eq!(
        (&order["status"], &order["closeReason"], &order["remainingSeconds"]),
        (&json!("CLOSED"), &json!("EXPIRED"), &json!(0))
    );
    shop.check_invariants().await;
}
