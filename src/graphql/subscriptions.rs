//! Live status.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Subscription as SubscriptionType};
use domain::Timestamp;
use futures_util::Stream;
use futures_util::stream::iter;

use super::Asked;
use super::arguments::order_id;
use super::enums::OrderStatus;
use super::error::ApiError;
use super::feed::{Joined, Joining, Shown};
use super::order::OrderView;
use super::payment::PaymentView;
use super::queries::OrderFilter;
use super::refund::RefundView;
use crate::payments::{PaymentError, Sight};

/// Everything that can be watched.
pub struct Subscription;

#[SubscriptionType]
impl Subscription {
    /// The current state first, then every change; completes when the order is CLOSED or REFUNDED.
    async fn payment_status(
        &self,
        ctx: &Context<'_>,
        order_id: ID,
    ) -> Result<impl Stream<Item = PaymentStatusEvent>, ApiError> {
        let caller = ctx.caller()?;
        let id = self::order_id(&order_id)?;
        if let Some(event) = shown(ctx) {
            return Ok(iter(Some(event)));
        }
        let watch = ctx.payments()?.watch(caller, &id).await?;
        joining(ctx)?.join(Joined::Order(Box::new(watch)));
        Ok(iter(None))
    }

    /// Staff: every order that changes, as it changes.
    async fn order_activity(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which orders.")] filter: Option<OrderFilter>,
    ) -> Result<impl Stream<Item = PaymentStatusEvent>, ApiError> {
        let caller = ctx.caller()?;
        if let Some(event) = shown(ctx) {
            return Ok(iter(Some(event)));
        }
        let activity = ctx.payments()?.activity(caller, filter.unwrap_or_default().into()).await?;
        joining(ctx)?.join(Joined::Every(Box::new(activity)));
        Ok(iter(None))
    }
}

/// What a feed asks to be shown; `None`: the subscription begins, and is to join what it watches.
fn shown(ctx: &Context<'_>) -> Option<PaymentStatusEvent> {
    ctx.data_opt::<Shown>().map(|shown| PaymentStatusEvent(shown.0.clone()))
}

fn joining<'a>(ctx: &'a Context<'_>) -> Result<&'a Joining, ApiError> {
    let joining = ctx.data_opt::<Arc<Joining>>().map(Arc::as_ref);
    joining.ok_or_else(|| PaymentError::Internal("a subscription was executed without a feed".to_owned()).into())
}

/// A state of an order. Versions only rise.
pub struct PaymentStatusEvent(Arc<Sight>);

#[Object]
impl PaymentStatusEvent {
    /// Which order.
    async fn order_id(&self) -> ID {
        ID(self.0.order.id.to_string())
    }
    /// A higher one is newer.
    async fn version(&self) -> i32 {
        i32::try_from(self.0.order.version).unwrap_or(i32::MAX)
    }
    /// Where the order stands.
    async fn order_status(&self) -> OrderStatus {
        self.0.order.status().into()
    }
    /// The order as it was read for this event.
    async fn order(&self) -> OrderView {
        OrderView(self.0.order.clone())
    }
    /// The payment that counts, or the latest attempt.
    async fn payment(&self) -> Option<PaymentView> {
        let it = self.0.order.winner().or_else(|| self.0.order.payments.last())?;
        Some(PaymentView { order: self.0.order.clone(), id: it.id.clone() })
    }
    /// The latest refund.
    async fn refund(&self) -> Option<RefundView> {
        let it = self.0.order.refunds.last()?;
        Some(RefundView { order: self.0.order.clone(), id: it.id.clone() })
    }
    /// When it was read.
    async fn at(&self) -> Timestamp {
        self.0.at
    }
}
