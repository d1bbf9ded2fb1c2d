//! What can be bought.
#![expect(missing_docs, reason = "columns are described in the migration that makes them")]

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "products")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub seq: i64,
    pub sku: String,
    pub name: String,
    pub price_minor: i64,
    pub currency: String,
}

impl ActiveModelBehavior for ActiveModel {}
