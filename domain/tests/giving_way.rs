//! An attempt whose gateway gives no answer: when another one may take its place, and what becomes of it.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use domain::{
    ClientAction, CloseReason, Currency, Duration, Evidence, Fingerprint, Gateway, IdempotencyKey, Money, NewOrder,
    NumberKey, OpenPayment, Operation, OperationName, Order, OrderLine, OrderStatus, PaymentId, PaymentProduct,
    PaymentState, RuleError, Timestamp,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_767_225_600 + seconds, 0).unwrap()
}

fn keys() -> NumberKey {
    NumberKey::new(&[1; 32]).unwrap()
}

fn operation(n: u32) -> Operation {
    let name = OperationName::RepayOrder;
    let key = IdempotencyKey::parse(&format!("giving-way-{n:08}")).unwrap();
    Operation { subject: "alice".into(), name, key, fingerprint: Fingerprint::of("alice", name, &().into()) }
}

fn number(n: u32, gateway: Gateway) -> PaymentId {
    keys().payment(&operation(n), gateway, 0)
}

fn request(order: &Order, n: u32, gateway: Gateway) -> OpenPayment {
    OpenPayment {
        number: number(n, gateway),
        order: order.id.clone(),
        gateway,
        product: if gateway == Gateway::Alipay { PaymentProduct::Precreate } else { PaymentProduct::Native },
        amount: order.total,
        description: "Mug".into(),
        expires_at: order.expires_at,
        notify_url: "https://pay.example.com/notify".into(),
        payer_id: None,
        return_url: None,
        payer_address: None,
    }
}

/// An order with an attempt at WeChat Pay that was recorded and not answered.
fn created() -> Order {
    let price = Money::new(10_000, Currency::CNY);
    let line = OrderLine { sku: "MUG".into(), name: "Mug".into(), quantity: 1, unit_price: price };
    let mut order = Order::place(NewOrder {
        id: keys().order(&operation(1)),
        customer: "alice".into(),
        lines: vec![line],
        note: None,
        created_at: at(0),
        expires_at: at(1_800),
    })
    .unwrap();
    let first = request(&order, 1, Gateway::WechatPay);
    order.begin_attempt(first, at(0), at(20), "alice").unwrap();
    order
}

fn pending() -> Order {
    let mut order = created();
    order.attempt_opened(&wechat(), ClientAction::QrCode { url: "weixin://x".into() }, at(1_800), at(1));
    order
}

fn wechat() -> PaymentId {
    number(1, Gateway::WechatPay)
}

fn alipay() -> PaymentId {
    number(2, Gateway::Alipay)
}

fn go_to(order: &mut Order, gateway: Gateway, now: i64) -> Result<(), RuleError> {
    let next = request(order, 2, gateway);
    order.begin_attempt(next, at(now), at(now + 20), "alice")
}

fn evidence() -> Evidence {
    Evidence { transaction_id: "4200001".into(), amount: Money::new(10_000, Currency::CNY), paid_at: at(100) }
}

#[test]
fn what_was_never_handed_out_gives_way_once_it_was_asked_about_in_vain() {
    let mut order = created();
    assert_eq!(go_to(&mut order, Gateway::Alipay, 5), Err(RuleError::AttemptOpen), "nobody has asked yet");
    for sent in [true, false] {
        let mut order = created();
        order.attempt_silent(&wechat(), sent, at(5));
        assert_eq!(go_to(&mut order, Gateway::WechatPay, 500), Err(RuleError::AttemptOpen));
        go_to(&mut order, Gateway::Alipay, 5).unwrap();
        assert_eq!(order.attempt().map(|a| &a.id), Some(&alipay()));
    }
}

#[test]
fn what_the_payer_may_pay_gives_way_after_ten_seconds_of_silence() {
    let mut order = pending();
    order.attempt_silent(&wechat(), true, at(50));
    order.attempt_silent(&wechat(), true, at(57));
    assert_eq!(go_to(&mut order.clone(), Gateway::Alipay, 59), Err(RuleError::AttemptOpen));
    assert_eq!(go_to(&mut order.clone(), Gateway::WechatPay, 60), Err(RuleError::AttemptOpen));
    go_to(&mut order.clone(), Gateway::Alipay, 60).unwrap();
    // An answer ends the silence.
    order.attempt_still_open(&wechat(), at(58));
    order.attempt_silent(&wechat(), true, at(59));
    assert_eq!(go_to(&mut order.clone(), Gateway::Alipay, 68), Err(RuleError::AttemptOpen));
    go_to(&mut order, Gateway::Alipay, 69).unwrap();
}

fn given_way() -> Order {
    let mut order = pending();
    order.attempt_silent(&wechat(), true, at(50));
    go_to(&mut order, Gateway::Alipay, 60).unwrap();
    order
}

#[test]
fn what_gave_way_is_closed_every_minute_and_not_shown() {
    let mut order = given_way();
    let first = order.payment(&wechat()).unwrap();
    assert!(first.closing && first.action(at(61)).is_none());
    assert!(order.happened.last().unwrap().facts["instead_of"] == wechat().as_str());
    let over = first.surely_over();
    let (mut now, mut looks) = (at(60), 0);
    while let Some(next) = order.payment(&wechat()).unwrap().next_at.filter(|next| *next < over) {
        assert!(next - now <= Duration::minutes(1), "{now} {next}");
        now = next;
        order.attempt_silent(&wechat(), true, now);
        looks += 1;
    }
    assert!(looks > 30, "{looks}");
    assert!(order.payment(&wechat()).unwrap().next_at.is_some(), "it is asked about until it is decided");
}

#[test]
fn what_gave_way_and_is_paid_wins_only_if_nothing_else_has() {
    let mut order = given_way();
    order.settle(&wechat(), evidence(), &keys(), at(100)).unwrap();
    assert_eq!(order.winner().map(|p| &p.id), Some(&wechat()));
    assert!(order.payment(&alipay()).unwrap().closing, "nobody should pay what is paid");
    let mut order = given_way();
    order.settle(&alipay(), evidence(), &keys(), at(100)).unwrap();
    order.settle(&wechat(), evidence(), &keys(), at(101)).unwrap();
    assert_eq!(order.winner().map(|p| &p.id), Some(&alipay()));
    assert!(matches!(order.payment(&wechat()).unwrap().state, PaymentState::Succeeded { surplus: true, .. }));
    assert_eq!((order.refunds.len(), order.paid().minor), (1, 10_000));
}

#[test]
fn an_order_whose_live_attempt_is_over_closes_without_waiting_for_what_gave_way() {
    let mut order = given_way();
    order.attempt_closed(&alipay(), at(70));
    assert_eq!(order.status(), OrderStatus::PendingPayment);
    // It is asked about first.
    order.begin_close(CloseReason::Cancelled, None, at(80), at(100), "alice").unwrap();
    assert_eq!((order.closing, order.remaining_seconds(at(80))), (Some(CloseReason::Cancelled), 0));
    let mut paid = order.clone();
    paid.settle(&wechat(), evidence(), &keys(), at(81)).unwrap();
    assert_eq!(paid.status(), OrderStatus::Paid);
    order.attempt_silent(&wechat(), true, at(81));
    order.finish_close(at(81), "payonce");
    assert_eq!(order.status(), OrderStatus::Closed);
}
