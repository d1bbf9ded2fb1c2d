//! One order that is watched: read once, however many watch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{Order, OrderId};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Sight;
use crate::payments::Payments;

/// The watchers of one order.
pub(super) struct Topic {
    pub(super) order: OrderId,
    newest: watch::Sender<Option<Arc<Sight>>>,
    reading: Mutex<Reading>,
}

#[derive(Default)]
struct Reading {
    /// A task reads.
    busy: bool,
    /// Somebody asked since it began.
    again: bool,
    /// The newest version that watchers were shown.
    shown: i64,
    /// Since when there is something to read.
    heard: Option<Instant>,
}

impl Topic {
    pub(super) fn new(order: OrderId) -> Self {
        Self { order, newest: watch::Sender::new(None), reading: Mutex::default() }
    }

    pub(super) fn join(&self) -> watch::Receiver<Option<Arc<Sight>>> {
        self.newest.subscribe()
    }

    /// Nobody watches and nothing is read.
    pub(super) fn is_idle(&self) -> bool {
        self.newest.receiver_count() == 0 && !self.reading().busy
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the order read, unless everybody has seen this version. One task reads for all who ask
    /// meanwhile, and once more for those who asked after it had begun.
    pub(super) fn read(self: &Arc<Self>, payments: &Payments, version: i64) {
        let mut reading = self.reading();
        if version <= reading.shown && !payments.0.live.audience.waits_for(&self.order, version) {
            return;
        }
        reading.heard.get_or_insert_with(Instant::now);
        reading.again = true;
        if !std::mem::replace(&mut reading.busy, true) {
            let (topic, payments) = (self.clone(), payments.clone());
            payments.clone().0.tasks.spawn(async move { topic.read_on(&payments).await });
        }
    }

    async fn read_on(self: Arc<Self>, payments: &Payments) {
        // Only a panic drops it: the topic must not stay deaf.
        let done = Done(&self);
        loop {
            self.reading().again = false;
            match payments.must_find(&self.order).await {
                // Who watches every order sees what changed, not what somebody began to watch.
                Ok(order) => payments.0.live.audience.show(&self.show(payments, order)),
                // The store is away for a moment, or the order is another installation's.
                Err(e) => tracing::debug!(order = %self.order, error = %e, "what is watched could not be read"),
            }
            let mut reading = self.reading();
            if !reading.again {
                reading.busy = false;
                break;
            }
        }
        std::mem::forget(done);
        payments.0.live.tidy(&self);
    }

    /// A reading of the order; watchers are shown it if it is newer than what they saw.
    pub(super) fn show(&self, payments: &Payments, order: Arc<Order>) -> Arc<Sight> {
        let mut reading = self.reading();
        let newer = order.version > reading.shown;
        let sight = Sight::new(order, payments.now(), reading.heard.take());
        if newer {
            reading.shown = sight.order.version;
            // Within the lock: no version after a higher one.
            self.newest.send_replace(Some(sight.clone()));
        }
        sight
    }
}

struct Done<'a>(&'a Topic);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.reading().busy = false;
    }
}
