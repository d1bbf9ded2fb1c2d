//! Live status.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Subscription as SubscriptionType};
use domain::{Order, Timestamp};
use futures_util::Stream;

use super::Asked;
use super::arguments::order_id;
use super::enums::OrderStatus;
use super::error::ApiError;
use super::order::OrderView;
use super::payment::PaymentView;
use super::refund::RefundView;

/// Everything that can be watched.
pub struct Subscription;

#[SubscriptionType]
impl Subscription {
    /// The current state first, then every change; completes when the order is CLOSED or REFUNDED.
    async fn payment_status(
        &self,
        ctx: &Context<'_>,
        order_id: ID,
    ) -> Result<impl Stream<Item = Result<PaymentStatusEvent, ApiError>>, ApiError> {
        let caller = ctx.caller()?;
        let id = self::order_id(&order_id)?;
        let payments = ctx.payments()?.clone();
        let watch = payments.watch(caller, &id).await?;
        Ok(futures_util::stream::unfold((watch, payments), |(mut watch, payments)| async move {
            let next = watch.next().await?;
            let event = next.map(|order| PaymentStatusEvent { order, at: payments.now() }).map_err(ApiError::from);
            Some((event, (watch, payments)))
        }))
    }
}

/// A state of an order. Versions only rise.
pub struct PaymentStatusEvent {
    order: Arc<Order>,
    at: Timestamp,
}

#[Object]
impl PaymentStatusEvent {
    /// Which order.
    async fn order_id(&self) -> ID {
        ID(self.order.id.to_string())
    }
    /// A higher one is newer.
    async fn version(&self) -> i32 {
        i32::try_from(self.order.version).unwrap_or(i32::MAX)
    }
    /// Where the order stands.
    async fn order_status(&self) -> OrderStatus {
        self.order.status().into()
    }
    /// The order as it was read for this event.
    async fn order(&self) -> OrderView {
        OrderView(self.order.clone())
    }
    /// The payment that counts, or the latest attempt.
    async fn payment(&self) -> Option<PaymentView> {
        let it = self.order.winner().or_else(|| self.order.payments.last())?;
        Some(PaymentView { order: self.order.clone(), id: it.id.clone() })
    }
    /// The latest refund.
    async fn refund(&self) -> Option<RefundView> {
        let it = self.order.refunds.last()?;
        Some(RefundView { order: self.order.clone(), id: it.id.clone() })
    }
    /// When it was read.
    async fn at(&self) -> Timestamp {
        self.at
    }
}
