//! A customer's day: the sum of the orders that count, kept in one row that is changed conditionally.
//!
//! Its lock is the last one that a transaction takes (claim, order, payments, refunds, events, quote, day): whoever
//! holds a day waits for nobody.

use domain::{Money, Order};
use entity::customer_day::{ActiveModel, Column, Entity};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, SimpleExpr};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::{StoreError, Tx};

impl Tx {
    /// Adds an order to its customer's day unless that passes `most`, in one UPDATE that compares and sets.
    /// `Some`: it would pass, so much is left, and nothing was added. Must be the transaction's last write.
    pub async fn count_in_day(&self, order: &Order, most: Money) -> Result<Option<Money>, StoreError> {
        let Some(room) = most.minor.checked_sub(order.total.minor).filter(|room| *room >= 0) else {
            return self.left_of_day(order, most).await.map(Some);
        };
        if self.add_to_day(order, room).await? {
            return Ok(None);
        }
        self.begin_day(order).await?;
        if self.add_to_day(order, room).await? { Ok(None) } else { self.left_of_day(order, most).await.map(Some) }
    }

    /// Takes an order that is closed unpaid out of its customer's day, if it counted in one.
    pub(super) async fn uncount_in_day(&self, order: &Order) -> Result<(), StoreError> {
        if order.counted_on.is_some() {
            Entity::update_many()
                .col_expr(Column::SumMinor, Expr::col(Column::SumMinor).sub(order.total.minor))
                .filter(its_day(order))
                .exec(&self.inner)
                .await?;
        }
        Ok(())
    }

    async fn add_to_day(&self, order: &Order, room: i64) -> Result<bool, StoreError> {
        let added = Entity::update_many()
            .col_expr(Column::SumMinor, Expr::col(Column::SumMinor).add(order.total.minor))
            .filter(its_day(order))
            .filter(Column::SumMinor.lte(room))
            .exec(&self.inner)
            .await?;
        Ok(added.rows_affected == 1)
    }

    /// Makes the day's row, at zero, unless it is there. It takes the row's lock at once: two that both held it for
    /// reading would wait for each other.
    async fn begin_day(&self, order: &Order) -> Result<(), StoreError> {
        let row = ActiveModel {
            customer_id: Set(order.customer.clone()),
            day: Set(day_of(order)),
            currency: Set(order.total.currency.code().to_owned()),
            sum_minor: Set(0),
        };
        let as_it_is = OnConflict::columns([Column::CustomerId, Column::Day, Column::Currency])
            .value(Column::SumMinor, Expr::col((Entity, Column::SumMinor)))
            .to_owned();
        Entity::insert(row).on_conflict(as_it_is).exec_without_returning(&self.inner).await?;
        Ok(())
    }

    async fn left_of_day(&self, order: &Order, most: Money) -> Result<Money, StoreError> {
        let row = Entity::find().filter(its_day(order)).one(&self.inner).await?;
        let left = most.minor.saturating_sub(row.map_or(0, |r| r.sum_minor));
        Ok(Money::new(if left > 0 { left } else { 0 }, most.currency))
    }
}

fn day_of(order: &Order) -> String {
    order.counted_on.map(|day| day.to_string()).unwrap_or_default()
}

fn its_day(order: &Order) -> SimpleExpr {
    Column::CustomerId
        .eq(order.customer.as_str())
        .and(Column::Day.eq(day_of(order)))
        .and(Column::Currency.eq(order.total.currency.code()))
}
