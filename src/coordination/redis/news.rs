//! Hears what other processes announce, over a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::Msg;
use redis::aio::PubSub;
use tokio::sync::broadcast;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::link::{Link, pause};
use super::masters::Masters;
use super::server::Trouble;
use super::{CHANNEL, FIRST_WAIT, LONGEST_WAIT};
use crate::payments::ports::Announcement;

/// A peer that vanished without a word is noticed by asking this often…
const PING_EVERY: Duration = Duration::from_secs(2);
/// …and waiting this long.
const PONG_WITHIN: Duration = Duration::from_millis(500);

/// Passes on every announcement, for as long as it runs: from one master, because each spreads them to all.
/// Redis keeps nothing for a listener that is away, so each loss of the connection and each return to it is
/// told as a gap.
pub(super) async fn listen(masters: Arc<Masters>, told: broadcast::Sender<Announcement>) {
    // An error of `send` only says that nobody listens.
    let tell = |announcement| drop(told.send(announcement));
    let mut wait = FIRST_WAIT;
    for turn in 0.. {
        let Some(link) = choose(&masters, turn) else {
            pause(&mut wait).await;
            continue;
        };
        let address = &link.server.address;
        match link.server.subscribe(CHANNEL).await {
            Ok(listener) => {
                tracing::debug!(redis = %address, "listening to announcements");
                tell(Announcement::Gap);
                let since = Instant::now();
                let trouble = hear(listener, &link, &masters, &tell).await;
                tell(Announcement::Gap);
                tracing::warn!(redis = %address, %trouble, "announcements interrupted");
                if since.elapsed() >= LONGEST_WAIT {
                    wait = FIRST_WAIT;
                }
            }
            Err(trouble) => tracing::debug!(redis = %address, %trouble, "cannot listen to announcements"),
        }
        pause(&mut wait).await;
    }
}

/// Another one each time; first of all those that answer.
fn choose(masters: &Masters, turn: usize) -> Option<Arc<Link>> {
    let map = masters.now();
    let up: Vec<_> = map.links().filter(|link| link.is_up()).collect();
    let all: Vec<_> = if up.is_empty() { map.links().collect() } else { up };
    all.get(turn % all.len().max(1)).map(|link| Arc::clone(link))
}

/// Returns when the connection is lost, or leads to somebody who is no master any more, and why.
async fn hear(listener: PubSub, link: &Link, masters: &Masters, tell: &impl Fn(Announcement)) -> Trouble {
    let (mut control, mut messages) = listener.split();
    let mut ping = interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut changes = masters.changes();
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => tell(read(&message)),
                None => return Trouble::CLOSED,
            },
            _ = ping.tick() => match timeout(PONG_WITHIN, control.ping::<redis::Value>()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error.into(),
                Err(_) => return Trouble::TIMEOUT,
            },
            Ok(()) = changes.changed() => {
                if masters.now().at(&link.server.address).is_none() {
                    return Trouble::NO_MASTER;
                }
            }
        }
    }
}

/// A message that we cannot read, from another version perhaps, still says that something happened.
fn read(message: &Msg) -> Announcement {
    serde_json::from_slice(message.get_payload_bytes()).map_or(Announcement::Gap, Announcement::Changed)
}
