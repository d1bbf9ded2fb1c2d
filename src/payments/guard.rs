//! What stands around every mutation: look the key up, lock, claim, act once, replay.

use std::sync::Arc;
use std::time::Duration;

use domain::{Operation, Order, OrderId, PaymentId, RefundId};

use super::ports::{Lock, LockToken};
use super::{Caller, PaymentError, Payments};
use crate::store::{Claim, ClaimState, Lease, StoreError};

/// How long a duplicate waits for the first.
const DUPLICATE_WAITS: Duration = Duration::from_secs(2);
/// How many duplicates of one key wait in this process; the rest is told to come again.
const WAITERS_PER_KEY: usize = 5;
/// A foreign call is begun only with this much of the lease left.
pub(super) const BEFORE_A_CALL: Duration = Duration::from_secs(9);

/// What a mutation answers: ids that never change and the order as it is now.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The order now.
    pub order: Arc<Order>,
    /// The payment that this operation opened.
    pub payment: Option<PaymentId>,
    /// The refund that this operation asked for.
    pub refund: Option<RefundId>,
    /// The operation was done before; this is its answer again.
    pub replayed: bool,
}

/// Whether the caller may see the order that an operation is about.
pub(super) type May = Box<dyn Fn(&Order) -> bool + Send + Sync>;

/// For mutations that everybody who sees the order may repeat.
pub(super) fn sees(caller: &Caller) -> May {
    let caller = caller.clone();
    Box::new(move |order| caller.sees(order))
}

/// For mutations that only who acts for the customer may repeat.
pub(super) fn acts_for(caller: &Caller) -> May {
    let caller = caller.clone();
    Box::new(move |order| caller.acts_for(order))
}

/// What the work inside the guard came to.
pub(super) enum Worked {
    /// Done; these are its ids.
    New { order: OrderId, payment: Option<PaymentId>, refund: Option<RefundId> },
    /// The store says that the key is taken.
    Taken,
}

impl Payments {
    /// Runs a guarded mutation in a task of its own: a client that hangs up does not cancel it, and what
    /// outlasts the deadline goes on. `may` is asked before anything is told of an order: of a replay too.
    pub(super) async fn guarded<F, Fut>(&self, operation: Operation, may: May, work: F) -> Result<Outcome, PaymentError>
    where
        F: FnOnce(Payments, Operation) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Worked, PaymentError>> + Send,
    {
        let this = self.clone();
        let name = operation.name.as_str();
        let task = self.0.tasks.spawn(async move { this.at_most_once(operation, may, work).await });
        let result = match tokio::time::timeout(self.0.settings.deadline, task).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(PaymentError::Internal(format!("the operation broke off: {panic}"))),
            Err(_) => Err(PaymentError::InProgress),
        };
        let outcome = match &result {
            Ok(Outcome { replayed: false, .. }) => "new",
            Ok(Outcome { replayed: true, .. }) => "replayed",
            Err(PaymentError::InProgress) => "in_progress",
            Err(PaymentError::StoreUnavailable(_) | PaymentError::Internal(_)) => "broken",
            Err(_) => "refused",
        };
        metrics::counter!("payonce_operations_total", "operation" => name, "outcome" => outcome).increment(1);
        result
    }

    async fn at_most_once<F, Fut>(self, operation: Operation, may: May, work: F) -> Result<Outcome, PaymentError>
    where
        F: FnOnce(Payments, Operation) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Worked, PaymentError>> + Send,
    {
        match self.replay(&operation, &may).await {
            Ok(Some(outcome)) => return Ok(outcome),
            Ok(None) => {}
            Err(PaymentError::InProgress) => {
                return self.wait_for_other(&operation, &may).await?.ok_or(PaymentError::InProgress);
            }
            Err(e) => return Err(e),
        }
        // The lock only saves work: who does not get it waits a little for the other's claim, and then
        // the store decides.
        let lock = self.lock_operation(&operation).await;
        if matches!(lock, Lock::Busy)
            && let Some(outcome) = self.wait_for_other(&operation, &may).await?
        {
            return Ok(outcome);
        }
        let worked = work(self.clone(), operation.clone()).await;
        if let Lock::Held(token) = lock {
            self.0.coordination.unlock(token).await;
        }
        crash_point!("before_reply");
        match worked {
            Ok(Worked::New { order, payment, refund }) => {
                let order = self.must_find(&order).await?;
                Ok(Outcome { order, payment, refund, replayed: false })
            }
            Ok(Worked::Taken) => self.wait_for_other(&operation, &may).await?.ok_or(PaymentError::InProgress),
            // The commit's answer may have been lost on its way: the claim tells.
            Err(e @ PaymentError::StoreUnavailable(StoreError::Unavailable(_))) => {
                match self.replay(&operation, &may).await {
                    Ok(Some(outcome)) => Ok(Outcome { replayed: false, ..outcome }),
                    Err(PaymentError::InProgress) => Err(PaymentError::InProgress),
                    Ok(None) | Err(_) => Err(e),
                }
            }
            Err(e) => Err(e),
        }
    }

    /// The answer again, if the key is known. An operation whose lease has ended is finished here first;
    /// one that is under way is `InProgress`.
    async fn replay(&self, operation: &Operation, may: &May) -> Result<Option<Outcome>, PaymentError> {
        let Some(claim) = self.0.store.claim_of(&operation.subject, operation.key.as_str()).await? else {
            return Ok(None);
        };
        if claim.name != operation.name || claim.fingerprint != operation.fingerprint.to_hex() {
            return Err(PaymentError::KeyMismatch);
        }
        if !may(&*self.must_find(&claim.order).await?) {
            return Err(PaymentError::NotFound("order"));
        }
        if claim.state == ClaimState::Running {
            let Some(lease) = self.take_over(&claim).await? else { return Err(PaymentError::InProgress) };
            self.resume(&claim, &lease).await?;
            if self.0.store.claim_of(&operation.subject, operation.key.as_str()).await?.is_none() {
                // A rule said no after all (a cancelled order was paid meanwhile): nothing began.
                return Ok(None);
            }
        }
        let order = self.must_find(&claim.order).await?;
        Ok(Some(Outcome { order, payment: claim.payment, refund: claim.refund, replayed: true }))
    }

    /// Waits for somebody else's operation under the same key: for its answer, or `None` when it never
    /// claimed anything.
    async fn wait_for_other(&self, operation: &Operation, may: &May) -> Result<Option<Outcome>, PaymentError> {
        let _waiting = self.wait_in_line(operation)?;
        let until = tokio::time::Instant::now() + DUPLICATE_WAITS;
        let mut pause = Duration::from_millis(10);
        loop {
            tokio::time::sleep(pause).await;
            match self.replay(operation, may).await {
                Ok(Some(outcome)) => return Ok(Some(outcome)),
                Ok(None) if tokio::time::Instant::now() >= until => return Ok(None),
                Err(PaymentError::InProgress) if tokio::time::Instant::now() >= until => {
                    return Err(PaymentError::InProgress);
                }
                Ok(None) | Err(PaymentError::InProgress) => {}
                Err(e) => return Err(e),
            }
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    fn wait_in_line(&self, operation: &Operation) -> Result<Waiting, PaymentError> {
        let key = lock_name(operation);
        let mut waiting = self.0.waiting.lock().unwrap_or_else(|e| e.into_inner());
        let count = waiting.entry(key.clone()).or_default();
        if *count >= WAITERS_PER_KEY {
            return Err(PaymentError::InProgress);
        }
        *count += 1;
        Ok(Waiting { payments: self.clone(), key })
    }

    async fn lock_operation(&self, operation: &Operation) -> Lock {
        self.0.coordination.lock(&lock_name(operation), self.0.settings.lease).await
    }

    /// Takes over an operation whose lease has ended; `None`: it is alive, or another was faster. The first thing
    /// to do then is to ask the gateway: with less time than that takes, processes would take it from each other
    /// for ever.
    pub(super) async fn take_over(&self, claim: &Claim) -> Result<Option<Lease>, PaymentError> {
        Ok(self.0.store.take_over(claim.seq, &random_token(), self.0.settings.lease.max(BEFORE_A_CALL)).await?)
    }

    /// Makes sure that enough of the lease is left for a foreign call; `InProgress`: it is no longer ours.
    pub(super) async fn before_a_call(&self, lease: Option<&Lease>) -> Result<(), PaymentError> {
        let Some(lease) = lease else { return Ok(()) };
        let by = self.0.settings.lease.max(BEFORE_A_CALL);
        if self.0.store.renew(lease, by).await? { Ok(()) } else { Err(PaymentError::InProgress) }
    }

    /// The order, which must be there: a claim names it.
    pub(super) async fn must_find(&self, id: &OrderId) -> Result<Arc<Order>, PaymentError> {
        self.0.store.order(id).await?.map(Arc::new).ok_or(PaymentError::NotFound("order"))
    }

    /// `NotFound` unless the caller acts for the order's customer.
    pub(super) async fn must_act_for(&self, caller: &Caller, id: &OrderId) -> Result<(), PaymentError> {
        let order = self.must_find(id).await?;
        if caller.acts_for(&order) { Ok(()) } else { Err(PaymentError::NotFound("order")) }
    }

    /// The lock of one order, held while its gateway is talked to. `None`: nobody can say, or somebody else has
    /// it for longer than a duplicate would wait; the store's fence judges then.
    pub(super) async fn lock_order(&self, id: &OrderId) -> Option<LockToken> {
        let name = format!("order:{id}");
        let until = tokio::time::Instant::now() + DUPLICATE_WAITS;
        loop {
            match self.0.coordination.lock(&name, self.0.settings.lease).await {
                Lock::Held(token) => return Some(token),
                Lock::Unavailable => return None,
                Lock::Busy if tokio::time::Instant::now() >= until => return None,
                Lock::Busy => tokio::time::sleep(Duration::from_millis(25)).await,
            }
        }
    }

    pub(super) async fn unlock_order(&self, token: Option<LockToken>) {
        if let Some(token) = token {
            self.0.coordination.unlock(token).await;
        }
    }
}

/// A place in the line of those who wait for one key.
struct Waiting {
    payments: Payments,
    key: String,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.payments.0.waiting.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(count) = waiting.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.key);
            }
        }
    }
}

fn lock_name(operation: &Operation) -> String {
    format!("operation:{}:{}", operation.key.as_str(), operation.subject)
}

/// 128 random bits in hexadecimal: who holds a lease.
pub(super) fn random_token() -> String {
    let mut bytes = [0; 16];
    // The generator of aws-lc-rs fails only when the operating system has none.
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => hex::encode(bytes),
        Err(_) => format!("{:032x}", std::process::id()),
    }
}
