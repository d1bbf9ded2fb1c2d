//! Pages of orders, refunds and events. Cursors are the ids themselves: they tell nothing about how many
//! there are, and stay good while rows are added.

use std::sync::Arc;

use domain::{EventType, NewEvent, Order, OrderStatus, RefundId, RefundStatus, Timestamp};
use entity::{event, order, payment, refund};
use sea_orm::sea_query::{Expr, ExprTrait, Query, SimpleExpr};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{Store, StoreError, rows};

/// Which part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// How many, 1 to 50.
    pub size: u64,
    /// From the list's end, towards its begin.
    pub backward: bool,
    /// Only what comes after (or, backward, before) this id.
    pub cursor: Option<String>,
}

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What is on it, in the list's order.
    pub items: Vec<T>,
    /// There is more before it.
    pub has_previous: bool,
    /// There is more after it.
    pub has_next: bool,
}

impl<T> Page<T> {
    /// A page read forward with one item more than wanted.
    pub(super) fn forward(mut items: Vec<T>, size: u64, has_previous: bool) -> Self {
        let has_next = items.len() as u64 > size;
        items.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        Self { items, has_previous, has_next }
    }

    fn of(items: Vec<T>, page: &PageRequest) -> Self {
        let mut read = Self::forward(items, page.size, page.cursor.is_some());
        if page.backward {
            read.items.reverse();
            (read.has_previous, read.has_next) = (read.has_next, read.has_previous);
        }
        read
    }
}

/// Which orders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrderFilter {
    /// Any of these; empty: all.
    pub status: Vec<OrderStatus>,
    /// Of this customer.
    pub customer: Option<String>,
    /// With a payment of this gateway transaction.
    pub gateway_transaction_id: Option<String>,
    /// Placed at or after.
    pub created_from: Option<Timestamp>,
    /// Placed before.
    pub created_to: Option<Timestamp>,
}

/// Which refunds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefundFilter {
    /// Any of these; empty: all.
    pub status: Vec<RefundStatus>,
    /// Of this order.
    pub order: Option<String>,
    /// Asked for at or after.
    pub created_from: Option<Timestamp>,
    /// Asked for before.
    pub created_to: Option<Timestamp>,
}

impl Store {
    /// A page of orders, newest first.
    pub async fn orders(&self, filter: &OrderFilter, page: &PageRequest) -> Result<Page<Order>, StoreError> {
        let mut query = order::Entity::find().limit(page.size + 1);
        if !filter.status.is_empty() {
            query = query.filter(order::Column::Status.is_in(filter.status.iter().map(|s| s.name())));
        }
        if let Some(customer) = &filter.customer {
            query = query.filter(order::Column::CustomerId.eq(customer.as_str()));
        }
        if let Some(transaction) = &filter.gateway_transaction_id {
            let orders = Query::select()
                .column(payment::Column::OrderSeq)
                .from(payment::Entity)
                .and_where(payment::Column::GatewayTransactionId.eq(transaction.as_str()))
                .take();
            query = query.filter(order::Column::Seq.in_subquery(orders));
        }
        query = query.filter(between(order::Column::CreatedAt, filter.created_from, filter.created_to));
        if let Some(cursor) = &page.cursor {
            let at = Query::select()
                .column(order::Column::Seq)
                .from(order::Entity)
                .and_where(order::Column::Id.eq(cursor.as_str()))
                .take();
            query = query.filter(beyond(order::Column::Seq, at, page.backward));
        }
        query = match page.backward {
            false => query.order_by_desc(order::Column::Seq),
            true => query.order_by_asc(order::Column::Seq),
        };
        let rows = query.all(&self.read).await?;
        Ok(Page::of(self.whole(rows).await?, page))
    }

    /// A page of refunds, newest first, each with its order.
    pub async fn refunds(
        &self,
        filter: &RefundFilter,
        page: &PageRequest,
    ) -> Result<Page<(Arc<Order>, RefundId)>, StoreError> {
        let mut query = refund::Entity::find().limit(page.size + 1);
        if !filter.status.is_empty() {
            query = query.filter(filter.status.iter().fold(Condition::any(), |any, s| any.add(stands(*s))));
        }
        if let Some(id) = &filter.order {
            let of = Query::select()
                .column(order::Column::Seq)
                .from(order::Entity)
                .and_where(order::Column::Id.eq(id.as_str()))
                .take();
            query = query.filter(refund::Column::OrderSeq.in_subquery(of));
        }
        query = query.filter(between(refund::Column::CreatedAt, filter.created_from, filter.created_to));
        if let Some(cursor) = &page.cursor {
            let at = Query::select()
                .column(refund::Column::Seq)
                .from(refund::Entity)
                .and_where(refund::Column::Id.eq(cursor.as_str()))
                .take();
            query = query.filter(beyond(refund::Column::Seq, at, page.backward));
        }
        query = match page.backward {
            false => query.order_by_desc(refund::Column::Seq),
            true => query.order_by_asc(refund::Column::Seq),
        };
        let refunds = query.all(&self.read).await?;
        let seqs: Vec<i64> = refunds.iter().map(|r| r.order_seq).collect();
        let orders = order::Entity::find().filter(order::Column::Seq.is_in(seqs)).all(&self.read).await?;
        let seqs: Vec<i64> = orders.iter().map(|o| o.seq).collect();
        let orders: Vec<Arc<Order>> = self.whole(orders).await?.into_iter().map(Arc::new).collect();
        let items = refunds
            .into_iter()
            .map(|r| {
                let id = RefundId::parse(&r.id).map_err(|_| rows::corrupt("refunds", "id", &r.id))?;
                let at = seqs
                    .iter()
                    .position(|s| *s == r.order_seq)
                    .ok_or_else(|| rows::corrupt("refunds", "order_seq", &r.id))?;
                Ok((orders[at].clone(), id))
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        Ok(Page::of(items, page))
    }

    /// What happened to an order after version `after`, in order; at most `first` events.
    pub async fn events(
        &self,
        id: &domain::OrderId,
        first: u64,
        after: i64,
    ) -> Result<Page<(i64, Timestamp, NewEvent)>, StoreError> {
        let of = Query::select()
            .column(order::Column::Seq)
            .from(order::Entity)
            .and_where(order::Column::Id.eq(id.as_str()))
            .take();
        let rows = event::Entity::find()
            .filter(event::Column::OrderSeq.in_subquery(of))
            .filter(event::Column::Version.gt(after))
            .order_by_asc(event::Column::Version)
            .limit(first + 1)
            .all(&self.read)
            .await?;
        let events = rows
            .into_iter()
            .map(|r| {
                let kind = EventType::from_name(&r.kind).ok_or_else(|| rows::corrupt("events", "type", r.seq))?;
                Ok((r.version, r.at, NewEvent { kind, facts: r.facts, actor: r.actor }))
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        Ok(Page::forward(events, first, after > 0))
    }
}

/// A refund that stands there, as it is stored.
fn stands(status: RefundStatus) -> Condition {
    let approval = match rows::stored_approval(status) {
        Some(approval) => refund::Column::Approval.eq(approval),
        None => refund::Column::Approval.is_null().or(refund::Column::Approval.eq("GIVEN")),
    };
    Condition::all().add(refund::Column::Status.eq(rows::stored_status(status))).add(approval)
}

fn between(column: impl ColumnTrait, from: Option<Timestamp>, to: Option<Timestamp>) -> Condition {
    Condition::all().add_option(from.map(|t| column.gte(t))).add_option(to.map(|t| column.lt(t)))
}

/// Newest first: after a row means a smaller `seq`.
fn beyond(column: impl ColumnTrait, at: sea_orm::sea_query::SelectStatement, backward: bool) -> SimpleExpr {
    let at = SimpleExpr::SubQuery(None, Box::new(at.into()));
    if backward { Expr::col(column.as_column_ref()).gt(at) } else { Expr::col(column.as_column_ref()).lt(at) }
}
