//! Somebody who takes webhooks, and can be told not to.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;

use crate::events_out::signature::{Headers, is_genuine};

/// What is answered to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Status(u16),
    /// Nothing, for ever.
    Silence,
}

pub struct Received {
    /// `webhook-id`
    pub id: String,
    pub timestamp: String,
    pub signature: String,
    pub body: Vec<u8>,
    pub event: Value,
}

impl Received {
    /// Whether it was signed with this secret at about this time.
    pub fn is_genuine(&self, secret: &str, now: i64) -> bool {
        let headers = Headers { id: &self.id, timestamp: &self.timestamp, signature: &self.signature };
        is_genuine(secret, &headers, &self.body, now)
    }
}

type Answers = Box<dyn Fn(&Value) -> Reply + Send + Sync>;

struct Inner {
    got: Mutex<Vec<Arc<Received>>>,
    answers: Mutex<Answers>,
}

/// Listens at `url` for as long as its runtime lives.
pub struct WebhookReceiver {
    pub url: String,
    inner: Arc<Inner>,
}

impl WebhookReceiver {
    /// One that takes everything.
    pub async fn start() -> Self {
        let inner = Arc::new(Inner { got: Mutex::default(), answers: Mutex::new(Box::new(|_| Reply::Status(204))) });
        let router = Router::new().route("/hook", post(take)).with_state(inner.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, inner }
    }

    /// From now on this is answered.
    pub fn answers(&self, answers: impl Fn(&Value) -> Reply + Send + Sync + 'static) {
        *self.inner.answers.lock().unwrap() = Box::new(answers);
    }

    /// Everything that came, taken or not.
    pub fn got(&self) -> Vec<Arc<Received>> {
        self.inner.got.lock().unwrap().clone()
    }

    /// What came of this order: version and id, in the order in which it came.
    pub fn versions(&self, order: &str) -> Vec<i64> {
        let of_order = self.got().into_iter().filter(|r| r.event["orderId"] == order);
        of_order.map(|r| r.event["version"].as_i64().unwrap()).collect()
    }
}

async fn take(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(headers[header::CONTENT_TYPE], "application/json");
    let event: Value = serde_json::from_slice(&body).unwrap();
    let reply = (inner.answers.lock().unwrap())(&event);
    let (id, timestamp, signature) = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
    inner.got.lock().unwrap().push(Arc::new(Received { id, timestamp, signature, body: body.to_vec(), event }));
    match reply {
        Reply::Status(status @ 300..=399) => {
            (StatusCode::from_u16(status).unwrap(), [(header::LOCATION, "/hook")]).into_response()
        }
        Reply::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Reply::Silence => std::future::pending().await,
    }
}
