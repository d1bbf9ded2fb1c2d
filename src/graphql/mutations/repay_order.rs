use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use domain::OperationName;

use super::create_order::PaymentMethodInput;
use crate::graphql::Asked;
use crate::graphql::arguments::{called, client_address, order_id};
use crate::graphql::error::ApiError;
use crate::graphql::order::OrderView;
use crate::graphql::payment::PaymentView;
use crate::graphql::scalars::IdempotencyKey;
use crate::payments::{Outcome, PaymentError, Repay};

/// Which order, and how it is to be paid now.
#[derive(InputObject)]
pub struct RepayOrderInput {
    /// The order.
    order_id: ID,
    /// How.
    payment: PaymentMethodInput,
}

/// The order and the payment to go on with.
#[derive(SimpleObject)]
pub struct RepayOrderPayload {
    /// The order as it is now.
    order: OrderView,
    /// The payment to go on with: a new one, or the open one when it fits.
    payment: PaymentView,
    /// This key was answered before; nothing was done again.
    replayed: bool,
}

impl TryFrom<Outcome> for RepayOrderPayload {
    type Error = ApiError;
    fn try_from(o: Outcome) -> Result<Self, ApiError> {
        let id = o.payment.ok_or_else(|| PaymentError::Internal("a repay without a payment".to_owned()))?;
        Ok(Self {
            payment: PaymentView { order: o.order.clone(), id },
            order: OrderView(o.order),
            replayed: o.replayed,
        })
    }
}

#[derive(Default)]
pub struct RepayOrderMutation;

#[Object]
impl RepayOrderMutation {
    /// Opens another payment of an unpaid order; the earlier one is asked about and closed first. Repeat
    /// with the same key to retry safely.
    async fn repay_order(
        &self,
        ctx: &Context<'_>,
        idempotency_key: IdempotencyKey,
        input: RepayOrderInput,
    ) -> Result<RepayOrderPayload, ApiError> {
        let call = called(ctx, OperationName::RepayOrder, idempotency_key)?;
        let mut command = Repay { order: order_id(&input.order_id)?, method: input.payment.parse()? };
        command.method.payer_address = client_address(ctx);
        let outcome = ctx.payments()?.repay(ctx.caller()?, call.operation, command).await?;
        outcome.try_into()
    }
}
