use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use domain::OperationName;

use crate::graphql::Asked;
use crate::graphql::arguments::{called, order_id, short_text};
use crate::graphql::error::ApiError;
use crate::graphql::order::OrderView;
use crate::graphql::scalars::IdempotencyKey;
use crate::payments::Cancel;

/// Which order.
#[derive(InputObject)]
pub struct CancelOrderInput {
    /// The order.
    order_id: ID,
    /// Why, at most 500 characters.
    reason: Option<String>,
}

/// The order after the cancellation.
#[derive(SimpleObject)]
pub struct CancelOrderPayload {
    /// The order as it is now. While its payment is being closed at the gateway it may not be CLOSED yet.
    order: OrderView,
    /// This key was answered before; nothing was done again.
    replayed: bool,
}

#[derive(Default)]
pub struct CancelOrderMutation;

#[Object]
impl CancelOrderMutation {
    /// Closes an unpaid order; an open payment is asked about and closed at the gateway first. Paid
    /// meanwhile: ORDER_ALREADY_PAID. Repeat with the same key to retry safely.
    async fn cancel_order(
        &self,
        ctx: &Context<'_>,
        idempotency_key: IdempotencyKey,
        input: CancelOrderInput,
    ) -> Result<CancelOrderPayload, ApiError> {
        let call = called(ctx, OperationName::CancelOrder, idempotency_key)?;
        let reason = short_text("reason", input.reason)?;
        let command = Cancel { order: order_id(&input.order_id)?, reason };
        let outcome = ctx.payments()?.cancel(ctx.caller()?, call.operation, command).await?;
        Ok(CancelOrderPayload { order: OrderView(outcome.order), replayed: outcome.replayed })
    }
}
