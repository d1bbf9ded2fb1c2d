//! approveRefund and rejectRefund: another person decides about a refund that waits.

use domain::{Operation, RefundId};

use super::change::retried;
use super::guard::{Worked, random_token, sees};
use super::refund::Begun;
use super::{Caller, Outcome, PaymentError, Payments, Role};
use crate::store::NewClaim;

/// What another person says of a refund that waits for approval.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It may be sent.
    Yes,
    /// It is never sent.
    No {
        /// Why, in words that may be shown.
        reason: Option<String>,
    },
}

impl Payments {
    /// Decides about a refund that waits, at most once per key: role approver or admin, and never whoever asked for
    /// it.
    pub async fn decide_refund(
        &self,
        caller: &Caller,
        operation: Operation,
        refund: RefundId,
        verdict: Verdict,
    ) -> Result<Outcome, PaymentError> {
        let caller = caller.may(Role::Approver)?;
        self.guarded(operation, sees(caller), |payments, operation| async move {
            let holder = random_token();
            match retried(|| payments.commit_verdict(&operation, &refund, &verdict, &holder)).await? {
                Some(begun) => Ok(payments.go_on_with(begun).await),
                None => Ok(Worked::Taken),
            }
        })
        .await
    }

    /// Claims the key and records the verdict in one transaction; a no ends there.
    async fn commit_verdict(
        &self,
        operation: &Operation,
        refund: &RefundId,
        verdict: &Verdict,
        holder: &str,
    ) -> Result<Option<Begun>, PaymentError> {
        let now = self.now();
        let order = self.0.store.order_of_refund(refund.as_str()).await?.ok_or(PaymentError::NotFound("refund"))?;
        let tx = self.0.store.begin().await?;
        let claim = NewClaim {
            operation,
            order: &order,
            payment: None,
            refund: Some(refund),
            lease: Some((holder, self.0.settings.lease)),
            now,
        };
        let Some(lease) = tx.claim(claim).await? else { return Ok(None) };
        let mut held = tx.hold_order(&order).await?.ok_or(PaymentError::NotFound("order"))?;
        let by = operation.subject.as_str();
        match verdict {
            Verdict::Yes => held.order.approve_refund(refund, by, now)?,
            Verdict::No { reason } => held.order.reject_refund(refund, by, reason.clone(), now)?,
        }
        // Of a refund that is rejected there is nothing to send.
        let send_now = held.order.take_refund_slot(refund, now)?;
        tx.save(&mut held, now).await?;
        if !send_now {
            tx.finish(&lease).await?;
        }
        tx.commit().await?;
        Ok(Some(Begun { lease, order: held.order, refund: refund.clone(), send_now }))
    }
}
