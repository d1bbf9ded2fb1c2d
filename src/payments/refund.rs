//! refundOrder: reserve, send, learn what became of it.

use domain::{
    Money, NumberKey, Operation, Order, OrderId, RefundId, RefundReason, RefundState, RefundTerms, RuleError, Timestamp,
};

use super::guard::{Worked, random_token};
use super::ports::{GatewayError, GatewayRefund, GatewayRefundState};
use super::{Caller, Outcome, PaymentError, Payments, Role};
use crate::store::{Lease, NewClaim};

/// What is to go back.
#[derive(Clone, Debug)]
pub struct RefundOrder {
    /// Of which order.
    pub order: OrderId,
    /// How much; `None`: all that is left.
    pub amount: Option<Money>,
    /// Why.
    pub reason: RefundReason,
    /// Free words for staff.
    pub note: Option<String>,
}

impl Payments {
    /// Gives money back, at most once per key: role refunder or admin.
    pub async fn refund(
        &self,
        caller: &Caller,
        operation: Operation,
        command: RefundOrder,
    ) -> Result<Outcome, PaymentError> {
        caller.may(Role::Refunder)?;
        self.guarded(operation, |payments, operation| async move { payments.begin_refund(operation, command).await })
            .await
    }

    async fn begin_refund(&self, operation: Operation, command: RefundOrder) -> Result<Worked, PaymentError> {
        // Read first, without holding anything: which gateway it will be decides the number.
        let order = self.must_find(&command.order).await?;
        let winner = order.winner().ok_or(RuleError::NotRefundable)?;
        let id = self.0.number_key.refund(&operation, winner.gateway(), 0);
        let terms = RefundTerms { reason: command.reason, note: command.note, requested_by: operation.subject.clone() };
        let holder = random_token();
        let now = self.now();

        let tx = self.0.store.begin().await?;
        let claim = NewClaim {
            operation: &operation,
            order: &order.id,
            payment: None,
            refund: Some(&id),
            lease: Some((holder.as_str(), self.0.settings.lease)),
            now,
        };
        let Some(lease) = tx.claim(claim).await? else { return Ok(Worked::Taken) };
        let mut held = tx.hold_order(&order.id).await?.ok_or(PaymentError::NotFound("order"))?;
        held.order.request_refund(id.clone(), command.amount, terms, now)?;
        let send_now = held.order.take_refund_slot(&id, now)?;
        tx.save(&mut held, now).await?;
        if !send_now {
            // The gateway wants a pause between two refunds of a payment: the scheduler sends it then.
            tx.finish(&lease).await?;
        }
        tx.commit().await?;
        self.tell(&held.order).await;
        // From here on there is no error: whatever the gateway says, the refund's state tells it.
        if send_now && let Err(e) = self.send_refund(Some(&lease), &order.id, &id).await {
            tracing::warn!(order = %order.id, refund = %id, error = %e, "the answer is not recorded; the scheduler goes on with it");
        }
        Ok(Worked::New { order: order.id.clone(), payment: None, refund: Some(id) })
    }

    /// Sends a refund whose intent is committed and records what we learned.
    async fn send_refund(&self, lease: Option<&Lease>, id: &OrderId, refund: &RefundId) -> Result<(), PaymentError> {
        let order = self.must_find(id).await?;
        let request = order.refund_request(refund)?;
        let gateway = order.payment(&request.payment).ok_or(PaymentError::NotFound("payment"))?.gateway();
        let gateway = self.gateway(gateway)?;
        self.before_a_call(lease).await?;
        match gateway.refund(&request).await {
            Ok(answer) => self.learn_refund(lease, id, refund, &answer).await,
            // A no about a number that the gateway knows may hide a refund: believe it only after asking.
            Err(GatewayError::Refused(refusal)) => match gateway.find_refund(refund, &request.payment).await {
                Ok(Some(answer)) => self.learn_refund(lease, id, refund, &answer).await,
                Ok(None) => {
                    tracing::info!(order = %id, %refund, code = refusal.code, "the gateway refused the refund");
                    self.change(id, lease, |order, now| {
                        order.refund_failed(refund, refusal.message.clone(), now);
                        Ok(())
                    })
                    .await?;
                    Ok(())
                }
                Err(e) => self.refund_undecided(lease, id, refund, &e).await,
            },
            Err(e) => self.refund_undecided(lease, id, refund, &e).await,
        }
    }

    async fn refund_undecided(
        &self,
        lease: Option<&Lease>,
        id: &OrderId,
        refund: &RefundId,
        e: &GatewayError,
    ) -> Result<(), PaymentError> {
        tracing::warn!(order = %id, %refund, error = %e, "no final answer from the gateway to a refund");
        let not_begun = matches!(e, GatewayError::NotSent(_) | GatewayError::Later(_));
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
            self.change(id, lease, |_, _| Ok(())).await?;
            return Ok(());
        }
        if ours.state == RefundState::Requested && ours.asks == 0 {
            let (_, send_now) = self.change(id, None, |order, now| Ok(order.take_refund_slot(refund, now)?)).await?;
            if !send_now {
                return Ok(());
            }
        }
        let gateway = order.payment(&ours.payment).ok_or(PaymentError::NotFound("payment"))?.gateway();
        match self.gateway(gateway)?.find_refund(refund, &ours.payment).await {
            Ok(Some(found)) => self.learn_refund(lease, id, refund, &found).await,
            // It never arrived: the same number again.
            Ok(None) => self.send_refund(lease, id, refund).await,
            Err(e) => self.refund_undecided(lease, id, refund, &e).await,
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
        GatewayRefundState::Succeeded { at } => order.refund_succeeded(refund, domain::to_stored(at), now),
        GatewayRefundState::Closed => order.refund_closed_by_gateway(refund, keys, now)?,
        GatewayRefundState::Abnormal => {
            tracing::error!(order = %order.id, %refund, "the payer's bank refused the refund; act in the gateway's console");
            order.refund_accepted(refund, now);
            order.refund_asked(refund, now);
        }
    }
    Ok(())
}
