//! What is kept and for how long: claims by age, and notifications that wait for their order.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::columns::Columns;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let c = Columns::of(manager).await?;
        // What it says, to be applied when its order appears; and when to look for that.
        for mut column in [json_binary_null("news"), c.at_null("next_at")] {
            manager.alter_table(Table::alter().table("notifications").add_column(&mut column).take()).await?;
        }
        for (table, name, column) in [
            ("operations", "operations_created_at", "created_at"),
            ("notifications", "notifications_next_at", "next_at"),
        ] {
            manager.create_index(Index::create().name(name).table(table).col(column).take()).await?;
        }
        // Of older ones the text was kept, but not what it says: they are for people.
        let people = Query::update()
            .table("notifications")
            .value("outcome", "FOR_PEOPLE")
            .and_where(Expr::col("outcome").eq("UNKNOWN_NUMBER"))
            .take();
        manager.exec_stmt(people).await
    }
}
