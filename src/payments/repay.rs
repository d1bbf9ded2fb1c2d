//! repayOrder: settle or close the earlier attempt, then open another.

use std::sync::Arc;

use domain::{
    Gateway, OpenPayment, Operation, Order, OrderId, Payment, PaymentId, PaymentProduct, PaymentState, Timestamp,
};

use super::change::retried;
use super::create_order::PaymentMethod;
use super::guard::{Worked, acts_for, random_token};
use super::next_number::Running;
use super::ports::GatewayPayment;
use super::{Caller, Outcome, PaymentError, Payments, Role};
use crate::store::{Lease, NewClaim, StoreError};

/// Which order is to be paid, and how.
#[derive(Clone, Debug)]
pub struct Repay {
    /// The order.
    pub order: OrderId,
    /// How.
    pub method: PaymentMethod,
}

impl Payments {
    /// Opens another attempt at paying an order, at most once per key. The same gateway and product (and payer,
    /// for JSAPI, and address, for H5) with an action that still works: that attempt again.
    pub async fn repay(&self, caller: &Caller, operation: Operation, command: Repay) -> Result<Outcome, PaymentError> {
        let caller = caller.may(Role::Customer)?.clone();
        self.guarded(operation, acts_for(&caller), |payments, operation| async move {
            payments.must_act_for(&caller, &command.order).await?;
            // Two attempts must not be opened at the same moment; without the lock the fence still decides.
            let lock = payments.lock_order(&command.order).await;
            let worked = payments.reopen(&operation, &command).await;
            payments.unlock_order(lock);
            worked
        })
        .await
    }

    async fn reopen(&self, operation: &Operation, command: &Repay) -> Result<Worked, PaymentError> {
        let order = self.must_find(&command.order).await?;
        if let Some(made) = self.opened_by(operation, &order) {
            // Its claim cannot be purged yet: it was lost, and the payment heard of again from the gateway.
            if order.payment(&made).is_some_and(|p| p.created_at > self.oldest_key()) {
                return self.claim_recalled(operation, &order.id, made).await;
            }
            let expired = PaymentError::KeyExpired { order: Some(order.id.clone()), payment: Some(made), refund: None };
            return self.used_before(operation, expired).await;
        }
        let number = self.0.number_key.payment(operation, command.method.gateway, 0);
        let request = self.open_payment(&order, &command.method, number)?;
        // What was opened before and lost here with the store's last commits is neither refused nor forgotten.
        match self.make_way(order, command).await {
            Ok(Way::Free) => {}
            Ok(Way::Reused) => {
                if let Some(worked) = self.recall(operation, &request).await? {
                    return Ok(worked);
                }
            }
            Err(e @ (PaymentError::Rule(_) | PaymentError::PaymentInProgress)) => {
                return self.recall(operation, &request).await?.ok_or(e);
            }
            Err(e) => return Err(e),
        }

        // One transaction claims the key and records what we are about to ask: a crash leaves a trace.
        let holder = random_token();
        let begun = retried(|| self.commit_attempt(operation, &command.method, request.clone(), &holder)).await?;
        let Some(Begun { lease, order, mut payment, reused }) = begun else { return Ok(Worked::Taken) };
        crash_point!("after_intent");
        if !reused {
            self.tell(&order);
            // From here on there is no error: whatever the gateway says, the payment's state tells it.
            let came_to = self.ask(Running { lease: &lease, operation }, &order.id, payment).await;
            let Some(came_to) = came_to else { return Ok(Worked::Taken) };
            payment = came_to;
        }
        Ok(Worked::New { order: order.id, payment: Some(payment), refund: None })
    }

    /// Claims the key for the open attempt, if there still is one that works, or for a new one, which is
    /// recorded with it.
    async fn commit_attempt(
        &self,
        operation: &Operation,
        method: &PaymentMethod,
        request: OpenPayment,
        holder: &str,
    ) -> Result<Option<Begun>, PaymentError> {
        let now = self.now();
        let id = &request.order.clone();
        // What will be claimed is known only with the order held, but claims come first: so it is made for the
        // attempt that was there a moment ago, and checked against the one that is.
        let usable = self.must_find(id).await?.attempt().filter(|a| serves(a, method, now)).map(|a| a.id.clone());
        let tx = self.0.store.begin().await?;
        let payment = usable.clone().unwrap_or_else(|| request.number.clone());
        let claim = NewClaim {
            operation,
            order: id,
            payment: Some(&payment),
            refund: None,
            lease: usable.is_none().then_some((holder, self.0.settings.lease)),
            now,
        };
        let Some(lease) = tx.claim(claim).await? else { return Ok(None) };
        let mut held = tx.hold_order(id).await?.ok_or(PaymentError::NotFound("order"))?;
        let reused = usable.is_some();
        if reused {
            let works = held.order.attempt().is_some_and(|a| a.id == payment && serves(a, method, now));
            if !works {
                return Err(PaymentError::StoreUnavailable(StoreError::Conflict));
            }
        } else {
            held.order.may_be_paid(now, self.margin())?;
            // Another repay may have been faster, without the lock: its attempt is in the way then.
            held.order.begin_attempt(request, now, self.seconds_from_now(20), &operation.subject)?;
            match tx.save(&mut held, now).await {
                Ok(()) => {}
                // The claim was purged long ago; the number it gave is still taken.
                Err(StoreError::IdTaken) => {
                    return Err(PaymentError::KeyExpired { order: None, payment: Some(payment), refund: None });
                }
                Err(e) => return Err(e.into()),
            }
        }
        tx.commit().await?;
        Ok(Some(Begun { lease, order: held.order, payment, reused }))
    }

    /// The payment of this order that the operation has opened before: its key was used, whatever its claim says.
    fn opened_by(&self, operation: &Operation, order: &Order) -> Option<PaymentId> {
        let first = |gateway| self.0.number_key.payment(operation, gateway, 0);
        Gateway::ALL.map(first).into_iter().find(|id| order.payment(id).is_some())
    }

    pub(super) fn margin(&self) -> domain::Duration {
        domain::Duration::from_std(self.0.settings.repay_margin).unwrap_or(domain::Duration::minutes(1))
    }

    /// Lets the order be paid as the command says, or by what is open and answers it.
    async fn make_way(&self, order: Arc<Order>, command: &Repay) -> Result<Way, PaymentError> {
        order.may_be_paid(self.now(), self.margin())?;
        let order = self.settle_or_close_earlier(order, command).await?;
        order.may_be_paid(self.now(), self.margin())?;
        let serves = order.attempt().is_some_and(|a| serves(a, &command.method, self.now()));
        Ok(if serves { Way::Reused } else { Way::Free })
    }

    /// Asks the gateway for what the operation has opened before, under numbers that the store does not know any more.
    /// If there is any, it is recorded, settled or closed, and is the operation's answer.
    async fn recall(&self, operation: &Operation, request: &OpenPayment) -> Result<Option<Worked>, PaymentError> {
        let gateway = self.gateway(request.gateway)?;
        let id = &request.order;
        let mut closed = None;
        for n in 0..domain::MAX_ATTEMPTS as u32 {
            let number = self.0.number_key.payment(operation, request.gateway, n);
            match gateway.find(&number).await {
                // It may have gone on with its next number then.
                Ok(Some(GatewayPayment::Closed)) => {
                    closed = Some(number);
                    continue;
                }
                Ok(Some(_)) => return self.recall_as(operation, request, number).await.map(Some),
                Ok(None) => break,
                Err(e) => {
                    tracing::info!(order = %id, payment = %number, error = %e, "not known whether it was opened before");
                    break;
                }
            }
        }
        match closed {
            Some(number) => self.recall_as(operation, request, number).await.map(Some),
            None => Ok(None),
        }
    }

    /// Records a payment that the store has lost under its number, does what follows, and claims the key for it.
    async fn recall_as(
        &self,
        operation: &Operation,
        request: &OpenPayment,
        number: PaymentId,
    ) -> Result<Worked, PaymentError> {
        let id = &request.order;
        tracing::warn!(order = %id, payment = %number, "the gateway knows a payment that was lost here");
        let request = OpenPayment { number: number.clone(), ..request.clone() };
        self.change(id, None, |order, now| {
            order.recall_attempt(request.clone(), now);
            Ok(())
        })
        .await?;
        if let Err(e) = self.resolve_payment(None, id, &number).await {
            tracing::warn!(order = %id, payment = %number, error = %e, "recorded; the scheduler goes on with it");
        }
        self.claim_recalled(operation, id, number).await
    }

    /// Claims the key for a payment that is there.
    async fn claim_recalled(
        &self,
        operation: &Operation,
        id: &OrderId,
        payment: PaymentId,
    ) -> Result<Worked, PaymentError> {
        let tx = self.0.store.begin().await?;
        let (order, now) = (id, self.now());
        let claim = NewClaim { operation, order, payment: Some(&payment), refund: None, lease: None, now };
        if tx.claim(claim).await?.is_none() {
            return Ok(Worked::Taken);
        }
        tx.commit().await?;
        Ok(Worked::New { order: id.clone(), payment: Some(payment), refund: None })
    }

    /// The order with no live attempt, with the one that answers this command, or with one that gives way to it.
    async fn settle_or_close_earlier(&self, order: Arc<Order>, command: &Repay) -> Result<Arc<Order>, PaymentError> {
        let Some(attempt) = order.attempt() else { return self.close_others_there(order, command).await };
        if serves(attempt, &command.method, self.now()) {
            return Ok(order);
        }
        let earlier = attempt.id.clone();
        if never_handed_out(attempt) {
            // Asking decides it: sent again, settled or given up.
            self.resolve_payment(None, &order.id, &earlier).await?;
            let now_open = self.must_find(&order.id).await?;
            let Some(attempt) = now_open.attempt() else { return self.close_others_there(now_open, command).await };
            if serves(attempt, &command.method, self.now()) {
                return Ok(now_open);
            }
            if attempt.silent_since.is_some() {
                return self.past_the_silent(now_open, command);
            }
        }
        let order = self.close_others_there(order, command).await?;
        self.change(&order.id, None, |order, _| Ok(order.begin_attempt_close(&earlier)?)).await?;
        self.resolve_payment(None, &order.id, &earlier).await?;
        let order = self.must_find(&order.id).await?;
        if order.winner().is_some() {
            return Err(domain::RuleError::AlreadyPaid.into());
        }
        if order.attempt().is_some() { self.past_the_silent(order, command) } else { Ok(order) }
    }

    /// Asks about the attempts at the command's own gateway that gave way to another one, and closes them: while one
    /// is undecided, no other is opened there.
    async fn close_others_there(&self, order: Arc<Order>, command: &Repay) -> Result<Arc<Order>, PaymentError> {
        let there = |p: &&Payment| p.is_open() && p.gateway() == command.method.gateway;
        let live = order.attempt().map(|a| a.id.clone());
        let others: Vec<PaymentId> =
            order.payments.iter().filter(there).map(|p| p.id.clone()).filter(|id| live.as_ref() != Some(id)).collect();
        if others.is_empty() {
            return Ok(order);
        }
        for other in &others {
            self.resolve_payment(None, &order.id, other).await?;
        }
        let order = self.must_find(&order.id).await?;
        if order.winner().is_some() {
            return Err(domain::RuleError::AlreadyPaid.into());
        }
        let open = |id| order.payment(id).is_some_and(Payment::is_open);
        if others.iter().any(open) { Err(PaymentError::PaymentInProgress) } else { Ok(order) }
    }

    /// A gateway that does not answer holds nobody up who goes to another one.
    fn past_the_silent(&self, order: Arc<Order>, command: &Repay) -> Result<Arc<Order>, PaymentError> {
        let way = |a: &Payment| a.gateway() != command.method.gateway && a.gives_way(self.now());
        if order.attempt().is_none_or(way) { Ok(order) } else { Err(PaymentError::PaymentInProgress) }
    }
}

/// How a repay goes on.
enum Way {
    /// No attempt is in the way.
    Free,
    /// One that answers it is.
    Reused,
}

/// What a repay has committed.
struct Begun {
    lease: Lease,
    order: Order,
    payment: PaymentId,
    /// The attempt was open before.
    reused: bool,
}

/// The attempt is what the command asks for, and its action works. Of JSAPI it works for one payer only.
fn serves(attempt: &Payment, method: &PaymentMethod, now: Timestamp) -> bool {
    let same = attempt.gateway() == method.gateway && attempt.request.product == method.product;
    let others = match method.product {
        PaymentProduct::Jsapi => attempt.request.payer_id != method.payer_id,
        // The page would turn them away.
        PaymentProduct::H5 => attempt.request.payer_address != method.payer_address,
        _ => false,
    };
    same && !others && attempt.action(now).is_some()
}

fn never_handed_out(attempt: &Payment) -> bool {
    matches!(attempt.state, PaymentState::Created | PaymentState::Unknown)
}
