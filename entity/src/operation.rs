//! Claims: one per guarded mutation, unique per subject and key.
#![expect(missing_docs, reason = "columns are described in the migration that makes them")]

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "operations")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub seq: i64,
    pub subject: String,
    pub idempotency_key: String,
    pub name: String,
    pub fingerprint: String,
    pub fingerprint_version: i32,
    pub state: String,
    pub order_id: String,
    pub payment_id: Option<String>,
    pub refund_id: Option<String>,
    pub fence: i64,
    pub lease_holder: Option<String>,
    pub lease_until: Option<DateTimeUtc>,
    pub created_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
