//! A gateway that does not answer: its payers go to another one, and what they paid at both is their own again.

use domain::Duration;
use sandbox::{Call, Fault, FaultKind};
use serde_json::{Value, json};

use crate::support::{Answer, Backend, Shop, on_every_store};

on_every_store!(
    what_was_never_handed_out_gives_way_at_once,
    what_the_payer_may_pay_gives_way_after_ten_seconds,
    what_gave_way_and_is_paid_wins_while_nothing_else_has,
    of_two_that_are_paid_the_second_goes_back,
    what_gave_way_is_closed_once_its_gateway_answers,
    a_cancellation_asks_about_what_gave_way_and_does_not_wait_for_it,
);

/// Nobody answers for this payment any more.
fn silent(shop: &Shop, payment: &str) {
    for call in [Call::Find, Call::Close] {
        shop.sandbox().fault(Fault::new(call, FaultKind::HttpError(503)).unwrap().times(10_000).number(payment));
    }
}

async fn by_alipay(shop: &Shop, key: &str, order: &str) -> Answer {
    shop.repay_by("alice", key, order, json!({"gateway": "ALIPAY", "product": "PRECREATE"})).await
}

/// An order whose attempt at WeChat Pay gave way to one at Alipay: their ids.
async fn gave_way(shop: &Shop) -> (String, String, String) {
    let (order, first) = shop.open_order("TEA").await;
    silent(shop, &first);
    let key = Shop::key();
    assert_eq!(by_alipay(shop, &key, &order).await.code(), "PAYMENT_IN_PROGRESS");
    shop.advance(Duration::seconds(10)).await;
    let second = by_alipay(shop, &key, &order).await;
    assert_eq!(second.at("/repayOrder/payment/status"), "PENDING", "{}", second.body);
    let second = second.text("/repayOrder/payment/id");
    shop.scanned(&second).await;
    (order, first, second)
}

/// The payer pays, and what comes of it is done.
async fn pay(shop: &Shop, payment: &str) {
    shop.sandbox().pay(payment).await.unwrap();
    shop.sandbox().settled().await;
}

fn statuses(order: &Value) -> Vec<String> {
    let payments = order["payments"].as_array().unwrap().iter();
    payments.map(|p| p["status"].as_str().unwrap().to_owned()).collect()
}

async fn what_was_never_handed_out_gives_way_at_once(backend: Backend) {
    let shop = Shop::open(backend).await;
    for call in [Call::Open, Call::Find] {
        shop.sandbox().fault(Fault::new(call, FaultKind::HttpError(503)).unwrap().times(4));
    }
    let bought = shop.create("alice", &Shop::key(), "TEA", 1, true).await;
    assert_eq!(bought.at("/createOrder/payment/status"), "UNKNOWN");
    let order = bought.text("/createOrder/order/id");
    // At the same gateway it is in the way; at another one it is not.
    assert_eq!(shop.repay("alice", &Shop::key(), &order).await.code(), "PAYMENT_IN_PROGRESS");
    shop.sandbox().clear_faults();
    silent(&shop, &bought.text("/createOrder/payment/id"));
    let repaid = by_alipay(&shop, &Shop::key(), &order).await;
    assert_eq!(repaid.at("/repayOrder/payment/status"), "PENDING", "{}", repaid.body);
    assert_eq!(statuses(&shop.order(&order).await), ["UNKNOWN", "PENDING"]);
    shop.payer_pays(&repaid.text("/repayOrder/payment/id")).await;
    assert_eq!(shop.order(&order).await["status"], "PAID");
    // The gateway answers again: it was never there.
    shop.sandbox().clear_faults();
    shop.advance(Duration::minutes(1)).await;
    shop.advance(Duration::minutes(1)).await;
    assert_eq!(statuses(&shop.order(&order).await), ["CLOSED", "SUCCEEDED"]);
    shop.check_invariants().await;
}

async fn what_the_payer_may_pay_gives_way_after_ten_seconds(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, first) = shop.open_order("TEA").await;
    silent(&shop, &first);
    let key = Shop::key();
    for second in 0..10 {
        let early = by_alipay(&shop, &key, &order).await;
        assert_eq!(early.code(), "PAYMENT_IN_PROGRESS", "after {second} s");
        assert_eq!(early.extension("retrySameKey"), true);
        shop.advance(Duration::seconds(1)).await;
    }
    let second = by_alipay(&shop, &key, &order).await;
    assert_eq!(second.at("/repayOrder/payment/status"), "PENDING", "{}", second.body);
    let seen = shop.order(&order).await;
    assert_eq!((&seen["status"], statuses(&seen)), (&json!("PAYING"), vec!["PENDING".into(), "PENDING".into()]));
    assert_eq!(second.at("/repayOrder/replayed"), false);
    assert_eq!(by_alipay(&shop, &key, &order).await.at("/repayOrder/replayed"), true);
    // Its own gateway does not open another one beside it, and the one that is open stays.
    assert_eq!(shop.repay("alice", &Shop::key(), &order).await.code(), "PAYMENT_IN_PROGRESS");
    assert_eq!(statuses(&shop.order(&order).await), ["PENDING", "PENDING"]);
    shop.payer_pays(&second.text("/repayOrder/payment/id")).await;
    assert_eq!(shop.order(&order).await["status"], "PAID");
    shop.check_invariants().await;
}

async fn what_gave_way_and_is_paid_wins_while_nothing_else_has(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, first, second) = gave_way(&shop).await;
    pay(&shop, &first).await;
    let paid = shop.order(&order).await;
    assert_eq!((&paid["status"], &paid["payments"][0]["surplus"]), (&json!("PAID"), &json!(false)), "{paid}");
    // The other one is closed at once.
    shop.advance(Duration::seconds(1)).await;
    assert_eq!(statuses(&shop.order(&order).await), ["SUCCEEDED", "CLOSED"]);
    assert!(shop.sandbox().pay(&second).await.is_err());
    shop.check_invariants().await;
}

async fn of_two_that_are_paid_the_second_goes_back(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, first, second) = gave_way(&shop).await;
    pay(&shop, &second).await;
    assert_eq!(shop.order(&order).await["status"], "PAID");
    pay(&shop, &first).await;
    shop.sandbox().clear_faults();
    for _ in 0..4 {
        shop.advance(Duration::seconds(30)).await;
    }
    let seen = shop.order(&order).await;
    assert_eq!((&seen["status"], &seen["paid"]["minor"]), (&json!("PAID"), &json!("1280")), "{seen}");
    let surplus: Vec<&Value> = seen["payments"].as_array().unwrap().iter().map(|p| &p["surplus"]).collect();
    assert_eq!(surplus, [true, false]);
    assert_eq!(
        (&seen["refunds"][0]["reason"], &seen["refunds"][0]["status"]),
        (&json!("SURPLUS"), &json!("SUCCEEDED")),
        "{seen}"
    );
    let back: Vec<String> = shop.ledger().refunds.into_iter().map(|r| r.payment_number).collect();
    assert_eq!(back, [first]);
    shop.check_invariants().await;
}

async fn what_gave_way_is_closed_once_its_gateway_answers(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, first, second) = gave_way(&shop).await;
    // Not the order's end, nor any time: it is tried every minute.
    for _ in 0..5 {
        shop.advance(Duration::minutes(1)).await;
    }
    let calls = shop.sandbox().calls();
    let asked = calls.iter().filter(|c| c.call == Call::Find && c.number.as_deref() == Some(&first)).count();
    assert!(asked >= 5, "{asked}");
    shop.sandbox().clear_faults();
    shop.advance(Duration::minutes(1)).await;
    assert_eq!(statuses(&shop.order(&order).await), ["CLOSED", "PENDING"]);
    assert!(shop.sandbox().pay(&first).await.is_err(), "it can still be paid there");
    // Its gateway is free for another one.
    let third = shop.repay("alice", &Shop::key(), &order).await;
    assert_eq!(third.at("/repayOrder/payment/status"), "PENDING", "{}", third.body);
    assert!(shop.sandbox().pay(&second).await.is_err());
    shop.check_invariants().await;
}

async fn a_cancellation_asks_about_what_gave_way_and_does_not_wait_for_it(backend: Backend) {
    let shop = Shop::open(backend).await;
    // Paid meanwhile, and nobody has told us: it wins.
    let (order, first, _) = gave_way(&shop).await;
    shop.sandbox().fault(Fault::new(Call::Notify, FaultKind::Drop).unwrap().times(20).number(&first));
    pay(&shop, &first).await;
    shop.sandbox().clear_faults();
    let refused = shop.cancel("alice", &Shop::key(), &order).await;
    assert_eq!(refused.code(), "ORDER_ALREADY_PAID", "{}", refused.body);
    // Nobody answers for it: the order is closed, and what it brings later goes back.
    let (order, first, _) = gave_way(&shop).await;
    let closed = shop.cancel("alice", &Shop::key(), &order).await;
    assert_eq!(closed.at("/cancelOrder/order/status"), "CLOSED", "{}", closed.body);
    shop.sandbox().pay(&first).await.unwrap();
    shop.sandbox().settled().await;
    for _ in 0..4 {
        shop.advance(Duration::seconds(30)).await;
    }
    let seen = shop.order(&order).await;
    assert_eq!((&seen["status"], &seen["payments"][0]["surplus"]), (&json!("CLOSED"), &json!(true)), "{seen}");
    assert_eq!(seen["refunds"][0]["status"], "SUCCEEDED", "{seen}");
    shop.check_invariants().await;
}
