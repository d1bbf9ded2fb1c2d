//! Events that the webhook did not take: admins see them, and have them told once more.

use domain::EventId;

use super::{Caller, PaymentError, Payments, Role};
use crate::store::{DeadLetter, Page};

impl Payments {
    /// A page of dead letters, oldest first, for admins.
    pub async fn dead_letters(
        &self,
        caller: &Caller,
        first: u64,
        after: Option<&str>,
    ) -> Result<Page<DeadLetter>, PaymentError> {
        caller.may(Role::Admin)?;
        Ok(self.0.store.dead_letters(first, after).await?)
    }

    /// Has these dead letters told once more, or all of them; how many were not waiting for it already. For admins.
    pub async fn resend_dead_letters(&self, caller: &Caller, ids: Option<&[EventId]>) -> Result<u64, PaymentError> {
        caller.may(Role::Admin)?;
        let wanted = self.0.store.resend(ids, self.now()).await?;
        tracing::info!(admin = caller.subject, n = wanted, "dead letters are told once more");
        Ok(wanted)
    }
}
