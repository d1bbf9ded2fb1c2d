//! A payment: one attempt at paying an order at one gateway.

use serde::{Deserialize, Serialize};

use crate::{ClientAction, Duration, Gateway, Money, OpenPayment, PaymentId, Timestamp};

/// A payer need not wait longer than this for a gateway that does not answer before going to another one.
const SILENCE: Duration = Duration::seconds(10);
/// What is to be closed at a gateway is tried this often at least.
const CLOSING_PAUSE: Duration = Duration::minutes(1);

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
    /// Since when its gateway has given no answer about it; `None`: the latest question was answered.
    pub silent_since: Option<Timestamp>,
    /// When it entered its state, by our clock: questions get rarer with age, whoever asks.
    pub since: Timestamp,
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
    Unknown,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
            Self::Unknown => PaymentStatus::Unknown,
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
            silent_since: None,
            since: now,
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

    /// Whether an attempt at another gateway need not wait for this one, which may still be paid: its gateway gives
    /// no answer, and has given none for ten seconds if the payer was handed something to pay with.
    pub fn gives_way(&self, now: Timestamp) -> bool {
        let handed_out = matches!(self.state, PaymentState::Pending { .. });
        let patience = if handed_out { SILENCE } else { Duration::zero() };
        self.is_open() && self.silent_since.is_some_and(|since| since + patience <= now)
    }

    /// What may still be asked back, in minor units.
    pub fn refundable(&self) -> i64 {
        match self.state {
            PaymentState::Succeeded { .. } => (self.paid - self.refund_reserved - self.refunded).max(0),
            _ => 0,
        }
    }

    /// It brought another amount or currency than was asked for, and some of it is still here.
    pub fn is_undecided_mismatch(&self) -> bool {
        matches!(self.state, PaymentState::Succeeded { mismatch: true, .. }) && self.refunded < self.paid
    }

    /// What arrived, if anything did.
    pub fn evidence(&self) -> Option<&Evidence> {
        match &self.state {
            PaymentState::Succeeded { evidence, .. } => Some(evidence),
            _ => None,
        }
    }

    /// The gateway was asked and nothing changed: sets the next question. What is to be closed there is tried every
    /// minute until it is surely over.
    pub fn asked(&mut self, now: Timestamp) {
        let age = now - self.since;
        let soon = (self.closing && self.is_open() && now < self.surely_over()).then_some(now + CLOSING_PAUSE);
        self.silent_since = None;
        self.next_at = match self.status() {
            PaymentStatus::Created | PaymentStatus::Unknown => after_unknown(age).map(|wait| now + wait),
            PaymentStatus::Pending => Some(now + after_pending(age)),
            // Closed on the gateway's word that it was never there: it may still appear, and be paid.
            PaymentStatus::Closed if self.next_at.is_some() && now < self.surely_over() => {
                Some(now + Duration::minutes(1))
            }
            PaymentStatus::Succeeded | PaymentStatus::Failed | PaymentStatus::Closed => None,
        };
        self.next_at = self.next_at.into_iter().chain(soon).min();
    }

    /// Another attempt takes its place: from here on it is only closed, and what it brings all the same is looked for.
    pub(crate) fn give_way(&mut self, now: Timestamp) {
        self.closing = true;
        self.next_at = self.next_at.into_iter().chain([now + CLOSING_PAUSE]).min();
    }

    /// From here on, a payment that the gateway does not know was never made.
    pub fn surely_over(&self) -> Timestamp {
        self.request.expires_at + Duration::minutes(5)
    }

    /// It is closed here, but the gateway did not know it when it was closed: it is asked on about.
    pub fn is_closed_on_not_found(&self) -> bool {
        self.status() == PaymentStatus::Closed && self.next_at.is_some()
    }

    pub(crate) fn change(&mut self, state: PaymentState, now: Timestamp) {
        self.state = state;
        self.since = now;
        self.next_at = None;
        self.asked(now);
    }
}

/// The pause after a question about something unknown for `age`: the questions come at 2, 7, 17, 37, 77 and
/// 137 s, then every 5 min up to half an hour, every hour up to 48 h; then it is for people.
pub(crate) fn after_unknown(age: Duration) -> Option<Duration> {
    Some(match age.num_seconds() {
        ..2 => Duration::seconds(2),
        2..7 => Duration::seconds(5),
        7..17 => Duration::seconds(10),
        17..37 => Duration::seconds(20),
        37..77 => Duration::seconds(40),
        77..137 => Duration::seconds(60),
        137..1_800 => Duration::minutes(5),
        1_800..172_800 => Duration::hours(1),
        _ => return None,
    })
}

/// The pause after a question about an open payment or an accepted refund of this age: 5 s, 30 s, 1, 3, 5, 10
/// min, and every 30 min after. WeChat Pay's own advice for payments without a notification.
pub(crate) fn after_pending(age: Duration) -> Duration {
    Duration::seconds(match age.num_seconds() {
        ..5 => 5,
        5..35 => 30,
        35..95 => 60,
        95..275 => 180,
        275..575 => 300,
        575..1_175 => 600,
        _ => 1_800,
    })
}
