//! A merchant that signs, listens for notifications and owns the clock.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use chrono::DateTime;
use reqwest::{Method, redirect::Policy};
use sandbox::{Call, Clock, Fault, FaultKind, Merchant, Sandbox, SandboxConfig};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::{
    clock::ManualClock,
    merchant_crypto::{authorization, decrypt, is_signed},
};

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect(&self.body)
    }

    /// Status and code, for refusals; those are never signed.
    pub fn refusal(&self) -> (u16, String) {
        assert!(!self.headers.contains_key("wechatpay-signature"), "a refusal is not signed");
        (self.status, self.json()["code"].as_str().expect("a code").to_owned())
    }
}

pub struct Shop {
    pub sandbox: Sandbox,
    pub clock: Arc<ManualClock>,
    pub merchant: Merchant,
    pub client: reqwest::Client,
    pub notify_url: String,
    pub notices: mpsc::UnboundedReceiver<(HeaderMap, Bytes)>,
    /// How many notifications the shop still answers with 500.
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
        Self { merchant: sandbox.merchant().clone(), sandbox, clock, client: client(), notify_url, notices, refusing }
    }

    pub fn order(&self, number: &str, total: i64) -> Value {
        json!({
            "appid": self.merchant.appid, "mchid": self.merchant.mchid,
            "description": "Tea", "out_trade_no": number, "notify_url": self.notify_url,
            "amount": {"total": total, "currency": "CNY"},
        })
    }

    pub fn refund(&self, number: &str, of: &str, refund: i64, total: i64) -> Value {
        json!({
            "out_trade_no": of, "out_refund_no": number, "notify_url": self.notify_url,
            "amount": {"refund": refund, "total": total, "currency": "CNY"},
        })
    }

    pub async fn try_ask(&self, method: Method, target: &str, body: &str) -> Result<Answer, reqwest::Error> {
        let authorization = authorization(&self.merchant, self.clock.now(), &method, target, body);
        let mut request = self
            .client
            .request(method.clone(), self.sandbox.url() + target)
            .header("Authorization", authorization)
            .header("Accept", "application/json");
        if method == Method::POST {
            request = request.header("Content-Type", "application/json");
        }
        let response = request.body(body.to_owned()).send().await?;
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await?,
        })
    }

    pub async fn post(&self, target: &str, body: &Value) -> Answer {
        let answer = self.try_ask(Method::POST, target, &body.to_string()).await;
        answer.expect("an answer")
    }

    pub async fn get(&self, target: &str) -> Answer {
        self.try_ask(Method::GET, target, "").await.expect("an answer")
    }

    pub async fn native(&self, order: &Value) -> Answer {
        self.post("/v3/pay/transactions/native", order).await
    }

    pub async fn opened(&self, number: &str, total: i64) -> Answer {
        let answer = self.native(&self.order(number, total)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer
    }

    pub async fn paid(&self, number: &str, total: i64) {
        self.opened(number, total).await;
        self.sandbox.pay(number).await.expect("paid");
    }

    pub async fn find(&self, number: &str) -> Answer {
        self.get(&format!("/v3/pay/transactions/out-trade-no/{number}?mchid={}", self.merchant.mchid)).await
    }

    pub async fn trade_state(&self, number: &str) -> String {
        let answer = self.find(number).await;
        self.verify(&answer.headers, &answer.body);
        answer.json()["trade_state"].as_str().expect("a state").to_owned()
    }

    pub async fn close(&self, number: &str) -> Answer {
        let target = format!("/v3/pay/transactions/out-trade-no/{number}/close");
        self.post(&target, &json!({"mchid": self.merchant.mchid})).await
    }

    pub async fn ask_refund(&self, refund: &Value) -> Answer {
        self.post("/v3/refund/domestic/refunds", refund).await
    }

    pub async fn find_refund(&self, number: &str) -> Answer {
        self.get(&format!("/v3/refund/domestic/refunds/{number}")).await
    }

    pub fn verify(&self, headers: &HeaderMap, body: &str) {
        assert!(is_signed(&self.merchant, headers, body), "not signed: {body}");
    }

    /// The next notification: its envelope and what is in it, verified and decrypted.
    pub async fn notice(&mut self) -> (Value, Value) {
        let (headers, body) = self.raw_notice().await;
        let body = String::from_utf8(body.to_vec()).expect("UTF-8");
        self.verify(&headers, &body);
        let envelope: Value = serde_json::from_str(&body).expect("JSON");
        let content = decrypt(&self.merchant, &envelope["resource"]);
        (envelope, content)
    }

    pub async fn raw_notice(&mut self) -> (HeaderMap, Bytes) {
        let notice = tokio::time::timeout(Duration::from_secs(10), self.notices.recv()).await;
        notice.expect("a notification comes").expect("the shop listens")
    }

    pub fn fault(&self, call: Call, kind: FaultKind) {
        self.sandbox.fault(Fault::new(call, kind).expect("it can happen"));
    }

    pub fn calls(&self, call: Call, number: &str) -> Vec<Option<u16>> {
        let calls = self.sandbox.calls().into_iter();
        let of = calls.filter(|seen| seen.call == call && seen.number.as_deref() == Some(number));
        of.map(|seen| seen.status).collect()
    }

    pub fn charges(&self) -> Vec<(String, i64)> {
        let charges = self.sandbox.ledger().charges.into_iter();
        charges.map(|charge| (charge.number, charge.minor)).collect()
    }
}

pub async fn start_sandbox(clock: Arc<ManualClock>, home: Option<PathBuf>) -> Sandbox {
    let config = SandboxConfig { clock, home, ..SandboxConfig::default() };
    Sandbox::start(config).await.expect("started")
}

pub fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().redirect(Policy::none());
    client.user_agent("shop").build().expect("a client")
}

pub async fn listen_for_notices() -> (String, mpsc::UnboundedReceiver<(HeaderMap, Bytes)>, Arc<AtomicUsize>) {
    let (sender, notices) = mpsc::unbounded_channel();
    let refusing = Arc::new(AtomicUsize::new(0));
    let left = refusing.clone();
    let take = async move |headers: HeaderMap, body: Bytes| {
        let one_less = |left: usize| left.checked_sub(1);
        let refused = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
        sender.send((headers, body)).expect("the test listens");
        if refused { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::NO_CONTENT }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/notify", listener.local_addr().expect("bound"));
    let routes = Router::new().route("/notify", post(take));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url, notices, refusing)
}
