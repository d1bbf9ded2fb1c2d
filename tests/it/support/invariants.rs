//! What must hold after every run, whatever happened in it: each query returns no row.

use std::collections::BTreeSet;

use payonce::payments::ports::Clock;
use payonce::store::{Depth, Invariant};
use sea_orm::{ConnectionTrait, Database, Statement};

use super::Shop;

impl Shop {
    /// Fails with the query that found something.
    pub async fn check_invariants(&self) {
        let db = Database::connect(&self.database_url).await.unwrap();
        let backend = db.get_database_backend();
        for invariant in Invariant::all() {
            for depth in [Depth::Everything, Depth::Lately] {
                let Some(sql) = invariant.sql(backend, depth, self.clock.now()) else { continue };
                let rows = db.query_all_raw(Statement::from_string(backend, sql.clone())).await;
                let rows = rows.unwrap_or_else(|e| panic!("{sql}\n{e}"));
                assert!(rows.is_empty(), "{}: {} rows of:\n{sql}", invariant.name, rows.len());
            }
        }
        db.close().await.unwrap();
        self.ledger_agrees().await;
    }

    /// The gateway's side of the truth: one charge a number, and paid there means paid here, to the last fen. Of
    /// what went back there we may not have heard yet; but we never say so of what did not, nor that it failed.
    async fn ledger_agrees(&self) {
        let ledger = self.ledger();
        let mut numbers: Vec<&str> = ledger.charges.iter().map(|c| c.number.as_str()).collect();
        numbers.sort_unstable();
        let charges = numbers.len();
        numbers.dedup();
        assert_eq!(numbers.len(), charges, "a number was charged twice");
        let mut refunds: Vec<&str> = ledger.refunds.iter().map(|r| r.number.as_str()).collect();
        refunds.sort_unstable();
        let refunded = refunds.len();
        refunds.dedup();
        assert_eq!(refunds.len(), refunded, "a refund happened twice");
        for charge in &ledger.charges {
            let back: i64 = ledger.refunds.iter().filter(|r| r.payment_number == charge.number).map(|r| r.minor).sum();
            assert!(back <= charge.minor, "{} gave back {back} of {}", charge.number, charge.minor);
        }
        let db = Database::connect(&self.database_url).await.unwrap();
        let rows =
            async |sql: &str| db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
        let paid = rows("SELECT id, paid, paid_currency FROM payments WHERE status = 'SUCCEEDED' ORDER BY id").await;
        let sent = rows("SELECT id, amount_minor, status FROM refunds").await;
        db.close().await.unwrap();
        let ours: BTreeSet<(String, i64, String)> = paid
            .iter()
            .map(|r| (r.try_get("", "id"), r.try_get("", "paid"), r.try_get("", "paid_currency")))
            .map(|(id, paid, currency)| (id.unwrap(), paid.unwrap(), currency.unwrap()))
            .collect();
        let theirs = ledger.charges.iter().map(|c| (c.number.clone(), c.minor, c.currency.clone())).collect();
        assert_eq!(ours, theirs, "paid here and paid there differ");
        for refund in sent {
            let (id, minor): (String, i64) =
                (refund.try_get("", "id").unwrap(), refund.try_get("", "amount_minor").unwrap());
            let status: String = refund.try_get("", "status").unwrap();
            let back = ledger.refunds.iter().find(|r| r.number == id).map(|r| r.minor);
            match status.as_str() {
                "SUCCEEDED" => assert_eq!(back, Some(minor), "{id} went back here; there"),
                "FAILED" => assert_eq!(back, None, "{id} failed here and went back there"),
                _ => {}
            }
        }
    }
}
