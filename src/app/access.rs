//! Who may come in: configuration to what the doors take, and the revocation of tokens.

use std::sync::Arc;

use domain::Timestamp;

use super::{StartError, SystemClock, connect, failed, nothing_pending};
use crate::config::Config;
use crate::config::access::RateLimit;
use crate::http::{AccessSettings, TokenVerifier, TrustedDocuments};
use crate::payments::ports::{Clock, Coordination, Rate};
use crate::store::{Revocation, StoreError};

pub(super) fn settings(config: &Config, coordination: Arc<dyn Coordination>) -> AccessSettings {
    let rate = |limit: RateLimit| Rate { count: limit.count, per: limit.per };
    AccessSettings {
        subject: config.access.rate_subject.map(rate),
        address: config.access.rate_address.map(rate),
        trusted_proxies: config.access.trusted_proxies.clone(),
        coordination: Some(coordination),
    }
}

pub(super) fn trusted_documents(config: &Config) -> Result<Option<TrustedDocuments>, StartError> {
    let Some(files) = &config.access.trusted_documents else { return Ok(None) };
    let files = files.iter().map(|file| (file.path.as_path(), file.text.as_str()));
    TrustedDocuments::read(files).map(Some).map_err(|e| failed("PAYONCE_TRUSTED_DOCUMENTS", e))
}

/// An issuer that does not answer stops nothing: gateways' notifications and payments under way need no token.
pub(super) async fn read_keys(tokens: &TokenVerifier) {
    if let Err(why) = tokens.read_keys().await {
        tracing::error!(%why, "PAYONCE_JWKS_URL: no token is taken, and /readyz says so, until the issuer's keys are read; they are asked for every 30 s");
    }
}

/// Which tokens are no longer to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoke {
    /// All of a subject that were issued before a time; `None`: until now.
    Subject(String, Option<Timestamp>),
    /// Whichever carries this `jti`.
    Jti(String),
}

/// Records that these tokens are no longer taken: every process knows within a few seconds. A sentence that says what
/// was done.
pub async fn revoke_tokens(config: &Config, what: Revoke) -> Result<String, StartError> {
    revoke_tokens_at(config, what, SystemClock.now()).await
}

/// [`revoke_tokens`], at `now`.
pub async fn revoke_tokens_at(config: &Config, what: Revoke, now: Timestamp) -> Result<String, StartError> {
    let fits = |text: &str| (1..=255).contains(&text.len()) && !text.contains('\0');
    let (revocation, done) = match what {
        Revoke::Subject(subject, _) if !fits(&subject) => return Err(failed("--sub", "has 1 to 255 bytes")),
        Revoke::Jti(jti) if !fits(&jti) => return Err(failed("--jti", "has 1 to 255 bytes")),
        Revoke::Subject(_, Some(before)) if before > now => {
            return Err(failed(
                "--before",
                "is in the future; right is a time that has been, like 2026-11-20T12:00:00Z",
            ));
        }
        Revoke::Subject(subject, before) => {
            let issued_before = before.unwrap_or(now);
            let done =
                format!("tokens of {subject:?} issued before {} are no longer taken", issued_before.to_rfc3339());
            (Revocation::Subject { subject, issued_before }, done)
        }
        Revoke::Jti(jti) => {
            let done = format!("the token {jti:?} is no longer taken");
            (Revocation::Jti(jti), done)
        }
    };
    let store = connect(config).await?;
    nothing_pending(&store).await?;
    let written = async {
        let tx = store.begin().await?;
        tx.revoke(&revocation, now).await?;
        tx.commit().await
    };
    let written = written.await;
    store.close().await;
    written.map_err(|e: StoreError| failed("PAYONCE_DATABASE_URL", e))?;
    Ok(done)
}
