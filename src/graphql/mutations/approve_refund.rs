use async_graphql::{Context, ID, Object, SimpleObject};
use domain::OperationName;

use crate::graphql::Asked;
use crate::graphql::arguments::{called, refund_id};
use crate::graphql::error::ApiError;
use crate::graphql::order::OrderView;
use crate::graphql::refund::RefundView;
use crate::graphql::scalars::IdempotencyKey;
use crate::payments::{Outcome, PaymentError, Role, Verdict};

/// The refund that is approved, and its order.
#[derive(SimpleObject)]
pub struct ApproveRefundPayload {
    /// The order as it is now.
    order: OrderView,
    /// The refund as it is now. PROCESSING is not success yet: watch it.
    refund: RefundView,
    /// This key was answered before; nothing was done again.
    replayed: bool,
}

impl TryFrom<Outcome> for ApproveRefundPayload {
    type Error = ApiError;
    fn try_from(o: Outcome) -> Result<Self, ApiError> {
        let id = o.refund.ok_or_else(|| PaymentError::Internal("an approval without a refund".to_owned()))?;
        Ok(Self { refund: RefundView { order: o.order.clone(), id }, order: OrderView(o.order), replayed: o.replayed })
    }
}

#[derive(Default)]
pub struct ApproveRefundMutation;

#[Object]
impl ApproveRefundMutation {
    /// Lets a refund go that is PENDING_APPROVAL. For staff with the role approver or admin, and never for whoever
    /// asked for it. Repeat with the same key to retry safely.
    async fn approve_refund(
        &self,
        ctx: &Context<'_>,
        idempotency_key: IdempotencyKey,
        refund_id: ID,
    ) -> Result<ApproveRefundPayload, ApiError> {
        let caller = ctx.caller()?.may(Role::Approver)?;
        let call = called(ctx, OperationName::ApproveRefund, idempotency_key)?;
        let refund = self::refund_id(&refund_id)?;
        ctx.payments()?.decide_refund(caller, call.operation, refund, Verdict::Yes).await?.try_into()
    }
}
