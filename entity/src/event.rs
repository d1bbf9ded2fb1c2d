//! What happened to orders, numbered per order without a gap.
#![expect(missing_docs, reason = "columns are described in the migration that makes them")]

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "events")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub seq: i64,
    pub order_seq: i64,
    pub version: i64,
    #[sea_orm(column_name = "type")]
    pub kind: String,
    pub facts: Json,
    pub actor: String,
    pub at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
