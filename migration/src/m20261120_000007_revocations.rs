//! Tokens that are no longer taken: all of a subject that were issued before a time, or one by its `jti`.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

use crate::columns::Columns;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let c = Columns::of(manager).await?;
        let revocations = Table::create()
            .table("token_revocations")
            .col(big_pk_auto("seq"))
            .col(c.exact_null("subject", 255))
            // Of a subject: what was issued before this.
            .col(c.at_null("issued_before"))
            .col(c.exact_null("jti", 255))
            .col(c.at("revoked_at"))
            .check((
                "token_revocations_one",
                Expr::col("subject")
                    .is_not_null()
                    .and(Expr::col("issued_before").is_not_null())
                    .and(Expr::col("jti").is_null())
                    .or(Expr::col("subject").is_null().and(Expr::col("jti").is_not_null())),
            ))
            .take();
        manager.create_table(revocations).await?;
        let age = Index::create().name("token_revocations_at").table("token_revocations").col("revoked_at").take();
        manager.create_index(age).await
    }
}
