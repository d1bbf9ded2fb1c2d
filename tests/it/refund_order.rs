//! refundOrder: never more than was paid, whoever races whom.

use std::sync::Arc;

use crate::support::{Backend, Shop, on_every_store};
use domain::Duration;
use sandbox::{Call, FaultKind};
use serde_json::json;

on_every_store!(
    of_a_hundred_refunds_of_two_percent_fifty_are_accepted,
    a_refund_beyond_what_is_left_says_how_much_is_left,
    a_lost_answer_to_a_refund_is_found_again_and_happens_once,
);

async fn of_a_hundred_refunds_of_two_percent_fifty_are_accepted(backend: Backend) {
    let shop = Arc::new(Shop::open(backend).await);
    let (order, _) = shop.paid_order("MUG").await;
    let token = shop.token("admin", "admin");
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let (shop, order, token) = (shop.clone(), order.clone(), token.clone());
            tokio::spawn(async move {
                let key = Shop::key();
                loop {
                    let answer = shop.refund_as(&token, &key, &order, Some(200)).await;
                    // What may be sent again is sent again, with the same key, as a client would.
                    if answer.extension("retrySameKey") != true {
                        return answer;
                    }
                }
            })
        })
        .collect();
    let (mut accepted, mut refused) = (0, 0);
    for call in calls {
        let answer = call.await.unwrap();
        match answer.code().as_str() {
            "" => accepted += 1,
            "REFUND_EXCEEDS_PAID" => {
                assert_eq!(answer.extension("maximumRefundable")["minor"], "0");
                refused += 1;
            }
            code => panic!("{code}: {}", answer.body),
        }
    }
    assert_eq!((accepted, refused), (50, 50));
    assert_eq!(shop.order(&order).await["refundable"]["minor"], "0");
    // The gateway wants a minute between two refunds of a payment.
    for _ in 0..52 {
        shop.advance(Duration::minutes(1)).await;
    }
    let order = shop.order(&order).await;
    assert_eq!((&order["status"], &order["refunded"]["minor"]), (&json!("REFUNDED"), &json!("10000")), "{order}");
    let ledger = shop.ledger();
    assert_eq!((ledger.refunds.len(), ledger.refunds.iter().map(|r| r.minor).sum::<i64>()), (50, 10_000));
    shop.check_invariants().await;
}

async fn a_refund_beyond_what_is_left_says_how_much_is_left(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, _) = shop.paid_order("MUG").await;
    shop.refund(&Shop::key(), &order, Some(6_000)).await.at("/refundOrder");
    let second = shop.refund(&Shop::key(), &order, Some(6_000)).await;
    assert_eq!(second.code(), "REFUND_EXCEEDS_PAID");
    assert_eq!(second.extension("maximumRefundable"), json!({"minor": "4000", "currency": "CNY", "decimal": "40.00"}));
    for (minor, code) in [(0, "AMOUNT_OUT_OF_RANGE"), (-1, "AMOUNT_OUT_OF_RANGE"), (i64::MAX, "REFUND_EXCEEDS_PAID")] {
        assert_eq!(shop.refund(&Shop::key(), &order, Some(minor)).await.code(), code);
    }
    // Roles: a customer may not, a refunder may; and an unpaid order has nothing to give.
    let as_alice = shop.refund_as(&shop.token("alice", "customer"), &Shop::key(), &order, Some(1)).await;
    assert_eq!(as_alice.code(), "FORBIDDEN");
    let as_support = shop.refund_as(&shop.token("sam", "support"), &Shop::key(), &order, Some(1)).await;
    assert_eq!(as_support.code(), "FORBIDDEN");
    shop.refund_as(&shop.token("rita", "refunder"), &Shop::key(), &order, Some(1)).await.at("/refundOrder");
    let (unpaid, _) = shop.open_order("TEA").await;
    assert_eq!(shop.refund(&Shop::key(), &unpaid, Some(1)).await.code(), "NOT_REFUNDABLE");
    shop.check_invariants().await;
}

async fn a_lost_answer_to_a_refund_is_found_again_and_happens_once(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, _) = shop.paid_order("MUG").await;
    shop.fault(Call::Refund, FaultKind::LoseAnswer);
    shop.fault(Call::Notify, FaultKind::Drop);
    let key = Shop::key();
    let refund = shop.refund(&key, &order, Some(2_500)).await;
    assert_eq!(refund.at("/refundOrder/refund/status"), "UNKNOWN");
    let again = shop.refund(&key, &order, Some(2_500)).await;
    assert_eq!(
        (again.at("/refundOrder/replayed"), again.at("/refundOrder/refund/id")),
        (json!(true), refund.at("/refundOrder/refund/id"))
    );
    for _ in 0..3 {
        shop.advance(Duration::seconds(20)).await;
    }
    let order = shop.order(&order).await;
    assert_eq!(
        (&order["status"], &order["refunds"][0]["status"]),
        (&json!("PARTIALLY_REFUNDED"), &json!("SUCCEEDED")),
        "{order}"
    );
    assert_eq!(shop.ledger().refunds.len(), 1);
    shop.check_invariants().await;
}

#[tokio::test]
async fn not_enough_balance_is_sent_again_with_the_same_number() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, _) = shop.paid_order("MUG").await;
    shop.fault(Call::Refund, FaultKind::NotEnough);
    let refund = shop.refund(&Shop::key(), &order, None).await;
    assert_eq!(refund.at("/refundOrder/refund/status"), "PROCESSING");
    shop.advance(Duration::minutes(2)).await;
    shop.advance(Duration::minutes(2)).await;
    assert_eq!(shop.order(&order).await["status"], "REFUNDED");
    let ledger = shop.ledger();
    assert_eq!(ledger.refunds.len(), 1);
    assert_eq!(json!(ledger.refunds[0].number), refund.at("/refundOrder/refund/id"));
    shop.check_invariants().await;
}

#[tokio::test]
async fn a_refund_that_the_gateway_closes_is_taken_over_by_another_number() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, _) = shop.paid_order("MUG").await;
    shop.fault(Call::Refund, FaultKind::RefundClosed);
    shop.refund(&Shop::key(), &order, Some(4_000)).await.at("/refundOrder");
    shop.advance(Duration::seconds(2)).await;
    let waiting = shop.order(&order).await;
    assert_eq!(waiting["refunds"][0]["status"], "FAILED");
    assert_eq!(
        (&waiting["refunds"][1]["status"], &waiting["refundable"]["minor"]),
        (&json!("PROCESSING"), &json!("6000")),
        "{waiting}"
    );
    shop.advance(Duration::hours(1) + Duration::minutes(1)).await;
    shop.advance(Duration::minutes(1)).await;
    let done = shop.order(&order).await;
    assert_eq!(
        (&done["refunds"][1]["status"], &done["refunded"]["minor"]),
        (&json!("SUCCEEDED"), &json!("4000")),
        "{done}"
    );
    assert_eq!(shop.ledger().refunds.len(), 1);
    shop.check_invariants().await;
}

#[tokio::test]
async fn a_refusal_of_a_second_try_does_not_free_what_the_first_may_have_sent() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, _) = shop.paid_order("MUG").await;
    // The first try is lost on its way; so is what we hear of the second, which is a plain no.
    shop.fault(Call::Refund, FaultKind::LoseRequest);
    let key = Shop::key();
    assert_eq!(shop.refund(&key, &order, Some(6_000)).await.at("/refundOrder/refund/status"), "UNKNOWN");
    assert_eq!(shop.order(&order).await["refundable"]["minor"], "4000");
    for _ in 0..5 {
        shop.advance(Duration::seconds(30)).await;
    }
    let done = shop.order(&order).await;
    assert_eq!(
        (&done["refunds"][0]["status"], &done["refunded"]["minor"]),
        (&json!("SUCCEEDED"), &json!("6000")),
        "{done}"
    );
    assert_eq!(shop.ledger().refunds.len(), 1);
    shop.check_invariants().await;
}
