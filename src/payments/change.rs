//! Changing an order: held, decided, saved, committed, told.

use std::sync::Arc;

use domain::{Order, OrderId, Timestamp};

use super::ports::OrderChanged;
use super::{PaymentError, Payments};
use crate::store::{Lease, StoreError};

impl Payments {
    /// Changes an order under its fence in one transaction, finishes `claim` in the same one, and tells
    /// everybody. `decide` may run more than once, each time on what is in the store now.
    pub(super) async fn change<R>(
        &self,
        id: &OrderId,
        claim: Option<&Lease>,
        decide: impl Fn(&mut Order, Timestamp) -> Result<R, PaymentError>,
    ) -> Result<(Arc<Order>, R), PaymentError> {
        let (order, result) = retried(|| self.change_once(id, claim, &decide)).await?;
        self.tell(&order);
        Ok((order, result))
    }

    /// Marks the operation as done: what it set out to do is decided, or in the scheduler's hands.
    pub(super) async fn finish(&self, claim: Option<&Lease>, id: &OrderId) -> Result<(), PaymentError> {
        if claim.is_some() {
            retried(|| self.change_once(id, claim, &|_, _| Ok(()))).await?;
        }
        Ok(())
    }

    async fn change_once<R>(
        &self,
        id: &OrderId,
        claim: Option<&Lease>,
        decide: &impl Fn(&mut Order, Timestamp) -> Result<R, PaymentError>,
    ) -> Result<(Arc<Order>, R), PaymentError> {
        let now = self.now();
        let tx = self.0.store.begin().await?;
        let mut held = tx.hold_order(id).await?.ok_or(PaymentError::NotFound("order"))?;
        let result = decide(&mut held.order, now)?;
        tx.save(&mut held, now).await?;
        if let Some(lease) = claim
            && !tx.finish(lease).await?
        {
            tracing::info!(order = %id, claim = lease.seq, "the operation was taken over; what it learned is kept");
        }
        crash_point!("answer_uncommitted");
        tx.commit().await?;
        crash_point!("answer_committed");
        Ok((Arc::new(held.order), result))
    }

    /// Tells every process that the order has reached its version. Only a hint.
    pub(super) fn tell(&self, order: &Order) {
        self.0.coordination.end(None, Some(&OrderChanged::to(order)));
    }
}

/// Runs a transaction again, at most three times, while another one is in its way. It must not have called
/// anybody outside.
pub(super) async fn retried<T, F, Fut>(work: F) -> Result<T, PaymentError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, PaymentError>>,
{
    let mut tries = 0;
    loop {
        match work().await {
            Err(PaymentError::StoreUnavailable(StoreError::Conflict)) if tries < 3 => tries += 1,
            result => return result,
        }
    }
}
