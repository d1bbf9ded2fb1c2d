//! Who may come in, and how often: asked before anything else costs.

mod address;
mod limiter;

pub(super) use address::Peer;

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::token::{TokenError, TokenVerifier, Verified};
use crate::graphql::{ApiError, code};
use crate::payments::ports::{Coordination, Rate};
use crate::payments::{Payments, Revoked};
use address::Proxies;
use limiter::Limiter;

/// What the doors are told by configuration about who may come in.
#[derive(Default)]
pub struct AccessSettings {
    /// How often one subject may ask; `None`: as often as they like.
    pub subject: Option<Rate>,
    /// How often one address may; an IPv6 network of /64 counts as one.
    pub address: Option<Rate>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Counts with the other processes; `None`: each by itself.
    pub coordination: Option<Arc<dyn Coordination>>,
}

/// Asked before anything else.
pub(super) struct Access {
    pub tokens: TokenVerifier,
    revoked: watch::Receiver<Arc<Revoked>>,
    subjects: Option<Arc<Limiter>>,
    addresses: Option<Arc<Limiter>>,
    proxies: Proxies,
}

impl Access {
    pub fn new(tokens: TokenVerifier, payments: &Payments, settings: AccessSettings) -> Self {
        let limiter = |kind, rate: Option<Rate>| Some(Arc::new(Limiter::new(kind, rate?, tokens.clock())));
        let (subjects, addresses) = (limiter("subject", settings.subject), limiter("address", settings.address));
        let limiters: Vec<_> = subjects.iter().chain(&addresses).cloned().collect();
        if let Some(coordination) = settings.coordination.filter(|_| !limiters.is_empty()) {
            tokio::spawn(limiter::share(limiters, coordination, payments.clone()));
        }
        let proxies = Proxies::new(settings.trusted_proxies);
        Self { tokens, revoked: payments.revoked(), subjects, addresses, proxies }
    }

    /// Where a request comes from.
    pub fn address(&self, extensions: &Extensions, headers: &HeaderMap) -> IpAddr {
        self.proxies.address(extensions, headers)
    }

    /// One more from this address.
    pub fn one_from(&self, address: IpAddr) -> Result<(), ApiError> {
        one_more(self.addresses.as_deref(), address::name(address), "from your address")
    }

    /// One more of this subject.
    pub fn one_of(&self, subject: &str) -> Result<(), ApiError> {
        let name = || Sha256::digest(subject).iter().take(16).fold(0, |name, byte| (name << 8) | u128::from(*byte));
        one_more(self.subjects.as_deref(), if self.subjects.is_some() { name() } else { 0 }, "of yours")
    }

    /// The token's holder, unless the token is revoked.
    pub async fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        let verified = self.tokens.verify(token).await?;
        if verified.is_covered_by(&self.revoked.borrow()) {
            return Err(TokenError::Invalid("has been revoked"));
        }
        Ok(verified)
    }

    /// Returns once the token is revoked.
    pub async fn until_revoked(&self, verified: &Verified) {
        let mut revoked = self.revoked.clone();
        if revoked.wait_for(|revoked| verified.is_covered_by(revoked)).await.is_err() {
            // The workflows are gone, and tell everybody by another way.
            std::future::pending::<()>().await;
        }
    }
}

fn one_more(limiter: Option<&Limiter>, name: limiter::Name, whose: &str) -> Result<(), ApiError> {
    let Some(Err(wait)) = limiter.map(|limiter| limiter.take(name)) else { return Ok(()) };
    metrics::counter!("payonce_rate_limited_total").increment(1);
    let words = format!("Too many requests {whose}. Send the same again after retryAfterMs.");
    Err(ApiError::new(code::RATE_LIMITED, words).again_after(wait))
}
