use async_graphql::{Context, ID, Object, SimpleObject};
use domain::OperationName;

use crate::graphql::Asked;
use crate::graphql::arguments::{called, refund_id, short_text};
use crate::graphql::error::ApiError;
use crate::graphql::order::OrderView;
use crate::graphql::refund::RefundView;
use crate::graphql::scalars::IdempotencyKey;
use crate::payments::{Outcome, PaymentError, Role, Verdict};

/// The refund that is rejected, and its order.
#[derive(SimpleObject)]
pub struct RejectRefundPayload {
    /// The order as it is now: the refund's amount can be asked back again.
    order: OrderView,
    /// The refund as it is now.
    refund: RefundView,
    /// This key was answered before; nothing was done again.
    replayed: bool,
}

impl TryFrom<Outcome> for RejectRefundPayload {
    type Error = ApiError;
    fn try_from(o: Outcome) -> Result<Self, ApiError> {
        let id = o.refund.ok_or_else(|| PaymentError::Internal("a rejection without a refund".to_owned()))?;
        Ok(Self { refund: RefundView { order: o.order.clone(), id }, order: OrderView(o.order), replayed: o.replayed })
    }
}

#[derive(Default)]
pub struct RejectRefundMutation;

#[Object]
impl RejectRefundMutation {
    /// Ends a refund that is PENDING_APPROVAL; no money moves. For staff with the role approver or admin, and never
    /// for whoever asked for it. Repeat with the same key to retry safely.
    async fn reject_refund(
        &self,
        ctx: &Context<'_>,
        idempotency_key: IdempotencyKey,
        refund_id: ID,
        #[graphql(desc = "Why, at most 500 characters; it shows as the refund's failureReason.")] reason: Option<
            String,
        >,
    ) -> Result<RejectRefundPayload, ApiError> {
        let caller = ctx.caller()?.may(Role::Approver)?;
        let call = called(ctx, OperationName::RejectRefund, idempotency_key)?;
        let refund = self::refund_id(&refund_id)?;
        let verdict = Verdict::No { reason: short_text("reason", reason)? };
        ctx.payments()?.decide_refund(caller, call.operation, refund, verdict).await?.try_into()
    }
}
