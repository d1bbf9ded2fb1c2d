//! The truth about the money, against which tests judge everyone else.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Every movement of money that really happened, in the order in which it happened. Nothing is
/// ever removed or merged: two charges of one number would stand here twice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Payments that payers made.
    pub charges: Vec<Charge>,
    /// Refunds that reached their payers; one that is still being processed is not here yet.
    pub refunds: Vec<RefundedMoney>,
}

/// One payment by a payer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The merchant's number of the payment (`out_trade_no`).
    pub number: String,
    /// `wechat_pay` or `alipay`.
    pub gateway: String,
    /// Amount in minor units.
    pub minor: i64,
    /// ISO 4217.
    pub currency: String,
    /// When the payer paid.
    pub paid_at: DateTime<Utc>,
}

/// One refund that reached the payer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundedMoney {
    /// The merchant's number of the refund.
    pub number: String,
    /// The merchant's number of the payment that was refunded.
    pub payment_number: String,
    /// Amount in minor units.
    pub minor: i64,
    /// ISO 4217.
    pub currency: String,
}
