//! RabbitMQ dies, and stands still.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Result;
use crate::random::Random;
use crate::site::Site;

/// It is killed at any moment and started again at once, which takes it some seconds; in a third of the cases it
/// stood still before.
pub async fn run(site: &Arc<Site>, random: &mut Random, until: Instant) -> Result<u64> {
    let Some(rabbitmq) = site.rabbitmq() else { return Ok(0) };
    let mut kills = 0;
    while Instant::now() < until {
        tokio::time::sleep(random.millis(200, 2_000)).await;
        if random.chance(33) {
            rabbitmq.freeze(random.millis(50, 1_000)).await;
        }
        rabbitmq.kill().await;
        tokio::time::sleep(Duration::from_millis(random.below(500))).await;
        rabbitmq.start_again().await?;
        kills += 1;
    }
    Ok(kills)
}
