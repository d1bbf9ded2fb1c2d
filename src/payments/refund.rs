//! refundOrder: reserve, send, learn what became of it.

use domain::{
    Money, NumberKey, Operation, Order, OrderId, PaymentId, RefundId, RefundReason, RefundState, RefundTerms,
    RuleError, Timestamp,
};

use super::attempt::Sending;
use super::change::retried;
use super::guard::{Worked, random_token, sees};
use super::ports::{GatewayError, GatewayRefund, GatewayRefundState};
use super::{Caller, Outcome, PaymentError, Payments, Role};
use crate::store::{Lease, NewClaim, StoreError};

/// What is to go back.
#[derive(Clone, Debug)]
pub struct RefundOrder {
    /// Of which order.
    pub order: OrderId,
    /// Of which of its payments; `None`: the one that counts, or else the one that does not fit.
    pub payment: Option<PaymentId>,
    /// How much; `None`: all that is left.
    pub amount: Option<Money>,
    /// Why.
    pub reason: RefundReason,
    /// Free words for staff.
    pub note: Option<String>,
}

/// A refund whose intent is committed.
pub(super) struct Begun {
    /// The operation's.
    pub lease: Lease,
    /// As it was committed.
    pub order: Order,
    /// Which of its refunds.
    pub refund: RefundId,
    /// It may be sent now.
    pub send_now: bool,
}

impl Payments {
    /// Gives money back, at most once per key: role refunder or admin.
    pub async fn refund(
        &self,
        caller: &Caller,
        operation: Operation,
        command: RefundOrder,
    ) -> Result<Outcome, PaymentError> {
        let caller = caller.may(Role::Refunder)?;
        self.guarded(operation, sees(caller), |payments, operation| async move {
            payments.begin_refund(operation, &command).await
        })
        .await
    }

    async fn begin_refund(&self, operation: Operation, command: &RefundOrder) -> Result<Worked, PaymentError> {
        let holder = random_token();
        let mut begun = retried(|| self.commit_refund(&operation, command, &holder)).await;
        // What is not known as paid may be: the gateway is asked before a no.
        if let Err(PaymentError::Rule(RuleError::NotRefundable)) = begun {
            self.ask_about_payments(&*self.must_find(&command.order).await?).await?;
            begun = retried(|| self.commit_refund(&operation, command, &holder)).await;
        }
        // Nor is a no said to what was done before, and lost here with the store's last commits.
        if let Err(PaymentError::Rule(_)) = begun
            && self.recall_refund(&operation, &command.order).await?
        {
            begun = retried(|| self.commit_refund(&operation, command, &holder)).await;
        }
        match begun? {
            Some(begun) => Ok(self.go_on_with(begun).await),
            None => Ok(Worked::Taken),
        }
    }

    /// Sends a refund whose intent is committed, if it may be sent now.
    pub(super) async fn go_on_with(&self, begun: Begun) -> Worked {
        let Begun { lease, order, refund: id, send_now } = begun;
        crash_point!("refund_reserved");
        if send_now {
            self.tell(&order);
        }
        // From here on there is no error: whatever the gateway says, the refund's state tells it.
        if send_now && let Err(e) = self.send_refund(Some(&lease), &order.id, &id, Sending::First).await {
            tracing::warn!(order = %order.id, refund = %id, error = %e, "the answer is not recorded; the scheduler goes on with it");
        }
        Worked::New { order: order.id, payment: None, refund: Some(id) }
    }

    /// Asks the gateways for a refund under the operation's numbers, which the store does not know, and records it if it
    /// is done. True: there is one, done or not; the operation goes on with its number.
    async fn recall_refund(&self, operation: &Operation, id: &OrderId) -> Result<bool, PaymentError> {
        let order = self.must_find(id).await?;
        for payment in order.payments.iter().filter(|p| p.evidence().is_some()) {
            let number = self.0.number_key.refund(operation, payment.gateway(), 0);
            if order.refund(&number).is_some() {
                return Ok(false);
            }
            let found = match self.gateway(payment.gateway())?.find_refund(&number, &payment.id).await {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                Err(e) => {
                    tracing::info!(order = %id, refund = %number, error = %e, "not known whether it was made before");
                    continue;
                }
            };
            tracing::warn!(order = %id, refund = %number, "the gateway knows a refund that was lost here");
            // What they have reserved may be more than the gateway has given back under their numbers.
            for other in order.refunds.iter().filter(|r| r.payment == payment.id && r.is_open() && r.sent) {
                self.resolve_refund(None, id, &other.id).await?;
            }
            if let GatewayRefundState::Succeeded { at } = found.state {
                self.change(id, None, |order, now| {
                    let (number, at) = (number.clone(), domain::to_stored(at));
                    Ok(order.refund_made_outside(&payment.id, number.clone(), number.as_str(), found.amount, at, now))
                })
                .await?;
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Claims the key, reserves the amount and records the refund in one transaction. It may be sent now; or it waits
    /// for another person's approval; or the gateway wants a pause after the last one of this payment: then the
    /// scheduler sends it.
    async fn commit_refund(
        &self,
        operation: &Operation,
        command: &RefundOrder,
        holder: &str,
    ) -> Result<Option<Begun>, PaymentError> {
        // Read first, without holding anything: which gateway it will be decides the number.
        let order = self.must_find(&command.order).await?;
        let made = self.refund_made_by(operation, &order).await?;
        let (target, id) = match &made {
            Some(id) => (None, id.clone()),
            None => {
                let target = order.refund_target(command.payment.as_ref())?;
                let gateway = order.payment(&target).ok_or(RuleError::Unknown)?.gateway();
                (Some(target), self.0.number_key.refund(operation, gateway, 0))
            }
        };
        let terms =
            RefundTerms { reason: command.reason, note: command.note.clone(), requested_by: operation.subject.clone() };
        let now = self.now();
        let tx = self.0.store.begin().await?;
        let claim = NewClaim {
            operation,
            order: &order.id,
            payment: None,
            refund: Some(&id),
            lease: Some((holder, self.0.settings.lease)),
            now,
        };
        let Some(lease) = tx.claim(claim).await? else { return Ok(None) };
        let expired =
            PaymentError::KeyExpired { order: Some(order.id.clone()), payment: None, refund: Some(id.clone()) };
        let mut held = tx.hold_order(&order.id).await?.ok_or(PaymentError::NotFound("order"))?;
        if let Some(made) = held.order.refund(&id) {
            // Lost here with the store's last commits, and heard of again from the gateway: that refund it is.
            if made.terms.reason == RefundReason::Outside {
                tx.finish(&lease).await?;
                tx.commit().await?;
                return Ok(Some(Begun { lease, order: held.order, refund: id, send_now: false }));
            }
            return Err(expired);
        }
        let Some(target) = target.filter(|_| self.refund_of(operation, &held.order).is_none()) else {
            return Err(StoreError::Conflict.into());
        };
        if held.order.refund_target(command.payment.as_ref())? != target {
            return Err(StoreError::Conflict.into());
        }
        held.order.request_refund_of(&target, id.clone(), command.amount, terms, now)?;
        let amount = held.order.refund(&id).ok_or(RuleError::Unknown)?.amount;
        let limits = &self.0.settings.limits;
        limits.refund(amount)?;
        if limits.needs_approval(amount) {
            held.order.hold_for_approval(&id, now)?;
        }
        let send_now = held.order.take_refund_slot(&id, now)?;
        match tx.save(&mut held, now).await {
            Ok(()) => {}
            // The claim was purged long ago; the number it gave is still taken.
            Err(StoreError::IdTaken) => return Err(expired),
            Err(e) => return Err(e.into()),
        }
        if !send_now {
            tx.finish(&lease).await?;
        }
        tx.commit().await?;
        Ok(Some(Begun { lease, order: held.order, refund: id, send_now }))
    }

    /// The refund of this order that the key made before, at whichever gateway: its claim is purged, or was lost with
    /// the store's last commits. `KeyExpired`: it made one of another order.
    async fn refund_made_by(&self, operation: &Operation, order: &Order) -> Result<Option<RefundId>, PaymentError> {
        if let Some(made) = self.refund_of(operation, order) {
            return Ok(Some(made));
        }
        for gateway in domain::Gateway::ALL {
            let refund = self.0.number_key.refund(operation, gateway, 0);
            if let Some(of) = self.0.store.order_of_refund(refund.as_str()).await? {
                if of == order.id {
                    // Heard of from the gateway since the order was read.
                    return Err(StoreError::Conflict.into());
                }
                let order = of;
                return Err(PaymentError::KeyExpired { order: Some(order), payment: None, refund: Some(refund) });
            }
        }
        Ok(None)
    }

    fn refund_of(&self, operation: &Operation, order: &Order) -> Option<RefundId> {
        let numbers = domain::Gateway::ALL.map(|gateway| self.0.number_key.refund(operation, gateway, 0));
        numbers.into_iter().find(|number| order.refund(number).is_some())
    }

    /// Sends a refund whose intent is committed and records what we learned.
    async fn send_refund(
        &self,
        lease: Option<&Lease>,
        id: &OrderId,
        refund: &RefundId,
        sending: Sending,
    ) -> Result<(), PaymentError> {
        let order = match sending {
            Sending::First => self.must_find(id).await?,
            // Said before it is done: whoever has sent it first and is told "no" must not believe it any more.
            Sending::Again => {
                let unknown = |order: &mut Order, now| {
                    order.refund_unknown(refund, now);
                    Ok(())
                };
                self.change(id, None, unknown).await?.0
            }
        };
        if order.refund(refund).is_none_or(|r| !r.is_open()) {
            return self.finish(lease, id).await;
        }
        let request = order.refund_request(refund)?;
        let gateway = order.payment(&request.payment).ok_or(PaymentError::NotFound("payment"))?.gateway();
        let gateway = self.gateway(gateway)?;
        self.before_a_call(lease).await?;
        match gateway.refund(&request).await {
            Ok(answer) => self.learn_refund(lease, id, refund, &answer).await,
            // A no about a number that the gateway knows may hide a refund: believe it only after asking. One of
            // another amount was made with what the store has lost, and is what it is.
            Err(GatewayError::Refused(refusal)) => match gateway.find_refund(refund, &request.payment).await {
                Ok(Some(answer)) => {
                    self.change(id, None, |order, now| {
                        order.refund_was_of(refund, answer.amount, now);
                        Ok(())
                    })
                    .await?;
                    self.learn_refund(lease, id, refund, &answer).await
                }
                Ok(None) => {
                    tracing::info!(order = %id, %refund, code = refusal.code, "the gateway refused the refund");
                    self.change(id, lease, |order, now| {
                        let requested = order.refund(refund).is_some_and(|r| r.state == RefundState::Requested);
                        if requested && sending == Sending::First && !refusal.number_is_used() {
                            order.refund_failed(refund, refusal.message.clone(), now);
                        } else {
                            // Sent before, or since: that one may still appear. Its reservation stays.
                            order.refund_unknown(refund, now);
                            order.refund_asked(refund, now);
                        }
                        Ok(())
                    })
                    .await?;
                    Ok(())
                }
                Err(e) => self.refund_undecided(lease, id, refund, Sending::Again, &e).await,
            },
            Err(e) => self.refund_undecided(lease, id, refund, sending, &e).await,
        }
    }

    /// Records that there is no final answer. `sending`: what has just not been answered, or not left us; only of
    /// the first it follows that nothing began.
    async fn refund_undecided(
        &self,
        lease: Option<&Lease>,
        id: &OrderId,
        refund: &RefundId,
        sending: Sending,
        e: &GatewayError,
    ) -> Result<(), PaymentError> {
        tracing::warn!(order = %id, %refund, error = %e, "no final answer from the gateway to a refund");
        let not_begun = sending == Sending::First && matches!(e, GatewayError::NotSent(_) | GatewayError::Later(_));
        self.change(id, lease, |order, now| {
            if not_begun {
                order.refund_later(refund, now);
            } else {
                order.refund_unknown(refund, now);
                order.refund_asked(refund, now);
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Records where the gateway says that a refund stands.
    pub(super) async fn learn_refund(
        &self,
        lease: Option<&Lease>,
        id: &OrderId,
        refund: &RefundId,
        found: &GatewayRefund,
    ) -> Result<(), PaymentError> {
        crash_point!("refund_done_uncommitted");
        let keys = &self.0.number_key;
        self.change(id, lease, |order, now| heard(order, refund, found, keys, now)).await?;
        Ok(())
    }

    /// A refund's time has come: send it, send it again, or ask what became of it.
    pub(super) async fn resolve_refund(
        &self,
        lease: Option<&Lease>,
        id: &OrderId,
        refund: &RefundId,
    ) -> Result<(), PaymentError> {
        let order = self.must_find(id).await?;
        let Some(ours) = order.refund(refund) else { return Err(PaymentError::NotFound("refund")) };
        if !ours.is_open() {
            return self.finish(lease, id).await;
        }
        let mut sending = Sending::Again;
        if ours.state == RefundState::Requested && !ours.sent {
            let (_, send_now) = self.change(id, None, |order, now| Ok(order.take_refund_slot(refund, now)?)).await?;
            if !send_now {
                return self.finish(lease, id).await;
            }
            sending = Sending::First;
        }
        let gateway = order.payment(&ours.payment).ok_or(PaymentError::NotFound("payment"))?.gateway();
        match self.gateway(gateway)?.find_refund(refund, &ours.payment).await {
            Ok(Some(found)) => self.learn_refund(lease, id, refund, &found).await,
            // It never arrived: the same number again.
            Ok(None) => self.send_refund(lease, id, refund, sending).await,
            Err(e) => self.refund_undecided(lease, id, refund, sending, &e).await,
        }
    }
}

/// What a verified answer or notification about a refund changes. Another amount than ours is for people.
pub(super) fn heard(
    order: &mut Order,
    refund: &RefundId,
    found: &GatewayRefund,
    keys: &NumberKey,
    now: Timestamp,
) -> Result<(), PaymentError> {
    let ours = order.refund(refund).ok_or(PaymentError::NotFound("refund"))?;
    if ours.amount != found.amount {
        tracing::error!(order = %order.id, %refund, ours = %ours.amount, theirs = %found.amount, "the gateway knows this refund with another amount");
        order.refund_asked(refund, now);
        return Ok(());
    }
    match found.state {
        GatewayRefundState::Processing if ours.state == RefundState::Processing => order.refund_asked(refund, now),
        GatewayRefundState::Processing => order.refund_accepted(refund, now),
        GatewayRefundState::Succeeded { at } => {
            if !order.refund_succeeded(refund, domain::to_stored(at), now) {
                tracing::error!(order = %order.id, %refund, "a refund that we took for failed is done, and its money is asked back twice: act now");
            }
        }
        GatewayRefundState::Closed => order.refund_closed_by_gateway(refund, keys, now)?,
        GatewayRefundState::Abnormal => {
            tracing::error!(order = %order.id, %refund, "the payer's bank refused the refund; act in the gateway's console");
            order.refund_accepted(refund, now);
            order.refund_asked(refund, now);
        }
    }
    Ok(())
}
