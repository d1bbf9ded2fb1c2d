//! Door out: what processes tell each other. It holds only what we can afford to lose: a lock makes
//! duplicates wait instead of race, an announcement makes listeners look sooner, and the store judges.
//!
//! `RedisCoordination` serves any number of processes, `InProcessCoordination` exactly one. One
//! suite of tests holds both to the same contract.

mod in_process;
mod redis;

use std::time::Duration;

pub use self::in_process::InProcessCoordination;
pub use self::redis::{ConfigError, RedisCoordination};

/// How many announcements a listener may fall behind before it is told that it `Lagged`. What to do
/// about it is the listener's business: a lag is a gap, so it reads the store.
const BACKLOG: usize = 1024;

/// 128 random bits in hex: no two holders of a lock ever share one. `None` if the system has no
/// randomness to give.
fn new_token() -> Option<String> {
    let mut bits = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bits).ok()?;
    Some(hex::encode(bits))
}

/// A time to live that every implementation accepts: whole milliseconds, at least one, at most some
/// thirty years.
fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 40)
}
