//! An order as callers see it.

use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::{Context, ID, Object, SimpleObject};
use domain::{CloseReason as Reason, Order, OrderState, Timestamp};

use super::Asked;
use super::connection::{connection, page};
use super::enums::{CloseReason, OrderStatus};
use super::error::ApiError;
use super::payment::PaymentView;
use super::product::Money;
use super::refund::RefundView;
use crate::payments::PaymentError;

/// What was bought, what is owed, and everything that happened about it.
pub struct OrderView(pub Arc<Order>);

#[Object(name = "Order")]
impl OrderView {
    /// `ord_…`
    async fn id(&self) -> ID {
        ID(self.0.id.to_string())
    }
    /// Where it stands.
    async fn status(&self) -> OrderStatus {
        self.0.status().into()
    }
    /// Why it was closed unpaid.
    async fn close_reason(&self) -> Option<CloseReason> {
        match &self.0.state {
            OrderState::Closed { reason, .. } => Some(Reason::into(*reason)),
            OrderState::PendingPayment | OrderState::Paying { .. } | OrderState::Paid { .. } => None,
        }
    }
    /// What is to be paid.
    async fn total(&self) -> Money {
        Money(self.0.total)
    }
    /// What was paid for it; money that came without need is not counted.
    async fn paid(&self) -> Money {
        Money(self.0.paid())
    }
    /// What has gone back of it.
    async fn refunded(&self) -> Money {
        Money(self.0.refunded())
    }
    /// What could be asked back now: paid, less what has gone back and what is on its way.
    async fn refundable(&self) -> Money {
        Money(self.0.refundable())
    }
    /// What is bought.
    async fn lines(&self) -> Result<Vec<OrderLineView>, ApiError> {
        self.0.lines.iter().map(OrderLineView::of).collect()
    }
    /// Every attempt at paying it, oldest first.
    #[graphql(complexity = "5 * child_complexity")]
    async fn payments(&self) -> Vec<PaymentView> {
        self.0.payments.iter().map(|p| PaymentView { order: self.0.clone(), id: p.id.clone() }).collect()
    }
    /// Every refund, oldest first.
    #[graphql(complexity = "5 * child_complexity")]
    async fn refunds(&self) -> Vec<RefundView> {
        self.0.refunds.iter().map(|r| RefundView { order: self.0.clone(), id: r.id.clone() }).collect()
    }
    /// Everything that happened to it, oldest first.
    #[graphql(complexity = "first.unwrap_or(20).clamp(1, 50) as usize * child_complexity")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(20)", desc = "1 to 50.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which to go on.")] after: Option<String>,
    ) -> Result<Connection<String, EventView>, ApiError> {
        let page = page(first, None, None, None)?;
        let after = match after.map(|cursor| cursor.parse::<i64>()) {
            None => 0,
            Some(Ok(version)) if version >= 0 => version,
            Some(_) => return Err(ApiError::bad_input("This is not a cursor of events.")),
        };
        let events = ctx.payments()?.events(&self.0.id, page.size, after).await?;
        Ok(connection(events, |(version, at, event)| {
            let view = EventView {
                version: i32::try_from(version).unwrap_or(i32::MAX),
                kind: event.kind.name().to_owned(),
                at,
                actor: event.actor,
                summary: event.kind.summary().to_owned(),
            };
            (version.to_string(), view)
        }))
    }
    /// The subject of the customer's token.
    async fn customer_id(&self) -> ID {
        ID(self.0.customer.clone())
    }
    /// The customer's own words.
    async fn note(&self) -> Option<&str> {
        self.0.note.as_deref()
    }
    /// Rises by one with every event; a higher one is newer.
    async fn version(&self) -> Result<i32, ApiError> {
        i32::try_from(self.0.version).map_err(|_| PaymentError::Internal("a version beyond 32 bits".to_owned()).into())
    }
    /// When it was placed.
    async fn created_at(&self) -> Timestamp {
        self.0.created_at
    }
    /// Until when it can be paid.
    async fn expires_at(&self) -> Timestamp {
        self.0.expires_at
    }
    /// Whole seconds in which it can still be paid, now; 0 when it cannot.
    async fn remaining_seconds(&self, ctx: &Context<'_>) -> Result<i32, ApiError> {
        let now = ctx.payments()?.now();
        Ok(i32::try_from(self.0.remaining_seconds(now)).unwrap_or(i32::MAX))
    }
    /// When it was paid, by the gateway's clock.
    async fn paid_at(&self) -> Option<Timestamp> {
        match self.0.state {
            OrderState::Paid { at, .. } => Some(at),
            OrderState::PendingPayment | OrderState::Paying { .. } | OrderState::Closed { .. } => None,
        }
    }
}

/// One line of an order, with the price it was sold at.
#[derive(SimpleObject)]
#[graphql(name = "OrderLine")]
pub struct OrderLineView {
    /// The product's code.
    sku: String,
    /// Its name when it was sold.
    name: String,
    /// How many.
    quantity: i32,
    /// The price of one when it was sold.
    unit_price: Money,
    /// Price times quantity.
    amount: Money,
}

impl OrderLineView {
    fn of(line: &domain::OrderLine) -> Result<Self, ApiError> {
        Ok(Self {
            sku: line.sku.clone(),
            name: line.name.clone(),
            quantity: i32::try_from(line.quantity).unwrap_or(i32::MAX),
            unit_price: Money(line.unit_price),
            amount: Money(line.amount()?),
        })
    }
}

/// One thing that happened to an order.
#[derive(SimpleObject)]
#[graphql(name = "Event")]
pub struct EventView {
    /// The order's version that it made.
    version: i32,
    /// `order.created`, `order.paid`, `refund.succeeded`, ….
    #[graphql(name = "type")]
    kind: String,
    /// When.
    at: Timestamp,
    /// Who: a token's subject, a gateway's name, or `payonce`.
    actor: String,
    /// One sentence for people.
    summary: String,
}
