//! One attempt at the gateway: open it, learn what became of it, close it.

use std::sync::Arc;

use domain::{Order, OrderId, PaymentId, PaymentStatus, Timestamp};

use super::ports::{GatewayError, GatewayPayment, Opened};
use super::{PaymentError, Payments};
use crate::store::Lease;

/// After its own expiry and this, a payment that the gateway does not know was never made.
fn surely_over(expires_at: Timestamp) -> Timestamp {
    expires_at + domain::Duration::minutes(5)
}

impl Payments {
    /// Asks the gateway to open an attempt and records what we learned, and nothing more. There is no
    /// error: what could not be recorded is found again by the scheduler.
    pub(super) async fn ask(&self, lease: Option<&Lease>, order: &OrderId, payment: &PaymentId) {
        if let Err(e) = self.try_ask(lease, order, payment).await {
            tracing::warn!(%order, %payment, error = %e, "the answer is not recorded; the scheduler goes on with it");
        }
    }

    async fn try_ask(&self, lease: Option<&Lease>, id: &OrderId, payment: &PaymentId) -> Result<(), PaymentError> {
        let order = self.must_find(id).await?;
        let request = &order.payment(payment).ok_or(PaymentError::NotFound("payment"))?.request;
        let gateway = self.gateway(request.gateway)?;
        self.before_a_call(lease).await?;
        // No transaction is open while we wait on the network.
        match gateway.open(request).await {
            Ok(Opened { action, until }) => {
                self.change(id, lease, |order, now| {
                    order.attempt_opened(payment, action.clone(), domain::to_stored(until), now);
                    Ok(())
                })
                .await?;
            }
            // A no about a number that the gateway knows may hide a payment: believe it only after asking.
            Err(GatewayError::Refused(refusal)) => {
                tracing::info!(order = %id, %payment, code = refusal.code, "the gateway refused to open the payment");
                match gateway.find(payment).await {
                    Ok(None) => {
                        let reason = refusal.message;
                        self.change(id, lease, |order, now| {
                            order.attempt_failed(payment, reason.clone(), now);
                            order.finish_close(now, "payonce");
                            Ok(())
                        })
                        .await?;
                    }
                    Ok(Some(GatewayPayment::Open)) => self.close_attempt(lease, &order, payment).await?,
                    Ok(Some(found)) => self.learn(lease, id, payment, found).await?,
                    Err(e) => self.nothing_learned(lease, id, payment, &e).await?,
                }
            }
            Err(e) => self.nothing_learned(lease, id, payment, &e).await?,
        }
        Ok(())
    }

    /// Records where the gateway says that a payment stands.
    pub(super) async fn learn(
        &self,
        lease: Option<&Lease>,
        id: &OrderId,
        payment: &PaymentId,
        found: GatewayPayment,
    ) -> Result<(), PaymentError> {
        let keys = &self.0.number_key;
        self.change(id, lease, |order, now| {
            match &found {
                GatewayPayment::Paid(evidence) => {
                    order.settle(payment, evidence.clone(), keys, now)?;
                }
                GatewayPayment::Open => order.asked(payment, now),
                GatewayPayment::Closed => order.attempt_closed(payment, now),
                GatewayPayment::Failed(reason) => order.attempt_failed(payment, reason.clone(), now),
            }
            order.finish_close(now, "payonce");
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Records that the gateway gave no answer to trust: the money may have moved; we ask on.
    async fn nothing_learned(
        &self,
        lease: Option<&Lease>,
        id: &OrderId,
        payment: &PaymentId,
        e: &GatewayError,
    ) -> Result<(), PaymentError> {
        tracing::warn!(order = %id, %payment, error = %e, "no answer to trust from the gateway");
        let never_left = matches!(e, GatewayError::NotSent(_) | GatewayError::Later(_));
        self.change(id, lease, |order, now| {
            if !never_left {
                order.attempt_unknown(payment, now);
            }
            order.asked(payment, now);
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Asks about an undecided payment and does what follows: settle it, close what nobody waits for,
    /// send again what never arrived.
    pub(super) async fn resolve_payment(
        &self,
        lease: Option<&Lease>,
        id: &OrderId,
        payment: &PaymentId,
    ) -> Result<(), PaymentError> {
        let order = self.must_find(id).await?;
        let Some(attempt) = order.payment(payment) else { return Err(PaymentError::NotFound("payment")) };
        if !attempt.is_open() {
            // Decided meanwhile; only the claim may still wait to be finished.
            self.change(id, lease, |_, _| Ok(())).await?;
            return Ok(());
        }
        let gateway = self.gateway(attempt.gateway())?;
        let wanted = !attempt.closing && order.attempt().is_some_and(|a| a.id == *payment);
        let unanswered = matches!(attempt.status(), PaymentStatus::Created | PaymentStatus::Unknown);
        let now = self.now();
        match gateway.find(payment).await {
            Ok(Some(GatewayPayment::Open)) if !wanted => self.close_attempt(lease, &order, payment).await,
            Ok(Some(GatewayPayment::Open)) if unanswered => self.try_ask(lease, id, payment).await,
            Ok(Some(found)) => self.learn(lease, id, payment, found).await,
            Ok(None) if now > surely_over(attempt.request.expires_at) => {
                self.learn(lease, id, payment, GatewayPayment::Closed).await
            }
            Ok(None) if !wanted => self.close_attempt(lease, &order, payment).await,
            Ok(None) if unanswered && now < attempt.request.expires_at => self.try_ask(lease, id, payment).await,
            Ok(None) => self.learn(lease, id, payment, GatewayPayment::Open).await,
            Err(e) => self.nothing_learned(lease, id, payment, &e).await,
        }
    }

    /// Closes an attempt: intent, there, here. Whoever calls has asked before whether it is paid; a "no"
    /// of the gateway is asked about again, for it may have been paid in between.
    pub(super) async fn close_attempt(
        &self,
        lease: Option<&Lease>,
        order: &Arc<Order>,
        payment: &PaymentId,
    ) -> Result<(), PaymentError> {
        let Some(attempt) = order.payment(payment) else { return Err(PaymentError::NotFound("payment")) };
        let gateway = self.gateway(attempt.gateway())?;
        if !attempt.closing {
            self.change(&order.id, None, |order, _| Ok(order.begin_attempt_close(payment)?)).await?;
        }
        self.before_a_call(lease).await?;
        match gateway.close(payment).await {
            Ok(()) => self.learn(lease, &order.id, payment, GatewayPayment::Closed).await,
            Err(e) => {
                tracing::info!(order = %order.id, %payment, error = %e, "not closed; asking what became of it");
                match gateway.find(payment).await {
                    Ok(Some(found)) => self.learn(lease, &order.id, payment, found).await,
                    Ok(None) => self.learn(lease, &order.id, payment, GatewayPayment::Open).await,
                    Err(e) => self.nothing_learned(lease, &order.id, payment, &e).await,
                }
            }
        }
    }
}
