//! Webhooks, signed as Standard Webhooks has it (standardwebhooks.com, "Signature scheme").

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::Timestamp;
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use tokio_util::sync::CancellationToken;

use super::SettingsError;
use super::channel::{Failure, Outlet, SEND_WITHIN};
use super::message::Message;
use crate::payments::ports::Clock;
use crate::store::{Channel, Store, StoreError};

/// For one event, from the connection to the end of the answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// For TCP and TLS.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// So much of an answer is read, so that its connection can be used again; nothing of it is kept.
const ANSWER_LIMIT: usize = 16 * 1024;
/// Dead letters that are resent in a row.
const RESENDS: i32 = 20;

/// How the webhook is reached.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// `https://`, in the dev profile `http://` too.
    pub url: SecretString,
    /// Each signs.
    pub secrets: Vec<SecretSlice<u8>>,
}

/// An HTTP address that is told. Only a 2xx acknowledges; no redirect is followed.
pub struct Webhook {
    url: Url,
    keys: Vec<hmac::Key>,
    http: reqwest::Client,
}

impl Webhook {
    /// Reads the settings; connects to nothing.
    pub fn new(settings: &WebhookSettings) -> Result<Self, SettingsError> {
        let url: Url = settings.url.expose_secret().parse().map_err(|_| SettingsError::WebhookUrl)?;
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("payonce/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .referer(false);
        if url.scheme() == "http" {
            // On a newcomer's machine there may be no CA certificates.
            http = http.tls_certs_only([]);
        }
        let keys = settings.secrets.iter().map(|s| hmac::Key::new(hmac::HMAC_SHA256, s.expose_secret())).collect();
        Ok(Self { url, keys, http: http.build().map_err(|_| SettingsError::HttpClient)? })
    }

    /// Where it is, without path, query, user and password.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }
}

#[async_trait]
impl Outlet for Webhook {
    const CHANNEL: Channel = Channel::Webhook;
    const AT_ONCE: usize = 24;
    const FAILING_AT_ONCE: usize = 8;

    async fn ready(&self) {}

    async fn send(&self, message: &Message, now: Timestamp) -> Result<(), Failure> {
        let timestamp = now.timestamp();
        let request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", message.id.as_str())
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signatures(&self.keys, message.id.as_str(), timestamp, &message.body))
            .body(message.body.clone());
        let mut response = request.send().await.map_err(|e| Failure::NotTaken(causes(&e.without_url())))?;
        let status = response.status();
        if !status.is_success() {
            return Err(Failure::NotTaken(format!("answered {}", status.as_u16())));
        }
        let mut read = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            read += chunk.len();
            if read > ANSWER_LIMIT {
                break;
            }
        }
        Ok(())
    }
}

/// `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, one for each key, with spaces between.
fn signatures(keys: &[hmac::Key], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signed = keys.iter().map(|key| {
        let mut signing = hmac::Context::with_key(key);
        signing.update(format!("{id}.{timestamp}.").as_bytes());
        signing.update(body);
        format!("v1,{}", STANDARD.encode(signing.sign()))
    });
    signed.collect::<Vec<_>>().join(" ")
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

/// Tells dead letters once more that somebody wants told, until it is stopped.
pub(super) async fn resend(webhook: Arc<Webhook>, store: Store, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let mut changes = store.changes();
    while !stop.is_cancelled() {
        let now = clock.now();
        changes.borrow_and_update();
        if let Err(e) = resend_some(&webhook, &store, &clock, &stop).await {
            tracing::warn!(error = %e, "dead letters are resent again in a second");
        }
        // No database future is in here.
        tokio::select! {
            () = clock.sleep_until(now + domain::Duration::seconds(1)) => {}
            _ = changes.changed() => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn resend_some(
    webhook: &Webhook,
    store: &Store,
    clock: &Arc<dyn Clock>,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    let now = clock.now();
    let until = now + SEND_WITHIN * RESENDS;
    for letter in store.take_resends(now, until, RESENDS.unsigned_abs().into()).await? {
        if stop.is_cancelled() {
            break;
        }
        let sent = match Message::of(&letter.event) {
            Ok(message) => webhook.send(&message, clock.now()).await,
            Err(e) => Err(Failure::NotTaken(e.to_string())),
        };
        match sent {
            Ok(()) => store.resent(&letter).await?,
            Err(Failure::NotTaken(why) | Failure::Down(why)) => {
                tracing::warn!(event = %letter.id, why, "a dead letter was not taken this time either");
                store.not_resent(&letter, &why, clock.now()).await?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the standard's own libraries: `msg_p5jXN8AQM9LWM0D4loKWxJek`.
    #[test]
    fn signs_as_the_standard_does() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let signed =
            signatures(&[key.clone(), key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        let one = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signed, format!("{one} {one}"));
    }
}
