//! Cancellation and expiry, one act: ask the gateway, close there, then here.

use serde_json::json;

use crate::{CloseReason, EventType, Order, OrderState, OrderStatus, Payment, PaymentId, RuleError, Timestamp};

impl Order {
    /// Records that the order is to be closed, before any gateway is asked. An order with nothing open
    /// is closed at once; else the caller asks about what is open, closes it and calls [`Order::finish_close`].
    ///
    /// A second call while one is under way changes nothing: the first reason stands. `words` are the
    /// caller's own, for the history.
    pub fn begin_close(
        &mut self,
        reason: CloseReason,
        words: Option<&str>,
        now: Timestamp,
        look_at: Timestamp,
        actor: &str,
    ) -> Result<(), RuleError> {
        match self.status() {
            OrderStatus::PendingPayment | OrderStatus::Paying => {}
            OrderStatus::Closed => return Err(RuleError::Closed),
            OrderStatus::Paid | OrderStatus::PartiallyRefunded | OrderStatus::Refunded => {
                return Err(RuleError::AlreadyPaid);
            }
        }
        if self.has_mismatch() {
            return Err(RuleError::Mismatched);
        }
        if self.payments.iter().any(Payment::is_open) {
            if self.closing.is_none() {
                self.closing = Some(reason);
                self.note_event(EventType::OrderClosing, json!({"reason": reason.name(), "words": words}), actor);
            }
            // Without a live attempt, the others are being closed already.
            if let Some(attempt) = self.attempt().map(|p| p.id.clone()) {
                self.begin_attempt_close(&attempt)?;
            }
            self.next_at = Some(look_at);
            return Ok(());
        }
        self.close(self.closing.unwrap_or(reason), words, now, actor);
        Ok(())
    }

    /// Closes the order once its live attempt is over. Changes nothing while one is live, or when the order was paid
    /// meanwhile. An attempt that gave way to another one has been asked about; it does not hold the order up.
    pub fn finish_close(&mut self, now: Timestamp, actor: &str) {
        let Some(reason) = self.closing else { return };
        if self.state == OrderState::PendingPayment {
            self.close(reason, None, now, actor);
        }
    }

    /// Records that an attempt is to be closed at its gateway. Changes nothing once it is over.
    pub fn begin_attempt_close(&mut self, id: &PaymentId) -> Result<(), RuleError> {
        let payment = self.payment_mut(id)?;
        payment.closing = payment.is_open();
        Ok(())
    }

    fn close(&mut self, reason: CloseReason, words: Option<&str>, now: Timestamp, actor: &str) {
        self.state = OrderState::Closed { reason, at: now };
        self.closing = None;
        self.next_at = None;
        self.note_event(EventType::OrderClosed, json!({"reason": reason.name(), "words": words}), actor);
    }
}
