//! One reading of an order, shared by everybody who is shown it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use domain::{Order, Timestamp};
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// Looked up once: thousands are told at a time.
static LAG: LazyLock<metrics::Histogram> = LazyLock::new(|| metrics::histogram!("payonce_live_lag_seconds"));

/// What tells apart how two watchers are shown the same reading: what they selected and what they may see.
pub type Selection = [u8; 32];

/// An order as one reading of the store found it.
pub struct Sight {
    /// The order.
    pub order: Arc<Order>,
    /// When it was read.
    pub at: Timestamp,
    /// When this process learned that there was something to read; `None`: nobody said so.
    heard: Option<Instant>,
    shown: Mutex<HashMap<Selection, Arc<OnceCell<Arc<str>>>>>,
}

impl Sight {
    pub(super) fn new(order: Arc<Order>, at: Timestamp, heard: Option<Instant>) -> Arc<Self> {
        Arc::new(Self { order, at, heard, shown: Mutex::default() })
    }

    /// The text that `show` makes of it, made once for everybody of the same selection.
    pub async fn shown<Fut>(&self, to: &Selection, show: impl FnOnce() -> Fut) -> Arc<str>
    where
        Fut: Future<Output = Arc<str>>,
    {
        let cell = self.shown.lock().unwrap_or_else(PoisonError::into_inner).entry(*to).or_default().clone();
        cell.get_or_init(show).await.clone()
    }

    /// It is on its way to a client: how long that took from the first word of it.
    pub fn told(&self) {
        if let Some(heard) = self.heard {
            LAG.record(heard.elapsed().as_secs_f64());
        }
    }
}
