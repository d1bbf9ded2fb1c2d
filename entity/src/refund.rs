//! Refunds of payments.
#![expect(missing_docs, reason = "columns are described in the migration that makes them")]

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "refunds")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub seq: i64,
    pub id: String,
    pub order_seq: i64,
    pub payment_id: String,
    pub status: String,
    pub amount_minor: i64,
    pub currency: String,
    pub reason: String,
    pub note: Option<String>,
    pub requested_by: String,
    pub failure_reason: Option<String>,
    pub approval: Option<String>,
    pub approved_by: Option<String>,
    pub sent: bool,
    pub created_at: DateTimeUtc,
    pub since: DateTimeUtc,
    pub state_at: Option<DateTimeUtc>,
    pub next_at: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}
