//! Large refunds wait for another person.

use std::sync::Arc;

use domain::Duration;
use sandbox::{Call, FaultKind};
use serde_json::{Value, json};

use crate::support::{Answer, Backend, Shop, on_every_store};

on_every_store!(
    a_large_refund_is_sent_only_when_another_person_approves_it,
    a_rejected_refund_gives_its_reservation_back_and_is_never_sent,
    of_many_verdicts_at_once_one_counts,
);

const FROM_60: [(&str, &str); 1] = [("PAYONCE_REFUND_APPROVAL_MINOR", "CNY:6000")];

impl Shop {
    /// approveRefund or rejectRefund.
    async fn decide(&self, verdict: &str, sub: &str, role: &str, key: &str, refund: &str) -> Answer {
        let reason = if verdict == "rejectRefund" { ", reason: \"Not this one.\"" } else { "" };
        let document = format!(
            "mutation($key: IdempotencyKey!, $id: ID!) {{ {verdict}(idempotencyKey: $key, refundId: $id{reason}) {{ replayed refund {{ id status requestedBy approvedBy failureReason }} order {{ refundable {{ minor }} }} }} }}"
        );
        self.ask(&self.token(sub, role), &document, json!({"key": key, "id": refund})).await
    }

    /// refundOrder by rita, a refunder.
    async fn ask_back(&self, order: &str, minor: Option<i64>) -> String {
        let asked = self.refund_as(&self.token("rita", "refunder"), &Shop::key(), order, minor).await;
        assert_eq!(asked.at("/refundOrder/refund/status"), "PENDING_APPROVAL");
        asked.text("/refundOrder/refund/id")
    }

    async fn refunds_that_are(&self, status: &str) -> Value {
        let document = "query($s: [RefundStatus!]) { refunds(filter: {status: $s}) { nodes { id status } } }";
        self.ask(&self.token("sam", "support"), document, json!({"s": [status]})).await.at("/refunds/nodes")
    }
}

async fn a_large_refund_is_sent_only_when_another_person_approves_it(backend: Backend) {
    let shop = Shop::open_with(backend, &FROM_60).await;
    let (order, _) = shop.paid_order("MUG").await;
    // Below the limit nobody is asked.
    let small = shop.refund_as(&shop.token("rita", "refunder"), &Shop::key(), &order, Some(1_000)).await;
    assert_eq!(small.at("/refundOrder/refund/status"), "PROCESSING");
    shop.advance(Duration::minutes(2)).await;
    let key = Shop::key();
    let asked = shop.refund_as(&shop.token("rita", "refunder"), &key, &order, Some(6_000)).await;
    assert_eq!(asked.at("/refundOrder/refund/status"), "PENDING_APPROVAL");
    let refund = asked.text("/refundOrder/refund/id");
    assert_eq!(asked.at("/refundOrder/order/refundable/minor"), "3000", "its amount is reserved");
    let again = shop.refund_as(&shop.token("rita", "refunder"), &key, &order, Some(6_000)).await;
    assert_eq!(
        (again.at("/refundOrder/replayed"), again.text("/refundOrder/refund/id")),
        (json!(true), refund.clone())
    );
    assert_eq!(shop.refunds_that_are("PENDING_APPROVAL").await, json!([{"id": refund, "status": "PENDING_APPROVAL"}]));
    assert_eq!(shop.refunds_that_are("PROCESSING").await, json!([]));
    // It waits as long as it takes.
    shop.advance(Duration::days(3)).await;
    assert_eq!(shop.ledger().refunds.len(), 1);
    shop.check_invariants().await;
    // Not by who asked, whatever else they may; not by who has no such role.
    for (sub, role) in
        [("rita", "approver"), ("rita", "admin"), ("rob", "refunder"), ("sam", "support"), ("alice", "customer")]
    {
        for verdict in ["approveRefund", "rejectRefund"] {
            let no = shop.decide(verdict, sub, role, &Shop::key(), &refund).await;
            assert_eq!(no.code(), "FORBIDDEN", "{verdict} {sub} {role}: {}", no.body);
        }
    }
    let key = Shop::key();
    let yes = shop.decide("approveRefund", "ann", "approver", &key, &refund).await;
    let approved = yes.at("/approveRefund/refund");
    assert_eq!(
        (&approved["status"], &approved["requestedBy"], &approved["approvedBy"]),
        (&json!("PROCESSING"), &json!("rita"), &json!("ann"))
    );
    assert_eq!(
        shop.decide("approveRefund", "ann", "approver", &key, &refund).await.at("/approveRefund/replayed"),
        true
    );
    shop.advance(Duration::minutes(2)).await;
    assert_eq!(shop.order(&order).await["refunded"]["minor"], "7000");
    let ledger = shop.ledger();
    assert_eq!(ledger.refunds.iter().map(|r| r.minor).collect::<Vec<_>>(), [1_000, 6_000]);
    // What is decided is decided, and what needed nobody is not theirs to decide.
    let small = small.text("/refundOrder/refund/id");
    for refund in [&refund, &small] {
        for verdict in ["approveRefund", "rejectRefund"] {
            assert_eq!(shop.decide(verdict, "bea", "approver", &Shop::key(), refund).await.code(), "REFUND_DECIDED");
        }
    }
    let nothing = shop.decide("approveRefund", "ann", "approver", &Shop::key(), "rfd_00000000000000000000000000").await;
    assert_eq!(nothing.code(), "NOT_FOUND");
    shop.check_invariants().await;
}

async fn a_rejected_refund_gives_its_reservation_back_and_is_never_sent(backend: Backend) {
    let shop = Shop::open_with(backend, &FROM_60).await;
    let (order, _) = shop.paid_order("MUG").await;
    // All that is left counts with what it comes to.
    let refund = shop.ask_back(&order, None).await;
    let key = Shop::key();
    let no = shop.decide("rejectRefund", "ann", "approver", &key, &refund).await;
    let rejected = no.at("/rejectRefund/refund");
    assert_eq!(
        (&rejected["status"], &rejected["failureReason"], &rejected["approvedBy"]),
        (&json!("REJECTED"), &json!("Not this one."), &json!(null))
    );
    assert_eq!(no.at("/rejectRefund/order/refundable/minor"), "10000");
    assert_eq!(shop.decide("rejectRefund", "ann", "approver", &key, &refund).await.at("/rejectRefund/replayed"), true);
    assert_eq!(shop.decide("approveRefund", "bea", "approver", &Shop::key(), &refund).await.code(), "REFUND_DECIDED");
    assert_eq!(shop.refunds_that_are("REJECTED").await, json!([{"id": refund, "status": "REJECTED"}]));
    assert_eq!(shop.refunds_that_are("FAILED").await, json!([]));
    shop.sync("alice", &order).await.at("/syncOrder");
    shop.advance(Duration::days(1)).await;
    assert!(shop.ledger().refunds.is_empty());
    assert!(!shop.sandbox().calls().iter().any(|c| c.call == Call::Refund));
    shop.check_invariants().await;
}

async fn of_many_verdicts_at_once_one_counts(backend: Backend) {
    let shop = Arc::new(Shop::open_with(backend, &FROM_60).await);
    let (order, _) = shop.paid_order("MUG").await;
    let refund = shop.ask_back(&order, None).await;
    let calls: Vec<_> = (0..12)
        .map(|n| {
            let (shop, refund) = (shop.clone(), refund.clone());
            let verdict = if n % 2 == 0 { "approveRefund" } else { "rejectRefund" };
            tokio::spawn(async move {
                let key = Shop::key();
                loop {
                    let answer = shop.decide(verdict, &format!("approver-{n}"), "approver", &key, &refund).await;
                    if answer.extension("retrySameKey") != true {
                        return (verdict, answer);
                    }
                }
            })
        })
        .collect();
    let mut counted = Vec::new();
    for call in calls {
        let (verdict, answer) = call.await.unwrap();
        match answer.code().as_str() {
            "" => counted.push(verdict),
            "REFUND_DECIDED" => {}
            code => panic!("{code}: {}", answer.body),
        }
    }
    shop.advance(Duration::minutes(2)).await;
    let done = shop.ledger().refunds.len();
    assert!(matches!((counted.as_slice(), done), (["approveRefund"], 1) | (["rejectRefund"], 0)), "{counted:?} {done}");
    shop.check_invariants().await;
}

#[tokio::test]
async fn an_approval_whose_answer_is_lost_happens_once() {
    let shop = Shop::open_with(Backend::Sqlite, &FROM_60).await;
    let (order, _) = shop.paid_order("MUG").await;
    let refund = shop.ask_back(&order, None).await;
    shop.fault(Call::Refund, FaultKind::LoseAnswer);
    shop.fault(Call::Notify, FaultKind::Drop);
    let yes = shop.decide("approveRefund", "ann", "approver", &Shop::key(), &refund).await;
    assert_eq!(yes.at("/approveRefund/refund/status"), "UNKNOWN");
    for _ in 0..3 {
        shop.advance(Duration::seconds(20)).await;
    }
    assert_eq!(shop.order(&order).await["status"], "REFUNDED");
    assert_eq!(shop.ledger().refunds.len(), 1);
    shop.check_invariants().await;
}
