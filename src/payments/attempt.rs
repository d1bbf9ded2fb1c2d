//! One attempt at the gateway: open it, learn what became of it, close it.

use domain::{Order, OrderId, PaymentId, PaymentStatus};

use super::next_number::Running;
use super::ports::{Closed, GatewayError, GatewayPayment, GatewayRefund, Opened};
use super::{PaymentError, Payments};
use crate::store::{ClaimState, Lease};

impl Payments {
    /// Asks the gateway for the first time to open an attempt, and records what we learned and nothing more;
    /// returns the attempt that the operation came to. `None`: that is not known yet, for the answer could not be
    /// recorded or another has taken over, and whoever goes on may come to its next number.
    pub(super) async fn ask(&self, running: Running<'_>, order: &OrderId, payment: PaymentId) -> Option<PaymentId> {
        match self.open_at_gateway(Some(running), order, &payment, Sending::First).await {
            Ok(came_to) if !running.lease.is_lost() => return Some(came_to),
            Ok(_) => {}
            Err(e) => {
                tracing::warn!(%order, %payment, error = %e, "the answer is not recorded; the scheduler goes on with it");
            }
        }
        let operation = running.operation;
        let claim = self.0.store.claim_of(&operation.subject, operation.key.as_str()).await.ok().flatten();
        claim.filter(|claim| claim.state == ClaimState::Done)?.payment
    }

    /// Opens an attempt, or the operation's next ones while the gateway knows their numbers already; returns the
    /// last. Without an operation under way there is no next one.
    async fn open_at_gateway(
        &self,
        running: Option<Running<'_>>,
        id: &OrderId,
        payment: &PaymentId,
        mut sending: Sending,
    ) -> Result<PaymentId, PaymentError> {
        let lease = running.map(|r| r.lease);
        let mut payment = payment.clone();
        loop {
            let Some(known) = self.send(lease, id, &payment, sending).await? else { return Ok(payment) };
            let next = match running {
                Some(running) => self.next_number(running, id, &payment, known).await?,
                None if known == GatewayPayment::Open => {
                    let order = self.must_find(id).await?;
                    self.close_attempt(None, &order, &payment).await?;
                    None
                }
                None => {
                    self.learn(None, id, &payment, known).await?;
                    None
                }
            };
            let Some(next) = next else { return Ok(payment) };
            (payment, sending) = (next, Sending::First);
        }
    }

    /// Sends the stored request and records the answer. If the gateway says no because it knows the number
    /// already, unpaid, nothing is recorded, and what it says of it is returned.
    async fn send(
        &self,
        lease: Option<&Lease>,
        id: &OrderId,
        payment: &PaymentId,
        sending: Sending,
    ) -> Result<Option<GatewayPayment>, PaymentError> {
        let order = match sending {
            Sending::First => self.must_find(id).await?,
            // Said before it is done: whoever has sent it first and is told "no" must not believe it any more.
            Sending::Again => {
                let unknown = |order: &mut Order, now| {
                    order.attempt_unknown(payment, now);
                    Ok(())
                };
                self.change(id, None, unknown).await?.0
            }
        };
        let attempt = order.payment(payment).ok_or(PaymentError::NotFound("payment"))?;
        if !attempt.is_open() || attempt.closing {
            // Decided while we came here: it must not be opened any more.
            self.finish(lease, id).await?;
            return Ok(None);
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
            }
            // A no about a number that the gateway knows may hide a payment: believe it only after asking.
            Err(GatewayError::Refused(refusal)) => {
                tracing::info!(order = %id, %payment, code = refusal.code, "the gateway refused to open the payment");
                match gateway.find(payment).await {
                    Ok(None) if refusal.number_is_used() => return Ok(Some(GatewayPayment::Open)),
                    Ok(None) => self.refused(lease, id, payment, sending, &refusal.message).await?,
                    Ok(Some(known @ (GatewayPayment::Open | GatewayPayment::Closed))) => return Ok(Some(known)),
                    Ok(Some(found)) => self.learn(lease, id, payment, found).await?,
                    Err(e) => self.nothing_learned(lease, id, payment, &e).await?,
                }
            }
            Err(e) => self.nothing_learned(lease, id, payment, &e).await?,
        }
        Ok(None)
    }

    /// Records where the gateway says that a payment stands. Of money that has gone back it is asked first whether
    /// we have sent it, as surplus, and the store has lost it since: it must not win then.
    pub(super) async fn learn(
        &self,
        lease: Option<&Lease>,
        id: &OrderId,
        payment: &PaymentId,
        found: GatewayPayment,
    ) -> Result<(), PaymentError> {
        let surplus = match &found {
            GatewayPayment::Returned(_) => match self.find_surplus_refund(id, payment).await? {
                Ok(refund) => refund.is_some(),
                Err(e) => return self.nothing_learned(lease, id, payment, &e).await,
            },
            _ => false,
        };
        crash_point!("found_uncommitted");
        let keys = &self.0.number_key;
        self.change(id, lease, |order, now| {
            match &found {
                GatewayPayment::Returned(evidence) if surplus => {
                    order.settle_returned_surplus(payment, evidence.clone(), keys, now)?;
                }
                GatewayPayment::Paid(evidence) | GatewayPayment::Returned(evidence) => {
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

    /// What the gateway knows of the refund that a payment gets from us when it is surplus.
    async fn find_surplus_refund(
        &self,
        id: &OrderId,
        payment: &PaymentId,
    ) -> Result<Result<Option<GatewayRefund>, GatewayError>, PaymentError> {
        let order = self.must_find(id).await?;
        let gateway = order.payment(payment).ok_or(PaymentError::NotFound("payment"))?.gateway();
        Ok(self.gateway(gateway)?.find_refund(&self.0.number_key.own_refund(payment, 0), payment).await)
    }

    /// Records a "no" to a payment that the gateway does not know. It is final when nobody else has sent the
    /// payment, before or since; else that one may still appear, and the payment ends when it is surely over.
    async fn refused(
        &self,
        lease: Option<&Lease>,
        id: &OrderId,
        payment: &PaymentId,
        sending: Sending,
        reason: &str,
    ) -> Result<(), PaymentError> {
        self.change(id, lease, |order, now| {
            let created = order.payment(payment).is_some_and(|p| p.status() == PaymentStatus::Created);
            if created && sending == Sending::First {
                order.attempt_failed(payment, reason.to_owned(), now);
                order.finish_close(now, "payonce");
            } else {
                order.attempt_unknown(payment, now);
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Records that the gateway gave no answer to trust: the money may have moved; we ask on.
    pub(super) async fn nothing_learned(
        &self,
        lease: Option<&Lease>,
        id: &OrderId,
        payment: &PaymentId,
        e: &GatewayError,
    ) -> Result<(), PaymentError> {
        tracing::warn!(order = %id, %payment, error = %e, "no answer to trust from the gateway");
        let never_left = matches!(e, GatewayError::NotSent(_) | GatewayError::Later(_));
        self.change(id, lease, |order, now| {
            order.attempt_silent(payment, !never_left, now);
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Asks about an undecided payment and does what follows: settle it, close what nobody waits for,
    /// send again what never arrived.
    pub(super) async fn resolve_payment(
        &self,
        running: Option<Running<'_>>,
        id: &OrderId,
        payment: &PaymentId,
    ) -> Result<(), PaymentError> {
        let lease = running.map(|r| r.lease);
        let order = self.must_find(id).await?;
        let Some(attempt) = order.payment(payment) else { return Err(PaymentError::NotFound("payment")) };
        if !attempt.is_open() && !attempt.is_closed_on_not_found() {
            // Decided meanwhile; only the claim may still wait to be finished.
            return self.finish(lease, id).await;
        }
        let gateway = self.gateway(attempt.gateway())?;
        let live = order.attempt().is_some_and(|a| a.id == *payment);
        let wanted = !attempt.closing && live;
        let unanswered = matches!(attempt.status(), PaymentStatus::Created | PaymentStatus::Unknown);
        let over = self.now() > attempt.surely_over();
        let payable = self.now() < attempt.request.expires_at;
        let found = gateway.find(payment).await;
        if let (Some(running), Ok(Some(known @ (GatewayPayment::Open | GatewayPayment::Closed)))) = (running, &found)
            && live
            && unanswered
            && (attempt.closing || *known == GatewayPayment::Closed)
        {
            // It stopped on its way from a number that the gateway knew already to its next one.
            let next = self.next_number(running, id, payment, known.clone()).await?;
            let Some(next) = next else { return Ok(()) };
            return self.open_at_gateway(Some(running), id, &next, Sending::First).await.map(drop);
        }
        match found {
            Ok(Some(GatewayPayment::Open)) if !wanted => self.close_attempt(lease, &order, payment).await,
            Ok(Some(GatewayPayment::Open)) if unanswered => {
                self.open_at_gateway(running, id, payment, Sending::Again).await.map(drop)
            }
            Ok(Some(found)) => self.learn(lease, id, payment, found).await,
            Ok(None) if over => self.learn(lease, id, payment, GatewayPayment::Closed).await,
            Ok(None) if attempt.is_open() && !wanted => self.close_attempt(lease, &order, payment).await,
            Ok(None) if wanted && unanswered && payable => {
                self.open_at_gateway(running, id, payment, Sending::Again).await.map(drop)
            }
            Ok(None) => self.nothing_changed(lease, id, payment).await,
            Err(e) => self.nothing_learned(lease, id, payment, &e).await,
        }
    }

    pub(super) async fn nothing_changed(
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
