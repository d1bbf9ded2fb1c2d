//! The steps that make the database, one file each; a released step is never edited.

mod columns;
mod m20261120_000001_catalogue;
mod m20261120_000002_orders;
mod m20261120_000003_operations;
mod m20261120_000004_keeping;
mod m20261120_000005_events_out;
mod m20261120_000006_limits;
mod m20261120_000007_revocations;
mod m20261120_000008_silence;

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::prelude::*;

/// Every step, in order. Run it under a lock: two migrators at once fail on every database.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261120_000001_catalogue::Migration),
            Box::new(m20261120_000002_orders::Migration),
            Box::new(m20261120_000003_operations::Migration),
            Box::new(m20261120_000004_keeping::Migration),
            Box::new(m20261120_000005_events_out::Migration),
            Box::new(m20261120_000006_limits::Migration),
            Box::new(m20261120_000007_revocations::Migration),
            Box::new(m20261120_000008_silence::Migration),
        ]
    }
}
