//! Random histories of an order, its payments and refunds: after every step the rules agree with a plain model,
//! and the invariants of section 8 of docs/contract.md hold. `PROPTEST_CASES=100000` makes it a soak.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod plain;

use domain::{
    ClientAction, CloseReason, Currency, Duration, Evidence, Fingerprint, Gateway, IdempotencyKey, Money, NewOrder,
    NumberKey, OpenPayment, Operation, OperationName, Order, OrderLine, OrderState, PaymentId, PaymentProduct,
    PaymentState, RefundId, RefundReason, RefundTerms, RuleError, Timestamp,
};
use plain::{Brings, Happens, MARGIN, Plain, TIME_TO_PAY, TOTAL};
use proptest::test_runner::Config;
use proptest_state_machine::{StateMachineTest, prop_state_machine};

prop_state_machine! {
    #![proptest_config(config())]

    #[test]
    fn orders_are_what_the_plain_model_says(sequential 1..80 => Rules);
}

fn config() -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().map_or(64, |cases| cases.parse().unwrap());
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// The rules, and what they were a step ago.
struct Rules {
    order: Order,
    before: Order,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_767_225_600 + seconds, 0).unwrap()
}

fn keys() -> NumberKey {
    NumberKey::new(&[1; 32]).unwrap()
}

fn operation(n: usize) -> Operation {
    let name = OperationName::CreateOrder;
    let key = IdempotencyKey::parse(&format!("states-key-{n:08}")).unwrap();
    Operation { subject: "alice".into(), name, key, fingerprint: Fingerprint::of("alice", name, &().into()) }
}

fn yuan(minor: i64) -> Money {
    Money::new(minor, Currency::CNY)
}

fn request(order: &Order, n: usize, wechat: bool) -> OpenPayment {
    let gateway = if wechat { Gateway::WechatPay } else { Gateway::Alipay };
    OpenPayment {
        number: keys().payment(&operation(n), gateway, 0),
        order: order.id.clone(),
        gateway,
        product: if wechat { PaymentProduct::Native } else { PaymentProduct::Precreate },
        amount: order.total,
        description: "Mug".into(),
        expires_at: order.expires_at,
        notify_url: "https://pay.example.com/notify".into(),
        payer_id: None,
        return_url: None,
        payer_address: None,
    }
}

fn evidence(brings: Brings, now: i64) -> Evidence {
    let currency = if brings == Brings::OtherCurrency { Currency::parse("USD").unwrap() } else { Currency::CNY };
    Evidence { transaction_id: "42000001".into(), amount: Money::new(brings.minor(), currency), paid_at: at(now) }
}

/// Does it; the answer is whether the rules allowed it.
fn happen(order: &mut Order, what: &Happens, now: i64) -> bool {
    let time = at(now);
    let payment = |order: &Order, n: usize| -> PaymentId { order.payments[n].id.clone() };
    let refund = |order: &Order, n: usize| -> RefundId { order.refunds[n].id.clone() };
    match *what {
        Happens::Pass(_) => {}
        Happens::Attempt { wechat } => {
            let request = request(order, order.payments.len(), wechat);
            return order.may_be_paid(time, Duration::seconds(MARGIN)).is_ok()
                && order.begin_attempt(request, time, time + Duration::seconds(20), "alice").is_ok();
        }
        Happens::Opened(n) => {
            let action = ClientAction::QrCode { url: "weixin://x".into() };
            order.attempt_opened(&payment(order, n), action, time + Duration::hours(2), time);
        }
        Happens::Unknown(n) => order.attempt_unknown(&payment(order, n), time),
        Happens::Silent(n, sent) => order.attempt_silent(&payment(order, n), sent, time),
        Happens::Failed(n) => order.attempt_failed(&payment(order, n), "no".into(), time),
        Happens::Closed(n) => order.attempt_closed(&payment(order, n), time),
        Happens::NotFound(n) => order.attempt_not_found(&payment(order, n), time),
        Happens::StillOpen(n) => order.attempt_still_open(&payment(order, n), time),
        Happens::CloseAttempt(n) => {
            order.begin_attempt_close(&payment(order, n)).unwrap();
        }
        Happens::Paid(n, brings) => {
            return order.settle(&payment(order, n), evidence(brings, now), &keys(), time).unwrap();
        }
        Happens::Close { expired } => {
            let reason = if expired { CloseReason::Expired } else { CloseReason::Cancelled };
            return order.begin_close(reason, None, time, time + Duration::seconds(20), "alice").is_ok();
        }
        Happens::FinishClose => order.finish_close(time, "payonce"),
        Happens::AskBack(amount) => {
            let id = keys().refund(&operation(order.refunds.len()), Gateway::WechatPay, 0);
            let terms = RefundTerms { reason: RefundReason::Other, note: None, requested_by: "admin".into() };
            let target = order.refund_target(None).ok().and_then(|id| order.payment(&id).cloned());
            let left = target.map(|p| Money::new(p.refundable(), p.evidence().unwrap().amount.currency));
            match order.request_refund(id, amount.map(yuan), terms, time) {
                Err(RuleError::ExceedsPaid { maximum }) => assert_eq!(Some(maximum), left),
                result => return result.is_ok(),
            }
            return false;
        }
        Happens::Send(n) => return order.take_refund_slot(&refund(order, n), time).unwrap(),
        Happens::NotSent(n) => order.refund_later(&refund(order, n), time),
        Happens::Accepted(n) => order.refund_accepted(&refund(order, n), time),
        Happens::RefundUnknown(n) => order.refund_unknown(&refund(order, n), time),
        Happens::Back(n) => return order.refund_succeeded(&refund(order, n), time, time),
        Happens::RefundFailed(n) => order.refund_failed(&refund(order, n), "no".into(), time),
        Happens::RefundClosed(n) => order.refund_closed_by_gateway(&refund(order, n), &keys(), time).unwrap(),
    }
    true
}

impl StateMachineTest for Rules {
    type SystemUnderTest = Rules;
    type Reference = Plain;

    fn init_test(_: &Plain) -> Rules {
        let line = OrderLine { sku: "MUG".into(), name: "Mug".into(), quantity: 2, unit_price: yuan(TOTAL / 2) };
        let order = Order::place(NewOrder {
            id: keys().order(&operation(0)),
            customer: "alice".into(),
            lines: vec![line],
            note: None,
            created_at: at(0),
            expires_at: at(TIME_TO_PAY),
        })
        .unwrap();
        Rules { before: order.clone(), order }
    }

    fn apply(rules: Rules, plain: &Plain, what: Happens) -> Rules {
        let mut order = rules.order.clone();
        let allowed = happen(&mut order, &what, plain.now);
        assert_eq!(allowed, plain.allowed, "{what:?} was allowed by one of the two");
        Rules { order, before: rules.order }
    }

    fn check_invariants(rules: &Rules, plain: &Plain) {
        agrees(&rules.order, plain);
        invariants(&rules.order, plain.now);
        only_upward(&rules.before, &rules.order);
    }
}

/// The rules say what the plain model says.
fn agrees(order: &Order, plain: &Plain) {
    assert_eq!(order.status().name(), plain.word());
    assert_eq!(order.closing.map(CloseReason::name), plain.closing);
    let closed = match order.state {
        OrderState::Closed { reason, .. } => Some(reason.name()),
        _ => None,
    };
    assert_eq!(closed, plain.closed);
    let place = |id: &PaymentId| order.payments.iter().position(|p| p.id == *id);
    assert_eq!(order.attempt().and_then(|p| place(&p.id)), plain.live);
    assert_eq!(order.winner().and_then(|p| place(&p.id)), plain.winner);
    assert_eq!(order.payments.len(), plain.payments.len());
    for (n, (ours, theirs)) in order.payments.iter().zip(&plain.payments).enumerate() {
        assert_eq!(ours.status().name().to_lowercase(), theirs.is, "payment {n}");
        assert_eq!((ours.paid, ours.closing), (theirs.paid, theirs.closing), "payment {n}");
        assert_eq!((ours.refund_reserved, ours.refunded), (plain.reserved(n), plain.refunded(n)), "payment {n}");
        assert_eq!(ours.refundable(), plain.left(n), "payment {n}");
        let counts_as = match ours.state {
            PaymentState::Succeeded { mismatch: true, surplus: false, .. } => "mismatch",
            PaymentState::Succeeded { surplus: true, mismatch: false, .. } => "surplus",
            PaymentState::Succeeded { .. } => "winner",
            _ => "",
        };
        assert_eq!(counts_as, theirs.counts_as, "payment {n}");
    }
    assert_eq!(order.refunds.len(), plain.refunds.len());
    for (n, (ours, theirs)) in order.refunds.iter().zip(&plain.refunds).enumerate() {
        assert_eq!(ours.status().name().to_lowercase(), theirs.is, "refund {n}");
        assert_eq!((ours.amount, ours.sent), (in_its_currency(order, n, theirs.amount), theirs.sent), "refund {n}");
    }
}

/// A refund has the currency of what arrived.
fn in_its_currency(order: &Order, refund: usize, minor: i64) -> Money {
    let payment = order.payment(&order.refunds[refund].payment).unwrap();
    Money::new(minor, payment.evidence().unwrap().amount.currency)
}

/// Section 8 of the contract, as far as one order can tell.
fn invariants(order: &Order, now: i64) {
    assert_eq!(order.happened.len() as i64, order.version, "event versions without gap");
    let winners = order
        .payments
        .iter()
        .filter(|p| matches!(p.state, PaymentState::Succeeded { surplus: false, mismatch: false, .. }));
    assert!(winners.count() <= 1, "one winner");
    assert_eq!(order.paid().minor, order.winner().map_or(0, |_| TOTAL), "never shown as paid twice");
    assert_eq!(
        order.paid().minor,
        order.refunded().minor + order.refundable().minor + order.winner().map_or(0, |w| w.refund_reserved)
    );
    for payment in &order.payments {
        let refunds = || order.refunds.iter().filter(|r| r.payment == payment.id);
        let open: i64 = refunds().filter(|r| r.is_open()).map(|r| r.amount.minor).sum();
        assert_eq!(payment.refund_reserved, open, "reserved equals its rows");
        assert!(payment.refund_reserved + payment.refunded <= payment.paid, "refunds fit what was paid");
        assert!(payment.refund_reserved >= 0 && payment.refunded >= 0);
        assert_eq!(payment.paid, payment.evidence().map_or(0, |e| e.amount.minor), "success only on evidence");
        if let PaymentState::Succeeded { surplus: true, .. } = payment.state {
            assert!(refunds().next().is_some(), "a surplus goes back by itself");
        }
        let for_people = now - (payment.since - at(0)).num_seconds() >= 172_800;
        assert!(!payment.is_open() || payment.next_at.is_some() || for_people, "what is undecided is looked at");
        let live = order.attempt().is_some_and(|a| a.id == payment.id);
        assert!(!payment.is_open() || live || payment.closing, "what is open and not live is being closed");
        assert!(!payment.closing || payment.action(at(now)).is_none(), "what is being closed is not shown");
    }
    for refund in &order.refunds {
        assert_eq!(refund.is_open(), refund.next_at.is_some(), "what is undecided is looked at");
    }
    let ids: std::collections::HashSet<_> = order.refunds.iter().map(|r| &r.id).collect();
    assert_eq!(ids.len(), order.refunds.len(), "one refund per number");
    let unpaid = matches!(order.state, OrderState::PendingPayment | OrderState::Paying { .. });
    assert!(!unpaid || order.has_mismatch() || order.next_at.is_some(), "an unpaid order expires");
    let payable = unpaid && order.closing.is_none();
    assert!(payable || order.remaining_seconds(at(now)) == 0, "not shown payable");
}

/// Payments only climb, a success never changes, and what changed was told.
fn only_upward(before: &Order, order: &Order) {
    for (was, is) in before.payments.iter().zip(&order.payments) {
        assert!(was.status().rank() <= is.status().rank(), "{:?} to {:?}", was.status(), is.status());
        if was.evidence().is_some() {
            assert_eq!((&was.state, was.paid), (&is.state, is.paid), "SUCCEEDED never changes");
        }
        assert!(was.refunded <= is.refunded, "money that is back stays back");
    }
    for (was, is) in before.refunds.iter().zip(&order.refunds) {
        assert_eq!((&was.id, was.amount), (&is.id, is.amount));
    }
    let states = |o: &Order| -> Vec<String> {
        let payments = o.payments.iter().map(|p| p.status().name().to_owned());
        let refunds = o.refunds.iter().map(|r| r.status().name().to_owned());
        std::iter::once(o.status().name().to_owned()).chain(payments).chain(refunds).collect()
    };
    assert!(states(before) == states(order) || order.version > before.version, "what changed was told");
    assert!(order.version >= before.version);
}
