//! One signed request, one answer: the HTTP of Alipay.
//!
//! Nothing here sends twice what changes something. Every attempt has its own timestamp and signature.

use std::time::Duration;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use reqwest::{Response, Url};
use serde::Serialize;
use tokio::time::Instant;

use super::config::{self, Config, ConfigError};
use super::envelope::Envelope;
use super::errors::{Call, ErrorAnswer, SUCCESS};
use super::request::{Request, Requests, Urls};
use super::signature::{UNKNOWN_CERTIFICATE, Verifier};
use super::wire::Head;
use crate::gateways::transport::{Failure, QUESTIONS, http_client, pause, sort, within_limit};
use crate::payments::ports::GatewayError;

/// An answer whose sender and outcome are clear.
pub(super) enum Answer {
    /// Code 10000, and this very text was signed by Alipay.
    Verified(String),
    /// Any other code.
    Error(ErrorAnswer),
}

/// Calls Alipay as one app.
pub(super) struct Client {
    http: reqwest::Client,
    pub(super) gateway: Url,
    pub(super) requests: Requests,
    pub(super) verifier: Verifier,
    pub(super) timeout: Duration,
}

impl Client {
    /// Reads the address; does not call.
    pub(super) fn new(config: &Config, requests: Requests, verifier: Verifier) -> Result<Self, ConfigError> {
        let gateway = config::gateway_url(&config.gateway_url).map_err(ConfigError::GatewayUrl)?;
        let http = http_client(&gateway, config.timeout).map_err(ConfigError::HttpClient)?;
        Ok(Self { http, gateway, requests, verifier, timeout: config.timeout })
    }

    /// When a call that begins now must have ended; a second question to finish it shares it.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Calls once. A question that meets a broken connection or a 5xx is asked at most twice more.
    pub(super) async fn call(
        &self,
        call: Call,
        notify_url: Option<&str>,
        content: &impl Serialize,
        deadline: Instant,
    ) -> Result<Answer, GatewayError> {
        let tries = if call.is_question() { QUESTIONS } else { 1 };
        let attempts = async {
            let mut asked = 1;
            loop {
                let urls = Urls { notify: notify_url, back: None };
                let request = self.requests.sign(call.method(), urls, content)?;
                match self.attempt(call, &request).await {
                    Err(Failure::NotSent(_) | Failure::Lost(_)) if asked < tries => {}
                    outcome => return Ok(outcome?),
                }
                // Real time, not the clock of the rules: the network does not know that one.
                tokio::time::sleep(pause(asked)).await;
                asked += 1;
            }
        };
        match tokio::time::timeout_at(deadline, attempts).await {
            Ok(outcome) => outcome,
            Err(_) => Err(GatewayError::Unknown(format!("no answer within {} ms", self.timeout.as_millis()))),
        }
    }

    /// Fetches a file that the gateway named: a plain GET without any parameter of ours. The answer's head is
    /// awaited until the deadline; only 200 is one.
    pub(super) async fn fetch(&self, address: Url, deadline: Instant) -> Result<Response, GatewayError> {
        match tokio::time::timeout_at(deadline, self.http.get(address).send()).await {
            Err(_) => Err(GatewayError::Unknown(format!("no answer within {} ms", self.timeout.as_millis()))),
            Ok(Err(why)) => Err(sort(why).into()),
            Ok(Ok(response)) if response.status() != StatusCode::OK => {
                Err(GatewayError::Unknown(format!("{} is no file", response.status())))
            }
            Ok(Ok(response)) => Ok(response),
        }
    }

    async fn attempt(&self, call: Call, request: &Request) -> Result<Answer, Failure> {
        let (address, content) = request.parts(&self.gateway);
        let response = self
            .http
            .post(address)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded;charset=utf-8")
            .body(Request::body(content))
            .send()
            .await
            .map_err(sort)?;
        self.read(call, response).await
    }

    async fn read(&self, call: Call, mut response: Response) -> Result<Answer, Failure> {
        let status = response.status();
        if status != StatusCode::OK {
            // Alipay answers 200 to everything: this is somebody in between, or Alipay in trouble.
            let why = format!("{status} decides nothing");
            return Err(if status.is_server_error() { Failure::Lost(why) } else { Failure::Untrusted(why) });
        }
        let body = within_limit(&mut response).await?;
        self.judge(call, &body).map_err(|why| Failure::Untrusted(why.to_owned()))
    }

    /// What an answer comes to. Only what is verified can be a success, and only that text is read.
    fn judge(&self, call: Call, body: &[u8]) -> Result<Answer, &'static str> {
        let Envelope { node, error, sign, cert_sn } = Envelope::cut(body, call.method())?;
        let head = |text: &str| serde_json::from_str::<Head>(text).map_err(|_| "the answer has no code");
        let Some(sign) = sign else {
            return match head(node)? {
                head if head.code == SUCCESS => Err("a success that nobody signed"),
                head => Ok(Answer::Error(ErrorAnswer::read(head, false))),
            };
        };
        let verified = self.verifier.node(node, &sign, cert_sn.as_deref()).inspect_err(|why| {
            if *why == UNKNOWN_CERTIFICATE {
                tracing::error!(
                    alipay_cert_sn = cert_sn,
                    "Alipay signs with a certificate that we were not given: get alipayCertPublicKey_RSA2.crt from \
                     Alipay's console, append it to the file of Alipay's certificate, and start again; until then \
                     no answer counts"
                );
            }
        })?;
        match head(&verified)? {
            head if head.code != SUCCESS => Ok(Answer::Error(ErrorAnswer::read(head, true))),
            _ if error => Err("a success that calls itself an error"),
            _ => Ok(Answer::Verified(verified.into_owned())),
        }
    }
}
