//! The guard's claims: one row per guarded mutation, unique per subject and key.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::columns::Columns;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let c = Columns::of(manager).await?;
        let operations = Table::create()
            .table("operations")
            .col(big_pk_auto("seq"))
            .col(c.exact("subject", 255))
            .col(c.exact("idempotency_key", 64))
            .col(c.exact("name", 32))
            .col(c.exact("fingerprint", 64))
            .col(integer("fingerprint_version"))
            // RUNNING until the answer of the gateway is recorded, then DONE.
            .col(c.exact("state", 8))
            .col(c.exact("order_id", 30))
            .col(c.exact_null("payment_id", 30))
            .col(c.exact_null("refund_id", 30))
            .col(big_integer("fence"))
            .col(c.exact_null("lease_holder", 32))
            // By the database's clock, not by ours.
            .col(c.at_null("lease_until"))
            .col(c.at("created_at"))
            .check(("operations_state", Expr::col("state").is_in(["RUNNING", "DONE"])))
            .check(("operations_lease", Expr::col("state").ne("RUNNING").or(Expr::col("lease_until").is_not_null())))
            .take();
        manager.create_table(operations).await?;
        let once = Index::create()
            .name("operations_once")
            .table("operations")
            .col("subject")
            .col("idempotency_key")
            .unique()
            .take();
        manager.create_index(once).await?;
        let due =
            Index::create().name("operations_lease_until").table("operations").col("state").col("lease_until").take();
        manager.create_index(due).await
    }
}
