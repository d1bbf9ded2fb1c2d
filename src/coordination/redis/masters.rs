//! All masters there are now, and which of them serves what.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Pipeline, RedisResult, Value};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::link::{Bells, Link, NoAnswer, keep};
use super::place::{Address, Kind, Place};
use super::server::Server;
use super::slots::Share;
use super::{FIRST_WAIT, LONGEST_WAIT};

/// Without any sign that something changed, sentinels and clusters are asked again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// One server, the master that sentinels name, or the masters of a cluster.
pub(super) struct Masters {
    pub(super) place: Place,
    pub(super) bells: Arc<Bells>,
    now: watch::Sender<Arc<Map>>,
}

/// Who serves what.
#[derive(Default)]
pub(super) struct Map {
    shares: Vec<Share>,
    members: Vec<Arc<Member>>,
}

struct Member {
    link: Arc<Link>,
    _keeper: DropGuard,
}

impl Member {
    fn keep(link: Arc<Link>) -> Arc<Self> {
        let end = CancellationToken::new();
        tokio::spawn(end.clone().run_until_cancelled_owned(keep(Arc::clone(&link))));
        Arc::new(Self { link, _keeper: end.drop_guard() })
    }
}

impl Map {
    /// Every master.
    pub(super) fn links(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.members.iter().map(|member| &member.link)
    }

    /// The master at this address, if it is one.
    pub(super) fn at(&self, address: &Address) -> Option<&Arc<Link>> {
        self.links().find(|link| link.server.address == *address)
    }

    /// The master of a slot.
    pub(super) fn of(&self, slot: u16) -> Option<&Arc<Link>> {
        let share = self.shares.partition_point(|share| share.last < slot);
        let share = self.shares.get(share).filter(|share| share.first <= slot)?;
        self.at(&share.master)
    }
}

impl Masters {
    /// Looks for them and connects, once; who is not there yet is waited for in the background.
    pub(super) async fn open(place: Place) -> Arc<Self> {
        let masters = Self { place, bells: Arc::default(), now: watch::Sender::new(Arc::default()) };
        match masters.place.look(&[]).await {
            Some(shares) => masters.adopt(shares).await,
            None => tracing::warn!(redis = %masters.place, "nobody says where Redis is; starting without it"),
        }
        Arc::new(masters)
    }

    /// These serve from now on. Who served before keeps its connection; who is new is dialled first.
    async fn adopt(&self, shares: Vec<Share>) {
        let before = self.now();
        let mut members: Vec<Arc<Member>> = Vec::new();
        let mut new: Vec<Arc<Link>> = Vec::new();
        for share in &shares {
            let named = |link: &Link| link.server.address == share.master;
            if members.iter().any(|member| named(&member.link)) || new.iter().any(|link| named(link)) {
                continue;
            }
            if let Some(member) = before.members.iter().find(|member| named(&member.link)) {
                members.push(Arc::clone(member));
            } else if let Some(server) = Server::open(share, self.place.reach(&share.master)) {
                new.push(Arc::new(Link::new(server, Arc::clone(&self.bells))));
            }
        }
        let dialled = join_all(new.into_iter().map(|link| async move {
            if let Err(trouble) = link.mend().await {
                tracing::warn!(redis = %link.server.address, %trouble, "Redis does not answer; going on without it");
            }
            Member::keep(link)
        }));
        members.extend(dialled.await);
        self.now.send_replace(Arc::new(Map { shares, members }));
        self.bells.pay.notify_one();
    }

    /// Who serves what now.
    pub(super) fn now(&self) -> Arc<Map> {
        Arc::clone(&self.now.borrow())
    }

    /// The same, and every change of it.
    pub(super) fn changes(&self) -> watch::Receiver<Arc<Map>> {
        self.now.subscribe()
    }

    /// Asks the master of this slot, see [`Link::ask`].
    pub(super) async fn ask(&self, slot: u16, commands: &Pipeline) -> Result<Vec<RedisResult<Value>>, NoAnswer> {
        let map = self.now();
        map.of(slot).ok_or(NoAnswer::NotAsked)?.ask(commands).await
    }

    /// Whether every slot has a master that takes writes: a replica, or a Redis whose memory is full, also
    /// answers PING.
    pub(super) async fn take_writes(&self) -> bool {
        let map = self.now();
        let probed = join_all(map.links().map(|link| async move {
            let mut probe = Pipeline::new();
            probe.add_command(link.server.probe());
            link.ask(&probe).await.is_ok_and(|answers| answers.iter().all(Result::is_ok))
        }));
        !map.members.is_empty() && probed.await.into_iter().all(|well| well)
    }
}

/// Follows the masters wherever they go, for as long as it runs.
pub(super) async fn follow(masters: Arc<Masters>) {
    if masters.place.kind == Kind::One {
        return;
    }
    loop {
        let map = masters.now();
        let patience = if map.members.is_empty() { LONGEST_WAIT } else { LOOK_AGAIN };
        let _ = timeout(patience, masters.bells.doubt.notified()).await;
        let known: Vec<Address> = map.links().map(|link| link.server.address.clone()).collect();
        match masters.place.look(&known).await {
            Some(shares) if shares != map.shares => {
                masters.adopt(shares).await;
                let names: Vec<String> = masters.now().links().map(|link| link.server.address.to_string()).collect();
                tracing::info!(redis = %masters.place, masters = names.join(","), "Redis has other masters");
            }
            Some(_) => {}
            None => tracing::debug!(redis = %masters.place, "nobody says where Redis is"),
        }
        // However many doubts there are: no more than ten questions a second.
        sleep(FIRST_WAIT).await;
    }
}
