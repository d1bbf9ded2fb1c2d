//! Names that are stored, sent or shown. They are permanent: rows, fingerprints and other people's code hold them.

use std::collections::HashSet;

use domain::{
    CloseReason, Currency, EventType, Fingerprint, Gateway, Money, NumberKey, OperationName, OrderStatus,
    PaymentProduct, PaymentStatus, RefundReason, RefundStatus, Timestamp, to_stored,
};

/// Each name is read back to the one value that has it, and nothing else is read.
fn read_back<T: Copy + PartialEq + std::fmt::Debug>(
    names: &[&str],
    from_name: fn(&str) -> Option<T>,
    name: fn(T) -> &'static str,
) {
    let mut seen = Vec::new();
    for text in names {
        let value = from_name(text).unwrap_or_else(|| panic!("{text} is not read"));
        assert_eq!(name(value), *text);
        assert!(!seen.contains(&value), "{text} reads as another name does");
        seen.push(value);
        assert_eq!(from_name(&format!("{text} ")), None);
    }
    assert_eq!(from_name(""), None);
}

#[test]
fn states_and_reasons() {
    let order = ["PENDING_PAYMENT", "PAYING", "PAID", "PARTIALLY_REFUNDED", "REFUNDED", "CLOSED"];
    read_back(&order, OrderStatus::from_name, OrderStatus::name);
    let payment = ["CREATED", "UNKNOWN", "PENDING", "SUCCEEDED", "FAILED", "CLOSED"];
    read_back(&payment, PaymentStatus::from_name, PaymentStatus::name);
    let refund = ["REQUESTED", "PROCESSING", "UNKNOWN", "SUCCEEDED", "FAILED"];
    read_back(&refund, RefundStatus::from_name, RefundStatus::name);
    read_back(&["EXPIRED", "CANCELLED"], CloseReason::from_name, CloseReason::name);
    let reasons = ["CUSTOMER_REQUEST", "DUPLICATE", "OUT_OF_STOCK", "NOT_AS_DESCRIBED", "FRAUD", "OTHER", "SURPLUS"];
    read_back(&reasons, RefundReason::from_name, RefundReason::name);
    // Part of a request that may be sent again: the gateway compares it.
    let words = reasons.map(|reason| RefundReason::from_name(reason).unwrap().words());
    assert_eq!(
        words,
        [
            "Refund requested by the customer",
            "Duplicate order",
            "Out of stock",
            "Not as described",
            "Payment not recognised",
            "Refund",
            "Payment not needed"
        ]
    );
}

#[test]
fn gateways_products_and_operations() {
    read_back(&["wechat_pay", "alipay"], Gateway::from_name, Gateway::name);
    let products = ["native", "jsapi", "h5", "app", "precreate", "page", "wap"];
    read_back(&products, PaymentProduct::from_name, PaymentProduct::name);
    let operations = ["createOrder", "repayOrder", "cancelOrder", "refundOrder"];
    read_back(&operations, OperationName::from_name, OperationName::as_str);
    let offered = |gateway: Gateway| -> Vec<&str> {
        products.into_iter().filter(|name| gateway.offers(PaymentProduct::from_name(name).unwrap())).collect()
    };
    assert_eq!(offered(Gateway::WechatPay), ["native", "jsapi", "h5", "app"]);
    assert_eq!(offered(Gateway::Alipay), ["app", "precreate", "page", "wap"]);
}

#[test]
fn events() {
    let events = [
        "order.created",
        "order.closing",
        "order.closed",
        "payment.created",
        "payment.pending",
        "payment.unknown",
        "payment.failed",
        "payment.closed",
        "order.paid",
        "payment.surplus",
        "payment.mismatch",
        "refund.requested",
        "refund.accepted",
        "refund.unknown",
        "refund.succeeded",
        "refund.failed",
    ];
    read_back(&events, EventType::from_name, EventType::name);
    let summaries: HashSet<&str> = events.iter().map(|e| EventType::from_name(e).unwrap().summary()).collect();
    assert_eq!(summaries.len(), events.len());
    assert!(summaries.iter().all(|words| words.ends_with('.')));
}

#[test]
fn money_as_text() {
    let amount = Money::new(1_280, Currency::CNY);
    assert_eq!((amount.to_string(), format!("{amount:?}")), ("12.80 CNY".to_owned(), "12.80 CNY".to_owned()));
    assert_eq!((Currency::CNY.to_string(), format!("{:?}", Currency::CNY)), ("CNY".to_owned(), "CNY".to_owned()));
    assert_eq!(serde_json::to_string(&amount).unwrap(), r#"{"minor":1280,"currency":"CNY"}"#);
}

/// A retry after an upgrade must have the fingerprint that it had before.
#[test]
fn fingerprints() {
    let arguments = serde_json::json!({"input": {"lines": [{"sku": "TEA", "quantity": 1}]}});
    let whole = r#"{"arguments":{"input":{"lines":[{"quantity":1,"sku":"TEA"}]}},"operation":"createOrder","subject":"alice","v":1}"#;
    let content = r#"{"input":{"lines":[{"quantity":1,"sku":"TEA"}]}}"#;
    let sha256 = |text: &str| hex::encode(<sha2::Sha256 as sha2::Digest>::digest(text));
    let fingerprint = Fingerprint::of("alice", OperationName::CreateOrder, &arguments);
    assert_eq!(fingerprint.to_hex(), sha256(whole));
    assert_eq!(format!("{fingerprint:?}"), sha256(whole));
    assert_eq!(Fingerprint::content(&arguments), sha256(content));
}

#[test]
fn secrets_and_times() {
    assert_eq!(format!("{:?}", NumberKey::new(&[7; 32]).unwrap()), "NumberKey(…)");
    let at = Timestamp::from_timestamp(1_767_225_600, 123_456_789).unwrap();
    assert_eq!(to_stored(at), Timestamp::from_timestamp(1_767_225_600, 123_456_000).unwrap());
}
