//! Money that moved without us: refunds made outside, and payments of another amount that go back.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use domain::{
    Currency, Duration, Evidence, Fingerprint, Gateway, IdempotencyKey, Money, NewOrder, NumberKey, OpenPayment,
    Operation, OperationName, Order, OrderLine, OrderStatus, PaymentId, PaymentProduct, RefundId, RefundReason,
    RefundStatus, RefundTerms, RuleError, Timestamp,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_767_225_600 + seconds, 0).unwrap()
}

fn keys() -> NumberKey {
    NumberKey::new(&[1; 32]).unwrap()
}

fn operation(n: u32) -> Operation {
    let name = OperationName::CreateOrder;
    let key = IdempotencyKey::parse(&format!("outside-key-{n:08}")).unwrap();
    Operation { subject: "alice".into(), name, key, fingerprint: Fingerprint::of("alice", name, &().into()) }
}

fn payment_id() -> PaymentId {
    keys().payment(&operation(1), Gateway::WechatPay, 0)
}

fn refund_id(n: u32) -> RefundId {
    keys().refund(&operation(n), Gateway::WechatPay, 0)
}

fn yuan(minor: i64) -> Money {
    Money::new(minor, Currency::CNY)
}

fn terms() -> RefundTerms {
    RefundTerms { reason: RefundReason::Other, note: None, requested_by: "admin".into() }
}

/// An order of 100.00 CNY that brought this much.
fn brought(minor: i64) -> Order {
    let line = OrderLine { sku: "MUG".into(), name: "Mug".into(), quantity: 1, unit_price: yuan(10_000) };
    let mut order = Order::place(NewOrder {
        id: keys().order(&operation(1)),
        customer: "alice".into(),
        lines: vec![line],
        note: None,
        created_at: at(0),
        expires_at: at(1_800),
    })
    .unwrap();
    let request = OpenPayment {
        number: payment_id(),
        order: order.id.clone(),
        gateway: Gateway::WechatPay,
        product: PaymentProduct::Native,
        amount: order.total,
        description: "Mug".into(),
        expires_at: order.expires_at,
        notify_url: "https://pay.example.com/notify/wechat_pay".into(),
        payer_id: None,
        return_url: None,
        payer_address: None,
    };
    order.begin_attempt(request, at(1), at(21), "alice").unwrap();
    let evidence = Evidence { transaction_id: "42000001".into(), amount: yuan(minor), paid_at: at(60) };
    assert!(order.settle(&payment_id(), evidence, &keys(), at(61)).unwrap());
    order
}

fn outside(order: &mut Order, number: &str, amount: Money) -> bool {
    let id = keys().outside_refund(&payment_id(), number);
    order.refund_made_outside(&payment_id(), id, number, amount, at(99), at(100))
}

#[test]
fn a_refund_made_outside_counts_like_our_own_and_once() {
    let mut order = brought(10_000);
    for _ in 0..2 {
        assert!(outside(&mut order, "5030", yuan(3_000)));
    }
    assert_eq!((order.status(), order.refunds.len()), (OrderStatus::PartiallyRefunded, 1));
    assert_eq!((order.refunded(), order.refundable()), (yuan(3_000), yuan(7_000)));
    let refund = &order.refunds[0];
    assert_eq!((refund.status(), refund.terms.reason), (RefundStatus::Succeeded, RefundReason::Outside));
    assert_eq!((refund.next_at, refund.terms.requested_by.as_str()), (None, "wechat_pay"));
    assert!(outside(&mut order, "5031", yuan(7_000)));
    assert_eq!(order.status(), OrderStatus::Refunded);
    assert_ne!(order.refunds[0].id, order.refunds[1].id);
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let jpy = Money::new(1, Currency::parse("JPY").unwrap());
    for amount in [yuan(10_001), yuan(0), yuan(-1), jpy] {
        let mut order = brought(10_000);
        let before = order.clone();
        assert!(!outside(&mut order, "5030", amount), "{amount}");
        assert_eq!(order, before);
    }
}

#[test]
fn refunds_that_were_never_sent_give_way_if_that_is_enough() {
    let mut order = brought(10_000);
    order.request_refund(refund_id(1), Some(yuan(4_000)), terms(), at(90)).unwrap();
    assert!(order.take_refund_slot(&refund_id(1), at(90)).unwrap());
    order.request_refund(refund_id(2), Some(yuan(5_000)), terms(), at(91)).unwrap();
    // 4,000 are at the gateway: 7,000 do not fit whatever gives way, and so nothing does.
    assert!(!outside(&mut order, "5030", yuan(7_000)));
    assert_eq!(order.refund(&refund_id(2)).unwrap().status(), RefundStatus::Requested);
    assert!(outside(&mut order, "5030", yuan(6_000)));
    assert_eq!(order.refund(&refund_id(2)).unwrap().status(), RefundStatus::Failed);
    assert_eq!((order.refunded(), order.refundable()), (yuan(6_000), yuan(0)));
}

#[test]
fn what_did_not_fit_is_given_back_and_the_order_goes_on() {
    for minor in [9_000, 12_000] {
        let mut order = brought(minor);
        assert_eq!(order.refund_target(None), Ok(payment_id()));
        let more = order.request_refund_of(&payment_id(), refund_id(9), Some(yuan(minor + 1)), terms(), at(90));
        assert_eq!(more, Err(RuleError::ExceedsPaid { maximum: yuan(minor) }));
        order.request_refund_of(&payment_id(), refund_id(1), Some(yuan(minor - 1)), terms(), at(90)).unwrap();
        assert!(order.refund_succeeded(&refund_id(1), at(95), at(96)));
        assert!(order.has_mismatch() && order.next_at.is_none(), "some of it is still here");
        order.request_refund_of(&payment_id(), refund_id(2), None, terms(), at(97)).unwrap();
        assert!(order.refund_succeeded(&refund_id(2), at(98), at(99)));
        assert_eq!((order.has_mismatch(), order.next_at), (false, Some(at(1_800))));
        assert_eq!(order.may_be_paid(at(100), Duration::minutes(1)), Ok(()));
        assert_eq!(order.refund_target(None), Err(RuleError::NotRefundable));
        assert_eq!(order.status(), OrderStatus::PendingPayment);
    }
    // Of an order that is paid, the one that counts is meant; another's payment never is.
    let order = brought(10_000);
    assert_eq!(order.refund_target(None), Ok(payment_id()));
    let others = keys().payment(&operation(2), Gateway::WechatPay, 0);
    assert_eq!(order.refund_target(Some(&others)), Err(RuleError::NotRefundable));
}

/// The store lost a refund that the gateway closed and the one that took over; the second is heard of, and then the
/// first is sent again and closed again.
#[test]
fn a_refund_that_took_over_before_it_was_lost_does_not_take_over_twice() {
    let mut order = brought(10_000);
    let second = keys().next_refund(&refund_id(1));
    assert!(order.refund_made_outside(&payment_id(), second.clone(), second.as_str(), yuan(4_000), at(90), at(91)));
    order.request_refund(refund_id(1), Some(yuan(4_000)), terms(), at(92)).unwrap();
    assert!(order.take_refund_slot(&refund_id(1), at(92)).unwrap());
    order.refund_closed_by_gateway(&refund_id(1), &keys(), at(93)).unwrap();
    assert_eq!(order.refunds.len(), 2);
    assert_eq!(order.refund(&second).unwrap().status(), RefundStatus::Succeeded);
    assert_eq!((order.refunded(), order.refundable()), (yuan(4_000), yuan(6_000)));
}
