//! One signed request, one answer: the HTTP of WeChat Pay.
//!
//! Nothing here retries a POST. Every attempt has its own nonce, timestamp and signature.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};
use reqwest::{Response, Url};
use serde::Serialize;

use super::config::{self, Config, ConfigError};
use super::errors::ErrorAnswer;
use super::signature::{Signed, Signer, Verifier};
use crate::payments::ports::{Clock, GatewayError};

/// No answer of the API is near this; we stop reading where it is passed.
const ANSWER_LIMIT: usize = 256 * 1024;
/// A question that met a broken connection or a 5xx is asked so often at most.
const QUESTIONS: u32 = 3;
/// The provider answers 400 to requests without one.
const USER_AGENT: &str = concat!("payonce/", env!("CARGO_PKG_VERSION"));

/// An answer whose sender and outcome are clear.
pub(super) enum Answer {
    /// 200 or 204, and these very bytes were signed by WeChat Pay.
    Verified(Vec<u8>),
    /// An error; errors are not signed.
    Error(ErrorAnswer),
}

/// Why there is no answer to go by.
enum Failure {
    /// Nothing has left our side.
    NotSent(String),
    /// The connection broke after that.
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

/// Calls WeChat Pay as one merchant.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    pub(super) signer: Signer,
    pub(super) verifier: Verifier,
    wanted_key: Option<String>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl Client {
    /// Reads keys and address; does not call.
    pub(super) fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        let base = config::base_url(&config.base_url)?;
        let signer = Signer::new(&config.mchid, &config.serial_no, &config.private_key_pem)?;
        let verifier = Verifier::new(&config.platform_keys)?;
        if let Some(unknown) = config.wanted_key.as_deref().filter(|key| !verifier.knows(key)) {
            return Err(ConfigError::WantedKey(unknown.to_owned()));
        }
        let mut http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            // A connection that does not come about is "not sent": that must be seen before the deadline.
            .connect_timeout(config.timeout / 2)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false);
        if base.scheme() == "http" {
            // The sandbox: starts where no CA certificates are installed.
            http = http.tls_certs_only([]);
        }
        let http = http.build().map_err(|why| ConfigError::HttpClient(causes(&why)))?;
        let wanted_key = config.wanted_key.clone();
        Ok(Self { http, base, signer, verifier, wanted_key, timeout: config.timeout, clock })
    }

    /// Asks. A broken connection or a 5xx is met by at most two more tries within the deadline.
    pub(super) async fn get(&self, target: &str) -> Result<Answer, GatewayError> {
        self.within_deadline(async {
            let mut asked = 1;
            loop {
                let outcome = self.attempt(Method::GET, target, Bytes::new()).await;
                let in_vain = match &outcome {
                    Ok(Answer::Error(error)) => error.status.is_server_error(),
                    Err(Failure::NotSent(_) | Failure::Lost(_)) => true,
                    Ok(Answer::Verified(_)) | Err(Failure::Untrusted(_)) => false,
                };
                if !in_vain || asked == QUESTIONS {
                    return outcome;
                }
                // Real time, not the clock of the rules: the network does not know that one.
                tokio::time::sleep(pause(asked)).await;
                asked += 1;
            }
        })
        .await
    }

    /// Sends once, whatever comes of it.
    pub(super) async fn post(&self, target: &str, body: &impl Serialize) -> Result<Answer, GatewayError> {
        let body = serde_json::to_vec(body).map_err(|why| GatewayError::NotSent(why.to_string()))?;
        self.within_deadline(self.attempt(Method::POST, target, body.into())).await
    }

    async fn within_deadline(
        &self,
        call: impl Future<Output = Result<Answer, Failure>>,
    ) -> Result<Answer, GatewayError> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(GatewayError::Unknown(format!("no answer within {} ms", self.timeout.as_millis()))),
        }
    }

    async fn attempt(&self, method: Method, target: &str, body: Bytes) -> Result<Answer, Failure> {
        let url = self.url(target)?;
        let not_signed = |_| Failure::NotSent("the request could not be signed".to_owned());
        let authorization = self
            .signer
            .authorization(method.as_str(), &signed_target(&url), self.clock.now(), &body)
            .map_err(not_signed)?;
        let mut request = self
            .http
            .request(method.clone(), url)
            .header(AUTHORIZATION, authorization)
            .header(ACCEPT, "application/json");
        if let Some(key) = &self.wanted_key {
            request = request.header("Wechatpay-Serial", key);
        }
        if method == Method::POST {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        self.read(request.send().await.map_err(sort)?).await
    }

    async fn read(&self, mut response: Response) -> Result<Answer, Failure> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = within_limit(&mut response).await?;
        match status {
            StatusCode::OK | StatusCode::NO_CONTENT => {
                let now = self.clock.now();
                self.verifier
                    .verify(Signed::Answer, &headers, &body, now)
                    .map_err(|why| Failure::Untrusted(format!("{status}, but {why}")))?;
                Ok(Answer::Verified(body))
            }
            // 202: accepted, ask again.
            _ if status.is_success() => Err(Failure::Untrusted(format!("{status} decides nothing"))),
            _ => Ok(Answer::Error(ErrorAnswer::read(status, &body, request_id(&headers)))),
        }
    }

    /// `target` under the base URL. Numbers of ours need no percent-encoding.
    fn url(&self, target: &str) -> Result<Url, Failure> {
        let base = self.base.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}{target}")).map_err(|why| Failure::NotSent(why.to_string()))
    }
}

/// Path and query as they go over the wire: what is signed is what is sent.
fn signed_target(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

async fn within_limit(response: &mut Response) -> Result<Vec<u8>, Failure> {
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
fn sort(error: reqwest::Error) -> Failure {
    let not_sent = error.is_connect() || error.is_builder();
    let why = causes(&error.without_url());
    if not_sent { Failure::NotSent(why) } else { Failure::Lost(why) }
}

/// 100 to 355 ms, then 200 to 455 ms.
fn pause(asked: u32) -> Duration {
    let mut jitter = [0];
    // Without randomness the pause is only less spread.
    let _ = aws_lc_rs::rand::fill(&mut jitter);
    Duration::from_millis(100 * u64::from(asked) + u64::from(jitter[0]))
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("request-id")?.to_str().ok()?;
    Some(id.chars().take(64).collect())
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
    use crate::gateways::wechat_pay::vectors::{self, text};

    #[test]
    fn what_is_signed_is_what_is_sent() {
        let vectors = vectors::request_auth();
        for case in vectors["cases"].as_array().unwrap() {
            let url = Url::parse(text(&case["url"])).unwrap();
            assert_eq!(signed_target(&url), text(&case["sign_url"]), "{}", case["id"]);
        }
    }

    #[test]
    fn pauses_stay_short() {
        for asked in 1..QUESTIONS {
            assert!((100..1000).contains(&pause(asked).as_millis()));
        }
    }
}
