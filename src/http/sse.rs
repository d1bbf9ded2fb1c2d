//! Streams of events: GraphQL over SSE, distinct connections, queries and subscriptions.
//!
//! Source: graphql-sse's protocol document. Each operation has a connection of its own; `next` carries a
//! response, `complete` ends it. A stream that ends without `complete` is to be asked for again: the server goes
//! away, the token has ended, or nobody read.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::operation::{Guarded, Said};
use super::socket::{Place, Sockets, refuse};
use super::token::Verified;
use crate::graphql::{ApiError, code};

/// Whether the client asks for a stream.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut types = accepted.split(',').map(|part| part.split(';').next().unwrap_or_default().trim());
    types.any(|t| t.eq_ignore_ascii_case("text/event-stream"))
}

/// Begins the operation and streams what it says. An operation that is refused is a stream of one `next` with the
/// errors: an EventSource does not show a status.
pub(super) fn stream(
    sockets: &Arc<Sockets>,
    verified: Option<Verified>,
    guarded: Result<Guarded, ApiError>,
) -> Response {
    let Some(mut place) = sockets.place() else {
        let words = "As many connections are open as this server takes. Try again in a moment.";
        return refuse(StatusCode::SERVICE_UNAVAILABLE, code::OVERLOADED, words);
    };
    if let Some(Verified { caller, .. }) = &verified
        && !place.belongs_to(&caller.subject, sockets.settings.per_subject)
    {
        return refuse(StatusCode::TOO_MANY_REQUESTS, code::LIMIT_EXCEEDED, "Too many connections of yours are open.");
    }
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        // Proxies are not to collect what should arrive at once.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    // One event waits to be written; the next one waits for that.
    let (write, mut written) = mpsc::channel(1);
    let talk = Talk { sockets: sockets.clone(), verified, write };
    match guarded {
        Ok(guarded) => {
            let said = guarded.begin(sockets.patience.query, ());
            tokio::spawn(talk.through(said, place));
        }
        Err(e) => {
            let said = futures_util::stream::iter([Said::Refused(e.into_response().errors)]);
            tokio::spawn(talk.through(said, place));
        }
    }
    let body = futures_util::stream::poll_fn(move |context| written.poll_recv(context));
    (headers, Body::from_stream(body.map(Ok::<Bytes, Infallible>))).into_response()
}

struct Talk {
    sockets: Arc<Sockets>,
    verified: Option<Verified>,
    write: mpsc::Sender<Bytes>,
}

impl Talk {
    /// Writes what is said until it is done, or nobody may or wants to read it any more.
    async fn through(self, said: impl Stream<Item = Said> + Send, _place: Place) {
        let mut said = pin!(said);
        let patience = self.sockets.patience;
        let access = &self.sockets.access;
        let clock = access.tokens.clock();
        let mut ended = pin!(async {
            match &self.verified {
                Some(verified) => tokio::select! {
                    () = clock.sleep_until(verified.caller.expires_at) => {}
                    () = access.until_revoked(verified) => {}
                },
                None => std::future::pending().await,
            }
        });
        let mut stopping = pin!(self.sockets.payments.stopping());
        let mut alive_at = Instant::now() + patience.ping;
        loop {
            let event = tokio::select! {
                () = &mut stopping => return,
                () = &mut ended => return,
                () = self.write.closed() => return,
                () = sleep_until(alive_at) => Some(Bytes::from_static(b":\n\n")),
                said = said.next() => match said {
                    Some(Said::Next(response)) => Some(next(&response)),
                    Some(Said::Refused(errors)) => {
                        let response = serde_json::json!({ "errors": errors }).to_string();
                        if self.write(next(&response)).await {
                            self.write(complete()).await;
                        }
                        return;
                    }
                    Some(Said::Done) | None => None,
                },
            };
            let last = event.is_none();
            if !self.write(event.unwrap_or_else(complete)).await || last {
                return;
            }
            alive_at = Instant::now() + patience.ping;
        }
    }

    /// False: nobody reads.
    async fn write(&self, event: Bytes) -> bool {
        timeout(self.sockets.patience.send, self.write.send(event)).await.is_ok_and(|sent| sent.is_ok())
    }
}

/// JSON has no line breaks outside strings, and none within them.
fn next(response: &str) -> Bytes {
    format!("event: next\ndata: {response}\n\n").into()
}

fn complete() -> Bytes {
    Bytes::from_static(b"event: complete\ndata:\n\n")
}
