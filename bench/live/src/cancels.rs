//! Many orders that change at once, each with one subscriber.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{MissedTickBehavior, interval};

use crate::Result;
use crate::idle::Watched;
use crate::report::{Report, percentile};
use crate::server::Server;
use crate::shop::Shop;

/// Orders that are cancelled in a second.
const PER_SECOND: usize = 500;
const SECONDS: usize = 10;

/// Cancels at a steady rate, through every process in turns; the subscribers are all at one of them. Returns those
/// whose orders are still open.
pub async fn measure(
    shop: &Shop,
    processes: &[&Server; 3],
    mut watched: Watched,
    report: &mut Report,
) -> Result<Watched> {
    let rest = watched.orders.split_off(PER_SECOND * SECONDS);
    let waiting = watched.sockets.split_off(PER_SECOND * SECONDS);
    let orders = &watched.orders;
    let (done, heard) = tokio::join!(cancel(shop, processes, orders, PER_SECOND), watched.ears.all(orders.len(), true));
    done?;
    let heard = heard?;
    let committed = shop.committed().await?;
    let mut lags = Vec::with_capacity(heard.len());
    for heard in &heard {
        let commit = committed.get(&orders[heard.who]).copied().ok_or("an order is not in the database")?;
        lags.push((heard.at - commit) as f64 / 1e3);
    }
    let seconds = |of: &dyn Fn(&i64, &i64) -> bool| {
        orders.iter().filter_map(|o| committed.get(o)).reduce(|a, b| if of(a, b) { a } else { b }).copied()
    };
    let span = seconds(&|a, b| a > b).unwrap_or_default() - seconds(&|a, b| a < b).unwrap_or_default();
    let rate = orders.len() as f64 * 1e6 / span.max(1) as f64;
    let own = shop.metrics(processes[1], "payonce_live_lag_seconds").await?;
    report.cancels(rate, percentile(&lags, 50.0), percentile(&lags, 99.0), percentile(&lags, 100.0), &own);
    Ok(Watched { first: watched.orders.len(), orders: rest, sockets: waiting, ears: watched.ears })
}

/// Sends so many cancellations a second, whether the ones before are answered or not.
pub async fn cancel(shop: &Shop, processes: &[&Server; 3], orders: &[String], per_second: usize) -> Result<()> {
    let mut tick = interval(Duration::from_secs(1) / per_second as u32);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = FuturesUnordered::new();
    for (n, order) in orders.iter().enumerate() {
        loop {
            tokio::select! {
                _ = tick.tick() => break,
                Some(done) = under_way.next() => drop(done?),
            }
        }
        under_way.push(shop.cancel(processes[n % processes.len()], order));
    }
    while let Some(done) = under_way.next().await {
        done?;
    }
    Ok(())
}
