//! The test vectors: throwaway keys, and what the official algorithm makes of them at [`NOW`].
//!
//! RSA PKCS#1 v1.5 is deterministic, so signatures are compared byte for byte.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use domain::{Currency, Gateway, Money, OpenPayment, OrderId, PaymentId, PaymentProduct, RefundId, Timestamp};
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;

use super::translate::Account;
use super::{Config, WechatPay};
use crate::payments::ports::{BoxFuture, Clock, RefundRequest};

/// 2026-01-01 08:00:00 +08:00.
const NOW: i64 = 1_767_225_600;

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
    request_auth, "wechat-request-auth.json";
    /// Signed answers.
    response_verify, "wechat-response-verify.json";
    /// Signed and encrypted notifications.
    notify, "wechat-notify.json";
    /// The list of certificates.
    certificates, "wechat-certificates.json";
    /// Bills, as files.
    bill, "wechat-bill.json";
    /// What the payer's side is handed.
    client_paysign, "wechat-client-paysign.json";
}

/// A key too short to be taken.
pub const WEAK_PRIVATE_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIICdQIBADANBgkqhkiG9w0BAQEFAASCAl8wggJbAgEAAoGBAMHi0WSpE6CaFiyn
30FWGyEg6EGNoJA0VHtbBujCm9UA9Qgv/zc7BOcgZqzJ1KQHMwA8YyvbWye1Rjpu
xHFLjOVyvClEK2oUMv5sTF+B60suMlpv3AhgT1iUZIFSR9KzogndY99X51qLt7Gi
Upoiv0ZfXPDpDYMG1m2YEBEG5VoXAgMBAAECgYBigOoBSiU+owpBBcjXWPfPjPhy
1ZGNsgh543VPLBAf16ylzDzNwp5rDnsbri7qZv3yULvRvFBDjEVxynTjWo7p4UmG
ap4brrzy/uuPrppXZ0HNtEnTN1JiLzDvE92OgjQVlPaHl+S53wfyRyJerT1V+QWm
DlYFKu2MZz0dwwgYAQJBAOIfvFfr0LTvK84HEP4JkXL3i78Y+ryqmDs5M/DodnGY
Sz0Ac04SmXuimShQF9LFVtyyso1PBTQa95/KilStxlcCQQDbgK/viP4GYTXs4+Mq
XulTs3MeUBjTNVjg1XL8pZXVBj2C5Nz7GOR2itBFsQbOOSRb8rVJMtbheTiMENYK
nzJBAkAiQFpgGvkvHvdMqudZA4wDlRmW5aq9Pz314pFKkXu3czEaWWId1lVnU9bN
M2yYYYnpviurmeeY3+jYTG6tqvDbAkAPzHJdTkHiWarU8w4NpakrkhXuD5vJz+Qm
wpY1IwHmxD03J5vUItWGxrT43yX7P9ejGpP7wcH/locAZdHSD+VBAkBrm064bbFx
doTCAkDTcKVoz2dBwZ52Wp+9VneetcvEGrbLybnOBaJo2fWEQ4L9EycIY6J425dy
Kx709Dc3uyFW
-----END PRIVATE KEY-----";
/// Its public half.
pub const WEAK_PUBLIC_KEY: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDB4tFkqROgmhYsp99BVhshIOhB
jaCQNFR7WwbowpvVAPUIL/83OwTnIGasydSkBzMAPGMr21sntUY6bsRxS4zlcrwp
RCtqFDL+bExfgetLLjJab9wIYE9YlGSBUkfSs6IJ3WPfV+dai7exolKaIr9GX1zw
6Q2DBtZtmBARBuVaFwIDAQAB
-----END PUBLIC KEY-----";
/// A key of another kind.
pub const EC_PRIVATE_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgTEZZGA1MWbT+RSCq
B/v/GUh26Jg6lrkP9qZ+GkIQ2LyhRANCAAQrV40WJ41Orag8sI9g+tvex5LUHq7Y
NX87g+NakycisO3F5WE/8ziomkyl0IhSsHnx8DdkWLmbYNPhj1alrSyT
-----END PRIVATE KEY-----";
/// Its public half.
pub const EC_PUBLIC_KEY: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEK1eNFieNTq2oPLCPYPrb3seS1B6u
2DV/O4PjWpMnIrDtxeVhP/M4qJpMpdCIUrB58fA3ZFi5m2DT4Y9Wpa0skw==
-----END PUBLIC KEY-----";

/// The text of a JSON string.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The moment of all vectors.
pub fn now() -> Timestamp {
    DateTime::from_timestamp(NOW, 0).unwrap()
}

/// A clock that stands at [`NOW`].
pub struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        now()
    }

    fn sleep_until(&self, _: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// The merchant of the vectors, who knows all three keys of WeChat Pay.
pub fn config(base_url: &str) -> Config {
    let keys = &keys()["wechat"];
    let platform = |name: &str, serial: &str| {
        let key = &keys[name];
        (text(&key[serial]).to_owned(), text(&key["public_spki_pem"]).to_owned())
    };
    Config {
        base_url: base_url.to_owned(),
        standby_url: None,
        mchid: text(&keys["mchid"]).to_owned(),
        appid: text(&keys["appid"]).to_owned(),
        serial_no: text(&keys["merchant"]["serial_no"]).to_owned(),
        private_key_pem: text(&keys["merchant"]["private_pkcs8_pem"]).into(),
        certificate_pem: Some(text(&keys["merchant"]["certificate_pem"]).to_owned()),
        api_v3_key: text(&keys["apiv3_key"]).into(),
        platform_keys: vec![
            platform("platform_cert_1", "serial_no"),
            platform("platform_cert_2", "serial_no"),
            platform("wechatpay_public_key", "public_key_id"),
        ],
        timeout: Duration::from_secs(8),
        wanted_key: None,
    }
}

/// Its connector, at [`NOW`].
pub fn wechat_pay(base_url: &str) -> WechatPay {
    WechatPay::new(config(base_url), Arc::new(Stopped)).unwrap()
}

/// Who the merchant is.
pub(super) fn account() -> Account {
    let Config { mchid, appid, .. } = config("");
    Account { mchid, appid }
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
pub fn open_payment() -> OpenPayment {
    OpenPayment {
        number: payment(),
        order: OrderId::parse("ord_00000000000000000000000001").unwrap(),
        gateway: Gateway::WechatPay,
        product: PaymentProduct::Native,
        amount: Money::new(100, Currency::CNY),
        description: "腾讯充值".to_owned(),
        expires_at: now() + chrono::Duration::minutes(30),
        notify_url: "https://shop.example.com/n".to_owned(),
        payer_id: None,
        return_url: None,
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

/// Headers as a vector lists them.
pub fn headers(listed: &Value) -> HeaderMap {
    let pair = |(name, value): (&String, &Value)| {
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(text(value)).unwrap())
    };
    listed.as_object().unwrap().iter().map(pair).collect()
}

/// The headers with which WeChat Pay would send this body at [`NOW`], signed with its first certificate.
pub fn signed(body: &[u8]) -> HeaderMap {
    signed_by("platform_cert_1", now(), body)
}

/// The same with another of its keys, at another time.
pub fn signed_by(key: &str, at: Timestamp, body: &[u8]) -> HeaderMap {
    let key = &keys()["wechat"][key];
    let der = PrivatePkcs8KeyDer::from_pem_slice(text(&key["private_pkcs8_pem"]).as_bytes()).unwrap();
    let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let mut message = format!("{}\nnonce\n", at.timestamp()).into_bytes();
    message.extend_from_slice(body);
    message.push(b'\n');
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &message, &mut signature).unwrap();
    headers(&serde_json::json!({
        "Wechatpay-Timestamp": at.timestamp().to_string(),
        "Wechatpay-Nonce": "nonce",
        "Wechatpay-Signature": STANDARD.encode(signature),
        "Wechatpay-Signature-Type": super::signature::ALGORITHM,
        "Wechatpay-Serial": text(key.get("serial_no").unwrap_or(&key["public_key_id"])),
    }))
}
