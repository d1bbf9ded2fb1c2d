//! The rules as tables: every state of an order and of a payment against everything that can happen.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use domain::{
    ClientAction, CloseReason, Currency, Duration, Evidence, Fingerprint, Gateway, IdempotencyKey, Money, NewOrder,
    NumberKey, OpenPayment, Operation, OperationName, Order, OrderLine, OrderStatus, PaymentId, PaymentProduct,
    PaymentStatus, RefundId, RefundReason, RefundStatus, RefundTerms, RuleError, Timestamp,
};

const MARGIN: Duration = Duration::minutes(1);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_767_225_600 + seconds, 0).unwrap()
}

fn keys() -> NumberKey {
    NumberKey::new(&[1; 32]).unwrap()
}

fn operation(n: u32) -> Operation {
    let name = OperationName::CreateOrder;
    Operation {
        subject: "alice".into(),
        name,
        key: IdempotencyKey::parse(&format!("rules-key-{n:08}")).unwrap(),
        fingerprint: Fingerprint::of("alice", name, &serde_json::Value::Null),
    }
}

fn payment_id(n: u32) -> PaymentId {
    keys().payment(&operation(n), Gateway::WechatPay, 0)
}

fn refund_id(n: u32) -> RefundId {
    keys().refund(&operation(n), Gateway::WechatPay, 0)
}

fn yuan(minor: i64) -> Money {
    Money::new(minor, Currency::CNY)
}

/// An order of 100.00 CNY with half an hour to pay.
fn placed() -> Order {
    let line = OrderLine { sku: "MUG".into(), name: "Mug".into(), quantity: 2, unit_price: yuan(5_000) };
    Order::place(NewOrder {
        id: keys().order(&operation(0)),
        customer: "alice".into(),
        lines: vec![line],
        note: None,
        created_at: at(0),
        expires_at: at(1_800),
    })
    .unwrap()
}

fn request(order: &Order, n: u32) -> OpenPayment {
    OpenPayment {
        number: payment_id(n),
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
    }
}

fn created() -> Order {
    let mut order = placed();
    let request = request(&order, 1);
    order.begin_attempt(request, at(1), at(21), "alice").unwrap();
    order
}

fn pending() -> Order {
    let mut order = created();
    order.attempt_opened(&payment_id(1), ClientAction::QrCode { url: "weixin://x".into() }, at(9_000), at(2));
    order
}

fn evidence(minor: i64) -> Evidence {
    Evidence { transaction_id: "42000001".into(), amount: yuan(minor), paid_at: at(60) }
}

fn paid() -> Order {
    let mut order = pending();
    assert!(order.settle(&payment_id(1), evidence(10_000), &keys(), at(61)).unwrap());
    order
}

fn closed() -> Order {
    let mut order = placed();
    order.begin_close(CloseReason::Cancelled, None, at(5), at(25), "alice").unwrap();
    order
}

fn terms() -> RefundTerms {
    RefundTerms { reason: RefundReason::CustomerRequest, note: None, requested_by: "admin".into() }
}

/// What a payment is in each state, made by the rules themselves.
fn in_state(status: PaymentStatus) -> Order {
    let mut order = created();
    let id = payment_id(1);
    match status {
        PaymentStatus::Created => {}
        PaymentStatus::Unknown => order.attempt_unknown(&id, at(3)),
        PaymentStatus::Pending => order = pending(),
        PaymentStatus::Succeeded => order = paid(),
        PaymentStatus::Failed => order.attempt_failed(&id, "no".into(), at(3)),
        PaymentStatus::Closed => order.attempt_closed(&id, at(3)),
    }
    assert_eq!(order.payment(&id).unwrap().status(), status);
    order
}

#[test]
fn payments_only_climb() {
    use PaymentStatus::{Closed, Created, Failed, Pending, Succeeded, Unknown};
    type Act = fn(&mut Order);
    let opened: Act = |o| o.attempt_opened(&payment_id(1), ClientAction::QrCode { url: "u".into() }, at(9_000), at(4));
    let unknown: Act = |o| o.attempt_unknown(&payment_id(1), at(4));
    let failed: Act = |o| o.attempt_failed(&payment_id(1), "no".into(), at(4));
    let closed: Act = |o| o.attempt_closed(&payment_id(1), at(4));
    let settled: Act = |o| {
        o.settle(&payment_id(1), evidence(10_000), &keys(), at(61)).unwrap();
    };
    let table = [
        // from, then after: opened, unknown, failed, closed, settled
        (Created, [Pending, Unknown, Failed, Closed, Succeeded]),
        (Unknown, [Pending, Unknown, Failed, Closed, Succeeded]),
        (Pending, [Pending, Pending, Failed, Closed, Succeeded]),
        (Failed, [Failed, Failed, Failed, Failed, Succeeded]),
        (Closed, [Closed, Closed, Closed, Closed, Succeeded]),
        (Succeeded, [Succeeded, Succeeded, Succeeded, Succeeded, Succeeded]),
    ];
    for (from, after) in table {
        for (act, to) in [opened, unknown, failed, closed, settled].into_iter().zip(after) {
            let mut order = in_state(from);
            let before = order.clone();
            act(&mut order);
            assert_eq!(order.payment(&payment_id(1)).unwrap().status(), to, "from {from:?}");
            let changed = order.status() != before.status() || from != to;
            let told = order.version > before.version;
            assert_eq!(changed, told, "an event for each change, none without: {from:?} to {to:?}");
            assert_eq!(order.version, before.version + (order.happened.len() - before.happened.len()) as i64);
        }
    }
}

#[test]
fn an_order_can_be_paid_again_once_its_attempt_is_over() {
    for (status, again) in [
        (PaymentStatus::Created, Err(RuleError::AttemptOpen)),
        (PaymentStatus::Unknown, Err(RuleError::AttemptOpen)),
        (PaymentStatus::Pending, Err(RuleError::AttemptOpen)),
        (PaymentStatus::Failed, Ok(())),
        (PaymentStatus::Closed, Ok(())),
    ] {
        let mut order = in_state(status);
        let next = request(&order, 2);
        assert_eq!(order.begin_attempt(next, at(5), at(25), "alice"), again, "{status:?}");
    }
    let mut other_amount = placed();
    let wrong = OpenPayment { amount: yuan(1), ..request(&other_amount, 1) };
    assert_eq!(other_amount.begin_attempt(wrong, at(5), at(25), "alice"), Err(RuleError::AmountOutOfRange));
}

#[test]
fn who_may_be_paid() {
    let table = [
        (placed(), 0, Ok(())),
        (pending(), 0, Ok(())),
        (paid(), 0, Err(RuleError::AlreadyPaid)),
        (closed(), 0, Err(RuleError::Closed)),
        (placed(), 1_740, Ok(())),
        (placed(), 1_741, Err(RuleError::Expired { remaining_seconds: 59 })),
        (placed(), 1_800, Err(RuleError::Expired { remaining_seconds: 0 })),
    ];
    for (order, when, allowed) in table {
        assert_eq!(order.may_be_paid(at(when), MARGIN), allowed, "{:?} at {when}", order.status());
    }
    let mut closing = pending();
    closing.begin_close(CloseReason::Expired, None, at(5), at(25), "payonce").unwrap();
    assert_eq!(closing.may_be_paid(at(6), MARGIN), Err(RuleError::Expired { remaining_seconds: 0 }));
    let mut many = placed();
    for n in 0..20 {
        let next = request(&many, n + 1);
        many.begin_attempt(next, at(1), at(21), "alice").unwrap();
        many.attempt_closed(&payment_id(n + 1), at(2));
    }
    assert_eq!(many.may_be_paid(at(3), MARGIN), Err(RuleError::TooManyAttempts));
}

#[test]
fn the_first_success_wins_and_a_second_goes_back() {
    let mut order = in_state(PaymentStatus::Closed);
    let next = request(&order, 2);
    order.begin_attempt(next, at(5), at(25), "alice").unwrap();
    assert!(order.settle(&payment_id(2), evidence(10_000), &keys(), at(61)).unwrap());
    assert_eq!((order.status(), order.paid()), (OrderStatus::Paid, yuan(10_000)));
    // The closed one was paid after all: recorded, surplus and late, and its refund with it.
    assert!(order.settle(&payment_id(1), evidence(10_000), &keys(), at(62)).unwrap());
    let domain::PaymentState::Succeeded { surplus, late, mismatch, .. } = order.payment(&payment_id(1)).unwrap().state
    else {
        panic!("not recorded")
    };
    assert_eq!((surplus, late, mismatch), (true, true, false));
    assert_eq!((order.status(), order.paid()), (OrderStatus::Paid, yuan(10_000)));
    let back = &order.refunds[0];
    assert_eq!(
        (back.id.clone(), back.amount, back.terms.reason),
        (keys().own_refund(&payment_id(1), 0), yuan(10_000), RefundReason::Surplus)
    );
    assert_eq!(back.next_at, Some(at(63)), "well within five minutes");
    // Told again, nothing changes.
    let before = order.clone();
    assert!(!order.settle(&payment_id(1), evidence(10_000), &keys(), at(63)).unwrap());
    assert_eq!(order, before);
    order.refund_succeeded(&keys().own_refund(&payment_id(1), 0), at(70), at(70));
    assert_eq!((order.status(), order.refunded()), (OrderStatus::Paid, yuan(0)), "a surplus is not the order's refund");
}

#[test]
fn a_success_on_a_closed_order_is_surplus_and_late() {
    let mut order = pending();
    order.begin_close(CloseReason::Expired, None, at(1_800), at(1_820), "payonce").unwrap();
    assert_eq!(order.closing, Some(CloseReason::Expired));
    assert_eq!(order.remaining_seconds(at(100)), 0, "what is being closed is never shown payable");
    assert!(order.payment(&payment_id(1)).unwrap().action(at(3)).is_none());
    order.attempt_closed(&payment_id(1), at(1_801));
    order.finish_close(at(1_801), "payonce");
    assert_eq!(order.status(), OrderStatus::Closed);
    assert!(order.settle(&payment_id(1), evidence(10_000), &keys(), at(1_805)).unwrap());
    assert_eq!((order.status(), order.paid(), order.refunds.len()), (OrderStatus::Closed, yuan(0), 1));
}

#[test]
fn a_surplus_that_went_back_and_was_forgotten_does_not_win() {
    let mut order = pending();
    assert!(order.settle_returned_surplus(&payment_id(1), evidence(10_000), &keys(), at(61)).unwrap());
    assert_eq!((order.status(), order.paid()), (OrderStatus::PendingPayment, yuan(0)));
    assert_eq!(order.refunds[0].id, keys().own_refund(&payment_id(1), 0));
    assert_eq!(order.may_be_paid(at(62), MARGIN), Ok(()));
    // Nor does it stop a cancellation.
    let mut order = pending();
    order.begin_close(CloseReason::Cancelled, None, at(5), at(25), "alice").unwrap();
    order.settle_returned_surplus(&payment_id(1), evidence(10_000), &keys(), at(6)).unwrap();
    order.finish_close(at(6), "payonce");
    assert_eq!(order.status(), OrderStatus::Closed);
    // What does not fit is for people all the same.
    let mut order = pending();
    order.settle_returned_surplus(&payment_id(1), evidence(9_999), &keys(), at(61)).unwrap();
    assert!(order.has_mismatch() && order.refunds.is_empty());
}

#[test]
fn money_that_arrives_while_the_order_is_being_closed_wins() {
    let mut order = pending();
    order.begin_close(CloseReason::Cancelled, None, at(5), at(25), "alice").unwrap();
    order.settle(&payment_id(1), evidence(10_000), &keys(), at(6)).unwrap();
    order.finish_close(at(7), "payonce");
    assert_eq!((order.status(), order.closing, order.next_at), (OrderStatus::Paid, None, None));
}

#[test]
fn another_amount_is_for_people() {
    for minor in [9_999, 10_001] {
        let mut order = pending();
        order.settle(&payment_id(1), evidence(minor), &keys(), at(61)).unwrap();
        assert_eq!((order.status(), order.paid(), order.refunds.len()), (OrderStatus::PendingPayment, yuan(0), 0));
        assert!(order.has_mismatch());
        assert_eq!(order.may_be_paid(at(62), MARGIN), Err(RuleError::Mismatched));
        assert_eq!(
            order.begin_close(CloseReason::Expired, None, at(1_800), at(1_820), "payonce"),
            Err(RuleError::Mismatched)
        );
        assert_eq!(order.next_at, None);
    }
}

#[test]
fn closing_is_refused_by_what_is_over_and_done_at_once_with_nothing_open() {
    assert_eq!(closed().status(), OrderStatus::Closed);
    for (mut order, why) in [(paid(), RuleError::AlreadyPaid), (closed(), RuleError::Closed)] {
        assert_eq!(order.begin_close(CloseReason::Cancelled, None, at(9), at(29), "alice"), Err(why));
    }
    // The first reason stands.
    let mut order = pending();
    order.begin_close(CloseReason::Cancelled, None, at(5), at(25), "alice").unwrap();
    let version = order.version;
    order.begin_close(CloseReason::Expired, None, at(6), at(26), "payonce").unwrap();
    assert_eq!((order.closing, order.version), (Some(CloseReason::Cancelled), version));
}

#[test]
fn refunds_never_exceed_what_was_paid() {
    let mut order = paid();
    let no = |order: &mut Order, amount| order.request_refund(refund_id(99), amount, terms(), at(100)).unwrap_err();
    assert_eq!(no(&mut order, Some(yuan(10_001))), RuleError::ExceedsPaid { maximum: yuan(10_000) });
    assert_eq!(no(&mut order, Some(yuan(0))), RuleError::AmountOutOfRange);
    assert_eq!(no(&mut order, Some(yuan(-1))), RuleError::AmountOutOfRange);
    assert_eq!(no(&mut order, Some(Money::new(1, Currency::parse("JPY").unwrap()))), RuleError::AmountOutOfRange);
    order.request_refund(refund_id(1), Some(yuan(6_000)), terms(), at(100)).unwrap();
    assert_eq!((order.refundable(), order.status()), (yuan(4_000), OrderStatus::Paid));
    assert_eq!(no(&mut order, Some(yuan(6_000))), RuleError::ExceedsPaid { maximum: yuan(4_000) });
    // A refused one is free again; what is left is all that is left.
    order.refund_failed(&refund_id(1), "no".into(), at(101));
    assert_eq!(order.refundable(), yuan(10_000));
    order.request_refund(refund_id(2), Some(yuan(1)), terms(), at(102)).unwrap();
    order.refund_succeeded(&refund_id(2), at(103), at(103));
    assert_eq!((order.status(), order.refunded()), (OrderStatus::PartiallyRefunded, yuan(1)));
    order.request_refund(refund_id(3), None, terms(), at(104)).unwrap();
    assert_eq!(order.refund(&refund_id(3)).unwrap().amount, yuan(9_999));
    assert_eq!(no(&mut order, None), RuleError::ExceedsPaid { maximum: yuan(0) });
    order.refund_succeeded(&refund_id(3), at(105), at(105));
    assert_eq!((order.status(), order.refundable()), (OrderStatus::Refunded, yuan(0)));
    assert_eq!(no(&mut order, None), RuleError::NotRefundable);
    for mut unpaid in [placed(), pending(), closed()] {
        assert_eq!(no(&mut unpaid, None), RuleError::NotRefundable);
    }
}

#[test]
fn a_refund_ends_once() {
    type Act = fn(&mut Order);
    let accepted: Act = |o| o.refund_accepted(&refund_id(1), at(101));
    let unknown: Act = |o| o.refund_unknown(&refund_id(1), at(101));
    let succeeded: Act = |o| {
        assert!(o.refund_succeeded(&refund_id(1), at(101), at(101)));
    };
    let failed: Act = |o| o.refund_failed(&refund_id(1), "no".into(), at(101));
    use RefundStatus::{Failed, Processing, Requested, Succeeded, Unknown};
    let table: [(RefundStatus, &[Act], [RefundStatus; 4]); 5] = [
        (Requested, &[], [Processing, Unknown, Succeeded, Failed]),
        (Processing, &[accepted], [Processing, Processing, Succeeded, Failed]),
        (Unknown, &[unknown], [Processing, Unknown, Succeeded, Failed]),
        (Succeeded, &[succeeded], [Succeeded; 4]),
        (Failed, &[failed], [Failed, Failed, Succeeded, Failed]),
    ];
    for (from, way, after) in table {
        for (act, to) in [accepted, unknown, succeeded, failed].into_iter().zip(after) {
            let mut order = paid();
            order.request_refund(refund_id(1), Some(yuan(4_000)), terms(), at(100)).unwrap();
            way.iter().for_each(|step| step(&mut order));
            act(&mut order);
            let refund = order.refund(&refund_id(1)).unwrap();
            assert_eq!(refund.status(), to, "from {from:?}");
            let winner = order.winner().unwrap();
            let expected = match to {
                Succeeded => (0, 4_000),
                Failed => (0, 0),
                _ => (4_000, 0),
            };
            assert_eq!((winner.refund_reserved, winner.refunded), expected, "from {from:?} to {to:?}");
            assert_eq!(refund.next_at.is_some(), refund.is_open());
        }
    }
}

#[test]
fn a_minute_lies_between_two_refunds_of_a_payment() {
    let mut order = paid();
    for n in 1..=3 {
        order.request_refund(refund_id(n), Some(yuan(10)), terms(), at(100)).unwrap();
    }
    assert_eq!(order.take_refund_slot(&refund_id(1), at(100)), Ok(true));
    assert_eq!(order.refund(&refund_id(1)).unwrap().next_at, Some(at(120)), "if the answer is never recorded");
    assert_eq!(order.take_refund_slot(&refund_id(2), at(100)), Ok(false));
    assert_eq!(order.refund(&refund_id(2)).unwrap().next_at, Some(at(160)));
    assert_eq!(order.take_refund_slot(&refund_id(2), at(160)), Ok(true));
    assert_eq!(order.take_refund_slot(&refund_id(3), at(161)), Ok(false));
    order.refund_accepted(&refund_id(1), at(162));
    assert_eq!(order.take_refund_slot(&refund_id(1), at(400)), Ok(false), "what is accepted is not sent again");
}

#[test]
fn the_gateway_takes_fifty_refunds_of_a_payment() {
    let mut order = paid();
    for n in 0..50 {
        order.request_refund(refund_id(n), Some(yuan(1)), terms(), at(100)).unwrap();
    }
    let more = order.request_refund(refund_id(50), Some(yuan(1)), terms(), at(100));
    assert_eq!(more, Err(RuleError::RefundLimit));
    // One that failed does not count.
    order.refund_failed(&refund_id(0), "no".into(), at(101));
    assert_eq!(order.request_refund(refund_id(50), Some(yuan(1)), terms(), at(102)), Ok(()));
}

#[test]
fn a_refund_that_the_gateway_closed_is_taken_over_with_its_reservation() {
    let mut order = paid();
    order.request_refund(refund_id(1), Some(yuan(4_000)), terms(), at(100)).unwrap();
    order.refund_closed_by_gateway(&refund_id(1), &keys(), at(101)).unwrap();
    let next = keys().next_refund(&refund_id(1));
    assert_eq!(order.refund(&next).unwrap().amount, yuan(4_000));
    assert_eq!(order.refund(&next).unwrap().next_at, Some(at(101) + Duration::hours(1)));
    assert_eq!(
        (order.refundable(), order.refund(&refund_id(1)).unwrap().status()),
        (yuan(6_000), RefundStatus::Failed)
    );
    order.refund_closed_by_gateway(&refund_id(1), &keys(), at(102)).unwrap();
    assert_eq!(order.refunds.len(), 2, "told again, nothing changes");
}

#[test]
fn questions_get_rarer_with_age_and_end_with_people() {
    let mut order = in_state(PaymentStatus::Unknown);
    let id = payment_id(1);
    let mut now = at(3);
    let mut pauses = Vec::new();
    while let Some(next) = order.payment(&id).unwrap().next_at {
        pauses.push((next - now).num_seconds());
        now = next;
        // Who asks more often changes nothing about when the scheduler asks.
        for _ in 0..3 {
            order.asked(&id, now);
        }
    }
    assert_eq!(pauses[..7], [2, 5, 10, 20, 40, 60, 300]);
    assert_eq!((pauses[11], pauses[12]), (300, 3_600));
    assert!(now - at(3) >= Duration::hours(48));
    let mut pending = pending();
    let mut now = at(2);
    for pause in [5, 30, 60, 180, 300, 600, 1_800, 1_800] {
        let next = pending.payment(&id).unwrap().next_at.unwrap();
        assert_eq!((next - now).num_seconds(), pause);
        now = next;
        pending.asked(&id, now);
    }
}

#[test]
fn a_refund_that_we_took_for_failed_and_is_done_counts() {
    let mut order = paid();
    order.request_refund(refund_id(1), Some(yuan(4_000)), terms(), at(100)).unwrap();
    order.refund_failed(&refund_id(1), "no".into(), at(101));
    // Meanwhile the rest was asked for, in part sent.
    order.request_refund(refund_id(2), Some(yuan(5_000)), terms(), at(102)).unwrap();
    assert_eq!(order.take_refund_slot(&refund_id(2), at(102)), Ok(true));
    order.request_refund(refund_id(3), Some(yuan(5_000)), terms(), at(103)).unwrap();
    assert!(order.refund_succeeded(&refund_id(1), at(104), at(104)));
    let states: Vec<RefundStatus> = order.refunds.iter().map(|r| r.status()).collect();
    assert_eq!(
        states,
        [RefundStatus::Succeeded, RefundStatus::Requested, RefundStatus::Failed],
        "what was never sent gives way"
    );
    let winner = order.winner().unwrap();
    assert_eq!((winner.refund_reserved, winner.refunded), (5_000, 4_000));
    // What still fits needs nothing to give way.
    let mut order = paid();
    order.request_refund(refund_id(1), Some(yuan(4_000)), terms(), at(100)).unwrap();
    order.refund_failed(&refund_id(1), "no".into(), at(101));
    order.request_refund(refund_id(2), Some(yuan(6_000)), terms(), at(102)).unwrap();
    assert!(order.refund_succeeded(&refund_id(1), at(103), at(103)));
    assert_eq!(order.refund(&refund_id(2)).unwrap().status(), RefundStatus::Requested);
    // With nothing that gives way, people must look: nothing is counted twice.
    let mut full = paid();
    full.request_refund(refund_id(1), None, terms(), at(100)).unwrap();
    full.refund_failed(&refund_id(1), "no".into(), at(101));
    full.request_refund(refund_id(2), None, terms(), at(102)).unwrap();
    full.take_refund_slot(&refund_id(2), at(102)).unwrap();
    assert!(!full.refund_succeeded(&refund_id(1), at(103), at(103)));
    let winner = full.winner().unwrap();
    assert_eq!((winner.refund_reserved, winner.refunded), (10_000, 0));
}

#[test]
fn money_that_does_not_fit_stops_a_cancellation() {
    let mut order = pending();
    order.begin_close(CloseReason::Cancelled, Some("changed my mind"), at(5), at(25), "alice").unwrap();
    order.settle(&payment_id(1), evidence(9_999), &keys(), at(6)).unwrap();
    order.finish_close(at(7), "payonce");
    assert_eq!((order.status(), order.closing, order.has_mismatch()), (OrderStatus::PendingPayment, None, true));
}

#[test]
fn when_one_payment_wins_the_others_are_closed_at_once() {
    let mut order = in_state(PaymentStatus::Closed);
    let next = request(&order, 2);
    order.begin_attempt(next, at(5), at(25), "alice").unwrap();
    order.attempt_opened(&payment_id(2), ClientAction::QrCode { url: "u".into() }, at(9_000), at(6));
    order.settle(&payment_id(1), evidence(10_000), &keys(), at(61)).unwrap();
    let other = order.payment(&payment_id(2)).unwrap();
    assert!(other.action(at(62)).is_none(), "its code is not shown any more");
    assert_eq!((other.closing, other.next_at), (true, Some(at(61))));
}

#[test]
fn what_the_gateway_did_not_find_to_close_is_asked_on_about() {
    let mut order = pending();
    order.attempt_not_found(&payment_id(1), at(10));
    assert_eq!(order.status(), OrderStatus::PendingPayment);
    let (mut looks, mut last) = (0, at(0));
    assert_eq!(order.payment(&payment_id(1)).unwrap().next_at, Some(at(20)));
    while let Some(next) = order.payment(&payment_id(1)).unwrap().next_at {
        last = next;
        assert!(order.payment(&payment_id(1)).unwrap().is_closed_on_not_found());
        order.asked(&payment_id(1), next);
        looks += 1;
    }
    assert!(looks > 30, "{looks}");
    let over = order.payment(&payment_id(1)).unwrap().surely_over();
    assert_eq!(over, order.expires_at + Duration::minutes(5));
    assert!(last >= over && last < over + Duration::minutes(1), "no longer than until it is surely over");
    assert!(!pending().payment(&payment_id(1)).unwrap().is_closed_on_not_found());
    // At the very end it is over.
    let mut order = pending();
    order.attempt_not_found(&payment_id(1), at(10));
    order.asked(&payment_id(1), over);
    assert_eq!(order.payment(&payment_id(1)).unwrap().next_at, None);
    // A payment that the gateway has closed is not.
    let mut order = pending();
    order.attempt_closed(&payment_id(1), at(10));
    assert_eq!(order.payment(&payment_id(1)).unwrap().next_at, None);
    assert!(!order.payment(&payment_id(1)).unwrap().is_closed_on_not_found());
}

#[test]
fn a_payment_that_cannot_be_closed_stays_payable_unless_the_order_ends() {
    let mut order = pending();
    order.begin_attempt_close(&payment_id(1)).unwrap();
    assert!(order.payment(&payment_id(1)).unwrap().action(at(10)).is_none());
    order.attempt_still_open(&payment_id(1), at(11));
    assert!(order.payment(&payment_id(1)).unwrap().action(at(12)).is_some());
    order.begin_close(CloseReason::Expired, None, at(1_800), at(1_820), "payonce").unwrap();
    order.attempt_still_open(&payment_id(1), at(1_801));
    assert!(order.payment(&payment_id(1)).unwrap().closing);
}

#[test]
fn orders_are_priced_with_checks() {
    let place = |lines: Vec<OrderLine>| {
        Order::place(NewOrder {
            id: keys().order(&operation(0)),
            customer: "alice".into(),
            lines,
            note: None,
            created_at: at(0),
            expires_at: at(1_800),
        })
    };
    let line = |quantity, unit_price| OrderLine { sku: "X".into(), name: "X".into(), quantity, unit_price };
    assert_eq!(place(vec![line(3, yuan(7)), line(1, yuan(1))]).unwrap().total, yuan(22));
    assert_eq!(place(vec![line(1, yuan(1))]).unwrap().total, yuan(1), "one fen is the least");
    for lines in [
        vec![],
        vec![line(0, yuan(7))],
        vec![line(2, yuan(i64::MAX))],
        vec![line(1, yuan(i64::MAX)), line(1, yuan(1))],
        vec![line(1, yuan(1)), line(1, Money::new(1, Currency::parse("JPY").unwrap()))],
    ] {
        assert_eq!(place(lines), Err(RuleError::AmountOutOfRange));
    }
}

#[test]
fn an_action_works_until_its_time_is_over() {
    let order = pending();
    let payment = order.payment(&payment_id(1)).unwrap();
    // The gateway's time is longer than the order's: the shorter counts.
    assert_eq!(payment.action(at(1_799)).unwrap().1, at(1_800));
    assert!(payment.action(at(1_800)).is_none());
}

#[test]
fn refunds_are_looked_at_until_they_are_decided() {
    type Act = fn(&mut Order);
    let accepted: Act = |o| o.refund_accepted(&refund_id(1), at(100));
    let unknown: Act = |o| o.refund_unknown(&refund_id(1), at(100));
    let nothing: Act = |_| {};
    let table = [
        // what became of it, then the pauses after questions at ages of 0, 7, 37 and 95 s and of two days
        (nothing, [60, 60, 60, 180, 1_800]),
        (accepted, [5, 30, 60, 180, 1_800]),
        (unknown, [2, 10, 40, 60, 86_400]),
    ];
    for (act, pauses) in table {
        let mut order = paid();
        order.request_refund(refund_id(1), Some(yuan(4_000)), terms(), at(100)).unwrap();
        act(&mut order);
        for (age, pause) in [0, 7, 37, 95, 172_800].into_iter().zip(pauses) {
            order.refund_asked(&refund_id(1), at(100 + age));
            let next = order.refund(&refund_id(1)).unwrap().next_at;
            assert_eq!(next, Some(at(100 + age + pause)), "at {age} s");
        }
    }
}

#[test]
fn the_first_reason_to_close_stands_to_the_end() {
    let mut order = pending();
    order.begin_close(CloseReason::Cancelled, None, at(5), at(25), "alice").unwrap();
    order.attempt_closed(&payment_id(1), at(6));
    order.begin_close(CloseReason::Expired, None, at(1_800), at(1_820), "payonce").unwrap();
    assert!(matches!(order.state, domain::OrderState::Closed { reason: CloseReason::Cancelled, .. }));
}

#[test]
fn a_refund_that_was_sent_has_had_its_slot() {
    let mut order = paid();
    order.request_refund(refund_id(1), Some(yuan(10)), terms(), at(100)).unwrap();
    assert_eq!(order.take_refund_slot(&refund_id(1), at(100)), Ok(true));
    assert_eq!(order.take_refund_slot(&refund_id(1), at(400)), Ok(false), "who comes second is not the first");
    // It never left us: it is as if it had not been sent.
    order.refund_later(&refund_id(1), at(400));
    assert_eq!(order.take_refund_slot(&refund_id(1), at(400)), Ok(true));
}
