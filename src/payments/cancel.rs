//! cancelOrder and expiry, one act: record the intent, ask the gateway, close there, then here.

use domain::{CloseReason, Operation, Order, OrderId, RuleError, Timestamp};

use super::change::retried;
use super::guard::{Worked, acts_for, random_token};
use super::{Caller, Outcome, PaymentError, Payments, Role};
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
        let caller = caller.may(Role::Customer)?.clone();
        self.guarded(operation, acts_for(&caller), |payments, operation| async move {
            payments.must_act_for(&caller, &command.order).await?;
            let holder = random_token();
            let begun = retried(|| payments.commit_cancel(&operation, &command, &holder)).await?;
            let Some((lease, order)) = begun else { return Ok(Worked::Taken) };
            crash_point!("after_intent");
            if order.closing.is_some() {
                payments.tell(&order);
                payments.end_cancel(&lease, &order.id).await?;
                // Who has taken it over may find that the order is paid, and take the claim back.
                if lease.is_lost() {
                    return Ok(Worked::Taken);
                }
            }
            Ok(Worked::New { order: order.id, payment: None, refund: None })
        })
        .await
    }

    /// Claims the key and records the intent in one transaction; with nothing open that is all there is to do.
    async fn commit_cancel(
        &self,
        operation: &Operation,
        command: &Cancel,
        holder: &str,
    ) -> Result<Option<(Lease, Order)>, PaymentError> {
        let now = self.now();
        let tx = self.0.store.begin().await?;
        let claim = NewClaim {
            operation,
            order: &command.order,
            payment: None,
            refund: None,
            lease: Some((holder, self.0.settings.lease)),
            now,
        };
        let Some(lease) = tx.claim(claim).await? else { return Ok(None) };
        let mut held = tx.hold_order(&command.order).await?.ok_or(PaymentError::NotFound("order"))?;
        let words = command.reason.as_deref();
        held.order.begin_close(CloseReason::Cancelled, words, now, self.seconds_from_now(20), &operation.subject)?;
        tx.save(&mut held, now).await?;
        if held.order.closing.is_none() {
            tx.finish(&lease).await?;
        }
        tx.commit().await?;
        Ok(Some((lease, held.order)))
    }

    /// Goes on with a cancellation whose intent is committed, and ends its operation. An order that was paid
    /// meanwhile takes the claim back: nothing was cancelled. One that cannot be closed yet is closed by the
    /// scheduler.
    pub(super) async fn end_cancel(&self, lease: &Lease, id: &OrderId) -> Result<(), PaymentError> {
        if let Err(e) = self.pursue_close(id).await {
            tracing::warn!(order = %id, error = %e, "the order is not closed yet; the scheduler goes on with it");
        }
        retried(|| self.decide_cancel(lease, id)).await
    }

    /// Whether the cancellation holds, as the store says now: its operation is done, or its claim is taken back.
    async fn decide_cancel(&self, lease: &Lease, id: &OrderId) -> Result<(), PaymentError> {
        let tx = self.0.store.begin().await?;
        let held = tx.hold_order(id).await?.ok_or(PaymentError::NotFound("order"))?;
        let no = match &held.order {
            order if order.winner().is_some() => Some(RuleError::AlreadyPaid),
            order if order.has_mismatch() => Some(RuleError::Mismatched),
            _ => None,
        };
        if no.is_some() {
            tx.unclaim(lease).await?;
        } else {
            tx.finish(lease).await?;
        }
        tx.commit().await?;
        no.map_or(Ok(()), |no| Err(no.into()))
    }

    /// Closes an order whose closing has begun: what is open is asked about and closed at its gateway.
    async fn pursue_close(&self, id: &OrderId) -> Result<(), PaymentError> {
        let lock = self.lock_order(id).await;
        let done = self.close_what_is_open(id).await;
        self.unlock_order(lock);
        done
    }

    async fn close_what_is_open(&self, id: &OrderId) -> Result<(), PaymentError> {
        let order = self.must_find(id).await?;
        if order.closing.is_none() {
            return Ok(());
        }
        // Those that gave way to another attempt first: the order closes with its live one.
        let live = order.attempt().map(|a| &a.id);
        for other in order.payments.iter().filter(|p| p.is_open() && live != Some(&p.id)) {
            self.resolve_payment(None, id, &other.id).await?;
        }
        if let Some(live) = live {
            self.resolve_payment(None, id, live).await?;
        }
        self.change(id, None, |order, now| {
            order.finish_close(now, "payonce");
            if order.closing.is_some() {
                // As often as the attempt is asked about, and at least every minute.
                let minute = now + domain::Duration::minutes(1);
                order.next_at = order.attempt().and_then(|a| a.next_at).map_or(Some(minute), |at| Some(at.min(minute)));
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// An order's time has come: expire it, or go on closing it.
    pub(super) async fn close_due(&self, id: &OrderId) -> Result<(), PaymentError> {
        let look_at = self.seconds_from_now(20);
        let (order, ()) = self.change(id, None, |order, now| expire(order, now, look_at)).await?;
        if order.closing.is_some() { self.pursue_close(id).await } else { Ok(()) }
    }
}

/// Closes an order whose time has come, or begins to: what is open is looked at again at `look_at`.
pub(super) fn expire(order: &mut Order, now: Timestamp, look_at: Timestamp) -> Result<(), PaymentError> {
    if order.closing.is_none() && now < order.expires_at {
        order.next_at = Some(order.expires_at);
        return Ok(());
    }
    match order.begin_close(CloseReason::Expired, None, now, look_at, "payonce") {
        Ok(()) => {}
        Err(RuleError::Closed | RuleError::AlreadyPaid | RuleError::Mismatched) => order.next_at = None,
        Err(e) => return Err(e.into()),
    }
    Ok(())
}
