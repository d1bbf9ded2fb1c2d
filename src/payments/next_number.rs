//! The next number: what an operation does when its gateway knows its number with other content.
//!
//! That happens when the store has lost its last commits: the same key derives the same numbers, and the gateway
//! has seen them. What can still be paid is closed there first, or two could be paid; then one transaction closes
//! it here, records the next attempt and points the claim at it. A crash before that transaction leaves
//! an attempt that the gateway says is closed: who goes on with the operation comes here again.

use domain::{OpenPayment, Operation, Order, OrderId, PaymentId};

use super::change::retried;
use super::ports::{Closed, GatewayPayment};
use super::{PaymentError, Payments};
use crate::store::Lease;

/// An operation that is under way, and the right to work on it.
#[derive(Clone, Copy)]
pub(super) struct Running<'a> {
    pub lease: &'a Lease,
    pub operation: &'a Operation,
}

/// Why an attempt is over.
#[derive(Clone, Copy)]
enum Over {
    Closed,
    /// The gateway did not find what it was to close.
    NotFound,
}

impl Payments {
    /// Closes an attempt of which the gateway has said that it is `found`, open or closed, and records the
    /// operation's next one, which is to be opened then. `None`: there is none, and the operation is finished.
    pub(super) async fn next_number(
        &self,
        running: Running<'_>,
        id: &OrderId,
        payment: &PaymentId,
        found: GatewayPayment,
    ) -> Result<Option<PaymentId>, PaymentError> {
        let over = match found {
            GatewayPayment::Open => self.close_for_next(running, id, payment).await?,
            GatewayPayment::Closed => Some(Over::Closed),
            found => {
                self.learn(Some(running.lease), id, payment, found).await?;
                None
            }
        };
        let Some(over) = over else { return Ok(None) };
        let (order, next) = retried(|| self.commit_next(running, id, payment, over)).await?;
        self.tell(&order);
        if let Some(next) = &next {
            tracing::warn!(order = %id, %payment, %next, "the gateway knew the number already; going on with the next one");
        }
        Ok(next)
    }

    /// Closes it at the gateway; `None`: it could not be closed, what is known instead is recorded, and the
    /// operation is finished.
    async fn close_for_next(
        &self,
        running: Running<'_>,
        id: &OrderId,
        payment: &PaymentId,
    ) -> Result<Option<Over>, PaymentError> {
        let lease = Some(running.lease);
        let (order, _) = self.change(id, None, |order, _| Ok(order.begin_attempt_close(payment)?)).await?;
        let attempt = order.payment(payment).ok_or(PaymentError::NotFound("payment"))?;
        let gateway = self.gateway(attempt.gateway())?;
        self.before_a_call(lease).await?;
        match gateway.close(payment).await {
            Ok(Closed::Done) => return Ok(Some(Over::Closed)),
            Ok(Closed::NotFound) => return Ok(Some(Over::NotFound)),
            Err(e) => tracing::info!(order = %id, %payment, error = %e, "not closed; asking what became of it"),
        }
        match gateway.find(payment).await {
            Ok(Some(GatewayPayment::Closed)) => return Ok(Some(Over::Closed)),
            Ok(Some(found)) => self.learn(lease, id, payment, found).await?,
            Ok(None) => self.nothing_changed(lease, id, payment).await?,
            Err(e) => self.nothing_learned(lease, id, payment, &e).await?,
        }
        Ok(None)
    }

    async fn commit_next(
        &self,
        running: Running<'_>,
        id: &OrderId,
        payment: &PaymentId,
        over: Over,
    ) -> Result<(Order, Option<PaymentId>), PaymentError> {
        let now = self.now();
        let tx = self.0.store.begin().await?;
        let mut held = tx.hold_order(id).await?.ok_or(PaymentError::NotFound("order"))?;
        let order = &mut held.order;
        match over {
            Over::Closed => order.attempt_closed(payment, now),
            Over::NotFound => order.attempt_not_found(payment, now),
        }
        order.finish_close(now, "payonce");
        let free = order.attempt().is_none() && order.may_be_paid(now, self.margin()).is_ok();
        let request = order.payment(payment).filter(|_| free).map(|p| p.request.clone());
        let next = match request {
            Some(request) => {
                let number = self.unused_number(running.operation, order, &request);
                let request = OpenPayment { number: number.clone(), ..request };
                order.begin_attempt(request, now, self.seconds_from_now(20), &running.operation.subject)?;
                Some(number)
            }
            None => None,
        };
        tx.save(&mut held, now).await?;
        match &next {
            // Not ours any more: who has it goes on, and must find everything as it was.
            Some(next) if !tx.aim(running.lease, next).await? => return Err(PaymentError::InProgress),
            Some(_) => {}
            None => {
                tx.finish(running.lease).await?;
            }
        }
        tx.commit().await?;
        Ok((held.order, next))
    }

    /// The first of the operation's numbers that the order has not used.
    fn unused_number(&self, operation: &Operation, order: &Order, request: &OpenPayment) -> PaymentId {
        let mut n = 1;
        loop {
            let number = self.0.number_key.payment(operation, request.gateway, n);
            if order.payment(&number).is_none() {
                return number;
            }
            n += 1;
        }
    }
}
