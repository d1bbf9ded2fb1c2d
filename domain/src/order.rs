//! An order with its attempts and refunds: one unit of decision, changed under one fence.

use serde_json::{Value, json};

use crate::{
    ClientAction, Date, Duration, EventType, LimitName, Money, NewEvent, OpenPayment, OrderId, Payment, PaymentId,
    PaymentState, PaymentStatus, Refund, RefundId, Timestamp,
};

/// At most so many attempts an order.
pub const MAX_ATTEMPTS: usize = 20;

/// An order and everything that decides about it. Methods change it and note what happened; the store
/// saves both in one transaction or neither.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// The subject of the customer's token.
    pub customer: String,
    /// What is to be paid.
    pub total: Money,
    /// What is bought.
    pub lines: Vec<OrderLine>,
    /// Free words of the customer.
    pub note: Option<String>,
    /// Where it stands.
    pub state: OrderState,
    /// A cancellation or expiry that has begun and is not finished.
    pub closing: Option<CloseReason>,
    /// The number of its latest event.
    pub version: i64,
    /// When it was placed.
    pub created_at: Timestamp,
    /// Until when it can be paid.
    pub expires_at: Timestamp,
    /// The day of its customer's in which it counts against a daily limit, until it is closed; `None`: there was no
    /// such limit.
    pub counted_on: Option<Date>,
    /// When the scheduler looks next; `None`: nothing is due of itself.
    pub next_at: Option<Timestamp>,
    /// Every attempt, oldest first.
    pub payments: Vec<Payment>,
    /// Every refund, oldest first.
    pub refunds: Vec<Refund>,
    /// What happened since it was loaded.
    pub happened: Vec<NewEvent>,
}

/// What is needed to place an order.
#[derive(Clone, Debug)]
pub struct NewOrder {
    /// Its id, derived from the operation.
    pub id: OrderId,
    /// The subject of the customer's token.
    pub customer: String,
    /// What is bought: at least one line, all in one currency.
    pub lines: Vec<OrderLine>,
    /// Free words of the customer.
    pub note: Option<String>,
    /// Now.
    pub created_at: Timestamp,
    /// Until when it can be paid.
    pub expires_at: Timestamp,
}

/// One line of an order, with the price it was sold at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderLine {
    /// The product's code.
    pub sku: String,
    /// Its name when it was sold.
    pub name: String,
    /// How many; at least one.
    pub quantity: i64,
    /// The price of one.
    pub unit_price: Money,
}

impl OrderLine {
    /// Price times quantity.
    pub fn amount(&self) -> Result<Money, RuleError> {
        self.unit_price.times(self.quantity).map_err(|_| RuleError::AmountOutOfRange)
    }
}

/// Where an order stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderState {
    /// Nothing is open; it can be paid.
    PendingPayment,
    /// An attempt is open.
    Paying {
        /// The one live attempt.
        attempt: PaymentId,
    },
    /// Paid, and perhaps given back in part or whole: the winner's counters tell.
    Paid {
        /// The one payment that counts.
        winner: PaymentId,
        /// When it was paid, by the gateway.
        at: Timestamp,
    },
    /// Closed unpaid.
    Closed {
        /// Why.
        reason: CloseReason,
        /// When.
        at: Timestamp,
    },
}

/// [`OrderState`] as callers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the states are described at OrderState")]
pub enum OrderStatus {
    PendingPayment,
    Paying,
    Paid,
    PartiallyRefunded,
    Refunded,
    Closed,
}

impl OrderStatus {
    const ALL: [OrderStatus; 6] =
        [Self::PendingPayment, Self::Paying, Self::Paid, Self::PartiallyRefunded, Self::Refunded, Self::Closed];

    /// The name in columns, in the schema and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PendingPayment => "PENDING_PAYMENT",
            Self::Paying => "PAYING",
            Self::Paid => "PAID",
            Self::PartiallyRefunded => "PARTIALLY_REFUNDED",
            Self::Refunded => "REFUNDED",
            Self::Closed => "CLOSED",
        }
    }

    /// Reads [`OrderStatus::name`] back.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// Why an order was closed unpaid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Its time ran out.
    Expired,
    /// Somebody cancelled it.
    Cancelled,
}

impl CloseReason {
    /// The name in columns, in the schema and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "EXPIRED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Reads [`CloseReason::name`] back.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Expired, Self::Cancelled].into_iter().find(|r| r.name() == name)
    }
}

/// A rule said no. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The order is paid.
    #[error("the order is already paid")]
    AlreadyPaid,
    /// The order is closed, or is being closed.
    #[error("the order is closed")]
    Closed,
    /// The order's time ran out, or too little is left for a payment.
    #[error("too little time is left to pay")]
    Expired {
        /// Whole seconds left; 0 when it is over.
        remaining_seconds: i64,
    },
    /// Money arrived that does not fit; staff must decide first.
    #[error("a payment of another amount has arrived; staff must decide about it first")]
    Mismatched,
    /// Another attempt is still open.
    #[error("another payment of this order is open")]
    AttemptOpen,
    /// Too many attempts.
    #[error("an order takes at most 20 payments")]
    TooManyAttempts,
    /// Nothing of the order can be given back.
    #[error("nothing of this order can be refunded")]
    NotRefundable,
    /// More than is left.
    #[error("the refund exceeds what is left of the payment")]
    ExceedsPaid {
        /// What could be given back now.
        maximum: Money,
    },
    /// Whoever asked for a refund decides about it.
    #[error("another person than the one who asked must decide")]
    OwnRefund,
    /// The refund does not wait for approval.
    #[error("the refund does not wait for approval")]
    Decided,
    /// The gateway allows no further refund of this payment.
    #[error("the gateway allows at most 50 refunds of one payment")]
    RefundLimit,
    /// Below one minor unit, beyond 64 bits, or in another currency than the order's.
    #[error("the amount is out of range")]
    AmountOutOfRange,
    /// A limit that the shop has set.
    #[error("the limit of {limit} is passed")]
    Limit {
        /// Which one.
        name: LimitName,
        /// What it allows.
        limit: Money,
        /// What would still be allowed now, where that is another amount.
        left: Option<Money>,
    },
    /// No such payment or refund belongs to this order.
    #[error("no such payment or refund")]
    Unknown,
}

impl Order {
    /// Places an order: not paid, version 1.
    pub fn place(new: NewOrder) -> Result<Order, RuleError> {
        if new.lines.iter().any(|line| line.quantity < 1 || line.unit_price.minor < 1) {
            return Err(RuleError::AmountOutOfRange);
        }
        let mut amounts = new.lines.iter().map(OrderLine::amount);
        let first = amounts.next().ok_or(RuleError::AmountOutOfRange)??;
        let total = amounts.try_fold(first, |sum, next| sum.plus(next?).map_err(|_| RuleError::AmountOutOfRange))?;
        let mut order = Order {
            id: new.id,
            customer: new.customer,
            total,
            lines: new.lines,
            note: new.note,
            state: OrderState::PendingPayment,
            closing: None,
            version: 0,
            created_at: new.created_at,
            expires_at: new.expires_at,
            counted_on: None,
            next_at: Some(new.expires_at),
            payments: Vec::new(),
            refunds: Vec::new(),
            happened: Vec::new(),
        };
        let actor = order.customer.clone();
        order.note_event(EventType::OrderCreated, json!({"total": order.total}), &actor);
        Ok(order)
    }

    /// Says who placed it, where that was not the customer: its history shows them.
    pub fn placed_by(mut self, actor: &str) -> Order {
        for event in &mut self.happened {
            event.actor = actor.to_owned();
        }
        self
    }

    /// Where it stands, in the six words that callers know.
    pub fn status(&self) -> OrderStatus {
        match &self.state {
            OrderState::PendingPayment => OrderStatus::PendingPayment,
            OrderState::Paying { .. } => OrderStatus::Paying,
            OrderState::Closed { .. } => OrderStatus::Closed,
            OrderState::Paid { winner, .. } => match self.payment(winner).map_or(0, |p| p.refunded) {
                0 => OrderStatus::Paid,
                refunded if refunded >= self.paid().minor => OrderStatus::Refunded,
                _ => OrderStatus::PartiallyRefunded,
            },
        }
    }

    /// What the winner brought; zero while unpaid.
    pub fn paid(&self) -> Money {
        Money::new(self.winner().map_or(0, |p| p.paid), self.total.currency)
    }

    /// What went back of it.
    pub fn refunded(&self) -> Money {
        Money::new(self.winner().map_or(0, |p| p.refunded), self.total.currency)
    }

    /// What could be asked back now.
    pub fn refundable(&self) -> Money {
        Money::new(self.winner().map_or(0, Payment::refundable), self.total.currency)
    }

    /// Whole seconds in which it can still be paid; 0 when it cannot.
    pub fn remaining_seconds(&self, now: Timestamp) -> i64 {
        match self.state {
            OrderState::PendingPayment | OrderState::Paying { .. } if self.closing.is_none() => {
                (self.expires_at - now).num_seconds().max(0)
            }
            _ => 0,
        }
    }

    /// The payment that counts.
    pub fn winner(&self) -> Option<&Payment> {
        match &self.state {
            OrderState::Paid { winner, .. } => self.payment(winner),
            _ => None,
        }
    }

    /// One of its payments.
    pub fn payment(&self, id: &PaymentId) -> Option<&Payment> {
        self.payments.iter().find(|p| p.id == *id)
    }

    /// One of its refunds.
    pub fn refund(&self, id: &RefundId) -> Option<&Refund> {
        self.refunds.iter().find(|r| r.id == *id)
    }

    /// The live attempt.
    pub fn attempt(&self) -> Option<&Payment> {
        match &self.state {
            OrderState::Paying { attempt } => self.payment(attempt),
            _ => None,
        }
    }

    /// Whether another payment may be opened now, with `margin` as the least time to pay.
    pub fn may_be_paid(&self, now: Timestamp, margin: Duration) -> Result<(), RuleError> {
        match &self.state {
            OrderState::Paid { .. } => return Err(RuleError::AlreadyPaid),
            OrderState::Closed { reason: CloseReason::Cancelled, .. } => return Err(RuleError::Closed),
            OrderState::Closed { reason: CloseReason::Expired, .. } => {
                return Err(RuleError::Expired { remaining_seconds: 0 });
            }
            OrderState::PendingPayment | OrderState::Paying { .. } => {}
        }
        match self.closing {
            Some(CloseReason::Cancelled) => return Err(RuleError::Closed),
            Some(CloseReason::Expired) => return Err(RuleError::Expired { remaining_seconds: 0 }),
            None => {}
        }
        if self.has_mismatch() {
            return Err(RuleError::Mismatched);
        }
        if now + margin > self.expires_at {
            return Err(RuleError::Expired { remaining_seconds: self.remaining_seconds(now) });
        }
        if self.payments.len() >= MAX_ATTEMPTS {
            return Err(RuleError::TooManyAttempts);
        }
        Ok(())
    }

    /// Records an attempt before the gateway is asked. The earlier ones must be over. Only one whose gateway gives no
    /// answer need not be ([`Payment::gives_way`]): an attempt at another gateway takes its place, and should both be
    /// paid, the second is surplus. At its own gateway it stands in the way until it is decided.
    pub fn begin_attempt(
        &mut self,
        request: OpenPayment,
        now: Timestamp,
        look_at: Timestamp,
        actor: &str,
    ) -> Result<(), RuleError> {
        let there = |p: &Payment| p.is_open() && p.gateway() == request.gateway;
        let earlier = self.attempt().map(|p| (p.id.clone(), p.gives_way(now)));
        if self.payments.iter().any(there) || earlier.as_ref().is_some_and(|(_, gives_way)| !gives_way) {
            return Err(RuleError::AttemptOpen);
        }
        if request.amount != self.total {
            return Err(RuleError::AmountOutOfRange);
        }
        let id = request.number.clone();
        let mut facts = json!({"payment": id, "gateway": request.gateway, "product": request.product});
        if let Some((earlier, _)) = earlier {
            facts["instead_of"] = json!(earlier);
            self.payment_mut(&earlier)?.give_way(now);
        }
        self.payments.push(Payment::new(request, now, look_at));
        self.state = OrderState::Paying { attempt: id };
        self.note_event(EventType::PaymentCreated, facts, actor);
        Ok(())
    }

    /// Records an attempt that was made before and that the store has lost since. It is not the live one: whatever it
    /// brought is settled, and what can still be paid is closed. Changes nothing when it is known.
    pub fn recall_attempt(&mut self, request: OpenPayment, now: Timestamp) {
        if self.payment(&request.number).is_some() {
            return;
        }
        let facts = json!({"payment": request.number, "gateway": request.gateway, "product": request.product});
        let actor = request.gateway.name();
        self.payments.push(Payment { closing: true, ..Payment::new(request, now, now) });
        self.note_event(EventType::PaymentCreated, facts, actor);
    }

    /// The gateway opened the payment. Changes nothing when the payment is past that.
    pub fn attempt_opened(&mut self, id: &PaymentId, action: ClientAction, until: Timestamp, now: Timestamp) {
        let until = until.min(self.expires_at);
        self.climb(id, PaymentState::Pending { action, until }, now, EventType::PaymentPending);
    }

    /// The gateway gave no trusted answer. What we knew stays true; a payment of which we know nothing is
    /// unknown from here on.
    pub fn attempt_unknown(&mut self, id: &PaymentId, now: Timestamp) {
        let created = self.payment(id).is_some_and(|p| p.state == PaymentState::Created);
        self.asked(id, now);
        if created {
            self.set_payment(id, PaymentState::Unknown, now, EventType::PaymentUnknown);
        }
    }

    /// The gateway could not be asked about a payment. `sent`: what was asked of it may have happened, and what we
    /// know is what [`Order::attempt_unknown`] says.
    pub fn attempt_silent(&mut self, id: &PaymentId, sent: bool, now: Timestamp) {
        let since = self.payment(id).and_then(|p| p.silent_since).unwrap_or(now);
        if sent {
            self.attempt_unknown(id, now);
        } else {
            self.asked(id, now);
        }
        if let Some(payment) = self.payments.iter_mut().find(|p| p.id == *id && p.is_open()) {
            payment.silent_since = Some(since);
        }
    }

    /// The gateway refused the payment for good; the order can be paid again.
    pub fn attempt_failed(&mut self, id: &PaymentId, reason: String, now: Timestamp) {
        self.climb(id, PaymentState::Failed { reason, at: now }, now, EventType::PaymentFailed);
        self.release_attempt(id);
    }

    /// The payment can no longer be paid; the order can be paid again.
    pub fn attempt_closed(&mut self, id: &PaymentId, now: Timestamp) {
        self.climb(id, PaymentState::Closed { at: now }, now, EventType::PaymentClosed);
        self.release_attempt(id);
    }

    /// The gateway says that it never saw what it was to close. That counts as closed here, but the payment
    /// may only have been slow to appear: it is asked on about until it is surely over.
    pub fn attempt_not_found(&mut self, id: &PaymentId, now: Timestamp) {
        self.attempt_closed(id, now);
        if let Ok(payment) = self.payment_mut(id)
            && payment.status() == PaymentStatus::Closed
        {
            payment.next_at = Some(now + Duration::seconds(10));
        }
    }

    /// The gateway says that the payment is still open, and so it stays, unless the order is to be closed.
    pub fn attempt_still_open(&mut self, id: &PaymentId, now: Timestamp) {
        let wanted = self.closing.is_none() && self.attempt().is_some_and(|p| p.id == *id);
        if let Ok(payment) = self.payment_mut(id) {
            payment.closing &= !wanted;
        }
        self.asked(id, now);
    }

    /// The gateway was asked and nothing changed.
    pub fn asked(&mut self, id: &PaymentId, now: Timestamp) {
        if let Some(payment) = self.payments.iter_mut().find(|p| p.id == *id) {
            payment.asked(now);
        }
    }

    /// Money of another amount or currency arrived and has not all gone back yet.
    pub fn has_mismatch(&self) -> bool {
        self.payments.iter().any(Payment::is_undecided_mismatch)
    }

    pub(crate) fn note_event(&mut self, kind: EventType, facts: Value, actor: &str) {
        self.happened.push(NewEvent { kind, facts, actor: actor.to_owned() });
        self.version += 1;
    }

    pub(crate) fn payment_mut(&mut self, id: &PaymentId) -> Result<&mut Payment, RuleError> {
        self.payments.iter_mut().find(|p| p.id == *id).ok_or(RuleError::Unknown)
    }

    /// Moves a payment upward, never down or sideways.
    fn climb(&mut self, id: &PaymentId, state: PaymentState, now: Timestamp, event: EventType) {
        let higher = self.payment(id).is_some_and(|p| p.status().rank() < state.status().rank());
        if higher {
            self.set_payment(id, state, now, event);
        }
    }

    fn set_payment(&mut self, id: &PaymentId, state: PaymentState, now: Timestamp, event: EventType) {
        let Ok(payment) = self.payment_mut(id) else { return };
        let actor = payment.gateway().name();
        payment.change(state, now);
        self.note_event(event, json!({"payment": id}), actor);
    }

    pub(crate) fn release_attempt(&mut self, id: &PaymentId) {
        let over = self.attempt().is_some_and(|p| p.id == *id && !p.is_open());
        if over {
            self.state = OrderState::PendingPayment;
        }
    }
}
