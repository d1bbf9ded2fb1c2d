//! What tests speak: the product's verbs. HTTP, sockets and servers are hidden here.

pub mod clock;
pub mod database;
pub mod desk;
pub mod event_stream;
pub mod form;
pub mod invariants;
pub mod issuer;
pub mod pricing;
pub mod rabbitmq;
pub mod redis_cluster;
pub mod redis_proxy;
pub mod redis_sentinel;
pub mod redis_server;
pub mod rows;
pub mod shop;
pub mod watcher;
pub mod webhook;
pub mod wire;

pub use database::Backend;
pub use shop::{Answer, Shop};

/// Runs one test on every store that is supported, each with the coordination that belongs to it.
macro_rules! on_every_store {
    ($($name:ident),+ $(,)?) => { $(
        mod $name {
            use crate::support::Backend;
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() { super::$name(Backend::Sqlite).await }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres_and_redis() { super::$name(Backend::PostgresAndRedis).await }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_mariadb() { super::$name(Backend::MariaDb).await }
        }
    )+ };
}
pub(crate) use on_every_store;
