//! Quotes that an order was made of: one row per issuer and `jti`.
#![expect(missing_docs, reason = "columns are described in the migration that makes them")]

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "quotes")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub issuer: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub jti: String,
    pub order_id: String,
    pub used_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
