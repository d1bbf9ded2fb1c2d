//! A refund that waits for another person: its amount is reserved, and nothing is sent before they have said yes.

use serde_json::json;

use crate::{EventType, Order, RefundId, RefundState, RuleError, Timestamp};

impl Order {
    /// Lets a refund that was requested just now wait for approval. Changes nothing once it was sent.
    pub fn hold_for_approval(&mut self, id: &RefundId, now: Timestamp) -> Result<(), RuleError> {
        let refund = self.refund_mut(id)?;
        if refund.state == RefundState::Requested && !refund.sent {
            refund.change(RefundState::AwaitingApproval, now);
        }
        Ok(())
    }

    /// Records a yes: the refund may be sent now. Whoever asked for it may not be `by`.
    pub fn approve_refund(&mut self, id: &RefundId, by: &str, now: Timestamp) -> Result<(), RuleError> {
        self.may_decide(id, by)?;
        let refund = self.refund_mut(id)?;
        refund.approved_by = Some(by.to_owned());
        refund.change(RefundState::Requested, now);
        refund.next_at = Some(now);
        let facts = json!({"refund": id, "payment": refund.payment});
        self.note_event(EventType::RefundApproved, facts, by);
        Ok(())
    }

    /// Records a no: the reservation is free again, and nothing is ever sent under this number. Whoever asked for it
    /// may not be `by`.
    pub fn reject_refund(
        &mut self,
        id: &RefundId,
        by: &str,
        reason: Option<String>,
        now: Timestamp,
    ) -> Result<(), RuleError> {
        self.may_decide(id, by)?;
        let refund = self.refund_mut(id)?;
        refund.change(RefundState::Rejected { reason, at: now }, now);
        let (payment, amount) = (refund.payment.clone(), refund.amount.minor);
        self.payment_mut(&payment)?.refund_reserved -= amount;
        self.note_event(EventType::RefundRejected, json!({"refund": id, "payment": payment}), by);
        Ok(())
    }

    fn may_decide(&self, id: &RefundId, by: &str) -> Result<(), RuleError> {
        let refund = self.refund(id).ok_or(RuleError::Unknown)?;
        if refund.state != RefundState::AwaitingApproval {
            return Err(RuleError::Decided);
        }
        if refund.terms.requested_by == by { Err(RuleError::OwnRefund) } else { Ok(()) }
    }
}
