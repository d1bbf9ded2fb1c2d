//! Coordination through Redis. Nothing here is ever an error to the caller: what Redis cannot say is
//! `Unavailable` or `None`, at once.

mod count;
mod link;
mod masters;
mod news;
mod owed;
mod place;
mod server;
mod slots;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Pipeline, Value};
use sha2::{Digest, Sha256};
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::count::Counting;
use self::link::NoAnswer;
use self::masters::Masters;
use self::owed::{Owed, Promise, Release};
pub use self::place::ConfigError;
use self::place::Place;
use self::slots::slot_of;
use super::{BACKLOG, millis, new_token};
use crate::payments::ports::{Announcement, Begun, Coordination, Counted, Lock, LockToken, Memory, OrderChanged};

/// Where orders are announced. Redis keeps channels apart from its numbered databases: two
/// installations on one server hear each other, and find that they know no such order.
const CHANNEL: &str = "payonce:orders";

/// The wait before trying again doubles from here…
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// …to here.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Coordinates any number of processes through Redis (7.0 or newer): one server, one that sentinels watch
/// over, or a cluster.
///
/// A beginning takes one round trip, or none while Redis does not answer: the first timeout (50 ms) or
/// lost connection opens a breaker, from then on every call returns at once, and a background task
/// asks until Redis answers again; in a cluster, each master has its own breaker. What ends is told in the
/// background, with whatever else has ended meanwhile. A Redis that loses its data, restarts, fails over,
/// refuses writes or lies costs time, nothing else. Its tasks end when it is dropped.
pub struct RedisCoordination {
    masters: Arc<Masters>,
    owed: Arc<Owed>,
    counting: Counting,
    told: broadcast::Sender<Announcement>,
    _tasks: DropGuard,
}

impl RedisCoordination {
    /// Connects to `redis://[user:password@]host[:port][/database]`, to the master behind
    /// `redis+sentinel://[user:password@]host[:port],…/service[/database]`, or to the cluster of which
    /// `redis+cluster://[user:password@]host[:port],…` names some nodes; `rediss` in the place of `redis` is TLS.
    /// A wrong URL is an error, a Redis that does not answer is not: it is waited for in the background.
    /// Needs a tokio runtime; returns within a second.
    pub async fn connect(url: &str) -> Result<Self, ConfigError> {
        let place = Place::read(url)?;
        if place.is_tls() {
            // The process may have chosen one before: any will do.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let masters = Masters::open(place).await;
        let owed = Arc::new(Owed::default());
        let (told, _) = broadcast::channel(BACKLOG);
        let end = CancellationToken::new();
        tokio::spawn(end.clone().run_until_cancelled_owned(masters::follow(Arc::clone(&masters))));
        tokio::spawn(end.clone().run_until_cancelled_owned(news::listen(Arc::clone(&masters), told.clone())));
        tokio::spawn(end.clone().run_until_cancelled_owned(owed::pay(Arc::clone(&masters), Arc::clone(&owed))));
        Ok(Self { masters, owed, counting: Counting::default(), told, _tasks: end.drop_guard() })
    }
}

#[async_trait]
impl Coordination for RedisCoordination {
    async fn begin(&self, owner: &str, name: &str, ttl: Duration, memory: Option<&Memory>) -> Begun {
        let Some(token) = new_token() else { return Begun { lock: Lock::Unavailable, remembered: None } };
        let tag = tag(owner);
        let key = lock_key(&tag, name);
        let mut commands = Pipeline::with_capacity(2);
        commands.cmd("SET").arg(&key).arg(&token).arg("NX").arg("PX").arg(millis(ttl));
        if let Some(Memory { name, value, window }) = memory {
            // NX together with GET: since Redis 7.0.
            let set = commands.cmd("SET").arg(memory_key(&tag, name)).arg(value);
            set.arg("NX").arg("GET").arg("PX").arg(millis(*window));
        }
        // A SET whose answer we never see may still land, be it that Redis is slow or that the caller
        // gives up. Until the answer is here, we owe the release of it.
        let debt = Promise::new(&self.masters, &self.owed, Release::of(&tag, &key, &token));
        let mut answers = match self.masters.ask(slot_of(&tag), &commands).await {
            Ok(answers) => answers.into_iter(),
            Err(NoAnswer::NotAsked) => {
                debt.settle();
                return Begun { lock: Lock::Unavailable, remembered: None };
            }
            Err(NoAnswer::Lost) => return Begun { lock: Lock::Unavailable, remembered: None },
        };
        let lock = match answers.next() {
            Some(Ok(Value::Okay)) => Lock::Held(LockToken { owner: owner.to_owned(), name: name.to_owned(), token }),
            Some(Ok(Value::Nil)) => Lock::Busy,
            // Refused: nothing was done. Anything else is no answer to a SET.
            Some(Err(_)) => Lock::Unavailable,
            Some(Ok(_)) | None => return Begun { lock: Lock::Unavailable, remembered: None },
        };
        debt.settle();
        let remembered = answers.next().and_then(|first| redis::from_redis_value(first.ok()?).ok()).flatten();
        Begun { lock, remembered }
    }

    /// Listeners in this process are told at once, whatever Redis does; they hear their own
    /// announcement a second time when it comes back, which changes nothing.
    fn end(&self, held: Option<LockToken>, change: Option<&OrderChanged>) {
        if let Some(change) = change {
            // An error only says that nobody listens.
            let _ = self.told.send(Announcement::Changed(change.clone()));
        }
        let release = held.map(|held| {
            let tag = tag(&held.owner);
            Release::of(&tag, &lock_key(&tag, &held.name), &held.token)
        });
        let news = change.and_then(|change| serde_json::to_string(change).ok());
        self.owed.owe(release, news);
        self.masters.bells.pay.notify_one();
    }

    fn announcements(&self) -> broadcast::Receiver<Announcement> {
        self.told.subscribe()
    }

    async fn count(&self, counted: &[Counted]) -> Vec<Option<f64>> {
        self.counting.add(&self.masters, counted).await
    }

    async fn healthy(&self) -> bool {
        self.masters.take_writes().await
    }
}

/// The hash tag of whatever belongs to this owner: it lies in one slot, and names nobody.
fn tag(owner: &str) -> String {
    hex::encode(&Sha256::digest(owner)[..16])
}

fn lock_key(tag: &str, name: &str) -> String {
    format!("payonce:lock:{{{tag}}}:{name}")
}

fn count_key(tag: &str) -> String {
    format!("payonce:count:{{{tag}}}")
}

fn memory_key(tag: &str, name: &str) -> String {
    format!("payonce:once:{{{tag}}}:{name}")
}
