//! What a customer has ordered on a day: one row per customer, day and currency, while a daily limit is set.
#![expect(missing_docs, reason = "columns are described in the migration that makes them")]

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "customer_days")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub customer_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub day: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub currency: String,
    pub sum_minor: i64,
}

impl ActiveModelBehavior for ActiveModel {}
