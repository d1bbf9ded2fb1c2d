//! Expiry of orders that have nothing open: many at a time, for many can fall due in the same second.

use super::cancel::expire;
use super::change::retried;
use super::schedule::AGAIN_AFTER;
use super::{PaymentError, Payments};

/// Closed in one transaction.
const AT_ONCE: u64 = 500;

impl Payments {
    /// Closes what has expired with nothing open, until nothing is left. What goes wrong is due again by itself.
    pub(super) async fn expire_all(&self) {
        while !self.0.stop.is_cancelled() {
            match self.expire_some().await {
                Ok(0) => return,
                Ok(_) => {}
                Err(e) => return tracing::warn!(error = %e, "not expired; due again in a moment"),
            }
        }
    }

    /// Closes the first of them, in one transaction; how many it has looked at.
    pub(super) async fn expire_some(&self) -> Result<usize, PaymentError> {
        let orders = retried(|| self.expire_once()).await?;
        for order in &orders {
            self.tell(&order.order);
        }
        Ok(orders.len())
    }

    async fn expire_once(&self) -> Result<Vec<crate::store::Held>, PaymentError> {
        let now = self.now();
        let tx = self.0.store.begin().await?;
        let mut orders = tx.hold_expired(now, now + AGAIN_AFTER, AT_ONCE).await?;
        for held in &mut orders {
            // One that is still asked about at a gateway goes on with the others that are.
            expire(&mut held.order, now, now)?;
        }
        if !orders.is_empty() {
            tx.save_many(&mut orders, now).await?;
            metrics::counter!("payonce_due_total").increment(orders.len() as u64);
        }
        tx.commit().await?;
        Ok(orders)
    }
}
