//! cancelOrder and expiry, one act: record the intent, ask the gateway, close there, then here.

use domain::{CloseReason, Operation, OrderId, RuleError};

use super::guard::{Worked, random_token};
use super::{Caller, Outcome, PaymentError, Payments};
use crate::store::{Lease, NewClaim};

/// Which order is to be closed.
#[derive(Clone, Debug)]
pub struct Cancel {
    /// The order.
    pub order: OrderId,
    /// Why, in the caller's words.
    pub reason: Option<String>,
}

impl Payments {
    /// Closes an unpaid order, at most once per key. Paid meanwhile: settled, and `AlreadyPaid`.
    pub async fn cancel(
        &self,
        caller: &Caller,
        operation: Operation,
        command: Cancel,
    ) -> Result<Outcome, PaymentError> {
        let caller = caller.clone();
        self.guarded(operation, |payments, operation| async move {
            let order = payments.must_find(&command.order).await?;
            if !caller.acts_for(&order) {
                return Err(PaymentError::NotFound("order"));
            }
            payments.begin_cancel(operation, &command).await
        })
        .await
    }

    async fn begin_cancel(&self, operation: Operation, command: &Cancel) -> Result<Worked, PaymentError> {
        let holder = random_token();
        let now = self.now();
        let id = &command.order;
        let tx = self.0.store.begin().await?;
        let claim = NewClaim {
            operation: &operation,
            order: id,
            payment: None,
            refund: None,
            lease: Some((holder.as_str(), self.0.settings.lease)),
            now,
        };
        let Some(lease) = tx.claim(claim).await? else { return Ok(Worked::Taken) };
        let mut held = tx.hold_order(id).await?.ok_or(PaymentError::NotFound("order"))?;
        held.order.begin_close(CloseReason::Cancelled, now, self.seconds_from_now(20), &operation.subject)?;
        tx.save(&mut held, now).await?;
        let closed_at_once = held.order.closing.is_none();
        if closed_at_once {
            tx.finish(&lease).await?;
        }
        tx.commit().await?;
        self.tell(&held.order).await;
        if !closed_at_once {
            self.end_cancel(&lease, id).await?;
        }
        Ok(Worked::New { order: id.clone(), payment: None, refund: None })
    }

    /// Goes on with a cancellation whose intent is committed. An order that was paid meanwhile takes the
    /// claim back: nothing was cancelled.
    pub(super) async fn end_cancel(&self, lease: &Lease, id: &OrderId) -> Result<(), PaymentError> {
        if let Err(e) = self.pursue_close(Some(lease), id).await {
            tracing::warn!(order = %id, error = %e, "the order is not closed yet; the scheduler goes on with it");
        }
        let order = self.must_find(id).await?;
        if order.winner().is_some() {
            let tx = self.0.store.begin().await?;
            tx.unclaim(lease).await?;
            tx.commit().await?;
            return Err(RuleError::AlreadyPaid.into());
        }
        Ok(())
    }

    /// Closes an order whose closing has begun: what is open is asked about and closed at its gateway.
    pub(super) async fn pursue_close(&self, lease: Option<&Lease>, id: &OrderId) -> Result<(), PaymentError> {
        let lock = self.lock_order(id).await?;
        let done = self.close_what_is_open(lease, id).await;
        self.unlock_order(lock).await;
        done
    }

    async fn close_what_is_open(&self, lease: Option<&Lease>, id: &OrderId) -> Result<(), PaymentError> {
        let order = self.must_find(id).await?;
        if order.closing.is_none() {
            return Ok(());
        }
        // The claim is finished only with the order closed; what is learned on the way keeps it open.
        if let Some(attempt) = order.attempt() {
            self.resolve_payment(None, id, &attempt.id).await?;
        }
        let (order, ()) = self
            .change(id, None, |order, now| {
                order.finish_close(now, "payonce");
                if order.closing.is_some() {
                    order.next_at = Some(now + domain::Duration::seconds(5));
                }
                Ok(())
            })
            .await?;
        if order.winner().is_none() && order.closing.is_none() {
            self.change(id, lease, |_, _| Ok(())).await?;
        }
        Ok(())
    }

    /// An order's time has come: expire it, or go on closing it.
    pub(super) async fn close_due(&self, id: &OrderId) -> Result<(), PaymentError> {
        let look_at = self.seconds_from_now(20);
        let (order, ()) = self
            .change(id, None, |order, now| {
                let unpaid = order.remaining_seconds(now) == 0 && now >= order.expires_at;
                if unpaid || order.closing.is_some() {
                    match order.begin_close(CloseReason::Expired, now, look_at, "payonce") {
                        Ok(()) => {}
                        Err(RuleError::Closed | RuleError::AlreadyPaid | RuleError::Mismatched) => order.next_at = None,
                        Err(e) => return Err(e.into()),
                    }
                } else {
                    order.next_at = Some(order.expires_at);
                }
                Ok(())
            })
            .await?;
        if order.closing.is_some() { self.pursue_close(None, id).await } else { Ok(()) }
    }
}
