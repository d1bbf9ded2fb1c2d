//! Who watches every order: staff.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::{Order, OrderId};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::Sight;
use crate::payments::{Caller, OrderFilter, PaymentError, Payments};
use crate::store::StoreError;

/// How far a watcher may fall behind.
const BACKLOG: usize = 1_024;
/// Orders whose latest shown version is remembered.
const MEMORY: usize = 16_384;
/// Events that are looked at in one question.
const EVENTS_AT_ONCE: u64 = 1_000;
/// How many comparisons back the next one begins: what is committed out of turn is found by one of them.
const OVERLAP: usize = 3;

/// The watchers of every order.
pub(super) struct Audience {
    shows: broadcast::Sender<Arc<Sight>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The latest version that was shown, by order. Forgotten as a whole when it is full: one may be seen twice.
    versions: HashMap<OrderId, i64>,
    /// Up to which event the last comparisons looked, oldest first; empty: nobody watched.
    compared: Vec<i64>,
}

impl Default for Audience {
    fn default() -> Self {
        Self { shows: broadcast::Sender::new(BACKLOG), seen: Mutex::default() }
    }
}

impl Audience {
    /// Somebody watches, and has not seen this.
    pub(super) fn waits_for(&self, order: &OrderId, version: i64) -> bool {
        self.shows.receiver_count() > 0
            && self.seen(|seen| seen.versions.get(order).is_none_or(|shown| *shown < version))
    }

    /// Shows a reading to everybody who watches, unless they have seen it.
    pub(super) fn show(&self, sight: &Arc<Sight>) {
        if self.shows.receiver_count() == 0 {
            return;
        }
        self.seen(|seen| {
            if seen.versions.len() >= MEMORY {
                seen.versions.clear();
            }
            let shown = seen.versions.entry(sight.order.id.clone()).or_default();
            if sight.order.version > *shown {
                *shown = sight.order.version;
                // Within the lock: no version after a higher one. An error says that the last one left.
                let _ = self.shows.send(sight.clone());
            }
        });
    }

    fn seen<T>(&self, of: impl FnOnce(&mut Seen) -> T) -> T {
        of(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Looks for changes that no hint told of, while somebody watches every order.
pub(super) async fn compare(payments: &Payments) -> Result<(), StoreError> {
    let audience = &payments.0.live.audience;
    if audience.shows.receiver_count() == 0 {
        audience.seen(|seen| *seen = Seen::default());
        return Ok(());
    }
    let Some(mut from) = audience.seen(|seen| seen.compared.first().copied()) else { return Ok(()) };
    loop {
        let events = payments.0.store.events_after(from, EVENTS_AT_ONCE).await?;
        for (_, order, version) in &events {
            payments.hear(order, *version);
        }
        from = events.last().map_or(from, |(seq, ..)| *seq);
        if (events.len() as u64) < EVENTS_AT_ONCE {
            break;
        }
    }
    audience.seen(|seen| {
        seen.compared.push(from);
        if seen.compared.len() > OVERLAP {
            seen.compared.remove(0);
        }
    });
    Ok(())
}

/// One watcher of every order that changes.
pub struct Activity {
    caller: Caller,
    filter: OrderFilter,
    shows: broadcast::Receiver<Arc<Sight>>,
}

impl Payments {
    /// Joins those who watch every order; of these, the ones that fit. Staff only.
    pub async fn activity(&self, caller: &Caller, filter: OrderFilter) -> Result<Activity, PaymentError> {
        if !caller.is_staff() {
            return Err(PaymentError::Forbidden);
        }
        let audience = &self.0.live.audience;
        let shows = audience.shows.subscribe();
        if audience.seen(|seen| seen.compared.is_empty()) {
            // Comparisons begin here, with the first who watches.
            let payments = self.clone();
            let newest = tokio::spawn(async move { payments.0.store.newest_event().await }).await;
            let newest = newest.map_err(|panic| PaymentError::Internal(format!("a reading broke off: {panic}")))??;
            audience.seen(|seen| {
                if seen.compared.is_empty() {
                    seen.compared.push(newest);
                }
            });
        }
        Ok(Activity { caller: caller.clone(), filter, shows })
    }
}

impl Activity {
    /// The next order that changes and fits; of one order, versions only rise. `Overloaded`: the watcher fell
    /// so far behind that some were missed. Never ends by itself otherwise.
    pub async fn next(&mut self) -> Option<Result<Arc<Sight>, PaymentError>> {
        loop {
            match self.shows.recv().await {
                Ok(sight) if self.caller.sees(&sight.order) && fits(&self.filter, &sight.order) => {
                    return Some(Ok(sight));
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return Some(Err(PaymentError::FellBehind)),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// Whether an order is one of those that a list with this filter shows.
fn fits(filter: &OrderFilter, order: &Order) -> bool {
    let OrderFilter { status, customer, gateway_transaction_id, created_from, created_to } = filter;
    let transaction = |wanted: &String| {
        order.payments.iter().any(|p| p.evidence().is_some_and(|evidence| evidence.transaction_id == *wanted))
    };
    (status.is_empty() || status.contains(&order.status()))
        && customer.as_ref().is_none_or(|customer| *customer == order.customer)
        && gateway_transaction_id.as_ref().is_none_or(transaction)
        && created_from.is_none_or(|from| order.created_at >= from)
        && created_to.is_none_or(|to| order.created_at < to)
}
