//! What bytes from outside are thrown at. Each function panics when a promise does not hold: the fuzzer looks for
//! that, and `tests/it/fuzz_corpora.rs` replays what has been found.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::{Fingerprint, IdempotencyKey, OperationName, Timestamp};
use http::{HeaderMap, HeaderValue};
use payonce::gateways::{alipay, wechat_pay};
use payonce::payments::ports::{BoxFuture, Clock, Gateway, NotificationError};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};

/// What takes the bytes.
pub type Target = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: [(&str, Target); 5] = [
    ("document", document),
    ("idempotency_key", idempotency_key),
    ("fingerprint", fingerprint),
    ("wechat_pay_notification", wechat_pay_notification),
    ("alipay_notification", alipay_notification),
];

/// What the guard lets through never stops the parser behind it, and is judged the same twice.
pub fn document(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (document, variables) = text.split_once('\0').unwrap_or((text, "null"));
    let variables = serde_json::from_str(variables).unwrap_or(Value::Null);
    let judged = payonce::http::guard(document, &variables).map_err(|e| e.code());
    assert_eq!(judged, payonce::http::guard(document, &variables).map_err(|e| e.code()));
    if judged.is_ok() {
        let _ = async_graphql::parser::parse_query(document);
    }
}

/// A key is what the contract says, and comes back as it went in.
pub fn idempotency_key(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let right = (16..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    match IdempotencyKey::parse(text) {
        Ok(key) => assert!(right && key.as_str() == text, "{text:?}"),
        Err(_) => assert!(!right, "{text:?}"),
    }
}

/// Equal for the same arguments in another order and with more nulls; different for others.
pub fn fingerprint(data: &[u8]) {
    let Ok(arguments) = serde_json::from_slice::<Value>(data) else { return };
    let of = |arguments: &Value| Fingerprint::of("alice", OperationName::CreateOrder, arguments);
    let print = of(&arguments);
    assert_eq!(print, of(&turned(&arguments)), "{arguments}");
    assert_eq!(Fingerprint::from_hex(&print.to_hex()), Some(print));
    assert_ne!(print, Fingerprint::of("bob", OperationName::CreateOrder, &arguments));
    assert_ne!(print, of(&json!([arguments])));
    assert_eq!(Fingerprint::content(&arguments), Fingerprint::content(&turned(&arguments)));
}

/// Members backwards, and a null more.
fn turned(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(turned).collect(),
        Value::Object(members) => {
            let mut all: Vec<_> = members.iter().map(|(name, value)| (name.clone(), turned(value))).collect();
            all.reverse();
            if !members.contains_key("zz") {
                all.push(("zz".to_owned(), Value::Null));
            }
            Value::Object(all.into_iter().collect())
        }
        other => other.clone(),
    }
}

/// Read as a body that nobody signed, as one that WeChat Pay signed, and as what it sealed in one.
pub fn wechat_pay_notification(data: &[u8]) {
    static CONNECTOR: OnceLock<wechat_pay::WechatPay> = OnceLock::new();
    let keys = &keys()["wechat"];
    let platform = &keys["platform_cert_1"];
    let connector = CONNECTOR.get_or_init(|| {
        let config = wechat_pay::Config {
            base_url: "http://127.0.0.1:1".to_owned(),
            standby_url: None,
            mchid: text(&keys["mchid"]),
            appid: text(&keys["appid"]),
            serial_no: text(&keys["merchant"]["serial_no"]),
            private_key_pem: text(&keys["merchant"]["private_pkcs8_pem"]).into(),
            certificate_pem: None,
            api_v3_key: text(&keys["apiv3_key"]).into(),
            platform_keys: vec![(text(&platform["serial_no"]), text(&platform["public_spki_pem"]))],
            timeout: wechat_pay::Config::TIMEOUT,
            wanted_key: None,
        };
        wechat_pay::WechatPay::new(config, Arc::new(Stopped)).expect("the keys are readable")
    });
    let read = |headers: &HeaderMap, body: &[u8]| connector.read_notification(headers, body, now());
    let signed = |body: &[u8]| {
        let message = [format!("{}\nnonce\n", now().timestamp()).as_bytes(), body, b"\n"].concat();
        let mut headers = HeaderMap::new();
        let mut put = |name, value: &str| headers.insert(name, HeaderValue::from_str(value).expect("plain text"));
        put("wechatpay-timestamp", &now().timestamp().to_string());
        put("wechatpay-nonce", "nonce");
        put("wechatpay-serial", &text(&platform["serial_no"]));
        put("wechatpay-signature-type", "WECHATPAY2-SHA256-RSA2048");
        put("wechatpay-signature", &sign(&text(&platform["private_pkcs8_pem"]), &message));
        headers
    };
    assert!(matches!(read(&HeaderMap::new(), data), Err(NotificationError::Invalid(_))), "nobody signed it");
    let mut altered = data.to_vec();
    altered.push(b' ');
    assert!(matches!(read(&signed(data), &altered), Err(NotificationError::Invalid(_))), "it was altered");
    if let Ok(read) = read(&signed(data), data) {
        assert!((1..=64).contains(&read.id.len()));
    }
    let key = UnboundKey::new(&AES_256_GCM, text(&keys["apiv3_key"]).as_bytes()).expect("32 bytes");
    let mut sealed = data.to_vec();
    let nonce = Nonce::assume_unique_for_key(*b"fdasflkja484");
    LessSafeKey::new(key).seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed).expect("it is short");
    for (event, kind) in [("TRANSACTION.SUCCESS", "transaction"), ("REFUND.SUCCESS", "refund")] {
        let envelope = json!({
            "id": "EV-1", "resource_type": "encrypt-resource", "event_type": event,
            "resource": {"original_type": kind, "algorithm": "AEAD_AES_256_GCM", "nonce": "fdasflkja484", "ciphertext": STANDARD.encode(&sealed)},
        });
        let body = envelope.to_string().into_bytes();
        let _ = read(&signed(&body), &body);
    }
}

/// Read as it is, with a field more, and with its fields signed by Alipay.
pub fn alipay_notification(data: &[u8]) {
    static CONNECTOR: OnceLock<alipay::Alipay> = OnceLock::new();
    let keys = &keys()["alipay"];
    let connector = CONNECTOR.get_or_init(|| {
        let config = alipay::Config {
            gateway_url: "http://127.0.0.1:1".to_owned(),
            browser_url: None,
            app_id: text(&keys["app_id"]),
            seller_id: text(&keys["seller_id"]),
            private_key: text(&keys["app"]["private_pkcs8_bare"]).into(),
            mode: alipay::Mode::PublicKey(text(&keys["alipay"]["public_spki_bare"])),
            timeout: alipay::Config::TIMEOUT,
        };
        alipay::Alipay::new(config, Arc::new(Stopped)).expect("the keys are readable")
    });
    let read = |body: &[u8]| connector.read_notification(&HeaderMap::new(), body, now());
    let _ = read(data);
    let altered = [data, b"&zz=1"].concat();
    assert!(matches!(read(&altered), Err(NotificationError::Invalid(_))), "it was altered");
    let Ok(lines) = std::str::from_utf8(data) else { return };
    let fields: BTreeMap<&str, &str> = lines
        .split(['\n', '&'])
        .filter_map(|line| line.split_once('='))
        .filter(|(name, value)| !name.is_empty() && !value.is_empty() && *name != "sign" && *name != "sign_type")
        .collect();
    let signed = fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    let sign = sign(&text(&keys["alipay"]["private_pkcs8_pem"]), signed.as_bytes());
    let escape = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
    let pairs = fields.iter().map(|(name, value)| format!("{}={}&", escape(name), escape(value)));
    let body = pairs.chain([format!("sign_type=RSA2&sign={}", escape(&sign))]).collect::<String>();
    if let Ok(read) = read(body.as_bytes()) {
        assert!((1..=128).contains(&read.id.len()));
    }
}

fn keys() -> &'static Value {
    static KEYS: OnceLock<Value> = OnceLock::new();
    KEYS.get_or_init(|| serde_json::from_str(include_str!("../tests/vectors/keys.json")).expect("JSON"))
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn sign(pem: &str, message: &[u8]) -> String {
    static PAIRS: OnceLock<std::sync::Mutex<BTreeMap<String, Arc<RsaKeyPair>>>> = OnceLock::new();
    let mut pairs = PAIRS.get_or_init(Default::default).lock().expect("nobody panics with it");
    let pair = pairs.entry(pem.to_owned()).or_insert_with(|| {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        Arc::new(RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("a key"))
    });
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).expect("it signs");
    STANDARD.encode(signature)
}

/// The moment of the vectors.
fn now() -> Timestamp {
    Timestamp::from_timestamp(1_767_225_600, 0).expect("a time")
}

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        now()
    }

    fn sleep_until(&self, _: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}
