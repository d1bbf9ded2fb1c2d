use async_graphql::connection::Connection;
use async_graphql::{Context, ID, InputObject, Object};
use domain::{RefundId, Timestamp};

use crate::graphql::Asked;
use crate::graphql::connection::{connection, page};
use crate::graphql::enums::RefundStatus;
use crate::graphql::error::{ApiError, Nullable};
use crate::graphql::refund::RefundView;
use crate::payments::{self, PaymentError};

/// Which refunds. What is left out does not narrow.
#[derive(InputObject, Default)]
pub struct RefundFilter {
    /// Any of these.
    status: Option<Vec<RefundStatus>>,
    /// Of this order.
    order_id: Option<ID>,
    /// Asked for at or after.
    created_from: Option<Timestamp>,
    /// Asked for before.
    created_to: Option<Timestamp>,
}

pub struct RefundQueries;

#[Object]
impl RefundQueries {
    /// One refund. One of another customer's is null, with NOT_FOUND.
    async fn refund(&self, ctx: &Context<'_>, id: ID) -> Nullable<RefundView> {
        let find = async || {
            let id = RefundId::parse(&id).map_err(|_| PaymentError::NotFound("refund"))?;
            let order = ctx.payments()?.order_of_refund(ctx.caller()?, &id).await?;
            Ok(RefundView { order, id })
        };
        Some(find().await)
    }

    /// Refunds, newest first. For staff.
    #[graphql(complexity = "last.or(first).unwrap_or(20).clamp(1, 50) as usize * child_complexity")]
    async fn refunds(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(20)", desc = "1 to 50.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which to go on.")] after: Option<String>,
        #[graphql(desc = "1 to 50, from the end of the list.")] last: Option<i32>,
        #[graphql(desc = "The cursor before which to go on.")] before: Option<String>,
        #[graphql(desc = "Which refunds.")] filter: Option<RefundFilter>,
    ) -> Result<Connection<String, RefundView>, ApiError> {
        let caller = ctx.caller()?;
        let page = page(first, after, last, before)?;
        let filter = filter.unwrap_or_default();
        let wanted = filter.status.unwrap_or_default();
        let status: Vec<_> = wanted.iter().flat_map(|s| s.stored()).copied().collect();
        let filter = payments::RefundFilter {
            status,
            order: filter.order_id.map(|id| id.0),
            created_from: filter.created_from,
            created_to: filter.created_to,
        };
        let found = ctx.payments()?.refunds(caller, &filter, &page).await?;
        Ok(connection(found, |(order, id)| (id.to_string(), RefundView { order, id })))
    }
}
