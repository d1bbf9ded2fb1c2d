//! Events that a webhook did not take, however often it was told.
#![expect(missing_docs, reason = "columns are described in the migration that makes them")]

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "dead_letters")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub seq: i64,
    pub event_id: String,
    pub order_seq: i64,
    pub version: i64,
    pub reason: String,
    pub failing_since: DateTimeUtc,
    pub tried_at: DateTimeUtc,
    pub resend_at: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}
