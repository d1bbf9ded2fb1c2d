//! What stands in the tables.

use sea_orm::{ConnectionTrait, Database, Statement};

use super::Shop;

impl Shop {
    /// One number that a query answers.
    pub async fn number(&self, sql: &str) -> i64 {
        let db = Database::connect(&self.database_url).await.unwrap();
        let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap().unwrap();
        let number = row.try_get_by_index(0).unwrap();
        db.close().await.unwrap();
        number
    }

    /// How many rows there are of everything that a mutation may write.
    pub async fn rows(&self) -> Vec<(&'static str, i64)> {
        let mut counts = Vec::new();
        for table in ["operations", "orders", "order_lines", "payments", "refunds", "events", "customer_days", "quotes"]
        {
            counts.push((table, self.number(&format!("SELECT COUNT(*) FROM {table}")).await));
        }
        counts
    }

    /// A statement behind Payonce's back.
    pub async fn run(&self, sql: &str) {
        let db = Database::connect(&self.database_url).await.unwrap();
        db.execute_unprepared(sql).await.unwrap();
        db.close().await.unwrap();
    }

    /// Puts a product into the catalogue.
    pub async fn sell(&self, sku: &str, minor: i64, currency: &str) {
        let columns = "INSERT INTO products (sku, name, price_minor, currency)";
        self.run(&format!("{columns} VALUES ('{sku}', '{sku}', {minor}, '{currency}')")).await;
    }
}
