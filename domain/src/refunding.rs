//! Giving money back: reserve, send, learn what became of it.

use serde_json::json;

use crate::{
    Duration, EventType, Gateway, Money, NumberKey, Order, OrderState, Payment, PaymentId, PaymentState, Refund,
    RefundId, RefundReason, RefundRequest, RefundState, RefundTerms, RuleError, Timestamp,
};

/// WeChat Pay: at most 50 refunds of one payment.
const MAX_WECHAT_REFUNDS: usize = 50;

/// The pause between two refunds of one payment: WeChat Pay wants a minute, Alipay three seconds.
fn pause(gateway: Gateway) -> Duration {
    match gateway {
        Gateway::WechatPay => Duration::minutes(1),
        Gateway::Alipay => Duration::seconds(3),
    }
}

impl Order {
    /// Reserves `amount` (all that is left when `None`) of what [`Order::refund_target`] brought and records
    /// the refund. It may be sent at its `next_at`: now, or later when another was sent a moment ago.
    pub fn request_refund(
        &mut self,
        id: RefundId,
        amount: Option<Money>,
        terms: RefundTerms,
        now: Timestamp,
    ) -> Result<(), RuleError> {
        let payment = self.refund_target(None)?;
        self.request_refund_of(&payment, id, amount, terms, now)
    }

    /// Whose money a refund gives back: the payment that is named, if it may be asked back; else the winner's;
    /// else, of an order that nothing has won, that of the payment that does not fit.
    pub fn refund_target(&self, named: Option<&PaymentId>) -> Result<PaymentId, RuleError> {
        let may = |p: &&Payment| p.is_undecided_mismatch() || self.winner().is_some_and(|w| w.id == p.id);
        let target = match named {
            Some(id) => self.payment(id).filter(may),
            None => self.winner().or_else(|| self.payments.iter().find(|p| p.is_undecided_mismatch())),
        };
        target.map(|p| p.id.clone()).ok_or(RuleError::NotRefundable)
    }

    /// [`Order::request_refund`] of one payment: the winner, or one that does not fit.
    pub fn request_refund_of(
        &mut self,
        payment: &PaymentId,
        id: RefundId,
        amount: Option<Money>,
        terms: RefundTerms,
        now: Timestamp,
    ) -> Result<(), RuleError> {
        let target = self.payment(payment).ok_or(RuleError::Unknown)?;
        let currency = target.evidence().ok_or(RuleError::NotRefundable)?.amount.currency;
        let maximum = Money::new(target.refundable(), currency);
        let amount = amount.unwrap_or(maximum);
        if amount.currency != currency || amount.minor < 0 || (amount.minor == 0 && maximum.minor > 0) {
            return Err(RuleError::AmountOutOfRange);
        }
        if maximum.minor == 0 && self.refunds.iter().all(|r| r.payment != *payment || !r.is_open()) {
            return Err(RuleError::NotRefundable);
        }
        if amount.minor > maximum.minor || amount.minor == 0 {
            return Err(RuleError::ExceedsPaid { maximum });
        }
        self.reserve(payment, id, amount, terms, now, now)
    }

    /// What the gateway is asked for, the same every time.
    pub fn refund_request(&self, id: &RefundId) -> Result<RefundRequest, RuleError> {
        let refund = self.refund(id).ok_or(RuleError::Unknown)?;
        let payment = self.payment(&refund.payment).ok_or(RuleError::Unknown)?;
        let paid = payment.evidence().ok_or(RuleError::NotRefundable)?.amount;
        Ok(RefundRequest {
            number: refund.id.clone(),
            payment: payment.id.clone(),
            amount: refund.amount,
            paid,
            reason: refund.terms.reason.words().to_owned(),
            notify_url: payment.request.notify_url.clone(),
        })
    }

    /// Records that the gateway accepted the refund.
    pub fn refund_accepted(&mut self, id: &RefundId, now: Timestamp) {
        let waits = self.refund(id).is_some_and(|r| r.is_open() && r.state != RefundState::Processing);
        if waits {
            self.set_refund(id, RefundState::Processing, now, EventType::RefundAccepted);
        }
    }

    /// Records that the gateway gave no trusted answer.
    pub fn refund_unknown(&mut self, id: &RefundId, now: Timestamp) {
        let sent = self.refund(id).is_some_and(|r| r.state == RefundState::Requested);
        if sent {
            self.set_refund(id, RefundState::Unknown, now, EventType::RefundUnknown);
        }
    }

    /// Records a verified success, also of a refund that we took for failed: what the gateway did is true.
    /// The reservation, or what else is free, becomes money given back.
    ///
    /// False: it does not fit, for other refunds have reserved what is left; people must look. Refunds that
    /// were never sent give way to it first.
    pub fn refund_succeeded(&mut self, id: &RefundId, at: Timestamp, now: Timestamp) -> bool {
        let Some(refund) = self.refund(id).cloned() else { return false };
        if matches!(refund.state, RefundState::Succeeded { .. }) {
            return true;
        }
        let amount = refund.amount.minor;
        if !refund.is_open() && !self.make_room(&refund.payment, amount, now) {
            return false;
        }
        let Ok(payment) = self.payment_mut(&refund.payment) else { return false };
        if refund.is_open() {
            payment.refund_reserved -= amount;
        }
        payment.refunded += amount;
        self.set_refund(id, RefundState::Succeeded { at }, now, EventType::RefundSucceeded);
        self.mismatch_may_be_over(&refund.payment);
        true
    }

    /// Records a verified refund that was not made here, whatever our state: it counts like our own. `id` is
    /// the gateway's number where that is an id of ours, else [`NumberKey::outside_refund`]; `number` is the
    /// gateway's. Told again, nothing changes.
    ///
    /// False: it does not fit, for it exceeds what is left of the payment or is in another currency; people
    /// must look.
    pub fn refund_made_outside(
        &mut self,
        payment: &PaymentId,
        id: RefundId,
        number: &str,
        amount: Money,
        at: Timestamp,
        now: Timestamp,
    ) -> bool {
        if self.refund(&id).is_some() {
            return true;
        }
        let fits = self
            .payment(payment)
            .and_then(Payment::evidence)
            .is_some_and(|e| e.amount.currency == amount.currency && amount.minor > 0);
        if !fits || !self.make_room(payment, amount.minor, now) {
            return false;
        }
        let Ok(owner) = self.payment_mut(payment) else { return false };
        owner.refunded += amount.minor;
        let gateway = owner.gateway().name();
        let note = format!("The gateway's number is {number}.");
        let terms = RefundTerms { reason: RefundReason::Outside, note: Some(note), requested_by: gateway.to_owned() };
        let facts = json!({"refund": id, "payment": payment, "amount": amount, "reason": terms.reason});
        self.refunds.push(Refund {
            id,
            payment: payment.clone(),
            amount,
            terms,
            approved_by: None,
            state: RefundState::Succeeded { at },
            sent: true,
            since: now,
            next_at: None,
            created_at: now,
        });
        self.note_event(EventType::RefundSucceeded, facts, gateway);
        self.mismatch_may_be_over(payment);
        true
    }

    /// The gateway has refused this refund and knows it with another amount: it was made before, and lost here since.
    /// What was reserved for it becomes that amount, if it fits; else nothing changes.
    pub fn refund_was_of(&mut self, id: &RefundId, amount: Money, now: Timestamp) {
        let Some(refund) = self.refund(id).filter(|r| r.is_open() && r.sent && r.amount.currency == amount.currency)
        else {
            return;
        };
        let (payment, more) = (refund.payment.clone(), amount.minor - refund.amount.minor);
        if amount.minor < 1 || !self.make_room(&payment, more, now) {
            return;
        }
        if let Ok(payment) = self.payment_mut(&payment) {
            payment.refund_reserved += more;
        }
        if let Ok(refund) = self.refund_mut(id) {
            refund.amount = amount;
        }
    }

    /// Lets refunds that were never sent give way until `amount` is free; false: it cannot be.
    fn make_room(&mut self, payment: &PaymentId, amount: i64, now: Timestamp) -> bool {
        let unsent = |r: &Refund| matches!(r.state, RefundState::Requested | RefundState::AwaitingApproval) && !r.sent;
        let waiting = |r: &&Refund| r.payment == *payment && unsent(r);
        let free: i64 = self.refunds.iter().filter(waiting).map(|r| r.amount.minor).sum();
        let room = |order: &Self| order.payment(payment).map_or(0, Payment::refundable);
        if room(self) + free < amount {
            return false;
        }
        while room(self) < amount {
            let Some(gives_way) = self.refunds.iter().rev().find(waiting).map(|r| r.id.clone()) else {
                return false;
            };
            self.refund_failed(&gives_way, "An earlier refund turned out to be done.".to_owned(), now);
        }
        true
    }

    /// When all of what did not fit has gone back, an unpaid order goes on: it may be paid, and it expires.
    fn mismatch_may_be_over(&mut self, payment: &PaymentId) {
        let did_not_fit =
            self.payment(payment).is_some_and(|p| matches!(p.state, PaymentState::Succeeded { mismatch: true, .. }));
        let unpaid = matches!(self.state, OrderState::PendingPayment | OrderState::Paying { .. });
        if did_not_fit && unpaid && !self.has_mismatch() {
            self.next_at = Some(self.expires_at);
        }
    }

    /// Records a definite no: the reservation is free again.
    pub fn refund_failed(&mut self, id: &RefundId, reason: String, now: Timestamp) {
        if let Some((payment, amount)) = self.open_refund(id) {
            payment.refund_reserved -= amount;
            self.set_refund(id, RefundState::Failed { reason, at: now }, now, EventType::RefundFailed);
        }
    }

    /// The gateway closed the refund without moving money: another number takes its reservation over.
    pub fn refund_closed_by_gateway(
        &mut self,
        id: &RefundId,
        keys: &NumberKey,
        now: Timestamp,
    ) -> Result<(), RuleError> {
        let Some(old) = self.refund(id).filter(|r| r.is_open()).cloned() else { return Ok(()) };
        self.refund_failed(id, "The gateway closed the refund; another one takes over.".to_owned(), now);
        if self.refund(&keys.next_refund(id)).is_some() {
            // Lost here with the store's last commits, and heard of again from the gateway.
            return Ok(());
        }
        let later = now + Duration::hours(1);
        self.reserve(&old.payment, keys.next_refund(id), old.amount, old.terms, now, later)?;
        self.refund_mut(&keys.next_refund(id))?.approved_by = old.approved_by;
        Ok(())
    }

    /// The gateway was asked and nothing changed.
    pub fn refund_asked(&mut self, id: &RefundId, now: Timestamp) {
        if let Ok(refund) = self.refund_mut(id) {
            refund.asked(now);
        }
    }

    /// Takes the payment's next slot for sending this refund for the first time: true when it may be sent now;
    /// else it is scheduled for the slot it may get, or it was sent before and nothing changes.
    pub fn take_refund_slot(&mut self, id: &RefundId, now: Timestamp) -> Result<bool, RuleError> {
        let refund = self.refund(id).ok_or(RuleError::Unknown)?;
        if refund.state != RefundState::Requested || refund.sent {
            return Ok(false);
        }
        let payment = self.payment_mut(&refund.payment.clone())?;
        let free_at = payment.refund_slot.map_or(now, |last| last + pause(payment.gateway()));
        let free = free_at <= now;
        if free {
            payment.refund_slot = Some(now);
        }
        let refund = self.refund_mut(id)?;
        refund.sent |= free;
        // Sent now: the next look is only for the case that we never record the answer.
        refund.next_at = Some(if free { now + Duration::seconds(20) } else { free_at });
        Ok(free)
    }

    /// A definite "not yet" of the gateway, or it never left us: nothing began there, the same number again.
    pub fn refund_later(&mut self, id: &RefundId, now: Timestamp) {
        if let Ok(refund) = self.refund_mut(id) {
            refund.sent = false;
            refund.asked(now);
        }
    }

    pub(crate) fn return_surplus(
        &mut self,
        payment: &PaymentId,
        id: RefundId,
        now: Timestamp,
        send_at: Timestamp,
    ) -> Result<(), RuleError> {
        let amount = self.payment(payment).and_then(Payment::evidence).ok_or(RuleError::Unknown)?.amount;
        let terms = RefundTerms { reason: RefundReason::Surplus, note: None, requested_by: "payonce".to_owned() };
        self.reserve(payment, id, amount, terms, now, send_at)
    }

    fn reserve(
        &mut self,
        payment: &PaymentId,
        id: RefundId,
        amount: Money,
        terms: RefundTerms,
        now: Timestamp,
        send_at: Timestamp,
    ) -> Result<(), RuleError> {
        let made = self
            .refunds
            .iter()
            .filter(|r| {
                r.payment == *payment && !matches!(r.state, RefundState::Failed { .. } | RefundState::Rejected { .. })
            })
            .count();
        let owner = self.payment_mut(payment)?;
        if owner.gateway() == Gateway::WechatPay && made >= MAX_WECHAT_REFUNDS {
            return Err(RuleError::RefundLimit);
        }
        owner.refund_reserved = owner.refund_reserved.checked_add(amount.minor).ok_or(RuleError::AmountOutOfRange)?;
        let actor = terms.requested_by.clone();
        let facts = json!({"refund": id, "payment": payment, "amount": amount, "reason": terms.reason});
        self.refunds.push(Refund {
            id,
            payment: payment.clone(),
            amount,
            terms,
            approved_by: None,
            state: RefundState::Requested,
            sent: false,
            since: now,
            next_at: Some(send_at),
            created_at: now,
        });
        self.note_event(EventType::RefundRequested, facts, &actor);
        Ok(())
    }

    pub(crate) fn refund_mut(&mut self, id: &RefundId) -> Result<&mut Refund, RuleError> {
        self.refunds.iter_mut().find(|r| r.id == *id).ok_or(RuleError::Unknown)
    }

    fn open_refund(&mut self, id: &RefundId) -> Option<(&mut Payment, i64)> {
        let refund = self.refund(id).filter(|r| r.is_open())?;
        let (payment, amount) = (refund.payment.clone(), refund.amount.minor);
        Some((self.payment_mut(&payment).ok()?, amount))
    }

    fn set_refund(&mut self, id: &RefundId, state: RefundState, now: Timestamp, event: EventType) {
        let Ok(refund) = self.refund_mut(id) else { return };
        refund.change(state, now);
        let payment = refund.payment.clone();
        let actor = self.payment(&payment).map_or("payonce", |p| p.gateway().name());
        self.note_event(event, json!({"refund": id, "payment": payment}), actor);
    }
}
