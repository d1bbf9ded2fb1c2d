//! One file per mutation: its input, its payload, its resolver.

mod approve_refund;
mod cancel_order;
mod create_order;
mod refund_order;
mod reject_refund;
mod repay_order;
mod resend_dead_letters;
mod sync_order;

use async_graphql::MergedObject;

/// Everything that changes something. Money moves only with an idempotency key.
#[derive(MergedObject)]
#[graphql(name = "Mutation")]
pub struct MutationRoot(
    create_order::CreateOrderMutation,
    repay_order::RepayOrderMutation,
    cancel_order::CancelOrderMutation,
    refund_order::RefundOrderMutation,
    approve_refund::ApproveRefundMutation,
    reject_refund::RejectRefundMutation,
    sync_order::SyncOrderMutation,
    resend_dead_letters::ResendDeadLettersMutation,
);

/// The whole mutation type.
pub type Mutation = MutationRoot;

impl MutationRoot {
    /// All of them.
    pub fn all() -> Self {
        Self(
            create_order::CreateOrderMutation,
            repay_order::RepayOrderMutation,
            cancel_order::CancelOrderMutation,
            refund_order::RefundOrderMutation,
            approve_refund::ApproveRefundMutation,
            reject_refund::RejectRefundMutation,
            sync_order::SyncOrderMutation,
            resend_dead_letters::ResendDeadLettersMutation,
        )
    }
}
