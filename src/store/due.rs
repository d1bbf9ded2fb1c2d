//! What is due, for the one scheduler.

use domain::{OrderId, PaymentId, RefundId, Timestamp};
use entity::{order, payment, refund};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{Store, StoreError, rows};

/// One thing whose time has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Due {
    /// An order's time to pay is over, or its closing goes on.
    Order(OrderId),
    /// A payment is to be asked about.
    Payment(PaymentId),
    /// A refund is to be sent or asked about.
    Refund(RefundId),
}

impl Store {
    /// Takes what is due at `now`, at most `limit` of each kind, oldest first. What is taken is due again
    /// at `again_at` if nobody says otherwise: a worker that dies loses nothing.
    pub async fn take_due(&self, now: Timestamp, again_at: Timestamp, limit: u64) -> Result<Vec<Due>, StoreError> {
        let mut due = Vec::new();
        macro_rules! take {
            ($table:ident, $id:ident, $kind:expr) => {
                let rows = $table::Entity::find()
                    .filter($table::Column::NextAt.lte(now))
                    .order_by_asc($table::Column::NextAt)
                    .limit(limit)
                    .all(&self.write)
                    .await?;
                for row in rows {
                    let taken = $table::Entity::update_many()
                        .col_expr($table::Column::NextAt, Expr::val(again_at).into())
                        .filter($table::Column::Seq.eq(row.seq))
                        .filter($table::Column::NextAt.eq(row.next_at))
                        .exec(&self.write)
                        .await;
                    // What was taken is worked on, whatever becomes of the rest.
                    match (taken, $id::parse(&row.id)) {
                        (Ok(taken), Ok(id)) if taken.rows_affected == 1 => due.push($kind(id)),
                        (Ok(_), Ok(_)) => {}
                        (Err(e), _) => tracing::warn!(row = row.id, error = %e, "not taken; due again at once"),
                        (Ok(_), Err(_)) => {
                            tracing::error!(error = %rows::corrupt(stringify!($table), "id", &row.id), "cannot be worked on")
                        }
                    }
                }
            };
        }
        take!(order, OrderId, Due::Order);
        take!(payment, PaymentId, Due::Payment);
        take!(refund, RefundId, Due::Refund);
        Ok(due)
    }
}
