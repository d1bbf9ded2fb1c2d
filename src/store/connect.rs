//! Opening the pools.

use std::time::Duration;

use sea_orm::sqlx::{Executor, Row, raw_sql};
use sea_orm::{ConnectOptions, Database, DatabaseConnection};
use tokio::sync::watch;

use super::{Channels, Store, StoreError};

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// `sqlite://…`, `postgres://…`, `mysql://…`.
    pub url: String,
    /// Connections at most (SQLite: one writer and this many readers at most 4).
    pub max_connections: u32,
}

impl Store {
    /// Opens the pools; fails when the database does not answer within 5 s.
    pub async fn connect(options: &StoreOptions) -> Result<Store, StoreError> {
        if options.url.starts_with("sqlite:") {
            let write = Database::connect(sqlite_writer(&options.url)).await?;
            // Opened second: the writer makes the file.
            let read = Database::connect(sqlite_readers(&options.url, options.max_connections)).await?;
            return Ok(Store::on(write, read));
        }
        let pool = Database::connect(server(options)).await?;
        Ok(Store::on(pool.clone(), pool))
    }

    fn on(write: DatabaseConnection, read: DatabaseConnection) -> Store {
        Store { write, read, channels: Channels::default(), changes: watch::Sender::new(()) }
    }

    /// The connection that migrations run on.
    pub fn for_migrations(&self) -> &sea_orm::DatabaseConnection {
        &self.write
    }
}

fn basics(url: &str, max_connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(max_connections)
        .connect_timeout(Duration::from_secs(5))
        .acquire_timeout(Duration::from_secs(5))
        .test_before_acquire(false)
        .sqlx_logging(false);
    options
}

fn server(options: &StoreOptions) -> ConnectOptions {
    let mut pool = basics(&options.url, options.max_connections);
    pool.test_before_acquire_if_idle_for(Duration::from_secs(30));
    pool.map_sqlx_postgres_opts(|o| {
        o.options([("statement_timeout", "5s"), ("lock_timeout", "2s"), ("idle_in_transaction_session_timeout", "10s")])
    });
    // A connection that comes back inside a transaction (its BEGIN was cancelled) is rolled back before
    // anybody else gets it; without this the next acknowledged write is lost with it.
    pool.map_sqlx_postgres_pool_opts(|pool| {
        pool.after_release(|connection, _| {
            Box::pin(async move {
                let outside = raw_sql("SELECT now() = statement_timestamp()").fetch_one(&mut *connection).await?;
                if !outside.try_get::<bool, _>(0)? {
                    connection.execute("ROLLBACK").await?;
                }
                Ok(true)
            })
        })
    });
    pool.map_sqlx_mysql_pool_opts(|pool| {
        pool.after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute(raw_sql("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")).await?;
                connection.execute(raw_sql("SET SESSION innodb_lock_wait_timeout = 2")).await?;
                // One of the two is MariaDB's, the other MySQL's; each refuses the other's name.
                let maria = raw_sql("SET SESSION max_statement_time = 5, idle_transaction_timeout = 10");
                if connection.execute(maria).await.is_err() {
                    connection.execute(raw_sql("SET SESSION max_execution_time = 5000")).await?;
                }
                Ok(())
            })
        })
        .after_release(|connection, _| {
            Box::pin(async move {
                connection.execute(raw_sql("ROLLBACK")).await?;
                Ok(true)
            })
        })
    });
    pool
}

fn sqlite_writer(url: &str) -> ConnectOptions {
    use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
    let mut pool = basics(url, 1);
    pool.map_sqlx_sqlite_opts(|o| {
        o.journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5))
            .foreign_keys(true)
    });
    pool
}

fn sqlite_readers(url: &str, max_connections: u32) -> ConnectOptions {
    let path = url.split('?').next().unwrap_or(url);
    let mut pool = basics(&format!("{path}?mode=ro"), max_connections.clamp(1, 4));
    pool.map_sqlx_sqlite_opts(|o| o.read_only(true).busy_timeout(Duration::from_secs(5)));
    pool
}
