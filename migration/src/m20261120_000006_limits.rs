//! Limits and quotes: what a customer has ordered on a day, refunds that wait for approval, and quotes that are used.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::columns::Columns;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let c = Columns::of(manager).await?;
        // The primary key is what the rows are found by: MariaDB and MySQL lock the row alone then, and no gap.
        let customer_days = Table::create()
            .table("customer_days")
            .col(c.exact("customer_id", 255))
            // A date as text, 2026-11-20: the same on every database.
            .col(c.exact("day", 10))
            .col(c.exact("currency", 3))
            .col(big_integer("sum_minor"))
            .primary_key(Index::create().col("customer_id").col("day").col("currency"))
            .check(("customer_days_sum", Expr::col("sum_minor").gte(0)))
            .take();
        manager.create_table(customer_days).await?;
        let quotes = Table::create()
            .table("quotes")
            .col(c.exact("issuer", 255))
            .col(c.exact("jti", 255))
            .col(c.exact("order_id", 30))
            .col(c.at("used_at"))
            .primary_key(Index::create().col("issuer").col("jti"))
            .take();
        manager.create_table(quotes).await?;
        for (table, mut column) in [
            // The day in which it counts, or nothing: there was no limit.
            ("orders", c.exact_null("counted_on", 10)),
            // NULL: none was needed. AWAITED while the status is REQUESTED, GIVEN, REFUSED once it is FAILED: not every
            // database can give the status itself more words.
            ("refunds", c.exact_null("approval", 8)),
            ("refunds", c.exact_null("approved_by", 255)),
        ] {
            manager.alter_table(Table::alter().table(table).add_column(&mut column).take()).await?;
        }
        Ok(())
    }
}
