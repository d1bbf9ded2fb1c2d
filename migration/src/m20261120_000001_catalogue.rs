//! What can be bought.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::columns::Columns;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let c = Columns::of(manager).await?;
        let products = Table::create()
            .table("products")
            .col(big_pk_auto("seq"))
            .col(c.exact("sku", 64).unique_key())
            .col(string_len("name", 200))
            .col(big_integer("price_minor"))
            .col(c.exact("currency", 3))
            .check(("products_price", Expr::col("price_minor").gt(0)))
            .take();
        manager.create_table(products).await
    }
}
