use async_graphql::{Context, ID, Object};

use crate::graphql::Asked;
use crate::graphql::arguments::order_id;
use crate::graphql::error::ApiError;
use crate::graphql::order::OrderView;

#[derive(Default)]
pub struct SyncOrderMutation;

#[Object]
impl SyncOrderMutation {
    /// Asks the gateway now: for the page a payer comes back to. Changes nothing that was not already true.
    async fn sync_order(&self, ctx: &Context<'_>, order_id: ID) -> Result<OrderView, ApiError> {
        let id = self::order_id(&order_id)?;
        Ok(OrderView(ctx.payments()?.sync_order(ctx.caller()?, &id).await?))
    }
}
