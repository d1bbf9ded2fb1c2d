//! Payers who look on: they follow orders over real sockets while everything breaks, come back elsewhere when their
//! process dies, and write down which version they saw when. Beside them the store is asked what there was to see.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use entity::order;
use futures_util::{SinkExt, StreamExt};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_util::sync::CancellationToken;

use crate::journal::Journal;
use crate::random::Random;
use crate::site::Site;
use crate::{Result, Wrong};

/// Watchers at each process.
const AT_EACH: usize = 4;
/// Whatever Redis does, a commit is seen by then.
const WITHIN: Duration = Duration::from_secs(6);
/// A store or a machine that takes longer to say something was away.
const AWAY: Duration = Duration::from_secs(1);
const STATUS: &str = "subscription($id: ID!) { paymentStatus(orderId: $id) { version } }";

/// Watchers at work.
pub struct Watchers {
    stop: CancellationToken,
    work: JoinSet<()>,
    look: JoinHandle<()>,
    notes: Arc<Notes>,
}

/// What they have seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Subscriptions that began.
    pub streams: u64,
    /// Versions that did not rise.
    pub fell: u64,
    /// Versions that came later than six seconds after they were in the store, or not at all.
    pub late: u64,
}

#[derive(Default)]
struct Notes {
    streams: Mutex<Vec<Stream>>,
    store: Mutex<Store>,
}

/// One subscription, from its first event to its end.
struct Stream {
    order: String,
    seen: Vec<(Instant, i64)>,
    ended: Option<Instant>,
}

/// What there was to see, and when nobody could have.
#[derive(Default)]
struct Store {
    versions: HashMap<String, Vec<(Instant, i64)>>,
    away: Vec<(Instant, Instant)>,
}

impl Watchers {
    /// Starts them, some at each process.
    pub fn start(site: &Arc<Site>, journal: &Arc<Journal>, random: &mut Random) -> Self {
        let (stop, notes, mut work) = (CancellationToken::new(), Arc::<Notes>::default(), JoinSet::new());
        for n in 0..AT_EACH * site.ports.len() {
            let (site, journal, notes) = (site.clone(), journal.clone(), notes.clone());
            let watcher = Watcher { site, journal, notes, random: random.fork(), process: n };
            let stop = stop.clone();
            work.spawn(async move { _ = stop.run_until_cancelled(watcher.live()).await });
        }
        let look = tokio::spawn(look_on(site.clone(), notes.clone()));
        Self { stop, work, look, notes }
    }

    /// Once all is at rest: everybody who watches sees the newest state in time. Accuses of what was not so.
    /// `late_counts`: the store was never broken on purpose, so what was late meanwhile is wrong, too.
    pub async fn stop(self, site: &Site, journal: &Journal, late_counts: bool) -> Result<Figures> {
        let mut behind = self.behind(site).await?;
        let until = Instant::now() + WITHIN;
        while !behind.is_empty() && Instant::now() < until {
            sleep(Duration::from_millis(100)).await;
            behind = self.behind(site).await?;
        }
        self.stop.cancel();
        self.work.join_all().await;
        self.look.abort();
        let mut figures = Figures { late: behind.len() as u64, ..Figures::default() };
        behind.into_iter().for_each(|what| journal.accuse(format!("at rest {what}")));
        let (streams, store) = (open(&self.notes.streams), open(&self.notes.store));
        for stream in streams.iter() {
            figures.streams += 1;
            for pair in stream.seen.windows(2).filter(|pair| pair[1].1 <= pair[0].1) {
                figures.fell += 1;
                journal.accuse(format!("{} was watched at version {} and then {}", stream.order, pair[0].1, pair[1].1));
            }
            for (version, late) in store.late(stream).into_iter().filter(|_| late_counts) {
                figures.late += 1;
                journal.accuse(format!("{} was at version {version}, which its watcher had {late}", stream.order));
            }
        }
        Ok(figures)
    }

    /// Streams that have not seen the newest version of their order.
    async fn behind(&self, site: &Site) -> Result<Vec<String>> {
        let look = site.look().await?;
        let newest = versions(&look, &watched(&self.notes.streams)).await?;
        look.close().await?;
        let streams = open(&self.notes.streams);
        let behind = streams.iter().filter(|stream| stream.ended.is_none()).filter_map(|stream| {
            let (seen, newest) = (stream.seen.last().map(|(_, version)| *version), newest.get(&stream.order).copied());
            (seen < newest).then(|| format!("the watcher of {} is at {seen:?} instead of {newest:?}", stream.order))
        });
        Ok(behind.collect())
    }
}

/// The orders that are watched now.
fn watched(streams: &Mutex<Vec<Stream>>) -> HashSet<String> {
    open(streams).iter().filter(|stream| stream.ended.is_none()).map(|stream| stream.order.clone()).collect()
}

impl Store {
    /// What was found just now, and last before that.
    fn take_down(&mut self, found: HashMap<String, i64>, last: &mut Instant) {
        let now = Instant::now();
        if now - *last > AWAY {
            self.away.push((*last, now));
        }
        *last = now;
        for (order, version) in found {
            let known = self.versions.entry(order).or_default();
            if known.last().is_none_or(|(_, newest)| *newest < version) {
                known.push((now, version));
            }
        }
    }

    /// Versions that a stream should have seen in time and has not: which, and how it was.
    fn late(&self, stream: &Stream) -> Vec<(i64, String)> {
        let Some((begun, _)) = stream.seen.first() else { return vec![] };
        let mut late = Vec::new();
        for (at, version) in self.versions.get(&stream.order).into_iter().flatten() {
            let since = *at.max(begun);
            let until = since + WITHIN;
            let in_time = stream.seen.iter().any(|(at, seen)| seen >= version && *at <= until);
            let excused = stream.ended.is_some_and(|ended| ended <= until)
                || self.away.iter().any(|(from, to)| *from <= until && *to >= since);
            if !in_time && !excused {
                let seen = stream.seen.iter().find(|(_, seen)| seen >= version);
                let how = seen.map_or("never".to_owned(), |(at, _)| format!("after {:?}", *at - since));
                late.push((*version, how));
            }
        }
        late
    }
}

struct Watcher {
    site: Arc<Site>,
    journal: Arc<Journal>,
    notes: Arc<Notes>,
    random: Random,
    process: usize,
}

impl Watcher {
    /// Follows one order after the other.
    async fn live(mut self) -> std::convert::Infallible {
        loop {
            let Some((order, customer)) = self.choose() else {
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            let patience = self.random.millis(2_000, 20_000);
            let bored = Instant::now() + patience;
            while Instant::now() < bored {
                let watching = self.follow(&order, customer);
                // Bored, or complete; else the process has gone, and the next one is asked.
                match timeout(bored.saturating_duration_since(Instant::now()), watching).await {
                    Err(_) | Ok(Ok(())) => break,
                    Ok(Err(_)) => self.process += 1,
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// One of the latest orders.
    fn choose(&mut self) -> Option<(String, usize)> {
        let book = self.journal.book();
        let latest: Vec<_> = book.orders.iter().rev().take(30).filter(|known| known.status != "CLOSED").collect();
        (!latest.is_empty()).then(|| self.random.pick(&latest)).map(|known| (known.order.clone(), known.customer))
    }

    /// Until the order is complete; an error: the socket is gone.
    async fn follow(&self, order: &str, customer: usize) -> Result<()> {
        let url = self.site.graphql(self.process).replacen("http", "ws", 1);
        let mut request = url.into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse()?);
        let (mut socket, _) = timeout(Duration::from_secs(5), connect_async(request)).await??;
        let bearer = format!("Bearer {}", self.site.customer(customer));
        let init = json!({"type": "connection_init", "payload": {"authorization": bearer}});
        let payload = json!({"query": STATUS, "variables": {"id": order}});
        let subscribe = json!({"type": "subscribe", "id": "1", "payload": payload});
        socket.send(Message::text(init.to_string())).await?;
        socket.send(Message::text(subscribe.to_string())).await?;
        let mut stream = None;
        while let Some(message) = socket.next().await {
            let Message::Text(text) = message? else { continue };
            let heard: Value = serde_json::from_str(&text)?;
            match heard["type"].as_str() {
                Some("next") => {
                    let version = heard["payload"]["data"]["paymentStatus"]["version"].as_i64();
                    let seen = (Instant::now(), version.ok_or_else(|| Wrong::from(text.to_string()))?);
                    stream.get_or_insert_with(|| self.notes.begin(order)).see(seen);
                }
                Some("complete") => return Ok(()),
                Some("error") => return Err(text.to_string().into()),
                _ => {}
            }
        }
        Err("hung up".into())
    }
}

/// A stream that is being written down; it has ended when this is dropped.
struct Noted<'a> {
    notes: &'a Notes,
    at: usize,
}

impl Notes {
    fn begin(&self, order: &str) -> Noted<'_> {
        let mut streams = open(&self.streams);
        streams.push(Stream { order: order.to_owned(), seen: Vec::new(), ended: None });
        Noted { notes: self, at: streams.len() - 1 }
    }
}

impl Noted<'_> {
    fn see(&mut self, seen: (Instant, i64)) {
        open(&self.notes.streams)[self.at].seen.push(seen);
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        open(&self.notes.streams)[self.at].ended = Some(Instant::now());
    }
}

/// Asks the store four times a second, past every proxy, at which version the watched orders are.
async fn look_on(site: Arc<Site>, notes: Arc<Notes>) {
    let mut last = Instant::now();
    loop {
        if let Ok(look) = site.look().await {
            while let Ok(found) = versions(&look, &watched(&notes.streams)).await {
                open(&notes.store).take_down(found, &mut last);
                sleep(Duration::from_millis(250)).await;
            }
            look.close().await.ok();
        }
        sleep(Duration::from_millis(250)).await;
    }
}

async fn versions(look: &sea_orm::DatabaseConnection, orders: &HashSet<String>) -> Result<HashMap<String, i64>> {
    let found = order::Entity::find()
        .select_only()
        .columns([order::Column::Id, order::Column::Version])
        .filter(order::Column::Id.is_in(orders));
    let found: Vec<(String, i64)> = found.into_tuple().all(look).await?;
    Ok(found.into_iter().collect())
}

fn open<T>(notes: &Mutex<T>) -> MutexGuard<'_, T> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}
