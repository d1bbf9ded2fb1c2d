//! Hears what other processes announce, over a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::Msg;
use redis::aio::PubSub;
use tokio::sync::broadcast;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::link::pause;
use super::server::{Server, Trouble};
use super::{CHANNEL, FIRST_WAIT, LONGEST_WAIT};
use crate::payments::ports::Announcement;

/// A peer that vanished without a word is noticed by asking this often…
const PING_EVERY: Duration = Duration::from_secs(2);
/// …and waiting this long.
const PONG_WITHIN: Duration = Duration::from_millis(500);

/// Passes on every announcement, for as long as it runs. Redis keeps nothing for a listener that is
/// away, so each loss of the connection and each return to it is told as a gap.
pub(super) async fn listen(server: Arc<Server>, told: broadcast::Sender<Announcement>) {
    // An error of `send` only says that nobody listens.
    let tell = |announcement| drop(told.send(announcement));
    let mut wait = FIRST_WAIT;
    loop {
        match server.subscribe(CHANNEL).await {
            Ok(listener) => {
                tracing::debug!(redis = %server, "listening to announcements");
                tell(Announcement::Gap);
                let since = Instant::now();
                let trouble = hear(listener, &tell).await;
                tell(Announcement::Gap);
                tracing::warn!(redis = %server, %trouble, "announcements interrupted");
                if since.elapsed() >= LONGEST_WAIT {
                    wait = FIRST_WAIT;
                }
            }
            Err(trouble) => tracing::debug!(redis = %server, %trouble, "cannot listen to announcements"),
        }
        pause(&mut wait).await;
    }
}

/// Returns when the connection is lost, and why.
async fn hear(listener: PubSub, tell: &impl Fn(Announcement)) -> Trouble {
    let (mut control, mut messages) = listener.split();
    let mut ping = interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
        }
    }
}

/// A message that we cannot read, from another version perhaps, still says that something happened.
fn read(message: &Msg) -> Announcement {
    serde_json::from_slice(message.get_payload_bytes()).map_or(Announcement::Gap, Announcement::Changed)
}
