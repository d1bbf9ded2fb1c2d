//! The inbox: each notification once.

use domain::{Gateway, Timestamp};
use entity::notification::{ActiveModel, Entity};
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, SqlErr};

use super::{StoreError, Tx};

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
    /// What became of it.
    pub outcome: InboxOutcome,
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
    /// No payment or refund of ours has its number.
    UnknownNumber,
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
}
