//! How far each channel has been told of each order, and what a webhook did not take.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;
use sea_orm_migration::sea_orm::DatabaseBackend;

use crate::columns::Columns;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let c = Columns::of(manager).await?;
        for mut column in [
            // The last version that was told and acknowledged; NULL: this channel is not told of the order.
            big_integer_null("amqp_version"),
            big_integer_null("webhook_version"),
            // When to tell the next one; NULL: there is none. While it is being told: until when nobody else does.
            c.at_null("amqp_at"),
            c.at_null("webhook_at"),
            // Since when the next one is not taken.
            c.at_null("webhook_failing_since"),
        ] {
            manager.alter_table(Table::alter().table("orders").add_column(&mut column).take()).await?;
        }
        // Where there are partial indexes, an order that has nothing to tell is in none of them.
        let only = match manager.get_database_backend() {
            DatabaseBackend::MySql => "",
            _ => " WHERE {} IS NOT NULL",
        };
        for column in ["amqp_at", "webhook_at"] {
            let sql = format!("CREATE INDEX orders_{column} ON orders ({column}){}", only.replace("{}", column));
            manager.get_connection().execute_unprepared(&sql).await?;
        }
        manager.create_table(dead_letters(&c)).await?;
        for (name, column) in [("dead_letters_order", "order_seq"), ("dead_letters_resend_at", "resend_at")] {
            manager.create_index(Index::create().name(name).table("dead_letters").col(column).take()).await?;
        }
        Ok(())
    }
}

fn dead_letters(c: &Columns) -> TableCreateStatement {
    Table::create()
        .table("dead_letters")
        .col(big_pk_auto("seq"))
        .col(c.exact("event_id", 30).unique_key())
        .col(big_integer("order_seq"))
        .col(big_integer("version"))
        // Why it was not taken the last time.
        .col(string_len("reason", 200))
        .col(c.at("failing_since"))
        .col(c.at("tried_at"))
        // Somebody wants it told once more; while it is being told: until when nobody else does.
        .col(c.at_null("resend_at"))
        .foreign_key(
            ForeignKey::create().name("dead_letters_order_fk").from("dead_letters", "order_seq").to("orders", "seq"),
        )
        .take()
}
