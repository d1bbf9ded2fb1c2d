//! Going on with what was left: operations whose holder died, payments and refunds that are undecided.

use domain::{OperationName, Order, OrderId, PaymentId};

use super::next_number::Running;
use super::{Caller, PaymentError, Payments};
use crate::store::{Claim, Due, Lease};

/// One question per payment in this time, whoever asks.
pub(super) const ASK_PAUSE: domain::Duration = domain::Duration::seconds(3);

impl Payments {
    /// Finishes an operation whose intent is committed and whose holder is gone: the gateway is asked
    /// first, always, and only what never arrived is sent again, under the same number.
    pub(super) async fn resume(&self, claim: &Claim, lease: &Lease) -> Result<(), PaymentError> {
        crash_point!("recovery");
        tracing::info!(claim = claim.seq, order = %claim.order, operation = claim.operation.name.as_str(), "goes on with an operation whose holder is gone");
        let result = match (claim.operation.name, &claim.payment, &claim.refund) {
            (OperationName::CreateOrder | OperationName::RepayOrder, Some(payment), _) => {
                let running = Running { lease, operation: &claim.operation };
                self.resolve_payment(Some(running), &claim.order, payment).await
            }
            (OperationName::RefundOrder | OperationName::ApproveRefund, _, Some(refund)) => {
                self.resolve_refund(Some(lease), &claim.order, refund).await
            }
            (OperationName::CancelOrder, ..) => match self.end_cancel(lease, &claim.order).await {
                Err(PaymentError::Rule(_)) => return Ok(()),
                result => result,
            },
            _ => Ok(()),
        };
        if let Err(e) = &result {
            tracing::warn!(claim = claim.seq, error = %e, "not finished yet; the scheduler goes on with it");
        }
        // The answer is in the payment's or refund's state, decided or not, and the scheduler goes on with
        // that: the operation itself is over.
        self.finish(Some(lease), &claim.order).await
    }

    /// Takes over an operation whose lease has ended, and finishes it.
    pub(super) async fn adopt(&self, claim: &Claim) {
        match self.take_over(claim).await {
            Ok(Some(lease)) => {
                if let Err(e) = self.resume(claim, &lease).await {
                    tracing::warn!(claim = claim.seq, error = %e, "not finished; its lease will end again");
                }
            }
            Ok(None) => {}
            Err(e) => tracing::warn!(claim = claim.seq, error = %e, "not taken over"),
        }
    }

    /// Work for everything that has come due; errors are logged, the work is due again by itself.
    pub(super) async fn work_on(&self, due: Due) {
        let result = match &due {
            Due::Order(order) => self.close_due(order).await,
            Due::Payment(payment) => self.payment_due(payment).await,
            Due::Refund(refund) => match self.0.store.order_of_refund(refund.as_str()).await {
                Ok(Some(order)) => self.resolve_refund(None, &order, refund).await,
                Ok(None) => Ok(()),
                Err(e) => Err(e.into()),
            },
        };
        if let Err(e) = result {
            tracing::warn!(?due, error = %e, "not done; due again in a moment");
        }
    }

    async fn payment_due(&self, payment: &PaymentId) -> Result<(), PaymentError> {
        let Some(order) = self.0.store.order_of_payment(payment.as_str()).await? else { return Ok(()) };
        if !self.0.store.may_ask(payment.as_str(), self.now(), ASK_PAUSE).await? {
            return Ok(());
        }
        self.resolve_payment(None, &order, payment).await
    }

    /// Asks the gateways now what became of an order's open payments.
    pub(super) async fn ask_about_payments(&self, order: &Order) -> Result<(), PaymentError> {
        for payment in order.payments.iter().filter(|p| p.is_open()) {
            self.payment_due(&payment.id).await?;
        }
        Ok(())
    }

    /// Asks the gateways now about everything undecided of an order, and answers with the order as it is
    /// then. Changes nothing that was not already true.
    pub async fn sync_order(
        &self,
        caller: &Caller,
        id: &OrderId,
    ) -> Result<std::sync::Arc<domain::Order>, PaymentError> {
        let order = self.must_find(id).await?;
        if !caller.sees(&order) {
            return Err(PaymentError::NotFound("order"));
        }
        let this = self.clone();
        let id = id.clone();
        let asked = self.0.tasks.spawn(async move {
            this.ask_about_payments(&order).await?;
            for refund in order.refunds.iter().filter(|r| r.is_open() && r.sent) {
                this.resolve_refund(None, &id, &refund.id).await?;
            }
            this.must_find(&id).await
        });
        match tokio::time::timeout(self.0.settings.deadline, asked).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(PaymentError::Internal(format!("the question broke off: {panic}"))),
            Err(_) => Err(PaymentError::InProgress),
        }
    }
}
