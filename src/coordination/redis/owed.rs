//! What Redis is told without anybody waiting: releases of locks, and news. Whatever has come together leaves
//! together, one round trip to each master; what could not be said is said again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Script, ServerErrorKind, Value, cmd};
use tokio::time::{Instant, timeout};

use super::CHANNEL;
use super::link::{Link, open};
use super::masters::Masters;
use super::slots::slot_of;

/// Releases and news owed at most, each; more than that is left to the locks' own end and to the listeners'
/// own reading.
const MOST: usize = 1024;
/// In one round trip at most.
const AT_ONCE: usize = 256;
/// A release that failed, or that found nothing where the SET may come in later, is tried again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// No lock is meant to live longer; an older release is forgotten.
const RELEASE_ENDS: Duration = Duration::from_secs(60);
/// Who waits for news has read the store by then.
const NEWS_END: Duration = Duration::from_secs(5);

/// Deletes a lock if it still carries our token: compare and delete in one step, because between a GET
/// and a DEL the lock may pass to somebody else.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// What is owed to Redis.
pub(super) struct Owed {
    script: Script,
    debts: Mutex<Debts>,
}

#[derive(Default)]
struct Debts {
    releases: Vec<Release>,
    news: Vec<(Instant, String)>,
}

/// A lock to be given back.
#[derive(Clone)]
pub(super) struct Release {
    tag: String,
    key: String,
    token: String,
    since: Instant,
    due: Instant,
    /// Nobody knows whether the lock was taken: its SET may still be on its way.
    doubtful: bool,
}

impl Release {
    /// Of a lock whose key has this hash tag.
    pub(super) fn of(tag: &str, key: &str, token: &str) -> Self {
        let (tag, key, token, since) = (tag.to_owned(), key.to_owned(), token.to_owned(), Instant::now());
        Self { tag, key, token, since, due: since, doubtful: false }
    }
}

impl Default for Owed {
    fn default() -> Self {
        Self { script: Script::new(RELEASE), debts: Mutex::default() }
    }
}

impl Owed {
    /// Owes a release and news, both or one of them.
    pub(super) fn owe(&self, release: Option<Release>, news: Option<String>) {
        let mut debts = open(&self.debts);
        if let Some(release) = release.filter(|_| debts.releases.len() < MOST) {
            debts.releases.push(release);
        }
        if let Some(news) = news.filter(|_| debts.news.len() < MOST) {
            debts.news.push((Instant::now(), news));
        }
    }

    /// Pays what is due, as much as fits.
    async fn pay(&self, masters: &Masters) -> Left {
        let map = masters.now();
        let (releases, mut news) = self.take_due();
        let more = releases.len() == AT_ONCE || news.len() == AT_ONCE;
        let mut bills: Vec<Bill> = Vec::new();
        for release in releases {
            let Some(link) = map.of(slot_of(&release.tag)).filter(|link| link.is_up()) else {
                self.again(release);
                continue;
            };
            match bills.iter_mut().find(|bill| Arc::ptr_eq(&bill.link, link)) {
                Some(bill) => bill.releases.push(release),
                None => bills.push(Bill { releases: vec![release], ..Bill::of(link) }),
            }
        }
        // Any master spreads news to all: one that has a bill anyway, or the first that answers.
        if !news.is_empty() && bills.is_empty() {
            bills.extend(map.links().find(|link| link.is_up()).map(Bill::of));
        }
        match bills.first_mut() {
            Some(bill) => bill.news = news,
            None => open(&self.debts).news.append(&mut news),
        }
        let sent = !bills.is_empty();
        join_all(bills.into_iter().map(|bill| self.settle(bill))).await;
        let debts = open(&self.debts);
        match debts.releases.is_empty() && debts.news.is_empty() {
            true => Left::Nothing,
            false if more && sent => Left::Due,
            false => Left::Later,
        }
    }

    fn take_due(&self) -> (Vec<Release>, Vec<(Instant, String)>) {
        let now = Instant::now();
        let mut debts = open(&self.debts);
        debts.releases.retain(|release| now - release.since < RELEASE_ENDS);
        debts.news.retain(|(since, _)| now - *since < NEWS_END);
        let mut places = AT_ONCE;
        let due = debts.releases.extract_if(.., |release| {
            let take = release.due <= now && places > 0;
            places -= usize::from(take);
            take
        });
        let due = due.collect();
        let some = debts.news.len().min(AT_ONCE);
        (due, debts.news.drain(..some).collect())
    }

    async fn settle(&self, bill: Bill) {
        let Bill { link, releases, news } = bill;
        let mut commands = Pipeline::with_capacity(releases.len() + news.len());
        for release in &releases {
            commands.add_command(self.call(release));
        }
        for (_, text) in &news {
            commands.cmd("PUBLISH").arg(CHANNEL).arg(text);
        }
        let Ok(answers) = link.ask(&commands).await else {
            releases.into_iter().for_each(|release| self.again(release));
            open(&self.debts).news.extend(news);
            return;
        };
        let mut forgotten = Vec::new();
        for (release, answer) in releases.into_iter().zip(answers) {
            if answer.as_ref().is_err_and(no_script) { forgotten.push(release) } else { self.read(release, answer) }
        }
        if forgotten.is_empty() {
            return;
        }
        // Redis has forgotten the script: whole, this time, and then the releases again.
        let mut commands = Pipeline::with_capacity(1 + forgotten.len());
        commands.cmd("SCRIPT").arg("LOAD").arg(RELEASE);
        for release in &forgotten {
            commands.add_command(self.call(release));
        }
        match link.ask(&commands).await {
            Ok(answers) => forgotten.into_iter().zip(answers.into_iter().skip(1)).for_each(|(r, a)| self.read(r, a)),
            Err(_) => forgotten.into_iter().for_each(|release| self.again(release)),
        }
    }

    fn call(&self, release: &Release) -> Cmd {
        let mut call = cmd("EVALSHA");
        call.arg(self.script.get_hash()).arg(1).arg(&release.key).arg(&release.token);
        call
    }

    /// What was there is done with; what was not may still come, once; what was refused is tried again.
    fn read(&self, release: Release, answer: RedisResult<Value>) {
        match answer {
            Ok(Value::Int(0)) if release.doubtful => self.again(Release { doubtful: false, ..release }),
            Ok(_) => {}
            Err(_) => self.again(release),
        }
    }

    fn again(&self, release: Release) {
        self.owe(Some(Release { due: Instant::now() + AGAIN_AFTER, ..release }), None);
    }
}

/// What is still owed after a round.
enum Left {
    Nothing,
    Later,
    Due,
}

/// What one master is told at once.
struct Bill {
    link: Arc<Link>,
    releases: Vec<Release>,
    news: Vec<(Instant, String)>,
}

impl Bill {
    fn of(link: &Arc<Link>) -> Self {
        Self { link: Arc::clone(link), releases: Vec::new(), news: Vec::new() }
    }
}

pub(super) fn no_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Pays whatever is owed, for as long as it runs.
pub(super) async fn pay(masters: Arc<Masters>, owed: Arc<Owed>) {
    loop {
        match owed.pay(&masters).await {
            Left::Due => {}
            Left::Later => _ = timeout(AGAIN_AFTER, masters.bells.pay.notified()).await,
            Left::Nothing => masters.bells.pay.notified().await,
        }
    }
}

/// Owes the release of a lock that may be ours without our knowing, unless it is settled: also when the
/// caller is cancelled.
#[must_use]
pub(super) struct Promise<'a> {
    masters: &'a Masters,
    owed: &'a Owed,
    release: Option<Release>,
}

impl<'a> Promise<'a> {
    /// From now on.
    pub(super) fn new(masters: &'a Masters, owed: &'a Owed, release: Release) -> Self {
        Self { masters, owed, release: Some(Release { doubtful: true, ..release }) }
    }

    /// Redis has answered: nothing is owed.
    pub(super) fn settle(mut self) {
        self.release = None;
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            self.owed.owe(Some(release), None);
            self.masters.bells.pay.notify_one();
        }
    }
}
