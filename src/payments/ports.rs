//! What the workflows need from outside and what has more than one implementation: the gateways, the
//! coordination between processes, the clock.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
pub use domain::RefundRequest;
use domain::{ClientAction, Date, Evidence, Money, OpenPayment, Order, OrderId, PaymentId, RefundId, Timestamp};
use http::HeaderMap;
use serde::{Deserialize, Serialize};

/// A future behind a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The only source of time for rules and schedules; tests turn its hands.
pub trait Clock: Send + Sync + 'static {
    /// Now, cut to microseconds.
    fn now(&self) -> Timestamp;
    /// Returns once [`Clock::now`] has reached `at`.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()>;
}

/// One payment provider. Implementations translate; they never decide.
///
/// Every call ends by itself within the gateway deadline (8 s by default).
#[async_trait]
pub trait Gateway: Send + Sync {
    /// Opens a payment. `request.number` is the provider's idempotency key: the same request again is
    /// the same payment.
    async fn open(&self, request: &OpenPayment) -> Result<Opened, GatewayError>;
    /// What became of a payment. `None`: the provider never saw it. A question changes nothing.
    async fn find(&self, number: &PaymentId) -> Result<Option<GatewayPayment>, GatewayError>;
    /// Closes an unpaid payment. Closing it twice is fine. A paid one is `Refused`.
    async fn close(&self, number: &PaymentId) -> Result<Closed, GatewayError>;
    /// Asks for a refund. Accepted is not success. The same request again is the same refund.
    async fn refund(&self, request: &RefundRequest) -> Result<GatewayRefund, GatewayError>;
    /// What became of a refund. `None`: the provider never saw it.
    async fn find_refund(&self, number: &RefundId, payment: &PaymentId) -> Result<Option<GatewayRefund>, GatewayError>;
    /// Checks and reads a notification; only what is verified comes out. No network. `now` judges the
    /// age of the signature.
    fn read_notification(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Notification, NotificationError>;
    /// The provider's bill of one day of its calendar (Asia/Shanghai), payments and refunds, line by line as
    /// they come: the bill is never held in memory as a whole. Not there before the next day's morning:
    /// `Later`. A day without trades is an empty stream. An error within the stream ends it: what came
    /// before it is not the whole bill.
    async fn bill(&self, day: Date) -> Result<BillStream, GatewayError>;
}

/// The lines of a bill, as they come.
pub type BillStream = futures_util::stream::BoxStream<'static, Result<BillLine, GatewayError>>;

/// One line of a provider's bill. Numbers are text: they may be another system's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillLine {
    /// `out_trade_no` of the payment.
    pub payment: String,
    /// The provider's own number of the payment.
    pub transaction_id: String,
    /// What the line is about.
    pub entry: BillEntry,
    /// What moved; always positive.
    pub amount: Money,
    /// When, by the provider.
    pub at: Timestamp,
}

/// What a line of a bill is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BillEntry {
    /// Money came in.
    Payment,
    /// Money went, or is going, back.
    Refund {
        /// `out_refund_no`, `out_request_no`.
        number: String,
        /// Whether the money is back; if not, it is still on its way or has failed.
        done: bool,
    },
}

/// The gateways that are configured.
pub type Gateways = HashMap<domain::Gateway, Arc<dyn Gateway>>;

/// An opened payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What the frontend does next.
    pub action: ClientAction,
    /// Until when it works, by the provider's rules; the order's own end may be earlier.
    pub until: Timestamp,
}

/// What closing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It can no longer be paid.
    Done,
    /// The provider does not know it: never seen, or not yet.
    NotFound,
}

/// Where a payment stands at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayPayment {
    /// The money arrived.
    Paid(Evidence),
    /// The money arrived, and went back or is on its way. Of a part, Alipay says [`GatewayPayment::Paid`].
    Returned(Evidence),
    /// It can be paid.
    Open,
    /// It can no longer be paid.
    Closed,
    /// It failed for good.
    Failed(String),
}

/// Where a refund stands at the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayRefund {
    /// How much.
    pub amount: Money,
    /// Where it stands.
    pub state: GatewayRefundState,
}

/// Where a refund stands at the provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GatewayRefundState {
    /// Accepted, under way.
    Processing,
    /// The money is back.
    Succeeded {
        /// When, by the provider.
        at: Timestamp,
    },
    /// Closed without moving money; another number is needed.
    Closed,
    /// The bank refused it; people must act at the provider. It is still under way.
    Abnormal,
}

/// A verified notification.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// The same for every repeat of it.
    pub id: String,
    /// What it says.
    pub news: News,
    /// The verified, decrypted text, to be kept.
    pub facts: serde_json::Value,
}

/// What a notification says. Numbers are text: they may be another system's. It is stored when it must wait for
/// its order: names in it are not changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum News {
    /// A payment of that number has money.
    Paid {
        /// `out_trade_no`.
        number: String,
        /// What proves it.
        evidence: Evidence,
        /// The order that it was opened for, as the provider gives it back (`attach`, `passback_params`).
        #[serde(default)]
        order: Option<OrderId>,
    },
    /// A refund of that number changed.
    Refund {
        /// `out_refund_no`.
        number: String,
        /// `out_trade_no` of its payment.
        payment: String,
        /// Where it stands.
        refund: GatewayRefund,
    },
    /// Genuine, but nothing that we act on: kept.
    Other {
        /// The provider's word for it.
        what: String,
    },
}

impl News {
    /// The number that it is about, if it names one.
    pub fn number(&self) -> Option<&str> {
        match self {
            News::Paid { number, .. } | News::Refund { number, .. } => Some(number),
            News::Other { .. } => None,
        }
    }
}

/// A notification that has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotificationError {
    /// Not from the provider, or not readable: 401.
    #[error("not a valid notification: {0}")]
    Invalid(&'static str),
    /// Genuine, but for another merchant or app: kept, alert, acknowledged.
    #[error("a notification that is not ours: {what}")]
    NotOurs {
        /// Which field did not fit.
        what: &'static str,
        /// Its id, for the inbox.
        id: String,
        /// The verified text.
        facts: Box<serde_json::Value>,
    },
}

/// A provider's no, or not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The provider's code.
    pub code: String,
    /// A sentence that may be shown to staff; no internals.
    pub message: String,
}

impl Refusal {
    /// The number was given before with other content. Alipay says so of a QR code, too, that nobody has scanned,
    /// and whose query finds nothing.
    pub fn number_is_used(&self) -> bool {
        self.code == "OUT_TRADE_NO_USED"
            || ["ACQ.CONTEXT_INCONSISTENT", "ACQ.DISCORDANT_REPEAT_REQUEST"].iter().any(|c| self.code.ends_with(c))
    }
}

/// Sorted by what the caller may do next, not by what broke.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A definite no: final.
    #[error("the gateway refused: {} {}", .0.code, .0.message)]
    Refused(Refusal),
    /// A definite not yet (balance, frequency): the same number again.
    #[error("the gateway says later: {} {}", .0.code, .0.message)]
    Later(Refusal),
    /// Never left our side: the same number again.
    #[error("not sent: {0}")]
    NotSent(String),
    /// Timeout, 5xx, unsigned or unreadable answer: ask, never retry blindly.
    #[error("unknown outcome: {0}")]
    Unknown(String),
}

/// What one process tells the others and itself. Losing all of it loses time, never money.
///
/// An operation waits for it once: [`Coordination::begin`] asks everything in one round trip, and
/// [`Coordination::end`] returns at once.
#[async_trait]
pub trait Coordination: Send + Sync {
    /// Takes the lock `name` of `owner` for at most `ttl`, and remembers `memory` of the same owner in the same
    /// breath.
    async fn begin(&self, owner: &str, name: &str, ttl: Duration, memory: Option<&Memory>) -> Begun;
    /// Gives a lock back, unless it is no longer the holder's, and tells every process, this one too, that an
    /// order has reached a version: a hint, it may be lost. Waits for neither; both leave together.
    fn end(&self, held: Option<LockToken>, change: Option<&OrderChanged>);
    /// What is announced, and every gap in it, from now on.
    fn announcements(&self) -> tokio::sync::broadcast::Receiver<Announcement>;
    /// Adds what this process has let in to what all processes have let in, and says for each how much that comes
    /// to now, in the order given; what was let in runs off at its rate. `None`: nobody else counts, or nobody can
    /// say. Not for a request to wait for.
    async fn count(&self, counted: &[Counted]) -> Vec<Option<f64>>;
    /// Whether the other side answers now, for `doctor`.
    async fn healthy(&self) -> bool;
}

/// Something to be remembered, once: the first value stays until its window ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Under which name.
    pub name: String,
    /// What.
    pub value: String,
    /// For how long.
    pub window: Duration,
}

/// So many in so much time, and as many at once when none came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many, at least one.
    pub count: u32,
    /// In what time.
    pub per: Duration,
}

/// What one process has let in under a name since it said so the last time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Under which name.
    pub name: String,
    /// How many.
    pub count: u32,
    /// How fast it runs off.
    pub rate: Rate,
}

/// How an operation begins.
#[derive(Debug)]
pub struct Begun {
    /// Whether the lock is ours.
    pub lock: Lock,
    /// What was remembered before under the memory's name, if anything was: then nothing changed. `None` also
    /// when nobody can say.
    pub remembered: Option<String>,
}

/// The outcome of asking for a lock.
#[derive(Debug)]
pub enum Lock {
    /// Ours; give it back with this token.
    Held(LockToken),
    /// Somebody else's.
    Busy,
    /// Nobody can say: go on without, the store judges.
    Unavailable,
}

impl Lock {
    /// What gives it back, if it is ours.
    pub fn held(self) -> Option<LockToken> {
        match self {
            Lock::Held(token) => Some(token),
            Lock::Busy | Lock::Unavailable => None,
        }
    }
}

/// Proof of holding one lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockToken {
    /// Whose the lock is.
    pub owner: String,
    /// The lock's name.
    pub name: String,
    /// Random, ours alone.
    pub token: String,
}

/// An order has reached this version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderChanged {
    /// Which.
    pub order: OrderId,
    /// Its version.
    pub version: i64,
}

impl OrderChanged {
    /// As the order stands.
    pub fn to(order: &Order) -> Self {
        Self { order: order.id.clone(), version: order.version }
    }
}

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// An order changed.
    Changed(OrderChanged),
    /// Something may have been missed: read the store.
    Gap,
}
