//! Orders whose time is over with nothing open: many in one transaction.

use std::collections::BTreeMap;

use domain::{OrderState, OrderStatus, Timestamp};
use entity::{event, order};
use sea_orm::sea_query::{Expr, LockBehavior, LockType};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::orders::assemble;
use super::{Held, StoreError, Tx, rows};

/// Unpaid at the end of their time, without a live attempt, and nobody has begun to close them.
pub(super) fn expired(now: Timestamp) -> Condition {
    Condition::all()
        .add(order::Column::ExpiresAt.lte(now))
        .add(order::Column::Status.eq(OrderStatus::PendingPayment.name()))
        .add(order::Column::Closing.is_null())
}

impl Tx {
    /// Takes hold of expired orders that have no live attempt, at most `limit`, those that are due first. What another
    /// transaction holds is left to it. One that cannot be read is looked at again at `again_at`.
    pub async fn hold_expired(&self, now: Timestamp, again_at: Timestamp, limit: u64) -> Result<Vec<Held>, StoreError> {
        let rows = order::Entity::find()
            .filter(order::Column::NextAt.lte(now))
            .filter(expired(now))
            .order_by_asc(order::Column::NextAt)
            .limit(limit)
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
            .all(&self.inner)
            .await?;
        let seqs: Vec<i64> = rows.iter().map(|o| o.seq).collect();
        let held = |(seq, order): (i64, domain::Order)| Held { seq, loaded: order.clone(), order };
        match assemble(&self.inner, rows.clone()).await {
            Ok(orders) => return Ok(seqs.into_iter().zip(orders).map(held).collect()),
            Err(StoreError::Corrupt { .. }) => {}
            Err(e) => return Err(e),
        }
        // One of them; the others must not wait for it.
        let mut readable = Vec::new();
        for row in rows {
            let seq = row.seq;
            match assemble(&self.inner, vec![row]).await {
                Ok(orders) => readable.extend(orders.into_iter().map(|order| held((seq, order)))),
                Err(e @ StoreError::Corrupt { .. }) => {
                    tracing::error!(error = %e, "cannot be worked on");
                    order::Entity::update_many()
                        .col_expr(order::Column::NextAt, Expr::val(again_at))
                        .filter(order::Column::Seq.eq(seq))
                        .exec(&self.inner)
                        .await?;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(readable)
    }

    /// [`Tx::save`] of many. Those that were only closed are written together, fenced by their versions.
    pub async fn save_many(&self, all: &mut [Held], now: Timestamp) -> Result<(), StoreError> {
        let mut closed: BTreeMap<i64, Vec<&mut Held>> = BTreeMap::new();
        for held in all {
            if only_closed(held, now) {
                closed.entry(held.loaded.version).or_default().push(held);
            } else {
                self.save(held, now).await?;
            }
        }
        for (version, held) in closed {
            let reason = held.iter().find_map(|h| match h.order.state {
                OrderState::Closed { reason, .. } => Some(reason.name()),
                _ => None,
            });
            let update = order::Entity::update_many()
                .col_expr(order::Column::Version, Expr::val(version + 1))
                .col_expr(order::Column::Status, Expr::val(OrderStatus::Closed.name()))
                .col_expr(order::Column::CloseReason, Expr::val(reason))
                .col_expr(order::Column::ClosedAt, Expr::val(now))
                .col_expr(order::Column::NextAt, Expr::val(Option::<Timestamp>::None))
                .filter(order::Column::Seq.is_in(held.iter().map(|h| h.seq)))
                .filter(order::Column::Version.eq(version));
            let updated = self.to_tell(update, version, now).exec(&self.inner).await?;
            if updated.rows_affected != held.len() as u64 {
                return Err(StoreError::Conflict);
            }
            let events = held.iter().flat_map(|h| rows::event_rows(&h.order, h.seq, now));
            event::Entity::insert_many(events).exec_without_returning(&self.inner).await?;
            for held in held {
                held.order.happened.clear();
                held.loaded = held.order.clone();
            }
        }
        Ok(())
    }
}

/// Nothing else has happened to it than that it expired, now.
fn only_closed(held: &Held, now: Timestamp) -> bool {
    let Held { loaded, order, .. } = held;
    let expired = OrderState::Closed { reason: domain::CloseReason::Expired, at: now };
    loaded.state == OrderState::PendingPayment
        && order.state == expired
        && order.closing.is_none()
        && order.next_at.is_none()
        && order.version == loaded.version + 1
        && order.payments == loaded.payments
        && order.refunds == loaded.refunds
}
