//! Orders.
#![expect(missing_docs, reason = "columns are described in the migration that makes them")]

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "orders")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub seq: i64,
    pub id: String,
    pub customer_id: String,
    pub status: String,
    pub close_reason: Option<String>,
    pub closing: Option<String>,
    pub total_minor: i64,
    pub currency: String,
    pub note: Option<String>,
    pub open_payment: Option<String>,
    pub winner: Option<String>,
    pub version: i64,
    pub created_at: DateTimeUtc,
    pub expires_at: DateTimeUtc,
    pub paid_at: Option<DateTimeUtc>,
    pub closed_at: Option<DateTimeUtc>,
    pub counted_on: Option<String>,
    pub next_at: Option<DateTimeUtc>,
    pub amqp_version: Option<i64>,
    pub amqp_at: Option<DateTimeUtc>,
    pub webhook_version: Option<i64>,
    pub webhook_at: Option<DateTimeUtc>,
    pub webhook_failing_since: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}
