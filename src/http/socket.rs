//! WebSockets: `graphql-transport-ws`, queries and subscriptions.

mod connection;
mod frames;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ws::WebSocketUpgrade;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::access::Access;
use super::operation::Executor;
use super::over_http::retry_after;
use super::token;
use crate::graphql::{ApiError, code};
use crate::payments::Payments;

const PROTOCOL: &str = "graphql-transport-ws";
/// What a message may have.
const MESSAGE: usize = 32 * 1024;
/// What is read of a message that is too long, so that its sender can be told properly.
const READ: usize = 2 * MESSAGE;
/// What may wait to be written to one socket.
const WRITE: usize = 512 * 1024;

/// What sockets are told by configuration.
pub struct SocketSettings {
    /// Open sockets in this process.
    pub per_process: usize,
    /// Open sockets of one token holder in this process.
    pub per_subject: Option<usize>,
    /// Origins that browsers may connect from, besides the host that is asked.
    pub allowed_origins: Vec<String>,
    /// The origin that the outside knows this server by.
    pub public_origin: Option<String>,
}

/// How long a socket waits for its client.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// For `connection_init`.
    init: Duration,
    /// Between two pings.
    pub(super) ping: Duration,
    /// For the answer to a ping.
    pong: Duration,
    /// For room to send.
    pub(super) send: Duration,
    /// For a query.
    pub(super) query: Duration,
}

const PATIENCE: Patience = Patience {
    init: Duration::from_secs(5),
    ping: Duration::from_secs(20),
    pong: Duration::from_secs(10),
    send: Duration::from_secs(5),
    query: Duration::from_secs(5),
};

/// What all sockets share.
pub struct Sockets {
    executor: Arc<Executor>,
    pub(super) access: Arc<Access>,
    pub(super) payments: Payments,
    pub(super) settings: SocketSettings,
    pub(super) patience: Patience,
    taken: Arc<Mutex<Taken>>,
}

/// Who has how many sockets.
#[derive(Default)]
struct Taken {
    all: usize,
    by_subject: HashMap<String, usize>,
}

impl Sockets {
    /// Joins the sockets to what they serve.
    pub(super) fn new(
        executor: Arc<Executor>,
        access: Arc<Access>,
        payments: Payments,
        settings: SocketSettings,
    ) -> Self {
        Self { executor, access, payments, settings, patience: PATIENCE, taken: Arc::default() }
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).all
    }

    pub(super) fn place(&self) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.settings.per_process {
            return None;
        }
        taken.all += 1;
        metrics::gauge!("payonce_sockets_open").set(taken.all as f64);
        Some(Place { taken: self.taken.clone(), subject: None })
    }

    /// No `Origin` is no browser. A browser may come from the host it asks, or from where we are told.
    fn welcomes(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else {
            return !headers.contains_key(header::ORIGIN);
        };
        let Ok(origin) = origin.to_str() else { return false };
        let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
        let same_host = origin
            .strip_prefix("https://")
            .or_else(|| origin.strip_prefix("http://"))
            .is_some_and(|authority| host.is_some_and(|host| host.eq_ignore_ascii_case(authority)));
        let mut known = self.settings.allowed_origins.iter().chain(&self.settings.public_origin);
        same_host || known.any(|o| o.trim_end_matches('/').eq_ignore_ascii_case(origin))
    }
}

/// A socket's place among all that may be open; free again when it is dropped.
pub(super) struct Place {
    taken: Arc<Mutex<Taken>>,
    subject: Option<String>,
}

impl Place {
    /// The socket is this subject's; false when they have as many as they may.
    pub(super) fn belongs_to(&mut self, subject: &str, limit: Option<usize>) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.by_subject.entry(subject.to_owned()).or_default();
        if limit.is_some_and(|limit| *count >= limit) {
            return false;
        }
        *count += 1;
        self.subject = Some(subject.to_owned());
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        metrics::gauge!("payonce_sockets_open").set(taken.all as f64);
        let Some(subject) = self.subject.take() else { return };
        if let Some(count) = taken.by_subject.get_mut(&subject) {
            *count -= 1;
            if *count == 0 {
                taken.by_subject.remove(&subject);
            }
        }
    }
}

/// Opens a socket, or says why not. A token in the request's headers holds until `connection_init`
/// brings another.
pub(super) async fn upgrade(
    sockets: Arc<Sockets>,
    headers: &HeaderMap,
    address: IpAddr,
    ws: WebSocketUpgrade,
) -> Response {
    if !sockets.welcomes(headers) {
        return refuse(StatusCode::FORBIDDEN, code::FORBIDDEN, "Sockets are not opened for pages of this origin.");
    }
    let ws = ws.protocols([PROTOCOL]);
    if ws.selected_protocol().is_none() {
        let words = "Ask for the subprotocol graphql-transport-ws; no other is spoken.";
        return refuse(StatusCode::BAD_REQUEST, code::BAD_USER_INPUT, words);
    }
    let verified = match token::bearer(headers) {
        Ok(None) => Ok(None),
        Ok(Some(token)) => sockets.access.verify(token).await.map(Some),
        Err(e) => Err(e),
    };
    let verified = match verified {
        Ok(verified) => verified,
        Err(e) => {
            let mut response = refused(e.status(), &e.into());
            if response.status() == StatusCode::UNAUTHORIZED {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            return response;
        }
    };
    if let Some(Err(e)) = verified.as_ref().map(|v| sockets.access.one_of(&v.caller.subject)) {
        return refused(StatusCode::TOO_MANY_REQUESTS, &e);
    }
    let Some(place) = sockets.place() else {
        tracing::debug!(open = sockets.open(), "a socket was refused: there are as many as may be");
        let words = "As many sockets are open as this server takes. Try again in a moment.";
        let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, code::OVERLOADED, words);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    };
    // The library's own buffer of 128 KiB would be most of what an idle socket costs.
    ws.read_buffer_size(512)
        .write_buffer_size(512)
        // Answers to pings are queued by the library: a client that pings and does not read is let go.
        .max_write_buffer_size(WRITE)
        .max_message_size(READ)
        .max_frame_size(READ)
        .on_upgrade(move |socket| connection::serve(sockets, socket, (verified.map(Box::new), address), place))
}

pub(super) fn refuse(status: StatusCode, code: &'static str, message: &str) -> Response {
    refused(status, &ApiError::new(code, message))
}

pub(super) fn refused(status: StatusCode, error: &ApiError) -> Response {
    let body = serde_json::json!({ "errors": error.clone().into_response().errors }).to_string();
    let mut response = (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response();
    retry_after(response.headers_mut(), error);
    response
}
