//! A refund: money of one payment on its way back.

use serde::{Deserialize, Serialize};

use crate::payment::{after_pending, after_unknown};
use crate::{Duration, Money, PaymentId, RefundId, Timestamp};

/// One refund of one payment. Its amount is reserved on the payment until it is decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Refund {
    /// The gateway's `out_refund_no`.
    pub id: RefundId,
    /// Whose money it is.
    pub payment: PaymentId,
    /// How much.
    pub amount: Money,
    /// Why.
    pub terms: RefundTerms,
    /// The subject who approved it, where that was needed.
    pub approved_by: Option<String>,
    /// Where it stands.
    pub state: RefundState,
    /// It was given to the gateway, or may have been: a crash in between leaves it so.
    pub sent: bool,
    /// When it entered its state, by our clock.
    pub since: Timestamp,
    /// When the scheduler looks next; `None`: nothing is due of itself.
    pub next_at: Option<Timestamp>,
    /// When it was recorded.
    pub created_at: Timestamp,
}

/// Why and by whom a refund was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundTerms {
    /// The reason, from a fixed list.
    pub reason: RefundReason,
    /// Free words for staff.
    pub note: Option<String>,
    /// A token's subject, or `payonce`.
    pub requested_by: String,
}

/// Why money goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RefundReason {
    /// The customer asked.
    CustomerRequest,
    /// Bought twice.
    Duplicate,
    /// Cannot be delivered.
    OutOfStock,
    /// Not what was promised.
    NotAsDescribed,
    /// Not the customer's own doing.
    Fraud,
    /// Anything else.
    Other,
    /// The order did not need the money. Payonce alone gives this reason.
    Surplus,
    /// Made in the gateway's console, or by us before the store lost its last commits. Payonce alone gives
    /// this reason.
    Outside,
}

/// Where a refund stands. Accepted is not success: only a query or a notification is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundState {
    /// Recorded; not sent before another person has approved it.
    AwaitingApproval,
    /// Recorded; to be sent, or to be sent again, with the same number.
    Requested,
    /// The gateway accepted it.
    Processing,
    /// The gateway was asked and no trusted answer came back. The money may have moved.
    Unknown,
    /// The money is back. Final.
    Succeeded {
        /// When, by the gateway.
        at: Timestamp,
    },
    /// No money moved and none will under this number. Final.
    Failed {
        /// What the gateway said, in words that may be shown.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// Another person said no; it was never sent. Final.
    Rejected {
        /// Their words, which may be shown.
        reason: Option<String>,
        /// When.
        at: Timestamp,
    },
}

/// [`RefundState`] without its facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the states are described at RefundState")]
pub enum RefundStatus {
    AwaitingApproval,
    Requested,
    Processing,
    Unknown,
    Succeeded,
    Failed,
    Rejected,
}

impl RefundStatus {
    const ALL: [RefundStatus; 7] = [
        Self::AwaitingApproval,
        Self::Requested,
        Self::Processing,
        Self::Unknown,
        Self::Succeeded,
        Self::Failed,
        Self::Rejected,
    ];

    /// The name in logs, and in columns where the store has no other way to say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AwaitingApproval => "AWAITING_APPROVAL",
            Self::Requested => "REQUESTED",
            Self::Processing => "PROCESSING",
            Self::Unknown => "UNKNOWN",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Rejected => "REJECTED",
        }
    }

    /// Reads [`RefundStatus::name`] back.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

impl RefundReason {
    const ALL: [RefundReason; 8] = [
        Self::CustomerRequest,
        Self::Duplicate,
        Self::OutOfStock,
        Self::NotAsDescribed,
        Self::Fraud,
        Self::Other,
        Self::Surplus,
        Self::Outside,
    ];

    /// The name in columns, in the schema and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CustomerRequest => "CUSTOMER_REQUEST",
            Self::Duplicate => "DUPLICATE",
            Self::OutOfStock => "OUT_OF_STOCK",
            Self::NotAsDescribed => "NOT_AS_DESCRIBED",
            Self::Fraud => "FRAUD",
            Self::Other => "OTHER",
            Self::Surplus => "SURPLUS",
            Self::Outside => "OUTSIDE",
        }
    }

    /// What the payer may read; never changed, it is part of a request that may be sent again.
    pub const fn words(self) -> &'static str {
        match self {
            Self::CustomerRequest => "Refund requested by the customer",
            Self::Duplicate => "Duplicate order",
            Self::OutOfStock => "Out of stock",
            Self::NotAsDescribed => "Not as described",
            Self::Fraud => "Payment not recognised",
            Self::Other => "Refund",
            Self::Surplus => "Payment not needed",
            Self::Outside => "Refund made outside",
        }
    }

    /// Reads [`RefundReason::name`] back.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name() == name)
    }
}

impl Refund {
    /// The state without its facts.
    pub fn status(&self) -> RefundStatus {
        match self.state {
            RefundState::AwaitingApproval => RefundStatus::AwaitingApproval,
            RefundState::Requested => RefundStatus::Requested,
            RefundState::Processing => RefundStatus::Processing,
            RefundState::Unknown => RefundStatus::Unknown,
            RefundState::Succeeded { .. } => RefundStatus::Succeeded,
            RefundState::Failed { .. } => RefundStatus::Failed,
            RefundState::Rejected { .. } => RefundStatus::Rejected,
        }
    }

    /// Its amount is still reserved on the payment.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, RefundState::Succeeded { .. } | RefundState::Failed { .. } | RefundState::Rejected { .. })
    }

    /// The gateway was asked and nothing changed: sets the next look.
    pub fn asked(&mut self, now: Timestamp) {
        let age = now - self.since;
        self.next_at = match self.state {
            RefundState::Requested => Some(now + after_pending(age).max(Duration::minutes(1))),
            RefundState::Processing => Some(now + after_pending(age)),
            // A refund is never closed by age: once people have it, we still ask every day.
            RefundState::Unknown => Some(now + after_unknown(age).unwrap_or(Duration::days(1))),
            // People are waited for, not the clock.
            RefundState::AwaitingApproval => None,
            RefundState::Succeeded { .. } | RefundState::Failed { .. } | RefundState::Rejected { .. } => None,
        };
    }

    pub(crate) fn change(&mut self, state: RefundState, now: Timestamp) {
        self.state = state;
        self.since = now;
        self.asked(now);
    }
}
