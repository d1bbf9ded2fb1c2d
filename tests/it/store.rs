//! What the store promises beneath the workflows, on real databases.

use std::process::Command;

use crate::support::Backend;
use payonce::store::{Store, StoreOptions};
use sea_orm::{ConnectionTrait, Database, Statement};

/// sqlx 0.9.0 gives a connection whose BEGIN was cancelled back to the pool inside the transaction; the
/// pool must roll it back, or the next acknowledged write on it is lost.
#[tokio::test]
async fn a_cancelled_begin_leaves_no_connection_inside_a_transaction() {
    let url = Backend::PostgresAndRedis.fresh().await;
    let store = Store::connect(&StoreOptions { url: url.clone(), max_connections: 1 }).await.unwrap();
    let watcher = Database::connect(&url).await.unwrap();
    let rows = async |sql: &str| {
        watcher.query_all_raw(Statement::from_string(watcher.get_database_backend(), sql)).await.unwrap()
    };
    store.ping().await.unwrap();
    let others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let connection: i32 = rows(&format!("SELECT pid {others}")).await[0].try_get("", "pid").unwrap();

    // The server holds its answer to BEGIN back until nobody waits for it any more.
    signal("STOP", connection);
    let mut begun = Box::pin(store.begin());
    for _ in 0..10 {
        assert!(futures_util::poll!(&mut begun).is_pending());
        tokio::task::yield_now().await;
    }
    drop(begun);
    signal("CONT", connection);

    // The next user of the only connection.
    store.ping().await.unwrap();
    let inside = rows(&format!("SELECT pid {others} AND state LIKE 'idle in transaction%'")).await;
    assert!(inside.is_empty(), "the connection is inside a transaction that nobody knows of");
    store.close().await;
}

fn signal(name: &str, process: i32) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status().unwrap();
    assert!(sent.success());
}

#[tokio::test]
async fn several_processes_may_migrate_at_once() {
    for backend in [Backend::PostgresAndRedis, Backend::MariaDb] {
        let url = backend.fresh().await;
        let environment = [("PAYONCE_DATABASE_URL".to_owned(), url.clone())].into_iter().collect();
        let config = payonce::config::Config::from(Default::default(), environment).unwrap();
        let (a, b, c) = tokio::join!(
            payonce::app::migrate(&config),
            payonce::app::migrate(&config),
            payonce::app::migrate(&config)
        );
        for migrated in [a, b, c] {
            migrated.unwrap_or_else(|e| panic!("{backend:?}: {e}"));
        }
        let store = payonce::app::connect(&config).await.unwrap();
        assert_eq!(payonce::app::pending_migrations(&store).await.unwrap(), 0);
        store.close().await;
    }
}
