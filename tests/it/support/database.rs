//! A database of its own for each test.

use std::sync::atomic::{AtomicU32, Ordering};

use sea_orm::{ConnectionTrait, Database};

/// A store with the coordination that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    PostgresAndRedis,
    MariaDb,
}

impl Backend {
    /// A fresh, empty database's URL.
    pub async fn fresh(self) -> String {
        let name = self.name();
        match self {
            Backend::Sqlite => {
                let path = std::env::temp_dir().join(format!("payonce_{name}.db"));
                for leftover in ["", "-wal", "-shm"] {
                    std::fs::remove_file(format!("{}{leftover}", path.display())).ok();
                }
                format!("sqlite://{}?mode=rwc", path.display())
            }
            Backend::PostgresAndRedis => made("PAYONCE_TEST_POSTGRES_URL", &name).await,
            Backend::MariaDb => made("PAYONCE_TEST_MARIADB_URL", &name).await,
        }
    }

    /// A copy of a database that nobody has open; MariaDB has no way to make one.
    pub async fn copy(self, original: &str) -> String {
        let copy = self.name();
        match self {
            Backend::Sqlite => {
                let file = |url: &str| url.trim_start_matches("sqlite://").split('?').next().unwrap().to_owned();
                let url = self.fresh().await;
                std::fs::copy(file(original), file(&url)).unwrap();
                url
            }
            Backend::PostgresAndRedis => {
                let original = original.rsplit_once('/').unwrap().1;
                let template = format!("CREATE DATABASE {copy} TEMPLATE {original}");
                let server = variable("PAYONCE_TEST_POSTGRES_URL");
                let connection = Database::connect(&server).await.unwrap();
                connection.execute_unprepared(&template).await.unwrap();
                connection.close().await.unwrap();
                format!("{}/{copy}", server.rsplit_once('/').unwrap().0)
            }
            Backend::MariaDb => panic!("MariaDB copies no databases"),
        }
    }

    fn name(self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        format!("it_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
    }

    pub fn redis(self) -> Option<String> {
        (self == Backend::PostgresAndRedis).then(|| variable("PAYONCE_TEST_REDIS_URL"))
    }
}

async fn made(server: &str, name: &str) -> String {
    let url = variable(server);
    let connection = Database::connect(&url).await.unwrap();
    connection.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    connection.close().await.unwrap();
    let (base, _) = url.rsplit_once('/').unwrap();
    format!("{base}/{name}")
}

/// The server that `make test` has started.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: `make test` starts the servers and sets it"))
}
