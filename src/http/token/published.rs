//! The issuer's keys, where it publishes them: read at the start, every ten minutes, and when a token names a key
//! that is not among them, but then no more often than every 30 s.
//!
//! The last set that was read stays when the issuer does not answer, for a day: then no key of it is believed any
//! more. A key that a new set no longer has is gone with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use domain::Timestamp;
use reqwest::{StatusCode, Url, header};
use tokio::sync::watch;

use super::TokenKeys;
use super::keys::Keys;
use crate::payments::ports::Clock;

/// However many tokens name unknown keys.
const AGAIN_AFTER: domain::Duration = domain::Duration::seconds(30);
const CALMLY: domain::Duration = domain::Duration::minutes(10);
/// A key that its issuer took back is not believed for longer, whatever keeps us from hearing of it.
const KEPT: domain::Duration = domain::Duration::hours(24);
const WITHIN: Duration = Duration::from_secs(5);
const BYTES: usize = 64 * 1024;

/// A set of keys that is read from a URL.
pub(super) struct Published {
    url: Url,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Option<(Arc<Keys>, Timestamp)>,
    asked_at: Option<Timestamp>,
    /// What the last question came to.
    failure: Option<String>,
    /// Ends with the question that is under way.
    asking: Option<watch::Receiver<()>>,
}

impl Published {
    /// Reads nothing yet. An error is a sentence for the operator.
    pub fn new(url: &str, clock: Arc<dyn Clock>) -> Result<Arc<Self>, String> {
        let url: Url = url.parse().map_err(|_| "the JWKS URL is not a URL".to_owned())?;
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("payonce/", env!("CARGO_PKG_VERSION")))
            .timeout(WITHIN)
            // Where the keys are is said by the configuration and by nobody else.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false);
        if url.scheme() == "http" {
            // A newcomer's machine: starts where no CA certificates are installed.
            http = http.tls_certs_only([]);
        }
        let http = http.build().map_err(|e| format!("no HTTP client for the JWKS: {e}"))?;
        let published = Arc::new(Self { url, http, clock, state: Mutex::default() });
        tokio::spawn(follow(Arc::downgrade(&published), Arc::clone(&published.clock)));
        Ok(published)
    }

    /// The keys to check a token with that names `kid`: asked for anew when it is not among them and the last
    /// question was long enough ago. `None`: there are none to go by.
    pub async fn keys_for(self: &Arc<Self>, kid: Option<&str>) -> Option<Arc<Keys>> {
        let keys = self.current();
        match (&keys, kid) {
            (Some(known), _) if known.find(kid).is_some() => return keys,
            (Some(_), None) => return keys,
            _ => {}
        }
        if let Some(asking) = self.ask() {
            until_over(asking).await;
        }
        self.current()
    }

    /// Asks now, unless somebody just did; what came of it, as the end of a sentence for the operator.
    pub async fn read(self: &Arc<Self>) -> Result<(), String> {
        if let Some(asking) = self.ask() {
            until_over(asking).await;
        }
        match self.state().failure.clone() {
            Some(why) => Err(why),
            None => Ok(()),
        }
    }

    /// Whether there are keys to go by.
    pub fn is_ready(&self) -> bool {
        self.current().is_some()
    }

    fn current(&self) -> Option<Arc<Keys>> {
        let state = self.state();
        let (keys, read_at) = state.keys.as_ref()?;
        (self.clock.now() - *read_at <= KEPT).then(|| Arc::clone(keys))
    }

    /// The question that is under way, or a new one; `None`: the last one was a moment ago. It has a task of its
    /// own: who asked may leave.
    fn ask(self: &Arc<Self>) -> Option<watch::Receiver<()>> {
        let mut state = self.state();
        if state.asking.is_some() {
            return state.asking.clone();
        }
        let now = self.clock.now();
        if state.asked_at.is_some_and(|at| now >= at && now - at < AGAIN_AFTER) {
            return None;
        }
        let (over, asking) = watch::channel(());
        state.asked_at = Some(now);
        state.asking = Some(asking.clone());
        let published = Arc::clone(self);
        tokio::spawn(async move {
            let read = published.fetch().await;
            let mut state = published.state();
            state.asking = None;
            match read {
                Ok(keys) => {
                    state.keys = Some((Arc::new(keys), now));
                    state.failure = None;
                }
                Err(why) => {
                    tracing::error!(url = %published.shown(), %why, "the issuer's keys could not be read; those that are known are kept for a day");
                    state.failure = Some(why);
                }
            }
            drop(state);
            drop(over);
        });
        Some(asking)
    }

    async fn fetch(&self) -> Result<Keys, String> {
        let failed = |e: reqwest::Error| format!("the JWKS URL does not answer: {}", e.without_url());
        let asked = self.http.get(self.url.clone()).header(header::ACCEPT, "application/json");
        let mut response = asked.send().await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(format!(
                "the JWKS URL answers {}; right is 200, redirects are not followed",
                response.status()
            ));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > BYTES {
                return Err("the JWKS is longer than 64 KiB".to_owned());
            }
            body.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(body).map_err(|_| "the JWKS is not UTF-8".to_owned())?;
        Keys::read(&TokenKeys::Jwks(text))
    }

    /// The URL without what may be a secret in its query.
    fn shown(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.to_string()
    }

    /// No code panics while it holds this lock, and none waits.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sender says nothing: it goes.
async fn until_over(mut asking: watch::Receiver<()>) {
    while asking.changed().await.is_ok() {}
}

/// Reads the keys anew, calmly; sooner when the last question failed. Ends with the verifier.
async fn follow(published: Weak<Published>, clock: Arc<dyn Clock>) {
    loop {
        let asking = published.upgrade().and_then(|published| published.state().asking.clone());
        if let Some(asking) = asking {
            until_over(asking).await;
        }
        let next = {
            let Some(published) = published.upgrade() else { return };
            let state = published.state();
            match (state.asked_at, &state.failure) {
                (Some(at), None) => at + CALMLY,
                (Some(at), Some(_)) => at + AGAIN_AFTER,
                (None, _) => clock.now(),
            }
        };
        clock.sleep_until(next).await;
        let Some(published) = published.upgrade() else { return };
        let asking = published.ask();
        drop(published);
        match asking {
            Some(asking) => until_over(asking).await,
            // Somebody asked meanwhile, a moment ago.
            None => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}
