//! The rules of Payonce: money, orders, payments, refunds, keys and ids.
//!
//! Pure and synchronous: nothing here reads a clock, a socket or a table. What the rules decide is
//! stored by the `store` room and acted on by the `payments` room of the main crate.

mod approval;
mod close;
mod event;
mod gateway;
mod ids;
mod key;
mod limits;
mod money;
mod order;
mod payment;
mod refund;
mod refunding;
mod settle;

pub use event::{EventType, NewEvent};
pub use gateway::{ClientAction, Gateway, OpenPayment, PaymentProduct, RefundRequest};
pub use ids::{EventId, IdError, NumberKey, OrderId, PaymentId, RefundId};
pub use key::{FINGERPRINT_VERSION, Fingerprint, IdempotencyKey, KeyError, Operation, OperationName};
pub use limits::{Amounts, LimitName, Limits, customer_day};
pub use money::{Currency, Money, MoneyError};
pub use order::{CloseReason, MAX_ATTEMPTS, NewOrder, Order, OrderLine, OrderState, OrderStatus, RuleError};
pub use payment::{Evidence, Payment, PaymentState, PaymentStatus};
pub use refund::{Refund, RefundReason, RefundState, RefundStatus, RefundTerms};

/// A moment in UTC. Every stored one is cut to whole microseconds: what the databases keep.
pub type Timestamp = chrono::DateTime<chrono::Utc>;

/// A length of time, in the same unit of account as [`Timestamp`].
pub type Duration = chrono::Duration;

/// A day of a calendar; which one, the place says.
pub type Date = chrono::NaiveDate;

/// Cuts a moment to what every supported database keeps: whole microseconds.
pub fn to_stored(at: Timestamp) -> Timestamp {
    use chrono::SubsecRound;
    at.trunc_subsecs(6)
}
