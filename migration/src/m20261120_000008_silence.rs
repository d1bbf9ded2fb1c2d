//! Since when a payment's gateway has given no answer about it: for so long its order is not held up.

use sea_orm_migration::prelude::*;

use crate::columns::Columns;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut column = Columns::of(manager).await?.at_null("silent_since");
        manager.alter_table(Table::alter().table("payments").add_column(&mut column).take()).await
    }
}
