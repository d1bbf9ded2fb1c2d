//! `kill -9` at any moment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::gateway;
use crate::Result;
use crate::random::Random;
use crate::site::Site;

/// Every process of the site is killed again and again; in a third of the cases the gateway has just been told
/// to think longer, so that requests are on their way.
pub async fn run(site: &Arc<Site>, random: &mut Random, until: Instant) -> Result<u64> {
    let places = (0..site.ports.len()).map(|n| kill_again(site, n, random.fork(), until));
    let kills = futures_util::future::try_join_all(places).await?;
    Ok(kills.into_iter().sum())
}

async fn kill_again(site: &Arc<Site>, n: usize, mut random: Random, until: Instant) -> Result<u64> {
    let mut kills = 0;
    while Instant::now() < until {
        tokio::time::sleep(random.millis(0, 700)).await;
        if random.chance(33) {
            let call = *random.pick(&["open", "find", "close", "refund"]);
            gateway::add(site, call, "delay_ms", 3, Some(400)).await;
            tokio::time::sleep(Duration::from_millis(random.below(200))).await;
        }
        site.kill(n).await;
        tokio::time::sleep(random.millis(0, 60)).await;
        site.start(n, "").await?;
        kills += 1;
    }
    Ok(kills)
}
