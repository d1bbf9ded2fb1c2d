//! One signed request, one answer: the HTTP of WeChat Pay.
//!
//! Nothing here retries a POST. Every attempt has its own nonce, timestamp and signature.

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
use crate::gateways::transport::{Failure, QUESTIONS, http_client, pause, sort, within_limit};
use crate::payments::ports::{Clock, GatewayError};

/// An answer whose sender and outcome are clear.
pub(super) enum Answer {
    /// 200 or 204, and these very bytes were signed by WeChat Pay.
    Verified(Vec<u8>),
    /// An error; errors are not signed.
    Error(ErrorAnswer),
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
        let http = http_client(&base, config.timeout).map_err(ConfigError::HttpClient)?;
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

fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("request-id")?.to_str().ok()?;
    Some(id.chars().take(64).collect())
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
}
