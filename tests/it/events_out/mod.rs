//! Events out: at least once, in order, under the same id, whatever breaks.

#[path = "../../../examples/fulfilment/ledger.rs"]
mod ledger;
mod rabbitmq;
mod schema;
#[path = "../../../examples/fulfilment/signature.rs"]
pub mod signature;
mod webhooks;

use sea_orm::{ConnectionTrait, Database, Statement};

use crate::support::Shop;

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Order, version and type of everything in the event table, in the order of versions.
async fn happened(shop: &Shop) -> Vec<(String, i64, String)> {
    let db = Database::connect(&shop.database_url).await.unwrap();
    let sql =
        "SELECT o.id, e.version, e.type FROM events e JOIN orders o ON o.seq = e.order_seq ORDER BY o.id, e.version";
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    db.close().await.unwrap();
    let read = |row: &sea_orm::QueryResult| {
        (row.try_get("", "id").unwrap(), row.try_get("", "version").unwrap(), row.try_get("", "type").unwrap())
    };
    rows.iter().map(read).collect()
}

/// One value of one row.
async fn one<T: sea_orm::TryGetable>(shop: &Shop, sql: &str) -> T {
    let db = Database::connect(&shop.database_url).await.unwrap();
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap().unwrap();
    db.close().await.unwrap();
    row.try_get("", "it").unwrap()
}

/// Changes rows behind everybody's back.
async fn change(shop: &Shop, sql: &str) {
    let db = Database::connect(&shop.database_url).await.unwrap();
    db.execute_unprepared(sql).await.unwrap();
    db.close().await.unwrap();
}
