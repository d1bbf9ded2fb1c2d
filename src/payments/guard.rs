//! What stands around every mutation: look the key up, lock, claim, act once, replay.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{Operation, Order, OrderId, PaymentId, RefundId};
use tokio::sync::OwnedSemaphorePermit;

use super::ports::{Begun, Lock, LockToken, Memory, OrderChanged};
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
        self.guarded_once(operation, may, None, |payments, operation, _| work(payments, operation)).await
    }

    /// [`Payments::guarded`], for work that wants to know whether the subject did something before: it gets what
    /// was remembered under the memory's name.
    pub(super) async fn guarded_once<F, Fut>(
        &self,
        operation: Operation,
        may: May,
        memory: Option<Memory>,
        work: F,
    ) -> Result<Outcome, PaymentError>
    where
        F: FnOnce(Payments, Operation, Option<String>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Worked, PaymentError>> + Send,
    {
        let this = self.clone();
        let name = operation.name.as_str();
        let result = match self.admit(&operation) {
            Ok(place) => {
                let task = self.0.tasks.spawn(async move {
                    let _place = place;
                    this.at_most_once(operation, may, memory, work).await
                });
                match tokio::time::timeout(self.0.settings.deadline, task).await {
                    Ok(Ok(result)) => result,
                    // Its claim, if it made one, is left to its lease: another goes on with it.
                    Ok(Err(panic)) => Err(PaymentError::Internal(format!("the operation broke off: {panic}"))),
                    Err(_) => Err(PaymentError::InProgress),
                }
            }
            Err(e) => Err(e),
        };
        let outcome = match &result {
            Ok(Outcome { replayed: false, .. }) => "new",
            Ok(Outcome { replayed: true, .. }) => "replayed",
            Err(PaymentError::InProgress) => "in_progress",
            Err(PaymentError::Overloaded) => "overloaded",
            Err(PaymentError::StoreUnavailable(_) | PaymentError::Internal(_)) => "broken",
            Err(_) => "refused",
        };
        metrics::counter!("payonce_operations_total", "operation" => name, "outcome" => outcome).increment(1);
        result
    }

    async fn at_most_once<F, Fut>(
        self,
        operation: Operation,
        may: May,
        memory: Option<Memory>,
        work: F,
    ) -> Result<Outcome, PaymentError>
    where
        F: FnOnce(Payments, Operation, Option<String>) -> Fut + Send + 'static,
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
        let Begun { lock, remembered } = self.begin(&operation, memory.as_ref()).await;
        if matches!(lock, Lock::Busy)
            && let Some(outcome) = self.wait_for_other(&operation, &may).await?
        {
            return Ok(outcome);
        }
        let worked = work(self.clone(), operation.clone(), remembered).await;
        let made = match &worked {
            Ok(Worked::New { order, .. }) => self.must_find(order).await,
            _ => Err(PaymentError::NotFound("order")),
        };
        let change = made.as_ref().ok().map(|order| OrderChanged::to(order));
        self.0.coordination.end(lock.held(), change.as_ref());
        crash_point!("before_reply");
        match worked {
            Ok(Worked::New { payment, refund, .. }) => Ok(Outcome { order: made?, payment, refund, replayed: false }),
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
        if claim.operation != *operation {
            return Err(PaymentError::KeyMismatch);
        }
        if !may(&*self.must_find(&claim.order).await?) {
            return Err(PaymentError::NotFound("order"));
        }
        let mut claim = claim;
        if claim.state == ClaimState::Running {
            let Some(lease) = self.take_over(&claim).await? else { return Err(PaymentError::InProgress) };
            self.resume(&claim, &lease).await?;
            claim = match self.0.store.claim_of(&operation.subject, operation.key.as_str()).await? {
                // It may have gone on to another number.
                Some(claim) if claim.state == ClaimState::Done => claim,
                Some(_) => return Err(PaymentError::InProgress),
                // A rule said no after all (a cancelled order was paid meanwhile): nothing began.
                None => return Ok(None),
            };
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

    /// A place for an operation: nothing is asked of anybody before it has one. `Overloaded`: there is none;
    /// a duplicate of one that has a place is `InProgress` then.
    fn admit(&self, operation: &Operation) -> Result<Place, PaymentError> {
        let key = name_of(operation);
        let permit = self.0.places.clone().try_acquire_owned();
        let mut placed = self.0.placed.lock().unwrap_or_else(|e| e.into_inner());
        match permit {
            Ok(permit) => {
                *placed.entry(key.clone()).or_default() += 1;
                Ok(Place { payments: self.clone(), key, _permit: permit })
            }
            Err(_) if placed.contains_key(&key) => Err(PaymentError::InProgress),
            Err(_) => Err(PaymentError::Overloaded),
        }
    }

    /// What to answer when an id that a key derives is taken: the key was used so long ago that its claim is
    /// purged, unless the claim is there, made a moment ago by somebody else.
    pub(super) async fn used_before(&self, operation: &Operation, made: PaymentError) -> Result<Worked, PaymentError> {
        match self.0.store.claim_of(&operation.subject, operation.key.as_str()).await? {
            Some(_) => Ok(Worked::Taken),
            None => Err(made),
        }
    }

    fn wait_in_line(&self, operation: &Operation) -> Result<Waiting, PaymentError> {
        let key = name_of(operation);
        let mut waiting = self.0.waiting.lock().unwrap_or_else(|e| e.into_inner());
        let count = waiting.entry(key.clone()).or_default();
        if *count >= WAITERS_PER_KEY {
            return Err(PaymentError::InProgress);
        }
        *count += 1;
        Ok(Waiting { payments: self.clone(), key })
    }

    async fn begin(&self, operation: &Operation, memory: Option<&Memory>) -> Begun {
        let name = format!("operation:{}", operation.key.as_str());
        self.0.coordination.begin(&operation.subject, &name, self.0.settings.lease, memory).await
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
        let until = tokio::time::Instant::now() + DUPLICATE_WAITS;
        loop {
            match self.0.coordination.begin(id.as_str(), "order", self.0.settings.lease, None).await.lock {
                Lock::Held(token) => return Some(token),
                Lock::Unavailable => return None,
                Lock::Busy if tokio::time::Instant::now() >= until => return None,
                Lock::Busy => tokio::time::sleep(Duration::from_millis(25)).await,
            }
        }
    }

    pub(super) fn unlock_order(&self, token: Option<LockToken>) {
        self.0.coordination.end(token, None);
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
        one_less(&mut waiting, &self.key);
    }
}

/// One operation's place; free again when it is dropped.
struct Place {
    payments: Payments,
    key: String,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut placed = self.payments.0.placed.lock().unwrap_or_else(|e| e.into_inner());
        one_less(&mut placed, &self.key);
    }
}

fn one_less(counts: &mut HashMap<String, usize>, key: &str) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// What tells an operation from every other, within this process.
fn name_of(operation: &Operation) -> String {
    format!("{}:{}", operation.key.as_str(), operation.subject)
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
