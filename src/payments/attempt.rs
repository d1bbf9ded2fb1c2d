//! One attempt at the gateway: open it, learn what became of it, close it.

use domain::{Order, OrderId, PaymentId, PaymentStatus};

use super::ports::{Closed, GatewayError, GatewayPayment, Opened};
use super::{PaymentError, Payments};
use crate::store::Lease;

impl Payments {
    /// Asks the gateway for the first time to open an attempt, and records what we learned and nothing more.
    /// There is no error: what could not be recorded is found again by the scheduler.
    pub(super) async fn ask(&self, lease: &Lease, order: &OrderId, payment: &PaymentId) {
        if let Err(e) = self.open_at_gateway(Some(lease), order, payment, Sending::First).await {
            tracing::warn!(%order, %payment, error = %e, "the answer is not recorded; the scheduler goes on with it");
        }
    }

    async fn open_at_gateway(
        &self,
        lease: Option<&Lease>,
        id: &OrderId,
        payment: &PaymentId,
        sending: Sending,
    ) -> Result<(), PaymentError> {
        let order = self.must_find(id).await?;
        let attempt = order.payment(payment).ok_or(PaymentError::NotFound("payment"))?;
        if !attempt.is_open() || attempt.closing {
            // Decided while we came here: it must not be opened any more.
            return self.finish(lease, id).await;
        }
        let request = &attempt.request;
        let gateway = self.gateway(request.gateway)?;
        self.before_a_call(lease).await?;
        // No transaction is open while we wait on the network.
        match gateway.open(request).await {
            Ok(Opened { action, until }) => {
                crash_point!("reply_parsed");
                self.change(id, lease, |order, now| {
                    order.attempt_opened(payment, action.clone(), domain::to_stored(until), now);
                    Ok(())
                })
                .await?;
                Ok(())
            }
            // A no about a number that the gateway knows may hide a payment: believe it only after asking.
            Err(GatewayError::Refused(refusal)) => {
                tracing::info!(order = %id, %payment, code = refusal.code, "the gateway refused to open the payment");
                match gateway.find(payment).await {
                    Ok(None) if sending == Sending::First => {
                        self.learn(lease, id, payment, GatewayPayment::Failed(refusal.message)).await
                    }
                    // The earlier one may still appear; it ends when it is surely over.
                    Ok(None) => self.nothing_learned(lease, id, payment, &GatewayError::Refused(refusal)).await,
                    Ok(Some(GatewayPayment::Open)) => self.close_attempt(lease, &order, payment).await,
                    Ok(Some(found)) => self.learn(lease, id, payment, found).await,
                    Err(e) => self.nothing_learned(lease, id, payment, &e).await,
                }
            }
            Err(e) => self.nothing_learned(lease, id, payment, &e).await,
        }
    }

    /// Records where the gateway says that a payment stands.
    pub(super) async fn learn(
        &self,
        lease: Option<&Lease>,
        id: &OrderId,
        payment: &PaymentId,
        found: GatewayPayment,
    ) -> Result<(), PaymentError> {
        crash_point!("found_uncommitted");
        let keys = &self.0.number_key;
        self.change(id, lease, |order, now| {
            match &found {
                GatewayPayment::Paid(evidence) => {
                    order.settle(payment, evidence.clone(), keys, now)?;
                }
                GatewayPayment::Open => order.attempt_still_open(payment, now),
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
            if never_left {
                order.asked(payment, now)
            } else {
                order.attempt_unknown(payment, now)
            }
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
        if !attempt.is_open() && !attempt.is_closed_on_not_found() {
            // Decided meanwhile; only the claim may still wait to be finished.
            return self.finish(lease, id).await;
        }
        let gateway = self.gateway(attempt.gateway())?;
        let wanted = !attempt.closing && order.attempt().is_some_and(|a| a.id == *payment);
        let unanswered = matches!(attempt.status(), PaymentStatus::Created | PaymentStatus::Unknown);
        let over = self.now() > attempt.surely_over();
        let payable = self.now() < attempt.request.expires_at;
        match gateway.find(payment).await {
            Ok(Some(GatewayPayment::Open)) if !wanted => self.close_attempt(lease, &order, payment).await,
            Ok(Some(GatewayPayment::Open)) if unanswered => {
                self.open_at_gateway(lease, id, payment, Sending::Again).await
            }
            Ok(Some(found)) => self.learn(lease, id, payment, found).await,
            Ok(None) if over => self.learn(lease, id, payment, GatewayPayment::Closed).await,
            Ok(None) if attempt.is_open() && !wanted => self.close_attempt(lease, &order, payment).await,
            Ok(None) if wanted && unanswered && payable => {
                self.open_at_gateway(lease, id, payment, Sending::Again).await
            }
            Ok(None) => self.nothing_changed(lease, id, payment).await,
            Err(e) => self.nothing_learned(lease, id, payment, &e).await,
        }
    }

    async fn nothing_changed(
        &self,
        lease: Option<&Lease>,
        id: &OrderId,
        payment: &PaymentId,
    ) -> Result<(), PaymentError> {
        self.change(id, lease, |order, now| {
            order.asked(payment, now);
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Closes an attempt: intent, there, here. Whoever calls has asked before whether it is paid; a "no"
    /// of the gateway is asked about again, for it may have been paid in between.
    async fn close_attempt(
        &self,
        lease: Option<&Lease>,
        order: &Order,
        payment: &PaymentId,
    ) -> Result<(), PaymentError> {
        let Some(attempt) = order.payment(payment) else { return Err(PaymentError::NotFound("payment")) };
        let gateway = self.gateway(attempt.gateway())?;
        if attempt.is_open() && !attempt.closing {
            self.change(&order.id, None, |order, _| Ok(order.begin_attempt_close(payment)?)).await?;
        }
        self.before_a_call(lease).await?;
        match gateway.close(payment).await {
            Ok(Closed::Done) => self.learn(lease, &order.id, payment, GatewayPayment::Closed).await,
            Ok(Closed::NotFound) => {
                self.change(&order.id, lease, |order, now| {
                    order.attempt_not_found(payment, now);
                    order.finish_close(now, "payonce");
                    Ok(())
                })
                .await?;
                Ok(())
            }
            Err(e) => {
                tracing::info!(order = %order.id, %payment, error = %e, "not closed; asking what became of it");
                match gateway.find(payment).await {
                    Ok(Some(found)) => self.learn(lease, &order.id, payment, found).await,
                    Ok(None) => self.nothing_changed(lease, &order.id, payment).await,
                    Err(e) => self.nothing_learned(lease, &order.id, payment, &e).await,
                }
            }
        }
    }
}

/// Whether a request is given to the gateway for the first time. Of a later one, a "no" says nothing about the
/// earlier, whose answer may only be lost.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    First,
    Again,
}
