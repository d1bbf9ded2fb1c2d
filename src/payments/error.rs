//! What can go wrong, in the words of the business.

use domain::{Gateway, OrderId, PaymentId, RefundId, RuleError};

use crate::store::StoreError;

/// Why a workflow gave no result. Unless it says otherwise, nothing began.
#[derive(Debug, thiserror::Error)]
pub enum PaymentError {
    /// A rule said no.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// There is none, or it is somebody else's.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The caller lacks the role.
    #[error("the caller may not do this")]
    Forbidden,
    /// The key was used with other content.
    #[error("the key was used with other content")]
    KeyMismatch,
    /// The key was used so long ago that only its id is left.
    #[error("the key was used and has expired")]
    KeyExpired {
        /// The order that it made or changed.
        order: Option<OrderId>,
        /// The payment that it opened.
        payment: Option<PaymentId>,
        /// The refund that it asked for.
        refund: Option<RefundId>,
    },
    /// Too many operations run.
    #[error("too many operations are under way")]
    Overloaded,
    /// The same operation is under way.
    #[error("the same operation is under way")]
    InProgress,
    /// Another payment of the order cannot be closed now.
    #[error("another payment of this order is still under way at the gateway")]
    PaymentInProgress,
    /// The same content under another key a moment ago.
    #[error("the same order was placed a moment ago")]
    DuplicateOrder {
        /// The first one.
        order: OrderId,
    },
    /// Not in the catalogue.
    #[error("there is no product {0:?}")]
    UnknownSku(String),
    /// The quote is not taken; the text says why.
    #[error("{0}")]
    QuoteInvalid(String),
    /// The input makes no sense; the text says what would.
    #[error("{0}")]
    BadInput(String),
    /// A watcher reads more slowly than orders change; some were missed.
    #[error("the watcher fell behind")]
    FellBehind,
    /// The gateway is not set up here.
    #[error("the gateway {} is not configured here", .0.name())]
    GatewayNotConfigured(Gateway),
    /// The database does not answer.
    #[error("the store is unavailable")]
    StoreUnavailable(#[source] StoreError),
    /// A defect, ours or of the data.
    #[error("internal: {0}")]
    Internal(String),
}

impl From<StoreError> for PaymentError {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::Conflict | StoreError::Unavailable(_) => PaymentError::StoreUnavailable(e),
            StoreError::IdTaken => PaymentError::KeyExpired { order: None, payment: None, refund: None },
            StoreError::Corrupt { .. } => PaymentError::Internal(e.to_string()),
        }
    }
}
