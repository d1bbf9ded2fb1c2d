//! One watcher of one order.

use std::sync::Arc;

use domain::{OrderId, OrderStatus};
use tokio::sync::watch;

use super::Sight;
use super::topic::Topic;
use crate::payments::{Caller, PaymentError, Payments};

/// One watcher of one order: the state now, then every newer one.
pub struct Watch {
    payments: Payments,
    caller: Caller,
    topic: Arc<Topic>,
    /// `None` only while it leaves.
    newest: Option<watch::Receiver<Option<Arc<Sight>>>>,
    first: Option<Arc<Sight>>,
    seen: i64,
    over: bool,
}

impl Payments {
    /// Joins an order's watchers. `NotFound` when the caller may not see it.
    pub async fn watch(&self, caller: &Caller, id: &OrderId) -> Result<Watch, PaymentError> {
        let topic = self.0.live.topic(id);
        // Joined first, read later: a change between the two is seen twice rather than never.
        let newest = topic.join();
        let mut watch = Watch {
            payments: self.clone(),
            caller: caller.clone(),
            topic,
            newest: Some(newest),
            first: None,
            seen: 0,
            over: false,
        };
        // In a task of its own: a client that leaves cuts no database future off.
        let (payments, caller, id) = (self.clone(), caller.clone(), id.clone());
        let read = tokio::spawn(async move { payments.order(&caller, &id).await }).await;
        let order = read.map_err(|panic| PaymentError::Internal(format!("a reading broke off: {panic}")))??;
        watch.first = Some(watch.topic.show(self, order));
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
    pub async fn next(&mut self) -> Option<Arc<Sight>> {
        while !self.over {
            let newest = self.newest.as_mut()?;
            let sight = match self.first.take() {
                Some(first) => first,
                None => {
                    // An error would say that the topic is gone; it is held here.
                    newest.changed().await.ok()?;
                    newest.borrow_and_update().clone()?
                }
            };
            if sight.order.version <= self.seen {
                continue;
            }
            self.seen = sight.order.version;
            self.over = matches!(sight.order.status(), OrderStatus::Closed | OrderStatus::Refunded);
            if !self.caller.sees(&sight.order) {
                self.over = true;
                return None;
            }
            return Some(sight);
        }
        None
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.newest.take());
        self.payments.0.live.tidy(&self.topic);
    }
}
