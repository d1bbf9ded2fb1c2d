//! What was shipped. The primary key decides: one order, one parcel, however often anybody is told.

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbErr, Statement};
use serde_json::Value;

/// A SQLite file.
pub struct Ledger(DatabaseConnection);

/// What an event came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The goods go out, now.
    Shipped,
    /// They went out before.
    ShippedBefore,
    /// It is about something else.
    NotForUs,
}

impl Ledger {
    /// Opens the file; makes it when it is not there.
    pub async fn open(path: &str) -> Result<Self, DbErr> {
        let db = Database::connect(format!("sqlite://{path}?mode=rwc")).await?;
        let table = "CREATE TABLE IF NOT EXISTS shipments (order_id TEXT PRIMARY KEY, event_id TEXT NOT NULL)";
        db.execute_unprepared(table).await?;
        Ok(Self(db))
    }

    /// Takes an event. Only when this returns without error may the event be acknowledged: what is in the table then
    /// is what the warehouse packs.
    pub async fn take(&self, event: &Value) -> Result<Outcome, DbErr> {
        let text = |member: &str| event[member].as_str().unwrap_or_default().to_owned();
        if text("type") != "order.paid" {
            return Ok(Outcome::NotForUs);
        }
        // Not "look, then insert": two that look at once would both insert.
        let insert = "INSERT INTO shipments (order_id, event_id) VALUES (?, ?) ON CONFLICT DO NOTHING";
        let values = [text("orderId").into(), text("id").into()];
        let statement = Statement::from_sql_and_values(self.0.get_database_backend(), insert, values);
        let inserted = self.0.execute_raw(statement).await?.rows_affected();
        Ok(if inserted == 1 { Outcome::Shipped } else { Outcome::ShippedBefore })
    }

    /// How many parcels there are.
    pub async fn parcels(&self) -> Result<i64, DbErr> {
        let count = Statement::from_string(self.0.get_database_backend(), "SELECT COUNT(*) AS n FROM shipments");
        let row = self.0.query_one_raw(count).await?;
        row.map_or(Ok(0), |row| row.try_get("", "n"))
    }
}
