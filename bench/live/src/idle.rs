//! What subscribers cost that only wait: each has a socket and an order of its own.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::Result;
use crate::report::Report;
use crate::server::Server;
use crate::shop::Shop;
use crate::subscriber::{Ears, Subscriber};

/// Connections in one process.
const CONNECTIONS: usize = 10_000;
/// At a time, while orders are made and sockets opened.
const AT_ONCE: usize = 32;

/// Orders, and who follows them: the subscriber of the same place.
pub struct Watched {
    /// Ids.
    pub orders: Vec<String>,
    /// What they hear.
    pub ears: Ears,
    /// Held open.
    pub sockets: Vec<Subscriber>,
    /// The number of the first of them.
    pub first: usize,
}

/// Makes the orders in one process and follows them in another one, so that the memory measured is theirs alone.
pub async fn measure(shop: &Shop, make: &Server, follow: &Server, report: &mut Report) -> Result<Watched> {
    let made = stream::iter(0..CONNECTIONS).map(|key| shop.create(make, key)).buffered(AT_ONCE);
    let orders: Vec<String> = made.try_collect().await?;
    // What the first requests and subscribers leave in a process is not counted for the others.
    let mut ears = Ears::new();
    open(shop, follow, &orders[..500], &mut ears).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = follow.memory()?;
    let since = Instant::now();
    let mut ears = Ears::new();
    let sockets = open(shop, follow, &orders, &mut ears).await?;
    let took = since.elapsed();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let memory = follow.memory()?.saturating_sub(before) as f64 / CONNECTIONS as f64;
    report.idle(CONNECTIONS, memory, took);
    Ok(Watched { orders, ears, sockets, first: 0 })
}

/// A socket for each order; returns when everyone has heard the order's state.
pub async fn open(shop: &Shop, server: &Server, orders: &[String], ears: &mut Ears) -> Result<Vec<Subscriber>> {
    let opened = {
        let ears = &*ears;
        let opening = orders.iter().enumerate().map(|(who, order)| async move {
            let mut socket = Subscriber::open(server.address, &shop.token, who, ears).await?;
            socket.subscribe("1", &shop.following(order)).await?;
            Ok::<_, crate::Wrong>(socket)
        });
        stream::iter(opening).buffered(AT_ONCE).try_collect().await?
    };
    ears.all(orders.len(), false).await?;
    Ok(opened)
}
