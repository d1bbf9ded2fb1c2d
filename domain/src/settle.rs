//! Money arrived: who wins, what is surplus, what does not fit.

use serde_json::json;

use crate::{
    Duration, EventType, Evidence, NumberKey, Order, OrderState, PaymentId, PaymentState, RuleError, Timestamp,
};

/// How soon a surplus goes back: the contract allows five minutes, one try and its repeats fit.
const SURPLUS_REFUND_AFTER: Duration = Duration::seconds(1);

impl Order {
    /// Records a verified success, whatever our state. The first that fits wins; a later one is surplus
    /// and its refund is recorded in the same breath; another amount or currency is for people.
    ///
    /// Returns whether anything changed: SUCCEEDED never does.
    pub fn settle(
        &mut self,
        id: &PaymentId,
        evidence: Evidence,
        keys: &NumberKey,
        now: Timestamp,
    ) -> Result<bool, RuleError> {
        self.settle_unless(false, id, evidence, keys, now)
    }

    /// [`Order::settle`] of what has gone back as surplus already, and was forgotten here: money that is gone does
    /// not win, whatever the order has come to since. Its refund gets its number again.
    pub fn settle_returned_surplus(
        &mut self,
        id: &PaymentId,
        evidence: Evidence,
        keys: &NumberKey,
        now: Timestamp,
    ) -> Result<bool, RuleError> {
        self.settle_unless(true, id, evidence, keys, now)
    }

    fn settle_unless(
        &mut self,
        returned: bool,
        id: &PaymentId,
        evidence: Evidence,
        keys: &NumberKey,
        now: Timestamp,
    ) -> Result<bool, RuleError> {
        let payment = self.payment(id).ok_or(RuleError::Unknown)?;
        if payment.evidence().is_some() {
            return Ok(false);
        }
        let mismatch = evidence.amount != payment.request.amount;
        let unpaid = matches!(self.state, OrderState::PendingPayment | OrderState::Paying { .. });
        let late = matches!(self.state, OrderState::Closed { .. }) || !payment.is_open();
        let surplus = !mismatch && (returned || !unpaid);
        let wins = !mismatch && !surplus;
        let gateway = payment.gateway().name();
        let facts = json!({"payment": id, "amount": evidence.amount, "late": late});
        let at = evidence.paid_at;
        let amount = evidence.amount;

        let payment = self.payment_mut(id)?;
        payment.paid = amount.minor;
        payment.closing = false;
        payment.change(PaymentState::Succeeded { evidence, surplus, late, mismatch }, now);
        if wins {
            self.state = OrderState::Paid { winner: id.clone(), at };
            self.closing = None;
            self.next_at = None;
            // Nobody should pay what is paid: every other open attempt is closed at its gateway at once.
            for other in self.payments.iter_mut().filter(|p| p.id != *id && p.is_open()) {
                other.closing = true;
                other.next_at = Some(now);
            }
            self.note_event(EventType::OrderPaid, facts, gateway);
        } else if surplus {
            self.release_attempt(id);
            self.note_event(EventType::PaymentSurplus, facts, gateway);
            self.return_surplus(id, keys.own_refund(id, 0), now, now + SURPLUS_REFUND_AFTER)?;
        } else {
            // Neither the expiry nor another payment may touch the order until people have decided.
            self.release_attempt(id);
            self.closing = None;
            self.next_at = None;
            self.note_event(EventType::PaymentMismatch, facts, gateway);
        }
        Ok(true)
    }
}
