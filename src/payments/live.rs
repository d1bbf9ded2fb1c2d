//! Live status: who watches which order, and what wakes them.
//!
//! Announcements are hints. A watcher reads the store after it has joined, after every hint, and every
//! five seconds whatever happens: it always reaches the newest state, Redis or not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{Order, OrderId, OrderStatus};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::ports::Announcement;
use super::{Caller, PaymentError, Payments};

/// A watcher reads again after this long without a hint.
const RE_READ: Duration = Duration::from_secs(5);

/// The newest version that was announced, by order, for as long as somebody watches.
#[derive(Default)]
pub(super) struct Live {
    topics: Mutex<HashMap<OrderId, watch::Sender<i64>>>,
}

impl Live {
    fn join(&self, id: &OrderId) -> watch::Receiver<i64> {
        let mut topics = self.topics.lock().unwrap_or_else(|e| e.into_inner());
        topics.entry(id.clone()).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    fn leave(&self, id: &OrderId, hints: Option<watch::Receiver<i64>>) {
        let mut topics = self.topics.lock().unwrap_or_else(|e| e.into_inner());
        // Under the lock, so that of two who leave together the last one sees that it is.
        drop(hints);
        if topics.get(id).is_some_and(|t| t.receiver_count() == 0) {
            topics.remove(id);
        }
    }

    fn hear(&self, announcement: &Announcement) {
        let topics = self.topics.lock().unwrap_or_else(|e| e.into_inner());
        match announcement {
            Announcement::Changed(change) => {
                if let Some(topic) = topics.get(&change.order) {
                    topic.send_modify(|version| *version = change.version.max(*version));
                }
            }
            // Something was missed: everybody reads.
            Announcement::Gap => topics.values().for_each(|topic| topic.send_modify(|_| {})),
        }
    }
}

/// Hears what all processes announce, until the workflows stop.
pub(super) async fn listen(payments: Payments) {
    let mut news = payments.0.coordination.announcements();
    loop {
        let heard = tokio::select! {
            heard = news.recv() => heard,
            () = payments.0.stop.cancelled() => return,
        };
        match heard {
            Ok(announcement) => payments.0.live.hear(&announcement),
            Err(RecvError::Lagged(_)) => payments.0.live.hear(&Announcement::Gap),
            Err(RecvError::Closed) => return,
        }
    }
}

/// One watcher of one order: the state now, then every newer one.
pub struct Watch {
    payments: Payments,
    caller: Caller,
    id: OrderId,
    hints: Option<watch::Receiver<i64>>,
    seen: i64,
    over: bool,
}

impl Payments {
    /// Joins an order's watchers. `NotFound` when the caller may not see it.
    pub async fn watch(&self, caller: &Caller, id: &OrderId) -> Result<Watch, PaymentError> {
        // Joined first, read later: a change between the two is seen twice rather than never.
        let watch = Watch {
            hints: Some(self.0.live.join(id)),
            payments: self.clone(),
            caller: caller.clone(),
            id: id.clone(),
            seen: 0,
            over: false,
        };
        self.order(caller, id).await?;
        Ok(watch)
    }

    /// Ends when the workflows stop, for connections that must be closed then.
    pub fn stopping(&self) -> tokio_util::sync::WaitForCancellationFutureOwned {
        self.0.stop.clone().cancelled_owned()
    }
}

impl Watch {
    /// The next newer state; versions only rise. `None` after CLOSED or REFUNDED, or when the caller may
    /// no longer see the order.
    pub async fn next(&mut self) -> Option<Result<Arc<Order>, PaymentError>> {
        while !self.over {
            let hints = self.hints.as_mut()?;
            hints.mark_unchanged();
            // In a task of its own: a socket that closes cuts no database future off.
            let (payments, caller, id) = (self.payments.clone(), self.caller.clone(), self.id.clone());
            let read = tokio::spawn(async move { payments.order(&caller, &id).await }).await;
            match read.unwrap_or_else(|panic| Err(PaymentError::Internal(format!("a read broke off: {panic}")))) {
                Ok(order) if order.version > self.seen => {
                    self.seen = order.version;
                    self.over = matches!(order.status(), OrderStatus::Closed | OrderStatus::Refunded);
                    return Some(Ok(order));
                }
                Ok(_) => {}
                // The store is away for a moment: the watcher waits for it like everybody.
                Err(PaymentError::StoreUnavailable(e)) => tracing::debug!(error = %e, "a watcher could not read"),
                Err(e) => {
                    self.over = true;
                    return Some(Err(e));
                }
            }
            // Nothing but the hint is waited for in here, no database future is cut off.
            let _ = tokio::time::timeout(RE_READ, hints.changed()).await;
        }
        None
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.payments.0.live.leave(&self.id, self.hints.take());
    }
}
