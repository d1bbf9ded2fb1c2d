//! Live status: who watches what, what wakes them, and what they are shown.
//!
//! Announcements are hints. Whoever watches is shown what the store holds after they have joined; after every
//! hint, and every five seconds whatever happens, the orders that are watched are read again, each once for all
//! its watchers: everybody reaches the newest state, Redis or not, and no version follows a higher one.

mod activity;
mod sight;
mod topic;
mod watch;

pub use activity::Activity;
pub use sight::{Selection, Sight};
pub use watch::Watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::OrderId;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;

use super::Payments;
use super::ports::Announcement;
use activity::Audience;
use topic::Topic;

/// What is watched is compared with the store after this long without a hint.
const RE_READ: Duration = Duration::from_secs(5);

/// Everything that is watched in this process.
#[derive(Default)]
pub(super) struct Live {
    topics: Mutex<HashMap<OrderId, Arc<Topic>>>,
    /// Who watches every order.
    audience: Audience,
    /// Something may have been missed.
    gap: Notify,
}

impl Live {
    fn topics(&self) -> MutexGuard<'_, HashMap<OrderId, Arc<Topic>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The order's topic, made if nobody watches it yet.
    fn topic(&self, id: &OrderId) -> Arc<Topic> {
        let mut topics = self.topics();
        let topic = topics.entry(id.clone()).or_insert_with(|| Arc::new(Topic::new(id.clone()))).clone();
        metrics::gauge!("payonce_live_topics").set(topics.len() as f64);
        topic
    }

    /// Forgets a topic that nobody watches or reads any more.
    fn tidy(&self, topic: &Topic) {
        let mut topics = self.topics();
        // Under the lock, so that of two who leave together the last one sees that it is.
        if topics.get(&topic.order).is_some_and(|t| std::ptr::eq(t.as_ref(), topic) && t.is_idle()) {
            topics.remove(&topic.order);
            metrics::gauge!("payonce_live_topics").set(topics.len() as f64);
        }
    }
}

impl Payments {
    /// An order has reached this version: whoever watches it is to see that.
    fn hear(&self, order: &OrderId, version: i64) {
        let live = &self.0.live;
        let watched = live.topics().get(order).cloned();
        let topic = match watched {
            Some(topic) => topic,
            None if live.audience.waits_for(order, version) => live.topic(order),
            None => return,
        };
        topic.read(self, version);
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
            Ok(Announcement::Changed(change)) => payments.hear(&change.order, change.version),
            Ok(Announcement::Gap) | Err(RecvError::Lagged(_)) => payments.0.live.gap.notify_one(),
            Err(RecvError::Closed) => return,
        }
    }
}

/// Compares what is watched with the store, every five seconds and after every gap, until the workflows stop.
pub(super) async fn compare(payments: Payments) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(RE_READ) => {}
            () = payments.0.live.gap.notified() => {}
            () = payments.0.stop.cancelled() => return,
        }
        let watched: Vec<OrderId> = payments.0.live.topics().keys().cloned().collect();
        if !watched.is_empty() {
            match payments.0.store.versions(&watched).await {
                Ok(versions) => versions.iter().for_each(|(order, version)| payments.hear(order, *version)),
                Err(e) => tracing::debug!(error = %e, "what is watched could not be compared"),
            }
        }
        if let Err(e) = activity::compare(&payments).await {
            tracing::debug!(error = %e, "the latest changes could not be read");
        }
    }
}
