//! What is due, for the one scheduler.

use domain::{Duration, Gateway, OrderId, PaymentId, RefundId, Timestamp};
use entity::{notification, order, payment, refund};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait};

use super::expiry::expired;
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
    /// Takes what is due at `now`, at most `limit` of each kind, oldest first, but for the expired orders that
    /// [`super::Tx::hold_expired`] has. What is taken is due again
    /// at `again_at` if nobody says otherwise: a worker that dies loses nothing.
    pub async fn take_due(&self, now: Timestamp, again_at: Timestamp, limit: u64) -> Result<Vec<Due>, StoreError> {
        let mut due = Vec::new();
        macro_rules! take {
            ($table:ident, $id:ident, $kind:expr $(, $which:expr)?) => {
                let rows = $table::Entity::find()
                    .filter($table::Column::NextAt.lte(now))
                    $(.filter($which))?
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
        take!(order, OrderId, Due::Order, expired(now).not());
        take!(payment, PaymentId, Due::Payment);
        take!(refund, RefundId, Due::Refund);
        Ok(due)
    }

    /// A gateway answers again: what was unknown there for more than `least_age` is asked about from `first` on,
    /// oldest first and at most `per_second` in a second, rather than at its own next time. How many.
    pub async fn wake_unknown(
        &self,
        gateway: Gateway,
        now: Timestamp,
        first: Timestamp,
        least_age: Duration,
        per_second: usize,
    ) -> Result<usize, StoreError> {
        /// More than are asked about within two minutes wait for their own time.
        const SECONDS: usize = 120;
        let limit = (per_second * SECONDS) as u64;
        let payments: Vec<i64> = payment::Entity::find()
            .select_only()
            .column(payment::Column::Seq)
            .filter(payment::Column::NextAt.gt(first))
            .filter(payment::Column::Status.is_in(["CREATED", "UNKNOWN"]))
            .filter(payment::Column::Gateway.eq(gateway.name()))
            .filter(payment::Column::Since.lte(now - least_age))
            .order_by_asc(payment::Column::Since)
            .limit(limit)
            .into_tuple()
            .all(&self.write)
            .await?;
        let theirs = payment::Entity::find()
            .select_only()
            .column(payment::Column::Id)
            .filter(payment::Column::Gateway.eq(gateway.name()))
            .into_query();
        let refunds: Vec<i64> = refund::Entity::find()
            .select_only()
            .column(refund::Column::Seq)
            .filter(refund::Column::NextAt.gt(first))
            .filter(refund::Column::Status.eq("UNKNOWN"))
            .filter(refund::Column::Since.lte(now - least_age))
            .filter(refund::Column::PaymentId.in_subquery(theirs))
            .order_by_asc(refund::Column::Since)
            .limit(limit)
            .into_tuple()
            .all(&self.write)
            .await?;
        let mut at = first;
        for some in payments.chunks(per_second.max(1)) {
            payment::Entity::update_many()
                .col_expr(payment::Column::NextAt, Expr::val(at))
                .filter(payment::Column::Seq.is_in(some.iter().copied()))
                .filter(payment::Column::Status.is_in(["CREATED", "UNKNOWN"]))
                .filter(payment::Column::NextAt.gt(at))
                .exec(&self.write)
                .await?;
            at += Duration::seconds(1);
        }
        for some in refunds.chunks(per_second.max(1)) {
            refund::Entity::update_many()
                .col_expr(refund::Column::NextAt, Expr::val(at))
                .filter(refund::Column::Seq.is_in(some.iter().copied()))
                .filter(refund::Column::Status.eq("UNKNOWN"))
                .filter(refund::Column::NextAt.gt(at))
                .exec(&self.write)
                .await?;
            at += Duration::seconds(1);
        }
        Ok(payments.len() + refunds.len())
    }

    /// How much waits for people, by kind.
    pub async fn for_people(&self, now: Timestamp) -> Result<[(&'static str, u64); 4], StoreError> {
        let since = now - Duration::days(2);
        let payments = payment::Entity::find()
            .filter(payment::Column::Status.is_in(["CREATED", "UNKNOWN"]))
            .filter(payment::Column::Since.lte(since))
            .count(&self.read)
            .await?;
        let mismatches = payment::Entity::find()
            .filter(payment::Column::Mismatch.eq(true))
            .filter(Expr::col(payment::Column::Refunded).lt(Expr::col(payment::Column::Paid)))
            .count(&self.read)
            .await?;
        let refunds = refund::Entity::find()
            .filter(refund::Column::Status.eq("UNKNOWN"))
            .filter(refund::Column::Since.lte(since))
            .count(&self.read)
            .await?;
        let notifications = notification::Entity::find()
            .filter(notification::Column::Outcome.eq("FOR_PEOPLE"))
            .count(&self.read)
            .await?;
        Ok([("payment", payments), ("mismatch", mismatches), ("refund", refunds), ("notification", notifications)])
    }
}
