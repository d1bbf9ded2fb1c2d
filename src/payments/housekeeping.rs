//! What a running server does for itself: forgets old keys, asks what must hold, counts what waits for people.

use domain::Duration;

use super::{PaymentError, Payments};
use crate::store::{Depth, Invariant};

const EVERY: Duration = Duration::minutes(1);
/// What deletes, or reads more than the newest rows, is done this often.
const RARELY: Duration = Duration::hours(1);
/// Claims that are forgotten in one statement.
const BATCH: u64 = 500;

/// Runs until the workflows stop.
pub(super) async fn run(payments: Payments) {
    let mut thorough_at = payments.now();
    loop {
        let now = payments.now();
        let thorough = now >= thorough_at;
        if thorough {
            thorough_at = now + RARELY;
        }
        payments.keep_house(thorough).await;
        let next = now + EVERY;
        // No database future is in here.
        tokio::select! {
            () = payments.0.clock.sleep_until(next) => {}
            () = payments.0.stop.cancelled() => return,
        }
    }
}

impl Payments {
    async fn keep_house(&self, thorough: bool) {
        if let Err(e) = self.check_invariants().await {
            tracing::warn!(error = %e, "what must hold could not be asked; it is asked again in a minute");
        }
        if !thorough {
            return;
        }
        match self.purge_keys().await {
            Ok(0) => {}
            Ok(n) => tracing::info!(n, "forgot keys that are older than their retention"),
            Err(e) => tracing::warn!(error = %e, "old keys are not forgotten; tried again in an hour"),
        }
        if let Err(e) = self.forget_revocations().await {
            tracing::warn!(error = %e, "old revocations are not forgotten; tried again in an hour");
        }
        match self.0.store.for_people(self.now()).await {
            Ok(queue) => {
                for (kind, n) in queue {
                    metrics::gauge!("payonce_for_people", "kind" => kind).set(n as f64);
                    if n > 0 {
                        tracing::error!(kind, n, "waits for people: only they can decide it");
                    }
                }
            }
            Err(e) => tracing::warn!(error = %e, "what waits for people could not be counted"),
        }
    }

    /// Asks what must hold of what has changed lately. A violation is a defect: it is counted and logged, and
    /// nothing is mended by itself.
    async fn check_invariants(&self) -> Result<(), PaymentError> {
        for invariant in Invariant::all() {
            let Some(found) = self.0.store.check(&invariant, Depth::Lately, self.now()).await? else { continue };
            metrics::gauge!("payonce_invariant_violations", "invariant" => invariant.name).set(found.rows.len() as f64);
            if !found.rows.is_empty() {
                tracing::error!(invariant = invariant.name, rows = ?found.rows, "{} It does not hold.", invariant.promise);
            }
        }
        Ok(())
    }

    /// Keys that were used before this may be forgotten.
    pub(super) fn oldest_key(&self) -> domain::Timestamp {
        self.now() - Duration::from_std(self.0.settings.key_retention).unwrap_or(Duration::days(30))
    }

    /// Forgets keys that are older than their retention; how many.
    pub async fn purge_keys(&self) -> Result<u64, PaymentError> {
        let before = self.oldest_key();
        let mut purged = 0;
        loop {
            let some = self.0.store.purge_claims(before, BATCH).await?;
            purged += some;
            if some < BATCH || self.0.stop.is_cancelled() {
                return Ok(purged);
            }
        }
    }
}
