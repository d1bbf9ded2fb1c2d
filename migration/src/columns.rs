//! Columns that mean the same on SQLite, PostgreSQL, MariaDB and MySQL.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{DatabaseBackend, Statement};

/// Makes columns for one database.
pub struct Columns {
    backend: DatabaseBackend,
    /// A collation that compares bytes and does not pad: MariaDB and MySQL name it differently, and
    /// their default ones merge cases, `utf8mb4_bin` still equates `'p'` and `'p '`.
    exact_collation: &'static str,
}

impl Columns {
    /// Asks the database which it is.
    pub async fn of(manager: &SchemaManager<'_>) -> Result<Self, DbErr> {
        let backend = manager.get_database_backend();
        let mut exact_collation = "utf8mb4_0900_bin";
        if backend == DatabaseBackend::MySql {
            let version = Statement::from_string(backend, "SELECT VERSION() AS version");
            let row = manager.get_connection().query_one_raw(version).await?;
            let version: String = row.map(|r| r.try_get("", "version")).transpose()?.unwrap_or_default();
            if version.contains("MariaDB") {
                exact_collation = "utf8mb4_nopad_bin";
            }
        }
        Ok(Self { backend, exact_collation })
    }

    /// Text that compares byte for byte.
    pub fn exact(&self, name: &'static str, length: u32) -> ColumnDef {
        let mut column = self.exact_null(name, length);
        column.not_null().take()
    }

    /// Text that compares byte for byte, or nothing.
    pub fn exact_null(&self, name: &'static str, length: u32) -> ColumnDef {
        let mut column = ColumnDef::new(name);
        if self.backend == DatabaseBackend::MySql {
            column.custom(format!("varchar({length}) character set utf8mb4 collate {}", self.exact_collation));
        } else {
            column.string_len(length);
        }
        column.take()
    }

    /// A moment with microseconds.
    pub fn at(&self, name: &'static str) -> ColumnDef {
        let mut column = self.at_null(name);
        column.not_null().take()
    }

    /// A moment with microseconds, or nothing.
    pub fn at_null(&self, name: &'static str) -> ColumnDef {
        let mut column = ColumnDef::new(name);
        if self.backend == DatabaseBackend::MySql {
            column.custom("datetime(6)");
        } else {
            column.timestamp_with_time_zone();
        }
        column.take()
    }
}
