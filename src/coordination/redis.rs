//! Coordination through Redis. Nothing here is ever an error to the caller: what Redis cannot say is
//! `Unavailable` or `None`, at once.

mod link;
mod news;
mod server;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script, cmd};
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::link::{Link, NoAnswer};
pub use self::server::ConfigError;
use self::server::{Server, probe};
use super::{BACKLOG, millis, new_token};
use crate::payments::ports::{Announcement, Coordination, Lock, LockToken, OrderChanged};

/// Where orders are announced. Redis keeps channels apart from its numbered databases: two
/// installations on one server hear each other, and find that they know no such order.
const CHANNEL: &str = "payonce:orders";

/// The wait before trying again doubles from here…
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// …to here.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Deletes a lock if it still carries our token: compare and delete in one step, because between a GET
/// and a DEL the lock may pass to somebody else.
static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")
});

/// Coordinates any number of processes through one Redis server (7.0 or newer).
///
/// Every call takes one round trip, or none while Redis does not answer: the first timeout (50 ms) or
/// lost connection opens a breaker, from then on every call returns at once, and a background task
/// asks until Redis answers again. A Redis that loses its data, restarts, refuses writes or lies costs
/// time, nothing else. Its tasks end when it is dropped.
pub struct RedisCoordination {
    link: Arc<Link>,
    told: broadcast::Sender<Announcement>,
    _tasks: DropGuard,
}

impl RedisCoordination {
    /// Connects to `redis://` or `rediss://[user:password@]host[:port][/database]`. A wrong URL is an
    /// error, a Redis that does not answer is not: it is waited for in the background. Needs a tokio
    /// runtime; returns within half a second.
    pub async fn connect(url: &str) -> Result<Self, ConfigError> {
        let server = Arc::new(Server::open(url)?);
        let end = CancellationToken::new();
        let (told, _) = broadcast::channel(BACKLOG);
        let listening = news::listen(Arc::clone(&server), told.clone());
        tokio::spawn(end.clone().run_until_cancelled_owned(listening));
        let link = Arc::new(Link::open(server).await);
        tokio::spawn(end.clone().run_until_cancelled_owned(link::keep(Arc::clone(&link))));
        Ok(Self { link, told, _tasks: end.drop_guard() })
    }
}

#[async_trait]
impl Coordination for RedisCoordination {
    async fn lock(&self, name: &str, ttl: Duration) -> Lock {
        let Some(token) = new_token() else { return Lock::Unavailable };
        let key = &lock_key(name);
        // A SET whose answer we never see may still land, be it that Redis is slow or that the caller
        // gives up. Until the answer is here, we owe the release of it.
        let debt = self.link.owe_unless_settled(key, &token);
        let answer = self
            .link
            .ask(async |mut redis| {
                let mut set = cmd("SET");
                set.arg(key).arg(&token).arg("NX").arg("PX").arg(millis(ttl));
                set.query_async::<Option<String>>(&mut redis).await
            })
            .await;
        match answer {
            Ok(taken) => {
                debt.settle();
                if taken.is_some() { Lock::Held(LockToken { name: name.to_owned(), token }) } else { Lock::Busy }
            }
            Err(NoAnswer::NotAsked | NoAnswer::Refused) => {
                debt.settle();
                Lock::Unavailable
            }
            Err(NoAnswer::Lost) => Lock::Unavailable,
        }
    }

    async fn unlock(&self, held: LockToken) {
        let key = &lock_key(&held.name);
        let debt = self.link.owe_unless_settled(key, &held.token);
        if self.link.ask(async |redis| release(redis, key, &held.token).await).await.is_ok() {
            debt.settle();
        }
    }

    async fn remember(&self, name: &str, value: &str, window: Duration) -> Option<String> {
        let remembered = self.link.ask(async |mut redis| {
            let mut set = cmd("SET");
            // NX together with GET: since Redis 7.0.
            set.arg(memory_key(name)).arg(value).arg("NX").arg("GET").arg("PX").arg(millis(window));
            set.query_async(&mut redis).await
        });
        remembered.await.ok().flatten()
    }

    /// Listeners in this process are told at once, whatever Redis does; they hear their own
    /// announcement a second time when it comes back, which changes nothing.
    async fn announce(&self, change: &OrderChanged) {
        // An error only says that nobody listens.
        let _ = self.told.send(Announcement::Changed(change.clone()));
        let Ok(text) = serde_json::to_string(change) else { return };
        // A hint: the others read the store from time to time, told or not.
        let _ =
            self.link.ask(async |mut redis| cmd("PUBLISH").arg(CHANNEL).arg(&text).exec_async(&mut redis).await).await;
    }

    fn announcements(&self) -> broadcast::Receiver<Announcement> {
        self.told.subscribe()
    }

    /// Whether it takes writes: a replica, or a Redis whose memory is full, also answers PING.
    async fn healthy(&self) -> bool {
        self.link.ask(async |mut redis| probe().exec_async(&mut redis).await).await.is_ok()
    }
}

/// Keys in braces share a hash tag: whatever a script may one day touch besides the lock lies with it.
fn lock_key(name: &str) -> String {
    format!("payonce:lock:{{{name}}}")
}

fn memory_key(name: &str) -> String {
    format!("payonce:once:{{{name}}}")
}

/// Whether the lock was ours and is now gone. The script goes by its SHA, and whole when Redis has
/// forgotten it.
async fn release(mut redis: MultiplexedConnection, key: &str, token: &str) -> RedisResult<bool> {
    RELEASE.key(key).arg(token).invoke_async(&mut redis).await
}
