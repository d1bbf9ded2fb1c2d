//! The test vectors: throwaway keys, and what the official SDKs make of them at [`now`].
//!
//! RSA PKCS#1 v1.5 is deterministic, so signatures are compared byte for byte.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use domain::{Currency, Gateway, Money, OpenPayment, OrderId, PaymentId, PaymentProduct, RefundId, Timestamp};
use serde_json::Value;

use super::form::{self, Fields};
use super::signature::Signer;
use super::{Alipay, Config, Mode};
use crate::payments::ports::{BoxFuture, Clock, RefundRequest};

macro_rules! vectors {
    ($(#[$doc:meta] $name:ident, $file:literal;)*) => {$(
        #[$doc]
        pub fn $name() -> Value {
            let json = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/", $file));
            serde_json::from_str(json).unwrap()
        }
    )*};
}

vectors! {
    /// All keys.
    keys, "keys.json";
    /// Signed requests.
    request, "alipay-request.json";
    /// Signed answers.
    response, "alipay-response.json";
    /// Signed notifications.
    notify, "alipay-notify.json";
    /// A bill.
    bill, "alipay-bill.json";
}

/// The text of a JSON string.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// An object of strings as fields.
pub(super) fn fields(object: &Value) -> Fields {
    object.as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value).to_owned())).collect()
}

/// The moment of all vectors: 2026-01-01 08:00:00 +08:00.
pub fn now() -> Timestamp {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap()
}

/// A clock that stands at [`now`].
pub struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        now()
    }

    fn sleep_until(&self, _: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// The merchant of the vectors.
pub fn config(gateway_url: &str) -> Config {
    let keys = &keys()["alipay"];
    Config {
        gateway_url: gateway_url.to_owned(),
        browser_url: None,
        app_id: text(&keys["app_id"]).to_owned(),
        seller_id: text(&keys["seller_id"]).to_owned(),
        private_key: text(&keys["app"]["private_pkcs8_bare"]).into(),
        mode: Mode::PublicKey(text(&keys["alipay"]["public_spki_bare"]).to_owned()),
        timeout: Duration::from_secs(8),
    }
}

/// The same in certificate mode.
pub fn with_certificates(gateway_url: &str) -> Config {
    let files = &keys()["alipay"]["cert_mode"];
    let file = |name: &str| text(&files[name]).to_owned();
    let (app, alipay, root) = (file("app_cert_pem"), file("alipay_public_cert_pem"), file("alipay_root_certs_pem"));
    Config { mode: Mode::Certificates { app, alipay, root }, ..config(gateway_url) }
}

/// Its connector, at [`now`].
pub fn alipay(gateway_url: &str) -> Alipay {
    Alipay::new(config(gateway_url), Arc::new(Stopped)).unwrap()
}

/// A payment's number.
pub fn payment() -> PaymentId {
    PaymentId::parse("pay_00000000000000000000000001").unwrap()
}

/// A refund's number.
pub fn refund() -> RefundId {
    RefundId::parse("rfd_00000000000000000000000001").unwrap()
}

/// A request for one yuan.
pub fn open_payment(product: PaymentProduct) -> OpenPayment {
    OpenPayment {
        number: payment(),
        order: OrderId::parse("ord_00000000000000000000000001").unwrap(),
        gateway: Gateway::Alipay,
        product,
        amount: Money::new(100, Currency::CNY),
        description: "大乐透 \"A&B\" <1>".to_owned(),
        expires_at: now() + chrono::Duration::minutes(30),
        notify_url: "https://shop.example.com/n?a=1&b=2".to_owned(),
        payer_id: None,
        return_url: Some("https://shop.example.com/back".to_owned()),
        payer_address: None,
    }
}

/// A request for 40 fen of it back.
pub fn refund_request() -> RefundRequest {
    RefundRequest {
        number: refund(),
        payment: payment(),
        amount: Money::new(40, Currency::CNY),
        paid: Money::new(100, Currency::CNY),
        reason: "商品已售完".to_owned(),
        notify_url: "https://shop.example.com/r".to_owned(),
    }
}

fn alipays() -> Signer {
    Signer::new(&text(&keys()["alipay"]["alipay"]["private_pkcs8_pem"]).into()).unwrap()
}

/// The answer with this node, as Alipay would send it.
pub(super) fn answer(method: &str, node: &str) -> String {
    let sign = alipays().sign_text(node).unwrap();
    format!("{{\"{}_response\":{node},\"sign\":\"{sign}\"}}", method.replace('.', "_"))
}

/// The notification with these fields, as Alipay would send it.
pub(super) fn signed(mut fields: Fields) -> String {
    let sign_type = fields.remove("sign_type");
    let sign = alipays().sign(&fields).unwrap();
    fields.insert("sign".to_owned(), sign);
    fields.extend(sign_type.map(|kind| ("sign_type".to_owned(), kind)));
    form::encode(&fields)
}
