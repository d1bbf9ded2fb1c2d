//! SQL, through `entity`: the judge of every promise. Rows go in and out here and nowhere else.
//!
//! One struct and no trait: its transactions are what is promised, so tests run them on real databases.

mod claims;
mod connect;
mod dead_letters;
mod due;
mod expiry;
mod inbox;
mod invariants;
mod limits;
mod lists;
mod live;
mod orders;
mod products;
mod quotes;
mod reconciling;
mod revocations;
mod rows;
mod telling;

pub use claims::{Claim, ClaimState, Lease, NewClaim};
pub use connect::StoreOptions;
pub use dead_letters::DeadLetter;
pub use due::Due;
pub use inbox::{InboxOutcome, Kept, NewNotification};
pub use invariants::{Depth, Invariant, Violation};
pub use lists::{OrderFilter, Page, PageRequest, RefundFilter};
pub use orders::Held;
pub use products::Product;
pub use reconciling::{RecordedPayment, RecordedRefund};
pub use revocations::{Revocation, RevocationMark};
pub use telling::{Behind, Channel, Channels, ToTell, Untold};

use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, RuntimeErr, SqlErr,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};
use tokio::sync::watch;

/// The database, and what is promised about it: pools that roll back what was left open, timeouts at the
/// server, one writer on SQLite.
#[derive(Clone, Debug)]
pub struct Store {
    write: DatabaseConnection,
    read: DatabaseConnection,
    /// Who is told outside of what happens.
    channels: Channels,
    /// Something has happened that somebody is to be told of.
    changes: watch::Sender<()>,
}

/// What broke in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another transaction was in the way (serialization, deadlock, lost fence): nothing was changed,
    /// the same transaction may be tried again.
    #[error("another transaction was in the way")]
    Conflict,
    /// An id that this transaction wanted to give is taken: its key was used before and purged since.
    #[error("the id is taken")]
    IdTaken,
    /// The database did not answer, or not in time. Before a commit nothing was changed; about a commit
    /// nothing is known.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[source] DbErr),
    /// A row says something that the rules do not allow.
    #[error("{table}.{column} of row {row} does not fit")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's id.
        row: String,
    },
}

impl From<DbErr> for StoreError {
    fn from(e: DbErr) -> Self {
        if matches!(e.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) {
            return StoreError::IdTaken;
        }
        match &e {
            DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))
                if in_the_way(cause) =>
            {
                StoreError::Conflict
            }
            _ => StoreError::Unavailable(e),
        }
    }
}

/// Serialization failures, deadlocks and lock timeouts: PostgreSQL 40001, 40P01, 55P03; MariaDB and MySQL 1213
/// (40001) and 1205; SQLite busy and locked, whose extended codes keep the plain one in their lowest byte.
fn in_the_way(cause: &sea_orm::sqlx::Error) -> bool {
    use sea_orm::sqlx::mysql::MySqlDatabaseError;
    use sea_orm::sqlx::sqlite::SqliteError;
    let Some(cause) = cause.as_database_error() else { return false };
    let code = cause.code().unwrap_or_default();
    if cause.try_downcast_ref::<SqliteError>().is_some() {
        return code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6));
    }
    let lock_timeout = cause.try_downcast_ref::<MySqlDatabaseError>().is_some_and(|e| e.number() == 1205);
    lock_timeout || matches!(code.as_ref(), "40001" | "40P01" | "55P03")
}

/// An open transaction. Dropped without [`Tx::commit`], nothing happened.
///
/// It must live in a task that a client cannot cancel: sqlx 0.9.0 hands back a connection whose `BEGIN`
/// was cancelled inside an open transaction.
pub struct Tx {
    inner: DatabaseTransaction,
    channels: Channels,
    changes: watch::Sender<()>,
}

impl Store {
    /// Begins a transaction that may write: READ COMMITTED, on SQLite the only writer.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        // The level is a setting of the connection: here it would cost a round trip each time.
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let inner = self.write.begin_with_options(options).await?;
        Ok(Tx { inner, channels: self.channels, changes: self.changes.clone() })
    }

    /// Whether the database answers now.
    pub async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.read.ping().await?)
    }

    /// Which database it is: `sqlite`, `postgres`, `mysql`.
    pub fn kind(&self) -> &'static str {
        match self.write.get_database_backend() {
            DbBackend::Sqlite => "sqlite",
            DbBackend::Postgres => "postgres",
            _ => "mysql",
        }
    }

    /// Milliseconds that the database's clock is ahead of this machine's.
    pub async fn clock_offset_ms(&self) -> Result<i64, StoreError> {
        let backend = self.read.get_database_backend();
        if backend == DbBackend::Sqlite {
            return Ok(0);
        }
        let sql = match backend {
            DbBackend::Postgres => "SELECT (extract(epoch from clock_timestamp()) * 1000)::bigint AS ms",
            _ => "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED) AS ms",
        };
        let row = self.read.query_one_raw(Statement::from_string(backend, sql)).await?;
        let theirs: i64 = row.map(|r| r.try_get("", "ms")).transpose()?.unwrap_or_default();
        Ok(theirs - machine_now().timestamp_millis())
    }

    /// Closes every connection.
    pub async fn close(self) {
        self.read.close().await.ok();
        self.write.close().await.ok();
    }
}

impl Tx {
    /// Makes everything that was done in it true at once.
    ///
    /// An error says nothing about whether it happened: the caller reads the claim again.
    pub async fn commit(self) -> Result<(), StoreError> {
        let done = self.inner.commit().await;
        self.changes.send_replace(());
        Ok(done?)
    }

    fn backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }
}

/// The machine's clock: on SQLite it is the database's too.
#[expect(clippy::disallowed_methods, reason = "leases live by the database's clock, and SQLite has none of its own")]
fn machine_now() -> domain::Timestamp {
    domain::to_stored(chrono::Utc::now())
}

/// SQL for the database's own clock, `ahead` from now.
fn database_clock(backend: DbBackend, ahead: Duration) -> sea_orm::sea_query::SimpleExpr {
    use sea_orm::sea_query::Expr;
    let ms = i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX / 2_000);
    match backend {
        DbBackend::Postgres => Expr::cust(format!("clock_timestamp() + interval '{ms} milliseconds'")),
        DbBackend::Sqlite => Expr::val(machine_now() + chrono::Duration::milliseconds(ms)),
        _ => Expr::cust(format!("UTC_TIMESTAMP(6) + INTERVAL {ms}000 MICROSECOND")),
    }
}
