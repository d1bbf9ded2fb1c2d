//! The workflows: what happens between a door in (GraphQL, HTTP) and the doors out (store, gateways,
//! coordination). One file per verb.

mod approval;
mod attempt;
mod caller;
mod cancel;
mod change;
mod create_order;
mod dead_letters;
mod error;
mod expiry;
mod guard;
mod housekeeping;
mod kept;
mod live;
mod next_number;
mod outage;
mod pace;
pub mod ports;
mod quote;
mod read;
mod reconcile;
mod refund;
mod repay;
mod resolve;
mod revocation;
mod schedule;
mod settle;

pub use approval::Verdict;
pub use caller::{Caller, Role};
pub use cancel::Cancel;
pub use create_order::{CreateOrder, Lines, PaymentMethod};
pub use error::PaymentError;
pub use guard::Outcome;
pub use live::{Activity, Selection, Sight, Watch};
pub use quote::{Quote, QuoteError, Quotes};
pub use reconcile::{Difference, DifferenceKind, Reconciliation};
pub use refund::RefundOrder;
pub use repay::Repay;
pub use revocation::Revoked;
pub use settle::Taken;

/// What the store answers lists with; callers of the workflows need no more of it.
pub use crate::store::{DeadLetter, OrderFilter, Page, PageRequest, Product, RefundFilter, Revocation};

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::NumberKey;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::store::Store;
use ports::{Clock, Coordination, Gateways};

/// What the workflows are told by configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Time to pay.
    pub order_ttl: Duration,
    /// Repay is refused with less than this left.
    pub repay_margin: Duration,
    /// How long an operation may work before another process takes it over.
    pub lease: Duration,
    /// The same content under a new key within this window is a double click.
    pub duplicate_window: Duration,
    /// How long a mutation waits for its operation; the operation goes on.
    pub deadline: Duration,
    /// How long a key is remembered with its answer; after that only the id it made is.
    pub key_retention: Duration,
    /// So many operations at once; more are turned away before anything begins.
    pub max_operations: usize,
    /// What orders and refunds may come to.
    pub limits: domain::Limits,
    /// Reads the quotes of the shop's pricing service; `None`: there is none, quotes are refused.
    pub quotes: Option<Arc<dyn Quotes>>,
    /// Base of the notify URLs given to gateways.
    pub public_url: String,
}

/// Every workflow. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Payments(Arc<Inner>);

struct Inner {
    store: Store,
    gateways: Gateways,
    coordination: Arc<dyn Coordination>,
    clock: Arc<dyn Clock>,
    number_key: NumberKey,
    settings: Settings,
    /// Operations and recoveries under way: a client that leaves does not cancel them, a shutdown waits.
    tasks: TaskTracker,
    stop: CancellationToken,
    /// A place for each operation.
    places: Arc<Semaphore>,
    /// The operations that have one, by key.
    placed: Mutex<HashMap<String, usize>>,
    /// How many requests wait for somebody else's operation, by key.
    waiting: Mutex<HashMap<String, usize>>,
    live: live::Live,
    answers: Arc<outage::Answers>,
    /// Tokens that are no longer taken.
    revoked: watch::Sender<Arc<Revoked>>,
    /// The clock's time up to which the scheduler has nothing left to do.
    quiet: watch::Sender<Option<domain::Timestamp>>,
}

impl Payments {
    /// Joins the workflows to their doors out. Nothing runs before [`Payments::start`].
    pub fn new(
        store: Store,
        gateways: Gateways,
        coordination: Arc<dyn Coordination>,
        clock: Arc<dyn Clock>,
        number_key: NumberKey,
        settings: Settings,
    ) -> Self {
        let answers = Arc::<outage::Answers>::default();
        Self(Arc::new(Inner {
            store,
            gateways: outage::noted(gateways, &answers),
            coordination,
            clock,
            number_key,
            places: Arc::new(Semaphore::new(settings.max_operations.min(Semaphore::MAX_PERMITS))),
            placed: Mutex::default(),
            settings,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            waiting: Mutex::default(),
            live: live::Live::default(),
            answers,
            revoked: watch::Sender::default(),
            quiet: watch::Sender::new(None),
        }))
    }

    /// Starts the scheduler, the housekeeping and the listener for other processes' changes.
    pub fn start(&self) {
        self.0.tasks.spawn(schedule::run(self.clone()));
        self.0.tasks.spawn(live::listen(self.clone()));
        self.0.tasks.spawn(live::compare(self.clone()));
        self.0.tasks.spawn(housekeeping::run(self.clone()));
        self.0.tasks.spawn(revocation::follow(self.clone()));
    }

    /// Takes nothing new up and waits until what runs has ended; what does not end in `patience` is taken
    /// over by another process when its lease ends.
    pub async fn stop(&self, patience: Duration) {
        self.0.stop.cancel();
        crash_point!("draining");
        self.0.tasks.close();
        if tokio::time::timeout(patience, self.0.tasks.wait()).await.is_err() {
            tracing::warn!("operations were still under way at the end; their leases will hand them over");
        }
    }

    /// Now, by the clock that all rules go by.
    pub fn now(&self) -> domain::Timestamp {
        self.0.clock.now()
    }

    /// Follows the clock's time up to which the scheduler has nothing left to do.
    pub fn quiet_until(&self) -> watch::Receiver<Option<domain::Timestamp>> {
        self.0.quiet.subscribe()
    }

    /// Whether the store answers, for `/readyz`.
    pub async fn ready(&self) -> Result<(), PaymentError> {
        Ok(self.0.store.ping().await?)
    }

    fn gateway(&self, gateway: domain::Gateway) -> Result<Arc<dyn ports::Gateway>, PaymentError> {
        self.0.gateways.get(&gateway).cloned().ok_or(PaymentError::GatewayNotConfigured(gateway))
    }

    fn seconds_from_now(&self, seconds: i64) -> domain::Timestamp {
        self.now() + domain::Duration::seconds(seconds)
    }
}
