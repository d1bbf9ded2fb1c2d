//! The one scheduler: takes what is due, every second and whenever the clock says so.

use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use super::pace::paced;
use super::{PaymentError, Payments};

/// Work at the same time. What waits on a slow gateway does not hold up the rest.
const AT_ONCE: usize = 48;
/// Operations whose holder died have places of their own: so many that a process which comes back to hundreds of them,
/// with a gateway that does not answer, has gone on with each in time.
const ORPHANS_AT_ONCE: usize = 64;
/// What a worker took and did not finish is due again after this.
pub(super) const AGAIN_AFTER: domain::Duration = domain::Duration::seconds(40);

/// Runs until the workflows stop.
pub(super) async fn run(payments: Payments) {
    let workers = Workers::default();
    while !payments.0.stop.is_cancelled() {
        let now = payments.now();
        match workers.take(&payments).await {
            Ok(0) if workers.work.is_empty() => {
                payments.0.quiet.send_replace(Some(now));
            }
            Ok(_) => {}
            Err(e) => tracing::warn!(error = %e, "the scheduler could not look; it looks again in a second"),
        }
        // No database future is in here.
        tokio::select! {
            () = payments.0.clock.sleep_until(now + domain::Duration::seconds(1)) => {}
            () = workers.ended.notified() => {}
            () = payments.0.answers.back.notified() => {}
            () = payments.0.stop.cancelled() => {}
        }
    }
    workers.work.close();
    workers.work.wait().await;
}

struct Workers {
    places: Arc<Semaphore>,
    orphan_places: Arc<Semaphore>,
    /// One works through the orders that have expired with nothing open.
    expiry_place: Arc<Semaphore>,
    work: TaskTracker,
    /// One of them has ended: there may be more to take, or nothing left.
    ended: Arc<Notify>,
}

impl Default for Workers {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            orphan_places: Arc::new(Semaphore::new(ORPHANS_AT_ONCE)),
            expiry_place: Arc::new(Semaphore::new(1)),
            work: TaskTracker::new(),
            ended: Arc::default(),
        }
    }
}

impl Workers {
    /// Takes as much as there are places and begins to work on it; how much it was.
    async fn take(&self, payments: &Payments) -> Result<usize, PaymentError> {
        let mut taken = 0;
        let now = payments.now();
        payments.wake_unknown().await?;
        if let Ok(place) = self.expiry_place.clone().try_acquire_owned() {
            match payments.expire_some().await {
                Ok(0) => {}
                Ok(_) => {
                    taken += 1;
                    let payments = payments.clone();
                    self.begin(place, async move { payments.expire_all().await });
                }
                Err(e) => tracing::warn!(error = %e, "not expired; due again in a moment"),
            }
        }
        // Four kinds are taken, each up to this many.
        let each = self.places.available_permits() / 4;
        if each > 0 {
            let due = payments.0.store.take_due(now, now + AGAIN_AFTER, each as u64).await?;
            metrics::counter!("payonce_due_total").increment(due.len() as u64);
            for due in due {
                let Ok(place) = self.places.clone().try_acquire_owned() else { break };
                taken += 1;
                let payments = payments.clone();
                self.begin(place, paced(async move { payments.work_on(due).await }));
            }
            for kept in payments.0.store.take_kept(now, now + AGAIN_AFTER, each as u64).await? {
                let Ok(place) = self.places.clone().try_acquire_owned() else { break };
                taken += 1;
                let payments = payments.clone();
                self.begin(place, async move { payments.apply_kept(kept).await });
            }
        }
        let free = self.orphan_places.available_permits();
        if free > 0 {
            let orphans = payments.0.store.orphans(free as u64).await?;
            metrics::counter!("payonce_orphans_total").increment(orphans.len() as u64);
            for claim in orphans {
                let Ok(place) = self.orphan_places.clone().try_acquire_owned() else { break };
                taken += 1;
                let payments = payments.clone();
                self.begin(place, async move { payments.adopt(&claim).await });
            }
        }
        Ok(taken)
    }

    fn begin(&self, place: OwnedSemaphorePermit, work: impl Future<Output = ()> + Send + 'static) {
        let ended = Ended(self.ended.clone());
        let token = self.work.token();
        tokio::spawn(async move {
            work.await;
            drop(place);
            // Only then: who is woken must find the place free and the work gone.
            drop(token);
            drop(ended);
        });
    }
}

/// Says so when it is dropped: after the work, or in its panic.
struct Ended(Arc<Notify>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}
