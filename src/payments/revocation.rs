//! Tokens that are no longer taken: kept in memory, followed in the store, asked without a round trip.
//!
//! Every process looks every two seconds whether something has changed. While the store does not answer, what was
//! known stays known: nothing new can have been revoked there by whoever reaches no store either, and without the
//! store nobody is told or does anything.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use domain::{Duration, Timestamp};
use tokio::sync::watch;

use super::{PaymentError, Payments};
use crate::store::{Revocation, RevocationMark};

const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(2);
/// No token lives longer than 366 days, nor begins more than a moment after it is revoked.
const KEPT: Duration = Duration::days(368);

/// The tokens that are no longer taken.
#[derive(Debug, Default)]
pub struct Revoked {
    subjects: HashMap<String, Timestamp>,
    jtis: HashSet<String>,
    mark: RevocationMark,
}

impl Revoked {
    fn of(revocations: Vec<Revocation>, mark: RevocationMark) -> Self {
        let mut all = Self { mark, ..Self::default() };
        for revocation in revocations {
            match revocation {
                Revocation::Subject { subject, issued_before } => {
                    let before = all.subjects.entry(subject).or_insert(issued_before);
                    *before = issued_before.max(*before);
                }
                Revocation::Jti(jti) => {
                    all.jtis.insert(jti);
                }
            }
        }
        all
    }

    /// Whether a token of this subject, issued then, with this `jti`, is no longer taken. `iat` is in whole seconds:
    /// what was issued within the second of a revocation is taken for issued before it.
    pub fn covers(&self, subject: &str, issued_at: Timestamp, jti: Option<&str>) -> bool {
        self.subjects.get(subject).is_some_and(|before| issued_at < *before)
            || jti.is_some_and(|jti| self.jtis.contains(jti))
    }
}

impl Payments {
    /// The tokens that are no longer taken, now and after each change.
    pub fn revoked(&self) -> watch::Receiver<Arc<Revoked>> {
        self.0.revoked.subscribe()
    }

    /// Reads them from the store, if they have changed.
    pub async fn read_revocations(&self) -> Result<(), PaymentError> {
        // First, so that what comes in between is read again.
        let mark = self.0.store.revocation_mark().await?;
        if mark != self.0.revoked.borrow().mark {
            let all = self.0.store.revocations().await?;
            self.0.revoked.send_replace(Arc::new(Revoked::of(all, mark)));
        }
        Ok(())
    }

    /// Forgets those whose tokens have all expired.
    pub(super) async fn forget_revocations(&self) -> Result<(), PaymentError> {
        self.0.store.purge_revocations(self.now() - KEPT).await?;
        Ok(())
    }
}

/// Follows them until the workflows stop.
pub(super) async fn follow(payments: Payments) {
    loop {
        // No database future is in here.
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = payments.0.stop.cancelled() => return,
        }
        if let Err(e) = payments.read_revocations().await {
            tracing::warn!(error = %e, "revoked tokens could not be read; those that are known stay revoked");
        }
    }
}
