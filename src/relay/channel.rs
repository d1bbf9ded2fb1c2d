//! What every channel does: takes orders that are behind and tells their events, one after the other; many orders at
//! a time. An event is marked only after it was acknowledged.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{Duration, Timestamp};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::message::Message;
use crate::payments::ports::Clock;
use crate::store::{Behind, Channel, Store, StoreError};

/// Where events go. It translates and sends; what is told when is decided here.
#[async_trait]
pub(super) trait Outlet: Send + Sync + 'static {
    /// Which channel it is.
    const CHANNEL: Channel;
    /// Orders that are told of at the same time.
    const AT_ONCE: usize;
    /// So many of them beside, for orders whose events are not taken.
    const FAILING_AT_ONCE: usize;

    /// Returns once something can be sent at all.
    async fn ready(&self);

    /// Sends it and waits until it is acknowledged; ends by itself within [`SEND_WITHIN`].
    async fn send(&self, message: &Message, now: Timestamp) -> Result<(), Failure>;
}

/// Why an event was not acknowledged. It may have arrived all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The outlet is gone: nothing can be told, whatever it is.
    Down(String),
    /// This event was not taken.
    NotTaken(String),
}

/// Longer than any outlet takes for one event.
pub(super) const SEND_WITHIN: Duration = Duration::seconds(15);
/// What a process took and did not tell is taken by another one after this.
const LEASE: Duration = Duration::seconds(45);
/// Events of one order that are told in a row, before others have their turn.
const IN_A_ROW: u64 = 20;
/// How long an event is told again and again before it becomes a dead letter.
pub(super) const GIVE_UP_AFTER: Duration = Duration::hours(24);

/// Runs until it is stopped; what is being told is told to its end.
pub(super) async fn run<O: Outlet>(outlet: Arc<O>, store: Store, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let mut changes = store.changes();
    let desk = Desk { outlet, store, clock, stop: stop.clone() };
    let (places, failing_places) = (Places::new(O::AT_ONCE), Places::new(O::FAILING_AT_ONCE));
    let (work, ended) = (TaskTracker::new(), Arc::new(Notify::new()));
    while stop.run_until_cancelled(desk.outlet.ready()).await.is_some() {
        let now = desk.clock.now();
        changes.borrow_and_update();
        for (places, failing) in [(&places, false), (&failing_places, true)] {
            if let Err(e) = desk.take(places, failing, now, &work, &ended).await {
                tracing::warn!(channel = O::CHANNEL.name(), error = %e, "could not look for events; looks again in a second");
            }
        }
        // No database future is in here.
        tokio::select! {
            () = desk.clock.sleep_until(now + Duration::seconds(1)) => {}
            () = ended.notified() => {}
            _ = changes.changed() => {}
            () = stop.cancelled() => {}
        }
    }
    work.close();
    work.wait().await;
}

/// Work at the same time.
struct Places {
    free: Arc<Semaphore>,
    /// With fewer free ones than these nothing is taken: many small looks cost more than they bring.
    least: usize,
}

impl Places {
    fn new(all: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(all)), least: (all / 8).max(1) }
    }
}

struct Desk<O> {
    outlet: Arc<O>,
    store: Store,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
}

impl<O> Clone for Desk<O> {
    fn clone(&self) -> Self {
        let Self { outlet, store, clock, stop } = self;
        Self { outlet: outlet.clone(), store: store.clone(), clock: clock.clone(), stop: stop.clone() }
    }
}

impl<O: Outlet> Desk<O> {
    /// Takes as many orders as there are places, and begins with them.
    async fn take(
        &self,
        places: &Places,
        failing: bool,
        now: Timestamp,
        work: &TaskTracker,
        ended: &Arc<Notify>,
    ) -> Result<(), StoreError> {
        let free = places.free.available_permits();
        if free < places.least {
            return Ok(());
        }
        for behind in self.store.take_behind(O::CHANNEL, failing, now, now + LEASE, free as u64).await? {
            let Ok(place) = places.free.clone().try_acquire_owned() else { break };
            let (desk, done) = (self.clone(), Done(Some(place), ended.clone()));
            work.spawn(async move {
                let order = behind.order.clone();
                if let Err(e) = desk.tell(behind).await {
                    let channel = O::CHANNEL.name();
                    tracing::warn!(channel, %order, error = %e, "what was told may be told again: it could not be marked");
                }
                drop(done);
            });
        }
        Ok(())
    }

    /// Tells what has happened to an order since, one event after the other.
    async fn tell(&self, mut behind: Behind) -> Result<(), StoreError> {
        let events = self.store.to_tell(&behind, IN_A_ROW).await?;
        let last = events.len();
        for (n, event) in events.into_iter().enumerate() {
            let now = self.clock.now();
            if self.stop.is_cancelled() || now + SEND_WITHIN > behind.until {
                return self.store.let_go(O::CHANNEL, &behind, now).await;
            }
            // Within a row nobody else is to take it; after its last one everybody may.
            let next_at = if n + 1 < last { behind.until } else { now };
            let message = match Message::of(&event) {
                Ok(message) if event.version == behind.told + 1 => message,
                Ok(_) => {
                    tracing::error!(order = %event.order, version = event.version, "an event before this one is missing");
                    return self.store.let_go(O::CHANNEL, &behind, now + Duration::hours(1)).await;
                }
                Err(e) => {
                    tracing::error!(error = %e, "an event cannot be told");
                    return self.store.let_go(O::CHANNEL, &behind, now + Duration::hours(1)).await;
                }
            };
            match self.outlet.send(&message, now).await {
                Ok(()) => {
                    crash_point!("event_unmarked");
                    metrics::counter!("payonce_events_told_total", "channel" => O::CHANNEL.name()).increment(1);
                    self.store.told(O::CHANNEL, &mut behind, next_at).await?;
                }
                Err(Failure::Down(why)) => {
                    tracing::warn!(channel = O::CHANNEL.name(), event = %message.id, why, "nobody to tell; told again later");
                    return self.store.let_go(O::CHANNEL, &behind, now).await;
                }
                Err(Failure::NotTaken(why)) => {
                    metrics::counter!("payonce_events_not_taken_total", "channel" => O::CHANNEL.name()).increment(1);
                    let now = self.clock.now();
                    let since = behind.failing_since.unwrap_or(now);
                    if now - since < GIVE_UP_AFTER || now - message.at < GIVE_UP_AFTER {
                        let next_at = now + pause(now - since);
                        tracing::warn!(event = %message.id, order = %event.order, why, %next_at, "an event was not taken");
                        return self.store.not_taken(&behind, now, next_at).await;
                    }
                    tracing::error!(event = %message.id, order = %event.order, why, "an event is a dead letter; an admin can resend it");
                    self.store.give_up(&mut behind, &message.id, &why, now, next_at).await?;
                }
            }
        }
        Ok(())
    }
}

/// How long to wait with what has not been taken for so long: as long again, 5 s at least and 2 h at most, and up to an
/// eighth more, so that what failed together does not come back together.
fn pause(failing_for: Duration) -> Duration {
    let mut chance = [0];
    // Without randomness they only come together.
    let _ = aws_lc_rs::rand::fill(&mut chance);
    let pause = failing_for.clamp(Duration::seconds(5), Duration::hours(2));
    pause + pause * i32::from(chance[0]) / (8 * 255)
}

/// Gives the place back and says so, after the work or in its panic.
struct Done(Option<OwnedSemaphorePermit>, Arc<Notify>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.take();
        self.1.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_a_day_has_some_twenty_of_them() {
        let (mut failing_for, mut tries) = (Duration::zero(), 1);
        while failing_for < GIVE_UP_AFTER {
            let pause = pause(failing_for);
            assert!(pause >= Duration::seconds(5) && pause <= Duration::minutes(136), "{pause}");
            failing_for += pause;
            tries += 1;
        }
        assert!((18..=24).contains(&tries), "{tries}");
    }
}
