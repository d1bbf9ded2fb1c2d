use async_graphql::connection::Connection;
use async_graphql::{Context, ID, InputObject, Object};
use domain::{PaymentId, Timestamp};

use crate::graphql::Asked;
use crate::graphql::arguments::order_id;
use crate::graphql::connection::{connection, page};
use crate::graphql::enums::OrderStatus;
use crate::graphql::error::{ApiError, Nullable};
use crate::graphql::order::OrderView;
use crate::graphql::payment::PaymentView;
use crate::payments::{self, PaymentError};

/// Which orders. What is left out does not narrow.
#[derive(InputObject, Default)]
pub struct OrderFilter {
    /// Any of these.
    status: Option<Vec<OrderStatus>>,
    /// Of this customer. For staff.
    customer_id: Option<ID>,
    /// With a payment of this number of the gateway's own.
    gateway_transaction_id: Option<String>,
    /// Placed at or after.
    created_from: Option<Timestamp>,
    /// Placed before.
    created_to: Option<Timestamp>,
}

impl From<OrderFilter> for payments::OrderFilter {
    fn from(f: OrderFilter) -> Self {
        Self {
            status: f.status.unwrap_or_default().into_iter().map(Into::into).collect(),
            customer: f.customer_id.map(|id| id.0),
            gateway_transaction_id: f.gateway_transaction_id,
            created_from: f.created_from,
            created_to: f.created_to,
        }
    }
}

pub struct OrderQueries;

#[Object]
impl OrderQueries {
    /// One order. Another customer's is null, with NOT_FOUND.
    async fn order(&self, ctx: &Context<'_>, id: ID) -> Nullable<OrderView> {
        let find = async || Ok(OrderView(ctx.payments()?.order(ctx.caller()?, &order_id(&id)?).await?));
        Some(find().await)
    }

    /// Orders, newest first: a customer's own, staff's all.
    #[graphql(complexity = "last.or(first).unwrap_or(20).clamp(1, 50) as usize * child_complexity")]
    async fn orders(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(20)", desc = "1 to 50.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which to go on.")] after: Option<String>,
        #[graphql(desc = "1 to 50, from the end of the list.")] last: Option<i32>,
        #[graphql(desc = "The cursor before which to go on.")] before: Option<String>,
        #[graphql(desc = "Which orders.")] filter: Option<OrderFilter>,
    ) -> Result<Connection<String, OrderView>, ApiError> {
        let caller = ctx.caller()?;
        let page = page(first, after, last, before)?;
        let found = ctx.payments()?.orders(caller, filter.unwrap_or_default().into(), &page).await?;
        Ok(connection(found, |order| (order.id.to_string(), OrderView(order))))
    }

    /// One payment. One of another customer's is null, with NOT_FOUND.
    async fn payment(&self, ctx: &Context<'_>, id: ID) -> Nullable<PaymentView> {
        let find = async || {
            let id = PaymentId::parse(&id).map_err(|_| PaymentError::NotFound("payment"))?;
            let order = ctx.payments()?.order_of_payment(ctx.caller()?, &id).await?;
            Ok(PaymentView { order, id })
        };
        Some(find().await)
    }
}
