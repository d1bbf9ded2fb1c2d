//! Refunds that were made in the gateway's console: they count like our own, once.

use domain::{Currency, Money, OrderId, PaymentId, RefundReason};
use payonce::payments::ports::{GatewayRefund, GatewayRefundState, News};

use crate::support::desk::{Desk, evidence};
use crate::support::{Backend, Shop, on_every_store};

on_every_store!(a_refund_made_in_the_console_counts_once, what_exceeds_the_payment_is_for_people);

async fn paid(desk: &Desk) -> (OrderId, PaymentId) {
    let bought = desk.create(&Shop::key()).await.unwrap();
    let payment = bought.payment.unwrap();
    let evidence = desk.gateway.pay(&payment);
    let id = format!("paid-{payment}");
    desk.told(&id, &News::Paid { number: payment.to_string(), evidence, order: None }).await;
    (bought.order.id.clone(), payment)
}

fn refunded(desk: &Desk, number: &str, payment: &PaymentId, minor: i64) -> News {
    let state = GatewayRefundState::Succeeded { at: desk.payments.now() };
    let refund = GatewayRefund { amount: Money::new(minor, Currency::CNY), state };
    News::Refund { number: number.to_owned(), payment: payment.to_string(), refund }
}

async fn a_refund_made_in_the_console_counts_once(backend: Backend) {
    let desk = Desk::open(backend).await;
    let (order, payment) = paid(&desk).await;
    let news = refunded(&desk, "50300000012026", &payment, 4_000);
    // The same notification twice, and the same refund under another notification.
    for id in ["console-1", "console-1", "console-2"] {
        desk.told(id, &news).await;
    }
    let seen = desk.order(&order).await;
    assert_eq!(
        (seen.status().name(), seen.refunded().minor, seen.refundable().minor),
        ("PARTIALLY_REFUNDED", 4_000, 6_000)
    );
    let [refund] = &seen.refunds[..] else { panic!("{:?}", seen.refunds) };
    assert_eq!((refund.terms.reason, refund.terms.requested_by.as_str()), (RefundReason::Outside, "wechat_pay"));
    assert!(refund.terms.note.as_ref().unwrap().contains("50300000012026"));
    // Another one, of the rest.
    desk.told("console-3", &refunded(&desk, "50300000012027", &payment, 6_000)).await;
    assert_eq!(desk.order(&order).await.status().name(), "REFUNDED");
    holds(&desk).await;
}

async fn what_exceeds_the_payment_is_for_people(backend: Backend) {
    let desk = Desk::open(backend).await;
    let (order, payment) = paid(&desk).await;
    desk.told("console-1", &refunded(&desk, "50300000012026", &payment, 10_001)).await;
    let seen = desk.order(&order).await;
    assert_eq!((seen.status().name(), seen.refunds.len(), seen.refundable().minor), ("PAID", 0, 10_000));
    let queue = desk.store.for_people(desk.payments.now()).await.unwrap();
    assert!(queue.contains(&("notification", 1)), "{queue:?}");
    // News of a refund that comes before the news of its payment waits for it.
    let bought = desk.create(&Shop::key()).await.unwrap();
    let payment = bought.payment.unwrap();
    desk.told("console-2", &refunded(&desk, "50300000012027", &payment, 1_000)).await;
    assert_eq!(desk.order(&bought.order.id).await.refunds.len(), 0);
    let evidence = evidence(desk.payments.now(), 10_000);
    desk.told("paid-late", &News::Paid { number: payment.to_string(), evidence, order: None }).await;
    desk.payments.start();
    desk.advance(domain::Duration::seconds(11)).await;
    assert_eq!(desk.order(&bought.order.id).await.refunded().minor, 1_000);
    holds(&desk).await;
}

async fn holds(desk: &Desk) {
    use payonce::store::{Depth, Invariant};
    for invariant in Invariant::all() {
        let found = desk.store.check(&invariant, Depth::Everything, desk.payments.now()).await.unwrap();
        assert!(found.as_ref().is_none_or(|f| f.rows.is_empty()), "{}: {found:?}", invariant.name);
    }
}
