use async_graphql::{Context, ID, Object};
use domain::EventId;

use crate::graphql::Asked;
use crate::graphql::error::{ApiError, code};

#[derive(Default)]
pub struct ResendDeadLettersMutation;

#[Object]
impl ResendDeadLettersMutation {
    /// Has these dead letters told once more, or all of them when none is named; how many. Each is tried once, under
    /// its old id, and leaves the list when it is taken. No money moves: sent twice, it asks for the same. For admins.
    async fn resend_dead_letters(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "`DeadLetter.eventId`.")] event_ids: Option<Vec<ID>>,
    ) -> Result<i32, ApiError> {
        let unknown = |_| ApiError::new(code::NOT_FOUND, "An event's id is evt_ and 26 characters.");
        let ids = event_ids
            .map(|ids| ids.iter().map(|id| EventId::parse(id).map_err(unknown)).collect::<Result<Vec<_>, _>>());
        let resent = ctx.payments()?.resend_dead_letters(ctx.caller()?, ids.transpose()?.as_deref()).await?;
        Ok(i32::try_from(resent).unwrap_or(i32::MAX))
    }
}
