//! A payment: one attempt at paying an order at one gateway.

use crate::{ClientAction, Duration, Gateway, Money, OpenPayment, PaymentId, Timestamp};

/// One attempt. Its counters are the judge of refunds: `refund_reserved + refunded <= paid`.
#[derive(Clone, Debug, PartialEq)]
pub struct Payment {
    /// The gateway's `out_trade_no`.
    pub id: PaymentId,
    /// The whole unsigned request, as it is sent and sent again.
    pub request: OpenPayment,
    /// Where it stands.
    pub state: PaymentState,
    /// Minor units that arrived, in the gateway's currency of [`Evidence`].
    pub paid: i64,
    /// Minor units asked back and not decided yet.
    pub refund_reserved: i64,
    /// Minor units given back.
    pub refunded: i64,
    /// When the latest refund of it may be sent; gateways want a pause between two.
    pub refund_slot: Option<Timestamp>,
    /// We asked the gateway to close it: a committed intent that outlives a crash.
    pub closing: bool,
    /// How often the gateway was asked since the last change of state.
    pub asks: u32,
    /// When the scheduler asks next; `None`: nothing is due of itself.
    pub next_at: Option<Timestamp>,
    /// When it was recorded.
    pub created_at: Timestamp,
}

/// Where a payment stands. Each state carries only what is true in that state.
#[derive(Clone, Debug, PartialEq)]
pub enum PaymentState {
    /// Recorded, not answered yet.
    Created,
    /// The gateway was asked and no trusted answer came back. The money may have moved.
    Unknown {
        /// Since when.
        since: Timestamp,
    },
    /// The payer can pay.
    Pending {
        /// What the frontend does next.
        action: ClientAction,
        /// Until when the action works.
        until: Timestamp,
    },
    /// The money arrived. Final.
    Succeeded {
        /// What proves it.
        evidence: Evidence,
        /// The order did not need it: it is refunded by itself.
        surplus: bool,
        /// It came after the order or the payment was closed.
        late: bool,
        /// The amount or currency is not what was asked for.
        mismatch: bool,
    },
    /// The gateway refused it. Only a verified success can follow.
    Failed {
        /// What the gateway said, in words that may be shown.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// It can no longer be paid. Only a verified success can follow.
    Closed {
        /// When.
        at: Timestamp,
    },
}

/// A verified answer or notification that says money arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The gateway's own number of the payment.
    pub transaction_id: String,
    /// What arrived.
    pub amount: Money,
    /// When, by the gateway.
    pub paid_at: Timestamp,
}

/// [`PaymentState`] without its facts: what callers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the states are described at PaymentState")]
pub enum PaymentStatus {
    Created,
    Unknown,
    Pending,
    Succeeded,
    Failed,
    Closed,
}

impl PaymentStatus {
    const ALL: [PaymentStatus; 6] =
        [Self::Created, Self::Unknown, Self::Pending, Self::Succeeded, Self::Failed, Self::Closed];

    /// The name in columns and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Unknown => "UNKNOWN",
            Self::Pending => "PENDING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Closed => "CLOSED",
        }
    }

    /// Reads [`PaymentStatus::name`] back.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Payments only climb: created = unknown < pending < closed, failed < succeeded.
    pub const fn rank(self) -> u8 {
        match self {
            Self::Created | Self::Unknown => 0,
            Self::Pending => 1,
            Self::Closed | Self::Failed => 2,
            Self::Succeeded => 3,
        }
    }
}

impl PaymentState {
    /// The state without its facts.
    pub const fn status(&self) -> PaymentStatus {
        match self {
            Self::Created => PaymentStatus::Created,
            Self::Unknown { .. } => PaymentStatus::Unknown,
            Self::Pending { .. } => PaymentStatus::Pending,
            Self::Succeeded { .. } => PaymentStatus::Succeeded,
            Self::Failed { .. } => PaymentStatus::Failed,
            Self::Closed { .. } => PaymentStatus::Closed,
        }
    }
}

impl Payment {
    /// A recorded attempt that nobody was asked about yet; the scheduler looks at it at `next_at`.
    pub fn new(request: OpenPayment, now: Timestamp, next_at: Timestamp) -> Self {
        Self {
            id: request.number.clone(),
            request,
            state: PaymentState::Created,
            paid: 0,
            refund_reserved: 0,
            refunded: 0,
            refund_slot: None,
            closing: false,
            asks: 0,
            next_at: Some(next_at),
            created_at: now,
        }
    }

    /// Who is asked.
    pub fn gateway(&self) -> Gateway {
        self.request.gateway
    }

    /// The state without its facts.
    pub fn status(&self) -> PaymentStatus {
        self.state.status()
    }

    /// It may still be paid, as far as we know.
    pub fn is_open(&self) -> bool {
        self.status().rank() < PaymentStatus::Closed.rank()
    }

    /// What the frontend can do now: nothing once the action has run out or is being closed.
    pub fn action(&self, now: Timestamp) -> Option<(&ClientAction, Timestamp)> {
        match &self.state {
            PaymentState::Pending { action, until } if now < *until && !self.closing => Some((action, *until)),
            _ => None,
        }
    }

    /// What may still be asked back, in minor units.
    pub fn refundable(&self) -> i64 {
        match self.state {
            PaymentState::Succeeded { .. } => (self.paid - self.refund_reserved - self.refunded).max(0),
            _ => 0,
        }
    }

    /// What arrived, if anything did.
    pub fn evidence(&self) -> Option<&Evidence> {
        match &self.state {
            PaymentState::Succeeded { evidence, .. } => Some(evidence),
            _ => None,
        }
    }

    /// Counts one question to the gateway that changed nothing and sets the next.
    pub fn asked(&mut self, now: Timestamp) {
        self.asks = self.asks.saturating_add(1);
        self.next_at = match self.status() {
            PaymentStatus::Created | PaymentStatus::Unknown => after_unknown(self.asks).map(|wait| now + wait),
            PaymentStatus::Pending => Some(now + after_pending(self.asks)),
            PaymentStatus::Succeeded | PaymentStatus::Failed | PaymentStatus::Closed => None,
        };
    }

    pub(crate) fn change(&mut self, state: PaymentState, now: Timestamp) {
        self.state = state;
        self.asks = 0;
        self.next_at = match self.status() {
            PaymentStatus::Created | PaymentStatus::Unknown => after_unknown(0).map(|wait| now + wait),
            PaymentStatus::Pending => Some(now + after_pending(0)),
            PaymentStatus::Succeeded | PaymentStatus::Failed | PaymentStatus::Closed => None,
        };
    }
}

/// The pause before question `asks + 1` about something unknown: 2, 5, 10, 20, 40, 60 s, every 5 min up
/// to half an hour, every hour up to 48 h; then it is for people.
pub(crate) fn after_unknown(asks: u32) -> Option<Duration> {
    const SECONDS: [i64; 6] = [2, 5, 10, 20, 40, 60];
    match asks {
        0..=5 => Some(Duration::seconds(SECONDS[asks as usize])),
        6..=11 => Some(Duration::minutes(5)),
        12..=59 => Some(Duration::hours(1)),
        _ => None,
    }
}

/// The pause before question `asks + 1` about an open payment or an accepted refund: 5 s, 30 s, 1, 3, 5,
/// 10, 30 min, and every 30 min after. WeChat Pay's own advice for payments without a notification.
pub(crate) fn after_pending(asks: u32) -> Duration {
    const SECONDS: [i64; 7] = [5, 30, 60, 180, 300, 600, 1800];
    Duration::seconds(SECONDS[(asks as usize).min(SECONDS.len() - 1)])
}
