//! One signed request, one answer: the HTTP of WeChat Pay.
//!
//! Nothing here retries a POST that may have left our side. Every attempt has its own nonce, timestamp and
//! signature.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};
use reqwest::{Response, Url};
use serde::Serialize;

use super::certificate;
use super::certificates::Downloads;
use super::cipher::Cipher;
use super::config::{self, Config, ConfigError};
use super::errors::ErrorAnswer;
use super::signature::{Signer, Verifier};
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
    standby: Option<Url>,
    pub(super) signer: Signer,
    pub(super) verifier: Verifier,
    pub(super) cipher: Cipher,
    wanted_key: Option<String>,
    pub(super) timeout: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) downloads: Downloads,
}

impl Client {
    /// Reads keys and address; does not call.
    pub(super) fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        let base = config::base_url(&config.base_url).map_err(ConfigError::BaseUrl)?;
        let standby =
            config.standby_url.as_deref().map(config::base_url).transpose().map_err(ConfigError::StandbyUrl)?;
        if standby.as_ref().is_some_and(|standby| standby.scheme() != base.scheme()) {
            return Err(ConfigError::StandbyUrl("is not of the base URL's scheme"));
        }
        let signer = Signer::new(&config.mchid, &config.serial_no, &config.private_key_pem)?;
        if let Some(pem) = &config.certificate_pem {
            certificate::check_merchant(pem, &config.serial_no, signer.public_key(), clock.now())
                .map_err(ConfigError::Certificate)?;
        }
        let verifier = Verifier::new(&config.platform_keys)?;
        let cipher = Cipher::new(&config.api_v3_key)?;
        if let Some(unknown) = config.wanted_key.as_deref().filter(|key| !verifier.knows(key)) {
            return Err(ConfigError::WantedKey(unknown.to_owned()));
        }
        let http = http_client(&base, config.timeout).map_err(ConfigError::HttpClient)?;
        let wanted_key = config.wanted_key.clone();
        let (timeout, downloads) = (config.timeout, Downloads::default());
        Ok(Self { http, base, standby, signer, verifier, cipher, wanted_key, timeout, clock, downloads })
    }

    /// Asks. A broken connection or a 5xx is met by at most two more tries within the deadline.
    pub(super) async fn get(self: &Arc<Self>, target: &str) -> Result<Answer, GatewayError> {
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
    pub(super) async fn post(self: &Arc<Self>, target: &str, body: &impl Serialize) -> Result<Answer, GatewayError> {
        let body = serde_json::to_vec(body).map_err(|why| GatewayError::NotSent(why.to_string()))?;
        self.within_deadline(self.attempt(Method::POST, target, body.into())).await
    }

    /// Asks for a file, whose answer nobody signs; the body is the caller's to read and to check.
    pub(super) async fn download(&self, target: &str) -> Result<Response, GatewayError> {
        let response = self.within_deadline(self.send(&Method::GET, target, &Bytes::new())).await?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status => Err(GatewayError::Unknown(format!("{status} in the place of a file"))),
        }
    }

    async fn within_deadline<T>(&self, call: impl Future<Output = Result<T, Failure>>) -> Result<T, GatewayError> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(GatewayError::Unknown(format!("no answer within {} ms", self.timeout.as_millis()))),
        }
    }

    async fn attempt(self: &Arc<Self>, method: Method, target: &str, body: Bytes) -> Result<Answer, Failure> {
        if !self.has_keys().await {
            return Err(Failure::NotSent(
                "the answer could not be verified: WeChat Pay's certificates are missing".into(),
            ));
        }
        let response = self.send(&method, target, &body).await?;
        self.read(response).await
    }

    /// Sends to the main host; where no connection to it comes about, and so nothing has left our side, to the
    /// standby, signed anew.
    pub(super) async fn send(&self, method: &Method, target: &str, body: &Bytes) -> Result<Response, Failure> {
        match (self.send_to(&self.base, method, target, body).await, &self.standby) {
            (Err(Failure::NotSent(why)), Some(standby)) => {
                tracing::warn!(why, "no connection to WeChat Pay's main host; asks the standby");
                self.send_to(standby, method, target, body).await
            }
            (outcome, _) => outcome,
        }
    }

    async fn send_to(&self, base: &Url, method: &Method, target: &str, body: &Bytes) -> Result<Response, Failure> {
        let url = under(base, target)?;
        let not_signed = |_| Failure::NotSent("the request could not be signed".to_owned());
        let authorization = self
            .signer
            .authorization(method.as_str(), &signed_target(&url), self.clock.now(), body)
            .map_err(not_signed)?;
        let mut request = self
            .http
            .request(method.clone(), url)
            .header(AUTHORIZATION, authorization)
            .header(ACCEPT, "application/json");
        if let Some(key) = &self.wanted_key {
            request = request.header("Wechatpay-Serial", key);
        }
        if *method == Method::POST {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        request.send().await.map_err(sort)
    }

    async fn read(self: &Arc<Self>, mut response: Response) -> Result<Answer, Failure> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = within_limit(&mut response).await?;
        match status {
            StatusCode::OK | StatusCode::NO_CONTENT => {
                let verified = self.verify_answer(&headers, &body).await;
                verified.map_err(|why| Failure::Untrusted(format!("{status}, but {why}")))?;
                Ok(Answer::Verified(body))
            }
            // 202: accepted, ask again.
            _ if status.is_success() => Err(Failure::Untrusted(format!("{status} decides nothing"))),
            _ => Ok(Answer::Error(ErrorAnswer::read(status, &body, request_id(&headers)))),
        }
    }
}

/// `target` under a base URL. Numbers of ours need no percent-encoding.
fn under(base: &Url, target: &str) -> Result<Url, Failure> {
    let base = base.as_str().trim_end_matches('/');
    Url::parse(&format!("{base}{target}")).map_err(|why| Failure::NotSent(why.to_string()))
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
