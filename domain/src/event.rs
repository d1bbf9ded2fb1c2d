//! What happened to an order: its history, its outbox and what its subscribers hear of.

use serde_json::Value;

/// What kind of thing happened. The name is what `Event.type` shows and what events out are named by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// The order was placed.
    OrderCreated,
    /// A cancellation or the expiry has begun; an open payment is being closed at the gateway.
    OrderClosing,
    /// The order is closed, unpaid.
    OrderClosed,
    /// An attempt at paying was recorded; the gateway is about to be asked.
    PaymentCreated,
    /// The gateway opened the payment; the payer can pay.
    PaymentPending,
    /// The gateway gave no trusted answer.
    PaymentUnknown,
    /// The gateway refused the payment.
    PaymentFailed,
    /// The payment is closed, unpaid.
    PaymentClosed,
    /// The order is paid by this payment.
    OrderPaid,
    /// Money arrived that the order did not need; it goes back by itself.
    PaymentSurplus,
    /// Money arrived, but not the amount or currency asked for; staff must decide.
    PaymentMismatch,
    /// A refund was recorded and its amount reserved.
    RefundRequested,
    /// Another person let a refund go that waited for it.
    RefundApproved,
    /// Another person said no to a refund that waited for it.
    RefundRejected,
    /// The gateway accepted the refund.
    RefundAccepted,
    /// The gateway gave no trusted answer to the refund.
    RefundUnknown,
    /// The money is back.
    RefundSucceeded,
    /// The refund did not happen; its reservation is free again.
    RefundFailed,
}

impl EventType {
    /// Every one of them.
    pub const ALL: [EventType; 18] = [
        Self::OrderCreated,
        Self::OrderClosing,
        Self::OrderClosed,
        Self::PaymentCreated,
        Self::PaymentPending,
        Self::PaymentUnknown,
        Self::PaymentFailed,
        Self::PaymentClosed,
        Self::OrderPaid,
        Self::PaymentSurplus,
        Self::PaymentMismatch,
        Self::RefundRequested,
        Self::RefundApproved,
        Self::RefundRejected,
        Self::RefundAccepted,
        Self::RefundUnknown,
        Self::RefundSucceeded,
        Self::RefundFailed,
    ];

    /// The permanent name: `order.created`, `refund.succeeded`, ….
    pub const fn name(self) -> &'static str {
        match self {
            Self::OrderCreated => "order.created",
            Self::OrderClosing => "order.closing",
            Self::OrderClosed => "order.closed",
            Self::PaymentCreated => "payment.created",
            Self::PaymentPending => "payment.pending",
            Self::PaymentUnknown => "payment.unknown",
            Self::PaymentFailed => "payment.failed",
            Self::PaymentClosed => "payment.closed",
            Self::OrderPaid => "order.paid",
            Self::PaymentSurplus => "payment.surplus",
            Self::PaymentMismatch => "payment.mismatch",
            Self::RefundRequested => "refund.requested",
            Self::RefundApproved => "refund.approved",
            Self::RefundRejected => "refund.rejected",
            Self::RefundAccepted => "refund.accepted",
            Self::RefundUnknown => "refund.unknown",
            Self::RefundSucceeded => "refund.succeeded",
            Self::RefundFailed => "refund.failed",
        }
    }

    /// Reads [`EventType::name`] back.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.name() == name)
    }

    /// One sentence for people.
    pub const fn summary(self) -> &'static str {
        match self {
            Self::OrderCreated => "The order was placed.",
            Self::OrderClosing => "The order is being closed; the gateway is asked first.",
            Self::OrderClosed => "The order was closed unpaid.",
            Self::PaymentCreated => "A payment was recorded; the gateway is being asked.",
            Self::PaymentPending => "The payment is open; the payer can pay.",
            Self::PaymentUnknown => "The gateway gave no trusted answer; we keep asking.",
            Self::PaymentFailed => "The gateway refused the payment.",
            Self::PaymentClosed => "The payment was closed unpaid.",
            Self::OrderPaid => "The order is paid.",
            Self::PaymentSurplus => "Money arrived that was not needed; it is being refunded.",
            Self::PaymentMismatch => "Another amount or currency arrived than was asked for; staff must decide.",
            Self::RefundRequested => "A refund was recorded.",
            Self::RefundApproved => "The refund was approved.",
            Self::RefundRejected => "The refund was rejected.",
            Self::RefundAccepted => "The gateway accepted the refund.",
            Self::RefundUnknown => "The gateway gave no trusted answer to the refund; we keep asking.",
            Self::RefundSucceeded => "The refund is done.",
            Self::RefundFailed => "The refund did not happen.",
        }
    }
}

/// Something that happened and is not stored yet; the store numbers it with the order's next version.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// What happened.
    pub kind: EventType,
    /// Ids and amounts, no personal data.
    pub facts: Value,
    /// Who did it: a token's subject, a gateway's name, or `payonce`.
    pub actor: String,
}
