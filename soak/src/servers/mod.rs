//! The real servers beneath, each our own: they may be frozen, broken and started again.

pub mod mariadb;
pub mod postgres;
mod rabbitmq;
mod redis;

pub use mariadb::MariaDb;
pub use postgres::Postgres;
pub use rabbitmq::RabbitMq;
pub use redis::Redis;

use std::path::PathBuf;

/// Where a program lies; servers live outside an ordinary user's PATH.
fn program(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let places = path.split(':').chain(["/usr/sbin", "/usr/local/sbin", "/usr/local/bin"]);
    let found = places.map(|place| PathBuf::from(place).join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| PathBuf::from(name))
}
