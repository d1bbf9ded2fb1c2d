//! Domain errors to what a client may know: one match, every code in one place.

use async_graphql::{Error, ErrorExtensions, Response, ServerError, Value};
use domain::{LimitName, Money, OrderId, PaymentId, RefundId, RuleError};

use crate::payments::PaymentError;

/// The codes in `extensions.code`. Permanent: clients branch on them.
#[expect(missing_docs, reason = "each code is its own name; README.md says what to do about them")]
pub mod code {
    pub const IDEMPOTENCY_KEY_INVALID: &str = "IDEMPOTENCY_KEY_INVALID";
    pub const IDEMPOTENCY_KEY_MISMATCH: &str = "IDEMPOTENCY_KEY_MISMATCH";
    pub const IDEMPOTENCY_KEY_EXPIRED: &str = "IDEMPOTENCY_KEY_EXPIRED";
    pub const IDEMPOTENCY_IN_PROGRESS: &str = "IDEMPOTENCY_IN_PROGRESS";
    pub const OVERLOADED: &str = "OVERLOADED";
    pub const STORE_UNAVAILABLE: &str = "STORE_UNAVAILABLE";
    pub const PAYMENT_IN_PROGRESS: &str = "PAYMENT_IN_PROGRESS";
    pub const RATE_LIMITED: &str = "RATE_LIMITED";
    pub const GATEWAY_UNAVAILABLE: &str = "GATEWAY_UNAVAILABLE";
    pub const INTERNAL: &str = "INTERNAL";
    pub const ORDER_ALREADY_PAID: &str = "ORDER_ALREADY_PAID";
    pub const ORDER_CLOSED: &str = "ORDER_CLOSED";
    pub const ORDER_EXPIRED: &str = "ORDER_EXPIRED";
    pub const NOT_REFUNDABLE: &str = "NOT_REFUNDABLE";
    pub const REFUND_EXCEEDS_PAID: &str = "REFUND_EXCEEDS_PAID";
    pub const REFUND_LIMIT_REACHED: &str = "REFUND_LIMIT_REACHED";
    pub const REFUND_DECIDED: &str = "REFUND_DECIDED";
    pub const LIMIT_EXCEEDED: &str = "LIMIT_EXCEEDED";
    pub const AMOUNT_OUT_OF_RANGE: &str = "AMOUNT_OUT_OF_RANGE";
    pub const UNKNOWN_SKU: &str = "UNKNOWN_SKU";
    pub const QUOTE_INVALID: &str = "QUOTE_INVALID";
    pub const DUPLICATE_ORDER: &str = "DUPLICATE_ORDER";
    pub const BAD_USER_INPUT: &str = "BAD_USER_INPUT";
    pub const NOT_FOUND: &str = "NOT_FOUND";
    pub const FORBIDDEN: &str = "FORBIDDEN";
    pub const UNAUTHENTICATED: &str = "UNAUTHENTICATED";
    pub const TOKEN_EXPIRED: &str = "TOKEN_EXPIRED";
    pub const UNSUPPORTED_MEDIA_TYPE: &str = "UNSUPPORTED_MEDIA_TYPE";
    pub const METHOD_NOT_ALLOWED: &str = "METHOD_NOT_ALLOWED";
    pub const QUERY_TOO_LARGE: &str = "QUERY_TOO_LARGE";
    pub const GRAPHQL_PARSE_FAILED: &str = "GRAPHQL_PARSE_FAILED";
    pub const GRAPHQL_VALIDATION_FAILED: &str = "GRAPHQL_VALIDATION_FAILED";
    pub const QUERY_TOO_DEEP: &str = "QUERY_TOO_DEEP";
    pub const QUERY_TOO_COMPLEX: &str = "QUERY_TOO_COMPLEX";
    pub const BATCHING_DISABLED: &str = "BATCHING_DISABLED";
    pub const INTROSPECTION_DISABLED: &str = "INTROSPECTION_DISABLED";
    pub const DOCUMENT_NOT_TRUSTED: &str = "DOCUMENT_NOT_TRUSTED";
}

/// What a client learns about a failure: a stable code, a safe sentence, the way out.
///
/// No `Display`, on purpose: async-graphql takes any `Display` error as it is, without a code and with
/// internals in the text. Without it a stray `?` on a store's error does not compile.
#[derive(Clone, Debug)]
pub struct ApiError {
    code: &'static str,
    message: String,
    way_out: Box<WayOut>,
}

/// A nullable field: an error makes it null and leaves its neighbours. Returned as `Result<Option<_>>`,
/// async-graphql would make its parent null instead.
pub(super) type Nullable<T> = Option<Result<T, ApiError>>;

/// What the client can do next.
#[derive(Clone, Debug, Default)]
struct WayOut {
    retryable: bool,
    retry_same_key: Option<bool>,
    retry_after_ms: Option<u64>,
    remaining_seconds: Option<i64>,
    maximum_refundable: Option<Money>,
    limit: Option<(LimitName, Money)>,
    remaining: Option<Money>,
    order: Option<OrderId>,
    payment: Option<PaymentId>,
    refund: Option<RefundId>,
}

impl ApiError {
    /// A failure that only another request can mend.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), way_out: Box::default() }
    }

    /// No token, or none that is needed.
    pub fn unauthenticated() -> Self {
        Self::new(code::UNAUTHENTICATED, "This needs a token: send it as `Authorization: Bearer …`.")
    }

    /// Input that makes no sense; the sentence says what would.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self::new(code::BAD_USER_INPUT, message)
    }

    /// The code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Another order may be meant.
    fn about(mut self, order: OrderId) -> Self {
        self.way_out.order = Some(order);
        self
    }

    /// The same key may be sent again after so long.
    pub(crate) fn again_after(mut self, ms: u64) -> Self {
        self.way_out.retryable = true;
        self.way_out.retry_same_key = Some(true);
        self.way_out.retry_after_ms = Some(ms);
        self
    }

    /// When the same may be sent again.
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.way_out.retry_after_ms
    }

    /// A new key is needed.
    fn new_key(mut self) -> Self {
        self.way_out.retry_same_key = Some(false);
        self
    }

    /// The members of `extensions`, by name.
    pub fn extensions(&self) -> Vec<(&'static str, Value)> {
        let way_out = &self.way_out;
        let mut members = vec![("code", Value::from(self.code)), ("retryable", Value::from(way_out.retryable))];
        let optional = [
            ("retrySameKey", way_out.retry_same_key.map(Value::from)),
            ("retryAfterMs", way_out.retry_after_ms.map(Value::from)),
            ("remainingSeconds", way_out.remaining_seconds.map(Value::from)),
            ("maximumRefundable", way_out.maximum_refundable.map(money)),
            ("limit", way_out.limit.map(|(_, limit)| money(limit))),
            ("limitName", way_out.limit.map(|(name, _)| Value::from(name.name()))),
            ("remaining", way_out.remaining.map(money)),
            ("orderId", way_out.order.as_ref().map(|id| Value::from(id.as_str()))),
            ("paymentId", way_out.payment.as_ref().map(|id| Value::from(id.as_str()))),
            ("refundId", way_out.refund.as_ref().map(|id| Value::from(id.as_str()))),
        ];
        members.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
        members
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// A response that says only this.
    pub fn into_response(self) -> Response {
        let mut e = ServerError::new(self.message(), None);
        let extensions = e.extensions.get_or_insert_with(Default::default);
        for (name, value) in self.extensions() {
            extensions.set(name, value);
        }
        Response::from_errors(vec![e])
    }
}

fn money(amount: Money) -> Value {
    let members = [
        ("minor", amount.minor.to_string()),
        ("currency", amount.currency.code().to_owned()),
        ("decimal", amount.decimal()),
    ];
    Value::Object(members.into_iter().map(|(name, text)| (async_graphql::Name::new(name), Value::from(text))).collect())
}

impl From<ApiError> for Error {
    fn from(e: ApiError) -> Error {
        Error::new(e.message.clone()).extend_with(|_, members| {
            for (name, value) in e.extensions() {
                members.set(name, value);
            }
        })
    }
}

impl From<RuleError> for ApiError {
    fn from(e: RuleError) -> Self {
        match e {
            RuleError::AlreadyPaid => {
                Self::new(code::ORDER_ALREADY_PAID, "The order is paid. Ask for the order to see by which payment.")
            }
            RuleError::Closed => Self::new(
                code::ORDER_CLOSED,
                "The order is closed and can no longer be paid or changed. Place a new one.",
            ),
            RuleError::Expired { remaining_seconds } => {
                let message = format!(
                    "{remaining_seconds} seconds are left to pay, too few to open a payment. Place a new order."
                );
                let mut error = Self::new(code::ORDER_EXPIRED, message);
                error.way_out.remaining_seconds = Some(remaining_seconds);
                error
            }
            RuleError::Mismatched => Self::new(
                code::PAYMENT_IN_PROGRESS,
                "A payment of another amount than the order's has arrived; staff must decide about it first.",
            )
            .again_after(60_000),
            RuleError::AttemptOpen => Self::new(
                code::PAYMENT_IN_PROGRESS,
                "Another payment of this order is still open. Send the same key again in a moment.",
            )
            .again_after(2_000),
            RuleError::TooManyAttempts => {
                Self::new(code::LIMIT_EXCEEDED, "An order takes at most 20 payments. Place a new one.")
            }
            RuleError::NotRefundable => Self::new(
                code::NOT_REFUNDABLE,
                "Nothing of this order can be refunded: it is not paid, or all has gone back.",
            ),
            RuleError::ExceedsPaid { maximum } => {
                let message = format!(
                    "At most {maximum} can still be refunded; smaller amounts, or none for all that is left, are allowed."
                );
                let mut error = Self::new(code::REFUND_EXCEEDS_PAID, message);
                error.way_out.maximum_refundable = Some(maximum);
                error
            }
            RuleError::RefundLimit => {
                Self::new(code::REFUND_LIMIT_REACHED, "The gateway allows at most 50 refunds of one payment.")
            }
            RuleError::AmountOutOfRange => Self::new(
                code::AMOUNT_OUT_OF_RANGE,
                "The amount is out of range: whole minor units from 1, in the order's currency, within 64 bits.",
            ),
            RuleError::OwnRefund => Self::new(
                code::FORBIDDEN,
                "Another person than the one who asked for this refund must decide about it.",
            ),
            RuleError::Decided => Self::new(
                code::REFUND_DECIDED,
                "The refund does not wait for approval: it was decided before, or needed none. Look at its status.",
            ),
            RuleError::Limit { name, limit, left } => limited(name, limit, left),
            RuleError::Unknown => Self::new(code::NOT_FOUND, "There is no such payment or refund."),
        }
    }
}

/// A limit of the shop's, with what it allows and what is left of it.
fn limited(name: LimitName, limit: Money, left: Option<Money>) -> ApiError {
    let message = match name {
        LimitName::OrderMin => format!("An order comes to at least {limit}."),
        LimitName::OrderMax => format!("An order comes to at most {limit}."),
        LimitName::CustomerDailyMax => {
            let left = left.unwrap_or(Money::zero(limit.currency));
            format!("A customer's orders of one day (Asia/Shanghai) come to at most {limit}; {left} are left today.")
        }
        LimitName::RefundMax => format!("One refund gives back at most {limit}. Ask for less."),
    };
    let mut error = ApiError::new(code::LIMIT_EXCEEDED, message);
    error.way_out.limit = Some((name, limit));
    match name {
        LimitName::RefundMax => error.way_out.maximum_refundable = left,
        _ => error.way_out.remaining = left,
    }
    error
}

impl From<PaymentError> for ApiError {
    fn from(e: PaymentError) -> Self {
        match e {
            PaymentError::Rule(e) => e.into(),
            PaymentError::NotFound(what) => Self::new(code::NOT_FOUND, format!("There is no such {what} that you may see.")),
            PaymentError::Forbidden => Self::new(code::FORBIDDEN, "The token's roles do not allow this."),
            PaymentError::KeyMismatch => Self::new(
                code::IDEMPOTENCY_KEY_MISMATCH,
                "This key was used with other content. A key belongs to one intent: make a new one for a new intent.",
            )
            .new_key(),
            PaymentError::KeyExpired { order, payment, refund } => {
                let message = "This key was used long ago and never executes again. Look at what it made; make a new key for a new intent.";
                let mut error = Self::new(code::IDEMPOTENCY_KEY_EXPIRED, message).new_key();
                error.way_out.order = order;
                error.way_out.payment = payment;
                error.way_out.refund = refund;
                error
            }
            PaymentError::Overloaded => Self::new(
                code::OVERLOADED,
                "Too many operations are under way here; this one has not begun. Send the same key again in a moment.",
            )
            .again_after(1_000),
            PaymentError::InProgress => Self::new(
                code::IDEMPOTENCY_IN_PROGRESS,
                "The first request with this key is still under way. Send the same key again.",
            )
            .again_after(1_000),
            PaymentError::PaymentInProgress => Self::new(
                code::PAYMENT_IN_PROGRESS,
                "An earlier payment of this order cannot be closed at the gateway right now. Send the same key again in a moment.",
            )
            .again_after(3_000),
            PaymentError::DuplicateOrder { order } => Self::new(
                code::DUPLICATE_ORDER,
                "The same order was placed a moment ago. If a second one is meant, send allowDuplicate: true.",
            )
            .about(order),
            PaymentError::UnknownSku(sku) => Self::new(code::UNKNOWN_SKU, format!("There is no product {sku:?}.")),
            PaymentError::QuoteInvalid(message) => Self::new(code::QUOTE_INVALID, message),
            PaymentError::BadInput(message) => Self::new(code::BAD_USER_INPUT, message),
            PaymentError::FellBehind => Self::new(
                code::OVERLOADED,
                "Orders change faster than they are read here, and some were missed. Read the list of orders anew.",
            ),
            PaymentError::GatewayNotConfigured(gateway) => {
                Self::new(code::BAD_USER_INPUT, format!("The gateway {gateway:?} is not configured here."))
            }
            PaymentError::StoreUnavailable(cause) => {
                tracing::error!(error = %cause, "the store is unavailable");
                Self::new(code::STORE_UNAVAILABLE, "The store does not answer right now. Send the same key again.").again_after(1_000)
            }
            PaymentError::Internal(cause) => {
                let id = opaque_id();
                tracing::error!(id, cause, "internal error");
                Self::new(code::INTERNAL, format!("Something broke on our side ({id}). Send the same key again.")).again_after(1_000)
            }
        }
    }
}

/// An id that connects what the client saw with the log, and says nothing else.
pub(super) fn opaque_id() -> String {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).ok();
    hex::encode(bytes)
}
