use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use domain::{OperationName, PaymentId};

use crate::graphql::Asked;
use crate::graphql::arguments::{called, order_id, short_text};
use crate::graphql::enums::RefundReason;
use crate::graphql::error::{ApiError, code};
use crate::graphql::order::OrderView;
use crate::graphql::product::MoneyInput;
use crate::graphql::refund::RefundView;
use crate::graphql::scalars::IdempotencyKey;
use crate::payments::{Outcome, PaymentError, RefundOrder};

/// What is to go back.
#[derive(InputObject)]
pub struct RefundOrderInput {
    /// Of which order.
    order_id: ID,
    /// Of which of its payments. Left out: the one that counts, or else the one whose amount does not fit.
    payment_id: Option<ID>,
    /// How much. Left out: all that is left.
    amount: Option<MoneyInput>,
    /// Why. SURPLUS and OUTSIDE are given by Payonce alone.
    reason: RefundReason,
    /// Staff's own words, at most 500 characters.
    note: Option<String>,
}

impl RefundOrderInput {
    fn parse(self) -> Result<RefundOrder, ApiError> {
        if matches!(self.reason, RefundReason::Surplus | RefundReason::Outside) {
            return Err(ApiError::bad_input("SURPLUS and OUTSIDE are given by Payonce alone; choose another reason."));
        }
        let no_payment = || ApiError::new(code::NOT_FOUND, "There is no such payment that you may see.");
        Ok(RefundOrder {
            order: order_id(&self.order_id)?,
            payment: self.payment_id.map(|id| PaymentId::parse(&id).map_err(|_| no_payment())).transpose()?,
            amount: self.amount.map(|a| a.parse()).transpose()?,
            reason: self.reason.into(),
            note: short_text("note", self.note)?,
        })
    }
}

/// The refund and its order.
#[derive(SimpleObject)]
pub struct RefundOrderPayload {
    /// The order as it is now.
    order: OrderView,
    /// The refund as it is now. PROCESSING is not success yet: watch it. PENDING_APPROVAL: approveRefund or rejectRefund
    /// decides.
    refund: RefundView,
    /// This key was answered before; nothing was done again.
    replayed: bool,
}

impl TryFrom<Outcome> for RefundOrderPayload {
    type Error = ApiError;
    fn try_from(o: Outcome) -> Result<Self, ApiError> {
        let id = o.refund.ok_or_else(|| PaymentError::Internal("a refund without its number".to_owned()))?;
        Ok(Self { refund: RefundView { order: o.order.clone(), id }, order: OrderView(o.order), replayed: o.replayed })
    }
}

#[derive(Default)]
pub struct RefundOrderMutation;

#[Object]
impl RefundOrderMutation {
    /// Gives money back, all that is left or a part of it. For staff with the role refunder or admin.
    /// A large one may wait for another person's approveRefund first; LIMIT_EXCEEDED: the shop gives back less at once,
    /// `extensions.maximumRefundable`. Repeat with the same key to retry safely.
    async fn refund_order(
        &self,
        ctx: &Context<'_>,
        idempotency_key: IdempotencyKey,
        input: RefundOrderInput,
    ) -> Result<RefundOrderPayload, ApiError> {
        let caller = ctx.caller()?.may(crate::payments::Role::Refunder)?;
        let call = called(ctx, OperationName::RefundOrder, idempotency_key)?;
        let command = input.parse()?;
        let outcome = ctx.payments()?.refund(caller, call.operation, command).await?;
        outcome.try_into()
    }
}
