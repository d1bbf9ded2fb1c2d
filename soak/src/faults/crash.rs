//! Processes that die where it hurts: each place goes from point to point.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::Result;
use crate::random::Random;
use crate::site::Site;

/// Where a process can be told to die, at which time it comes there at the latest, and how many died there in this
/// run. What comes less often than an order ends it at the first time.
pub static POINTS: [(&str, u64, AtomicU64); 17] = [
    ("before_claim", 3, AtomicU64::new(0)),
    ("after_claim", 3, AtomicU64::new(0)),
    ("after_intent", 3, AtomicU64::new(0)),
    ("reply_unread", 4, AtomicU64::new(0)),
    ("reply_parsed", 3, AtomicU64::new(0)),
    ("answer_uncommitted", 4, AtomicU64::new(0)),
    ("answer_committed", 4, AtomicU64::new(0)),
    ("before_reply", 3, AtomicU64::new(0)),
    ("found_uncommitted", 2, AtomicU64::new(0)),
    ("notification_uncommitted", 1, AtomicU64::new(0)),
    ("notification_unacknowledged", 1, AtomicU64::new(0)),
    ("refund_reserved", 1, AtomicU64::new(0)),
    ("refund_done_uncommitted", 1, AtomicU64::new(0)),
    ("recovery", 1, AtomicU64::new(0)),
    ("event_unmarked", 4, AtomicU64::new(0)),
    ("draining", 1, AtomicU64::new(0)),
    // Not a point of the code: killed while its request is on the way to the gateway.
    ("request_partly_sent", 1, AtomicU64::new(0)),
];

/// A point that is not met in this time is given up, and the process killed.
const PATIENCE: Duration = Duration::from_secs(4);

/// Every process of the site dies again and again, at the next point each time.
pub async fn run(site: &Arc<Site>, random: &mut Random, until: Instant) -> Result<u64> {
    let offset = random.below(POINTS.len() as u64) as usize;
    let places = (0..site.ports.len()).map(|n| die_at_each(site, n, offset + n * 5, random.fork(), until));
    let deaths = futures_util::future::try_join_all(places).await?;
    Ok(deaths.into_iter().sum())
}

async fn die_at_each(site: &Arc<Site>, n: usize, first: usize, mut random: Random, until: Instant) -> Result<u64> {
    let mut deaths = 0;
    for turn in first.. {
        if Instant::now() > until {
            break;
        }
        let (point, latest, died) = &POINTS[turn % POINTS.len()];
        if *point == "event_unmarked" && site.rabbitmq().is_none() {
            continue;
        }
        let time = 1 + random.below(*latest);
        site.kill(n).await;
        site.start(n, &format!("{point}={time}")).await?;
        match *point {
            "draining" => {
                tokio::time::sleep(random.millis(50, 400)).await;
                site.signal(n, "TERM").await;
            }
            "request_partly_sent" => {
                let rules = &site.to_gateway.rules;
                let before = rules.cuts.load(Relaxed);
                rules.cut_requests.store(50, Relaxed);
                let since = Instant::now();
                while rules.cuts.load(Relaxed) == before && since.elapsed() < PATIENCE {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                rules.cut_requests.store(0, Relaxed);
                if rules.cuts.load(Relaxed) > before {
                    died.fetch_add(1, Relaxed);
                }
                site.kill(n).await;
                deaths += 1;
                continue;
            }
            _ => {}
        }
        let since = Instant::now();
        while site.is_running(n).await && since.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if !site.is_running(n).await {
            died.fetch_add(1, Relaxed);
            site.kills.fetch_add(1, Relaxed);
        }
        deaths += 1;
    }
    Ok(deaths)
}
