//! The inbox: each notification once.

use domain::{Gateway, Timestamp};
use entity::notification::{ActiveModel, Column, Entity};
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect, SqlErr};

use super::{Store, StoreError, Tx, rows};

/// A verified notification to be kept.
#[derive(Clone, Debug)]
pub struct NewNotification {
    /// Who sent it.
    pub gateway: Gateway,
    /// The same for every repeat.
    pub id: String,
    /// The number it is about.
    pub number: Option<String>,
    /// The verified text.
    pub facts: serde_json::Value,
    /// What it says, for one that waits for its order.
    pub news: Option<serde_json::Value>,
    /// What became of it.
    pub outcome: InboxOutcome,
    /// When it came.
    pub received_at: Timestamp,
    /// When to look for its order; `None`: nothing is due.
    pub next_at: Option<Timestamp>,
}

/// A notification that waits for its order.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The row.
    pub seq: i64,
    /// Who sent it.
    pub gateway: Gateway,
    /// What it says.
    pub news: serde_json::Value,
    /// When it came.
    pub received_at: Timestamp,
}

/// What became of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InboxOutcome {
    /// It was applied to an order.
    Applied,
    /// It is another merchant's or app's.
    NotOurs,
    /// No payment or refund of ours has its number, yet: it waits for one.
    UnknownNumber,
    /// It could not be applied: only people can say what it means.
    ForPeople,
    /// Genuine, but nothing that we act on.
    Ignored,
}

impl InboxOutcome {
    /// The name in the column.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Applied => "APPLIED",
            Self::NotOurs => "NOT_OURS",
            Self::UnknownNumber => "UNKNOWN_NUMBER",
            Self::ForPeople => "FOR_PEOPLE",
            Self::Ignored => "IGNORED",
        }
    }
}

impl Tx {
    /// Keeps a notification; false: it was kept before, and must have no further effect.
    pub async fn keep(&self, new: NewNotification) -> Result<bool, StoreError> {
        let insert = Entity::insert(ActiveModel {
            seq: NotSet,
            gateway: Set(new.gateway.name().to_owned()),
            notification_id: Set(new.id),
            number: Set(new.number),
            facts: Set(new.facts),
            outcome: Set(new.outcome.name().to_owned()),
            received_at: Set(new.received_at),
            news: Set(new.news),
            next_at: Set(new.next_at),
        });
        if self.inner.get_database_backend() == DbBackend::MySql {
            return match insert.exec_without_returning(&self.inner).await {
                Ok(_) => Ok(true),
                Err(e) if matches!(e.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => Ok(false),
                Err(e) => Err(e.into()),
            };
        }
        let nothing = OnConflict::new().do_nothing().to_owned();
        Ok(insert.on_conflict(nothing).exec_without_returning(&self.inner).await? == 1)
    }

    /// Says what became of a notification that waited. False: somebody else has said so.
    pub async fn settle_kept(&self, seq: i64, outcome: InboxOutcome) -> Result<bool, StoreError> {
        let settled = Entity::update_many()
            .col_expr(Column::Outcome, Expr::val(outcome.name()))
            .col_expr(Column::NextAt, Expr::val(Option::<Timestamp>::None))
            .filter(Column::Seq.eq(seq))
            .filter(Column::Outcome.eq(InboxOutcome::UnknownNumber.name()))
            .exec(&self.inner)
            .await?;
        Ok(settled.rows_affected == 1)
    }
}

impl Store {
    /// Takes notifications that wait for their order and are due at `now`, oldest first; each is due again at
    /// `again_at`.
    pub async fn take_kept(&self, now: Timestamp, again_at: Timestamp, limit: u64) -> Result<Vec<Kept>, StoreError> {
        let due = Entity::find()
            .filter(Column::NextAt.lte(now))
            .order_by_asc(Column::NextAt)
            .limit(limit)
            .all(&self.write)
            .await?;
        let mut kept = Vec::new();
        for row in due {
            let taken = Entity::update_many()
                .col_expr(Column::NextAt, Expr::val(again_at))
                .filter(Column::Seq.eq(row.seq))
                .filter(Column::NextAt.eq(row.next_at))
                .exec(&self.write)
                .await?;
            if taken.rows_affected == 1 {
                kept.push(Kept {
                    seq: row.seq,
                    gateway: Gateway::from_name(&row.gateway)
                        .ok_or_else(|| rows::corrupt("notifications", "gateway", row.seq))?,
                    news: row.news.ok_or_else(|| rows::corrupt("notifications", "news", row.seq))?,
                    received_at: row.received_at,
                });
            }
        }
        Ok(kept)
    }

    /// Sets when to look again for the order of a notification that waits.
    pub async fn look_again(&self, seq: i64, at: Timestamp) -> Result<(), StoreError> {
        Entity::update_many()
            .col_expr(Column::NextAt, Expr::val(at))
            .filter(Column::Seq.eq(seq))
            .filter(Column::Outcome.eq(InboxOutcome::UnknownNumber.name()))
            .exec(&self.write)
            .await?;
        Ok(())
    }
}
