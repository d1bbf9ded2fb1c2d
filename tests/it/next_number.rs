//! The gateway knows our number with other content: that is closed, and the operation goes on with its next number,
//! wherever it is interrupted.

use domain::{Duration, Gateway, NumberKey, PaymentId, PaymentStatus};
use payonce::payments::ports::{GatewayPayment, News};
use payonce::store::ClaimState;

use crate::support::desk::{Desk, Trouble, evidence};
use crate::support::shop::eventually;
use crate::support::{Backend, Shop, on_every_store};

on_every_store!(an_unpaid_number_is_closed_and_the_next_one_is_opened, an_interrupted_one_goes_on);

fn number(key: &str, n: u32) -> PaymentId {
    NumberKey::new(&[7; 32]).unwrap().payment(&Desk::operation(key), Gateway::WechatPay, n)
}

fn opened(desk: &Desk) -> usize {
    desk.gateway.calls.lock().unwrap().iter().filter(|(call, _)| *call == "open").count()
}

async fn an_unpaid_number_is_closed_and_the_next_one_is_opened(backend: Backend) {
    let desk = Desk::open(backend).await;
    let key = Shop::key();
    desk.gateway.knows(number(&key, 0), GatewayPayment::Open);
    desk.gateway.knows(number(&key, 1), GatewayPayment::Closed);
    let outcome = desk.create(&key).await.unwrap();
    assert_eq!(outcome.payment, Some(number(&key, 2)));
    let statuses: Vec<_> = outcome.order.payments.iter().map(|p| p.status()).collect();
    assert_eq!(statuses, [PaymentStatus::Closed, PaymentStatus::Closed, PaymentStatus::Pending]);
    assert_eq!(desk.gateway.stands(&number(&key, 0)), Some(GatewayPayment::Closed));
    // The key's answer is the newest attempt, and nothing is opened again.
    let again = desk.create(&key).await.unwrap();
    assert_eq!((again.payment, again.replayed, opened(&desk)), (Some(number(&key, 2)), true, 3));
    // One that is paid has won, and is not followed.
    let key = Shop::key();
    desk.gateway.knows(number(&key, 0), GatewayPayment::Paid(evidence(desk.payments.now(), 10_000)));
    let outcome = desk.create(&key).await.unwrap();
    assert_eq!((outcome.order.status().name(), outcome.order.payments.len()), ("PAID", 1));
}

#[tokio::test]
async fn money_that_went_back_is_recorded_when_it_is_known_whether_as_surplus() {
    let desk = Desk::open(Backend::Sqlite).await;
    desk.payments.start();
    let key = Shop::key();
    desk.gateway.knows(number(&key, 0), GatewayPayment::Returned(evidence(desk.payments.now(), 10_000)));
    desk.gateway.trouble("find_refund", Trouble::Silence);
    let outcome = desk.create(&key).await.unwrap();
    let unknown = outcome.order.payment(&number(&key, 0)).unwrap().status();
    assert_eq!((outcome.order.status().name(), unknown), ("PAYING", PaymentStatus::Unknown));
    // It was not: made outside, or under a key that comes again.
    desk.advance(Duration::seconds(10)).await;
    assert_eq!(desk.order(&outcome.order.id).await.status().name(), "PAID");
}

/// A process that dies anywhere between the refusal and the next number's answer.
async fn an_interrupted_one_goes_on(backend: Backend) {
    for (call, trouble) in
        [("find", Trouble::PanicBefore), ("close", Trouble::PanicBefore), ("close", Trouble::PanicAfter)]
    {
        let desk = Desk::open(backend).await;
        let key = Shop::key();
        desk.gateway.knows(number(&key, 0), GatewayPayment::Open);
        desk.gateway.trouble(call, trouble);
        assert!(desk.create(&key).await.is_err(), "{call} {trouble:?}");
        finished_by_somebody_else(&desk, &key, 1).await;
    }
}

#[tokio::test]
async fn who_finishes_it_under_the_same_key_is_answered_with_the_number_it_came_to() {
    let desk = Desk::open(Backend::Sqlite).await;
    let key = Shop::key();
    desk.gateway.knows(number(&key, 0), GatewayPayment::Open);
    desk.gateway.trouble("close", Trouble::PanicAfter);
    assert!(desk.create(&key).await.is_err());
    desk.leases_end().await;
    assert_eq!(desk.create(&key).await.unwrap().payment, Some(number(&key, 1)));
}

#[tokio::test]
async fn an_operation_that_has_answered_does_not_go_on() {
    let desk = Desk::open(Backend::Sqlite).await;
    let key = Shop::key();
    desk.gateway.knows(number(&key, 0), GatewayPayment::Open);
    desk.gateway.trouble("open", Trouble::Silence);
    let outcome = desk.create(&key).await.unwrap();
    assert_eq!(outcome.order.payments[0].status(), PaymentStatus::Unknown);
    desk.payments.start();
    desk.advance(Duration::seconds(3)).await;
    // Asked again, the gateway knows the number with other content: closed, and the order can be paid again.
    let order = desk.order(&outcome.order.id).await;
    assert_eq!((order.status().name(), order.payments.len()), ("PENDING_PAYMENT", 1));
}

async fn finished_by_somebody_else(desk: &Desk, key: &str, n: u32) {
    desk.leases_end().await;
    // The client asks again and finishes it; nobody else works. The first answer is the one that stays.
    let outcome = desk.create(key).await.unwrap();
    assert!(outcome.replayed);
    assert_eq!(outcome.payment, Some(number(key, n)));
    desk.payments.start();
    assert_eq!(desk.create(key).await.unwrap().payment, Some(number(key, n)));
    assert_eq!(outcome.order.payment(&number(key, n)).unwrap().status(), PaymentStatus::Pending);
    assert_eq!(desk.gateway.stands(&number(key, 0)), Some(GatewayPayment::Closed));
    // Whatever was paid under it is the order's.
    let evidence = desk.gateway.pay(&number(key, n));
    desk.told(key, &News::Paid { number: number(key, n).to_string(), evidence, order: None }).await;
    assert_eq!(desk.order(&outcome.order.id).await.status().name(), "PAID");
}

#[tokio::test]
async fn a_process_that_dies_in_the_next_call_leaves_its_claim_at_the_next_number() {
    let desk = Desk::open(Backend::Sqlite).await;
    let key = Shop::key();
    desk.gateway.knows(number(&key, 0), GatewayPayment::Open);
    // Closing it works; then the process dies in the call for the next number.
    desk.gateway.trouble_after("close", "open", Trouble::PanicAfter);
    assert!(desk.create(&key).await.is_err());
    assert_eq!(desk.gateway.stands(&number(&key, 1)), Some(GatewayPayment::Open));
    finished_by_somebody_else(&desk, &key, 1).await;
}

#[tokio::test]
async fn a_panic_in_an_operation_leaves_it_to_the_completer() {
    for trouble in [Trouble::PanicBefore, Trouble::PanicAfter] {
        let desk = Desk::open(Backend::Sqlite).await;
        let key = Shop::key();
        desk.gateway.trouble("open", trouble);
        assert!(matches!(desk.create(&key).await, Err(payonce::payments::PaymentError::Internal(_))));
        desk.leases_end().await;
        desk.payments.start();
        // Nobody asks again: the scheduler finds it by itself.
        eventually("the completer finishes it", async || {
            desk.clock.turn(Duration::seconds(1));
            let claim = desk.store.claim_of("alice", &key).await.unwrap().unwrap();
            claim.state == ClaimState::Done
        })
        .await;
        let again = desk.create(&key).await.unwrap();
        assert_eq!((again.replayed, again.order.payments.len()), (true, 1));
        assert_eq!(again.order.payments[0].status(), PaymentStatus::Pending);
    }
}
