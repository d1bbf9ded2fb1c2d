//! A merchant of Alipay: signs, verifies, listens for notifications. Nothing of it is the sandbox's.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey},
};
use axum::{Router, routing::post};
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::DateTime;
use reqwest::Url;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject};
use sandbox::{AlipayMerchant, Call, Fault, FaultKind, Sandbox};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::{
    clock::ManualClock,
    shop::{client, start_sandbox},
};

pub type Form = BTreeMap<String, String>;

/// Numbers and amounts in fen.
pub type Moves = Vec<(String, i64)>;

pub struct Shop {
    pub sandbox: Sandbox,
    pub clock: Arc<ManualClock>,
    pub merchant: AlipayMerchant,
    pub client: reqwest::Client,
    pub notify_url: String,
    pub notices: mpsc::UnboundedReceiver<Form>,
    /// How many notifications the shop still answers with 200 and another word.
    pub refusing: Arc<AtomicUsize>,
}

impl Shop {
    pub async fn open() -> Self {
        Self::open_at(None).await
    }

    pub async fn open_at(home: Option<PathBuf>) -> Self {
        let start = DateTime::from_timestamp(1_767_225_600, 0).expect("in range");
        let clock = Arc::new(ManualClock(watch::Sender::new(start)));
        let (notify_url, notices, refusing) = listen_for_notices().await;
        let sandbox = start_sandbox(clock.clone(), home).await;
        let merchant = sandbox.merchant().alipay.clone();
        Self { merchant, sandbox, clock, client: client(), notify_url, notices, refusing }
    }

    /// The signed parameters of a call, as a query or a form.
    pub fn signed(&self, method: &str, content: &Value, more: &[(&str, &str)]) -> String {
        let content = content.to_string();
        let common = [
            ("app_id", self.merchant.app_id.as_str()),
            ("method", method),
            ("charset", "utf-8"),
            ("sign_type", "RSA2"),
            ("timestamp", "2026-01-01 08:00:00"),
            ("version", "1.0"),
            ("notify_url", &self.notify_url),
            ("biz_content", &content),
        ];
        let mut fields: BTreeMap<_, _> = common.into_iter().collect();
        fields.extend(more.iter().copied());
        let sign = sign(&self.merchant, &joined(fields.iter().map(|(name, value)| (*name, *value))));
        fields.insert("sign", &sign);
        let url = Url::parse_with_params("http://gateway", fields).expect("a URL");
        url.query().expect("a query").to_owned()
    }

    pub async fn send(&self, form: String) -> Result<reqwest::Response, reqwest::Error> {
        let request = self.client.post(self.sandbox.alipay_gateway_url());
        request.header("content-type", "application/x-www-form-urlencoded;charset=utf-8").body(form).send().await
    }

    /// The raw answer to a call.
    pub async fn raw(&self, method: &str, content: &Value) -> String {
        let answer = self.send(self.signed(method, content, &[])).await.expect("an answer");
        assert_eq!(answer.status(), 200, "always");
        answer.text().await.expect("text")
    }

    /// The node of an answer, verified.
    pub async fn ask(&self, method: &str, content: Value) -> Value {
        let raw = self.raw(method, &content).await;
        self.verified(method, &raw).unwrap_or_else(|| panic!("not signed: {raw}"))
    }

    /// What the signature covers, parsed; `None` if there is none, or a wrong one.
    pub fn verified(&self, method: &str, raw: &str) -> Option<Value> {
        let head = format!("{{\"{}_response\":", method.replace('.', "_"));
        let rest = raw.strip_prefix(&head).expect("the node comes first");
        let (node, sign) = rest.rsplit_once(",\"sign\":\"")?;
        let sign = sign.strip_suffix("\"}").expect("the signature comes last");
        is_signed(&self.merchant, node, sign).then(|| serde_json::from_str(node).expect("JSON"))
    }

    pub async fn precreate(&self, number: &str, yuan: &str) -> Value {
        let order = json!({"out_trade_no": number, "total_amount": yuan, "subject": "Tea 茶"});
        self.ask("alipay.trade.precreate", order).await
    }

    pub async fn precreated(&self, number: &str, yuan: &str) -> String {
        let answer = self.precreate(number, yuan).await;
        assert_eq!(answer["code"], "10000", "{answer}");
        answer["qr_code"].as_str().expect("a link").to_owned()
    }

    pub async fn scanned(&self, number: &str, yuan: &str) {
        let link = self.precreated(number, yuan).await;
        self.client.get(link).send().await.expect("a page");
    }

    pub async fn paid(&self, number: &str, yuan: &str) {
        self.precreated(number, yuan).await;
        self.sandbox.pay(number).await.expect("paid");
    }

    pub async fn find(&self, number: &str) -> Value {
        self.ask("alipay.trade.query", json!({"out_trade_no": number})).await
    }

    /// The status of a trade, or the reason why there is none.
    pub async fn status(&self, number: &str) -> String {
        let node = self.find(number).await;
        let said = node["trade_status"].as_str().or(node["sub_code"].as_str());
        said.expect("a status").to_owned()
    }

    pub async fn close(&self, number: &str) -> String {
        let node = self.ask("alipay.trade.close", json!({"out_trade_no": number})).await;
        node["sub_code"].as_str().unwrap_or("closed").to_owned()
    }

    pub async fn cancel(&self, number: &str) -> Value {
        self.ask("alipay.trade.cancel", json!({"out_trade_no": number})).await
    }

    pub async fn refund(&self, number: &str, of: &str, yuan: &str) -> Value {
        let refund = json!({"out_trade_no": of, "out_request_no": number, "refund_amount": yuan});
        self.ask("alipay.trade.refund", refund).await
    }

    pub async fn find_refund(&self, number: &str, of: &str) -> Value {
        let asked = json!({"out_trade_no": of, "out_request_no": number, "query_options": ["gmt_refund_pay"]});
        self.ask("alipay.trade.fastpay.refund.query", asked).await
    }

    /// The next notification, verified.
    pub async fn notice(&mut self) -> Form {
        let form = self.raw_notice().await;
        assert!(self.is_genuine(&form), "not signed: {form:?}");
        assert!(form.values().all(|value| !value.is_empty()), "nothing is empty: {form:?}");
        form
    }

    pub async fn raw_notice(&mut self) -> Form {
        let notice = tokio::time::timeout(Duration::from_secs(10), self.notices.recv()).await;
        notice.expect("a notification comes").expect("the shop listens")
    }

    /// Whether the form's signature covers its fields.
    pub fn is_genuine(&self, form: &Form) -> bool {
        let signed = form.iter().filter(|(name, _)| *name != "sign" && *name != "sign_type");
        let text = joined(signed.map(|(name, value)| (name.as_str(), value.as_str())));
        form.get("sign").is_some_and(|sign| is_signed(&self.merchant, &text, sign))
    }

    pub fn fault(&self, call: Call, kind: FaultKind) {
        self.sandbox.fault(Fault::new(call, kind).expect("it can happen"));
    }

    /// What was paid, and what was given back.
    pub fn moved(&self) -> (Moves, Moves) {
        let ledger = self.sandbox.ledger();
        assert!(ledger.charges.iter().all(|charge| charge.gateway == "alipay"));
        let charges = ledger.charges.into_iter().map(|charge| (charge.number, charge.minor));
        let refunds = ledger.refunds.into_iter().map(|refund| (refund.number, refund.minor));
        (charges.collect(), refunds.collect())
    }
}

pub fn form(text: &str) -> Form {
    let url = Url::parse(&format!("http://form/?{text}")).expect("a form");
    url.query_pairs().into_owned().collect()
}

fn joined<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<_> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

fn sign(merchant: &AlipayMerchant, text: &str) -> String {
    let der = PrivatePkcs8KeyDer::from_pem_slice(merchant.private_key_pem.as_bytes());
    let key = KeyPair::from_pkcs8(der.expect("PEM").secret_pkcs8_der()).expect("PKCS#8");
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).expect("signed");
    BASE64_STANDARD.encode(signature)
}

fn is_signed(merchant: &AlipayMerchant, text: &str, sign: &str) -> bool {
    let key = SubjectPublicKeyInfoDer::from_pem_slice(merchant.alipay_public_key_pem.as_bytes());
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.expect("PEM"));
    key.verify(text.as_bytes(), &BASE64_STANDARD.decode(sign).expect("base64")).is_ok()
}

async fn listen_for_notices() -> (String, mpsc::UnboundedReceiver<Form>, Arc<AtomicUsize>) {
    let (sender, notices) = mpsc::unbounded_channel();
    let refusing = Arc::new(AtomicUsize::new(0));
    let left = refusing.clone();
    let take = async move |body: String| {
        let one_less = |left: usize| left.checked_sub(1);
        let refused = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
        sender.send(form(&body)).expect("the test listens");
        if refused { "fail" } else { "success" }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/notify", listener.local_addr().expect("bound"));
    let routes = Router::new().route("/notify", post(take));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url, notices, refusing)
}
