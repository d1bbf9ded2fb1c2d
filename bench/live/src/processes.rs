//! Several processes behind one Redis: whoever changes an order, the subscribers of every process hear it.

use crate::cancels::cancel;
use crate::idle::{Watched, open};
use crate::report::Report;
use crate::server::Server;
use crate::shop::Shop;
use crate::subscriber::Ears;
use crate::{Result, Wrong};

/// Orders that are followed in every process.
const ORDERS: usize = 500;
const PER_SECOND: usize = 100;

/// Counts what is delivered, and how late the last of it is.
pub async fn measure(shop: &Shop, processes: &[&Server; 3], mut watched: Watched, report: &mut Report) -> Result<()> {
    let orders = &watched.orders[..ORDERS];
    let (mut here, mut there) = (Ears::new(), Ears::new());
    let _sockets =
        (open(shop, processes[0], orders, &mut here).await?, open(shop, processes[2], orders, &mut there).await?);
    let (done, a, b, c) = tokio::join!(
        cancel(shop, processes, orders, PER_SECOND),
        here.all(ORDERS, true),
        watched.ears.all(ORDERS, true),
        there.all(ORDERS, true),
    );
    done?;
    let committed = shop.committed().await?;
    let (mut delivered, mut slowest) = (0, 0.0_f64);
    for (heard, offset) in [(a?, 0), (b?, watched.first), (c?, 0)] {
        for heard in heard {
            let order = heard.who.checked_sub(offset).and_then(|n| orders.get(n)).ok_or("a stranger heard it")?;
            let commit = committed.get(order).ok_or_else(|| Wrong::from("an order is not in the database"))?;
            slowest = slowest.max((heard.at - commit) as f64 / 1e3);
            delivered += 1;
        }
    }
    report.processes(delivered, 3 * ORDERS, slowest);
    Ok(())
}
