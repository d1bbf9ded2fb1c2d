//! The one scheduler: takes what is due, every second and whenever the clock says so.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::{PaymentError, Payments};

/// Work at the same time.
const AT_ONCE: usize = 16;
/// Taken in one go, of each kind.
const BATCH: u64 = 100;
/// What a worker took and did not finish is due again after this.
const AGAIN_AFTER: domain::Duration = domain::Duration::seconds(30);

/// Runs until the workflows stop.
pub(super) async fn run(payments: Payments) {
    let limit = Arc::new(Semaphore::new(AT_ONCE));
    while !payments.0.stop.is_cancelled() {
        let now = payments.now();
        match round(&payments, &limit).await {
            // There may be more.
            Ok(true) => continue,
            Ok(false) => {
                payments.0.quiet.send_replace(Some(now));
            }
            Err(e) => tracing::warn!(error = %e, "the scheduler could not look; it looks again in a second"),
        }
        // Not around a database future: `sleep_until` holds nothing.
        tokio::select! {
            () = payments.0.clock.sleep_until(now + domain::Duration::seconds(1)) => {}
            () = payments.0.stop.cancelled() => {}
        }
    }
}

/// Takes what is due and works on it; true when there was anything.
async fn round(payments: &Payments, limit: &Arc<Semaphore>) -> Result<bool, PaymentError> {
    let now = payments.now();
    let due = payments.0.store.take_due(now, now + AGAIN_AFTER, BATCH).await?;
    let orphans = payments.0.store.orphans(BATCH).await?;
    let found = !due.is_empty() || !orphans.is_empty();
    metrics::counter!("payonce_due_total").increment(due.len() as u64);
    metrics::counter!("payonce_orphans_total").increment(orphans.len() as u64);
    let work = TaskTracker::new();
    for due in due {
        let (payments, limit) = (payments.clone(), limit.clone());
        work.spawn(async move {
            let _place = limit.acquire().await;
            payments.work_on(due).await;
        });
    }
    for claim in orphans {
        let (payments, limit) = (payments.clone(), limit.clone());
        work.spawn(async move {
            let _place = limit.acquire().await;
            match payments.take_over(&claim).await {
                Ok(Some(lease)) => {
                    if let Err(e) = payments.resume(&claim, &lease).await {
                        tracing::warn!(claim = claim.seq, error = %e, "not finished; its lease will end again");
                    }
                }
                Ok(None) => {}
                Err(e) => tracing::warn!(claim = claim.seq, error = %e, "not taken over"),
            }
        });
    }
    work.close();
    work.wait().await;
    Ok(found)
}
