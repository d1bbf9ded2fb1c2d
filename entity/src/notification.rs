//! What the gateways told us, once each.
#![expect(missing_docs, reason = "columns are described in the migration that makes them")]

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notifications")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub seq: i64,
    pub gateway: String,
    pub notification_id: String,
    pub number: Option<String>,
    pub facts: Json,
    pub outcome: String,
    pub received_at: DateTimeUtc,
    pub news: Option<Json>,
    pub next_at: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}
