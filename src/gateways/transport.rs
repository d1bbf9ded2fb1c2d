//! What every provider's HTTP has in common: no surprises from the client, short answers, and failures sorted by
//! what may have left our side.

use std::error::Error;
use std::time::Duration;

use reqwest::{Response, Url};

use crate::payments::ports::GatewayError;

/// Longer answers are not read: no provider's are.
pub(super) const ANSWER_LIMIT: usize = 256 * 1024;
/// How often a question is asked at most. What changes something is sent once.
pub(super) const QUESTIONS: u32 = 3;

/// Why there is no answer to go by.
pub(super) enum Failure {
    /// Nothing has left our side.
    NotSent(String),
    /// The connection broke after that, or something in between answered.
    Lost(String),
    /// Something came that we cannot trust or read.
    Untrusted(String),
}

impl From<Failure> for GatewayError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotSent(why) => GatewayError::NotSent(why),
            Failure::Lost(why) | Failure::Untrusted(why) => GatewayError::Unknown(why),
        }
    }
}

/// A client that follows no redirect, tries nothing again by itself and unpacks nothing. The error is one line.
pub(super) fn http_client(address: &Url, deadline: Duration) -> Result<reqwest::Client, String> {
    let mut http = reqwest::Client::builder()
        // WeChat Pay answers 400 to requests without one.
        .user_agent(concat!("payonce/", env!("CARGO_PKG_VERSION")))
        // A connection that does not come about is "not sent": that must be seen before the deadline.
        .connect_timeout(deadline / 2)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false);
    if address.scheme() == "http" {
        // The sandbox: starts where no CA certificates are installed.
        http = http.tls_certs_only([]);
    }
    http.build().map_err(|why| causes(&why))
}

/// The whole answer, unless it is too long.
pub(super) async fn within_limit(response: &mut Response) -> Result<Vec<u8>, Failure> {
    crash_point!("reply_unread");
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|why| Failure::Lost(causes(&why.without_url())))? {
        if body.len() + chunk.len() > ANSWER_LIMIT {
            return Err(Failure::Untrusted(format!("the answer is longer than {ANSWER_LIMIT} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Only a connection that never stood proves that nothing was sent.
pub(super) fn sort(error: reqwest::Error) -> Failure {
    let not_sent = error.is_connect() || error.is_builder();
    let why = causes(&error.without_url());
    if not_sent { Failure::NotSent(why) } else { Failure::Lost(why) }
}

/// 100 to 355 ms, then 200 to 455 ms.
pub(super) fn pause(asked: u32) -> Duration {
    let mut jitter = [0];
    // Without randomness the pause is only less spread.
    let _ = aws_lc_rs::rand::fill(&mut jitter);
    Duration::from_millis(100 * u64::from(asked) + u64::from(jitter[0]))
}

/// The error and what is behind it, on one line.
fn causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        line = format!("{line}: {inner}");
        cause = inner.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_stay_short() {
        for asked in 1..QUESTIONS {
            assert!((100..1000).contains(&pause(asked).as_millis()));
        }
    }
}
