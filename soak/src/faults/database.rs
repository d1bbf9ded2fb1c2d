//! The database's own troubles.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::Result;
use crate::random::Random;
use crate::site::Site;

/// It crashes and recovers.
pub async fn crash(site: &Arc<Site>, random: &mut Random, until: Instant) -> Result<u64> {
    let mut crashes = 0;
    while Instant::now() < until {
        tokio::time::sleep(random.millis(500, 3_000)).await;
        let down = random.millis(0, 500);
        if let Some(server) = site.postgres() {
            server.crash(down).await?;
        } else if let Some(server) = site.mariadb() {
            server.crash(down).await?;
        }
        crashes += 1;
    }
    Ok(crashes)
}

/// It stands still, and its clients do not know why.
pub async fn freeze(site: &Arc<Site>, random: &mut Random, until: Instant) -> Result<u64> {
    let mut freezes = 0;
    while Instant::now() < until {
        tokio::time::sleep(random.millis(500, 2_000)).await;
        let time = random.millis(100, 3_000);
        if let Some(server) = site.postgres() {
            server.freeze(time).await;
        } else if let Some(server) = site.mariadb() {
            server.freeze(time).await;
        }
        freezes += 1;
    }
    Ok(freezes)
}

/// One of its sessions ends, twenty times a second.
pub async fn sessions(site: &Arc<Site>, random: &mut Random, until: Instant) -> Result<u64> {
    let mut ended = 0;
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let done = if let Some(server) = site.postgres() {
            let sql = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid() \
                 ORDER BY md5(pid::text || '{}') LIMIT 1",
                site.database,
                random.next()
            );
            server.command(&sql).await
        } else if let Some(server) = site.mariadb() {
            let look = server.sessions(&site.database).await.unwrap_or_default();
            if look.is_empty() {
                continue;
            }
            server.command(&format!("KILL CONNECTION {}", random.pick(&look))).await
        } else {
            Ok(())
        };
        // A server that is down just now has no sessions to end.
        ended += u64::from(done.is_ok());
    }
    Ok(ended)
}

/// Every fifth COMMIT goes through, and nobody hears of it.
pub async fn lost_commits(site: &Arc<Site>, until: Instant) -> Result<u64> {
    let Some(proxy) = &site.to_database else { return Ok(0) };
    let before = proxy.rules.cuts.load(Relaxed);
    proxy.rules.lost_commits.store(20, Relaxed);
    tokio::time::sleep_until(until.into()).await;
    proxy.rules.clear();
    Ok(proxy.rules.cuts.load(Relaxed) - before)
}
