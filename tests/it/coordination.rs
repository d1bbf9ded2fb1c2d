//! Coordination keeps one contract, through Redis and in-process; and Redis may do whatever it likes.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use domain::OrderId;
use payonce::coordination::{ConfigError, InProcessCoordination, RedisCoordination};
use payonce::payments::ports::{Announcement, Coordination, Lock, LockToken, OrderChanged};
use tokio::sync::broadcast::Receiver;
use tokio::time::{sleep, timeout};

use crate::support::redis_server::{RedisServer, server_that_says};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(400);
const DEADLINE: Duration = Duration::from_secs(10);

static VERSION: AtomicI64 = AtomicI64::new(1000);

// One contract.

#[tokio::test]
async fn in_process_coordination_keeps_the_contract() {
    contract(&InProcessCoordination::new()).await;
}

#[tokio::test]
async fn redis_coordination_keeps_the_contract() {
    let redis = RedisServer::start().await;
    contract(&connect(&redis).await).await;
}

async fn contract(c: &dyn Coordination) {
    assert!(c.healthy().await);
    a_lock_excludes_until_it_is_given_back(c).await;
    a_lock_ends_by_itself(c).await;
    a_stale_token_frees_nobody_elses_lock(c).await;
    one_of_many_gets_the_lock(c).await;
    the_first_value_is_remembered_until_the_window_ends(c).await;
    locks_and_memories_of_one_name_are_apart(c).await;
    an_announcement_reaches_every_listener(c).await;
}

async fn a_lock_excludes_until_it_is_given_back(c: &dyn Coordination) {
    let held = take(c, "excludes").await;
    assert_eq!(held.name, "excludes");
    assert_busy(c, "excludes").await;
    take(c, "excludes another name").await;
    c.unlock(LockToken { token: "not ours".to_owned(), ..held.clone() }).await;
    assert_busy(c, "excludes").await;
    c.unlock(held.clone()).await;
    assert_ne!(take(c, "excludes").await.token, held.token);
}

async fn a_lock_ends_by_itself(c: &dyn Coordination) {
    let before = Instant::now();
    take_for(SHORT, c, "ends").await;
    take(c, "ends").await;
    assert!(before.elapsed() >= SHORT);
}

async fn a_stale_token_frees_nobody_elses_lock(c: &dyn Coordination) {
    let stale = take_for(SHORT, c, "stale").await;
    let held = take(c, "stale").await;
    c.unlock(stale).await;
    assert_busy(c, "stale").await;
    c.unlock(held).await;
    take(c, "stale").await;
}

async fn one_of_many_gets_the_lock(c: &dyn Coordination) {
    let attempts = futures_util::future::join_all((0..40).map(|_| c.lock("many", LONG))).await;
    let held = attempts.iter().filter(|lock| matches!(lock, Lock::Held(_))).count();
    assert_eq!((held, attempts.len()), (1, 40));
}

async fn the_first_value_is_remembered_until_the_window_ends(c: &dyn Coordination) {
    let before = Instant::now();
    assert_eq!(c.remember("click", "first", SHORT).await, None);
    assert_eq!(c.remember("click", "second", LONG).await.as_deref(), Some("first"));
    assert_eq!(c.remember("click", "third", LONG).await.as_deref(), Some("first"));
    eventually("the window to end", || async { c.remember("click", "fourth", LONG).await.is_none() }).await;
    assert!(before.elapsed() >= SHORT);
    assert_eq!(c.remember("click", "fifth", LONG).await.as_deref(), Some("fourth"));
}

async fn locks_and_memories_of_one_name_are_apart(c: &dyn Coordination) {
    let held = take(c, "apart").await;
    assert_eq!(c.remember("apart", "value", LONG).await, None);
    c.unlock(held).await;
    assert_eq!(c.remember("apart", "other", LONG).await.as_deref(), Some("value"));
}

async fn an_announcement_reaches_every_listener(c: &dyn Coordination) {
    let (mut one, mut two) = (c.announcements(), c.announcements());
    c.announce(&change(1)).await;
    c.announce(&change(2)).await;
    for listener in [&mut one, &mut two] {
        hears(listener, Announcement::Changed(change(1))).await;
        hears(listener, Announcement::Changed(change(2))).await;
    }
}

// Redis between processes.

#[tokio::test]
async fn two_processes_share_locks_memories_and_announcements() {
    let redis = RedisServer::start().await;
    let (here, there) = (connect(&redis).await, connect(&redis).await);

    let held = take(&here, "shared").await;
    assert_busy(&there, "shared").await;
    here.unlock(held).await;
    take(&there, "shared").await;

    assert_eq!(here.remember("click", "first", LONG).await, None);
    assert_eq!(there.remember("click", "second", LONG).await.as_deref(), Some("first"));

    both_hear_each_other(&here, &there).await;
}

#[tokio::test]
async fn a_killed_connection_is_a_gap_and_announcements_come_again() {
    let redis = RedisServer::start().await;
    let (here, there) = (connect(&redis).await, connect(&redis).await);
    both_hear_each_other(&here, &there).await;

    let mut news = here.announcements();
    redis.command("CLIENT KILL TYPE pubsub").await;
    hears(&mut news, Announcement::Gap).await;
    both_hear_each_other(&here, &there).await;

    redis.command("CLIENT KILL TYPE normal").await;
    take(&here, "after the kill").await;
    take(&there, "after the kill, there").await;
}

#[tokio::test]
async fn a_message_nobody_can_read_is_a_gap() {
    let redis = RedisServer::start().await;
    let (here, there) = (connect(&redis).await, connect(&redis).await);
    both_hear_each_other(&here, &there).await;
    let mut news = here.announcements();
    redis.command("PUBLISH payonce:orders rubbish").await;
    hears(&mut news, Announcement::Gap).await;
}

#[tokio::test]
async fn losing_everything_is_survived() {
    let mut redis = RedisServer::start().await;
    let c = connect(&redis).await;

    let held = take(&c, "lost").await;
    redis.command("FLUSHALL").await;
    let next = take(&c, "lost").await;
    c.unlock(held).await;
    assert_busy(&c, "lost").await;

    redis.command("SCRIPT FLUSH").await;
    c.unlock(next).await;
    take(&c, "lost").await;

    redis.start_again().await;
    take(&c, "lost").await;
    both_hear_each_other(&c, &connect(&redis).await).await;
}

// Redis away.

#[tokio::test]
async fn a_frozen_redis_costs_one_short_wait_and_then_none() {
    let redis = RedisServer::start().await;
    let c = connect(&redis).await;
    let held = take(&c, "held before").await;

    redis.freeze().await;
    let start = Instant::now();
    assert!(matches!(c.lock("frozen", LONG).await, Lock::Unavailable));
    assert!(start.elapsed() < Duration::from_millis(150), "the first wait: {:?}", start.elapsed());

    let start = Instant::now();
    for _ in 0..100 {
        assert!(matches!(c.lock("frozen", LONG).await, Lock::Unavailable));
        assert_eq!(c.remember("frozen", "value", LONG).await, None);
        assert!(!c.healthy().await);
    }
    c.unlock(held).await;
    assert!(start.elapsed() < Duration::from_millis(150), "300 calls: {:?}", start.elapsed());

    let mut news = c.announcements();
    c.announce(&change(1)).await;
    hears(&mut news, Announcement::Changed(change(1))).await;

    redis.thaw();
    eventually("Redis to be used again", || c.healthy()).await;
    // The SET that timed out has landed meanwhile, and the unlock could not be sent: both are made good.
    take(&c, "frozen").await;
    take(&c, "held before").await;
}

#[tokio::test]
async fn a_silent_redis_is_a_gap() {
    let redis = RedisServer::start().await;
    let (here, there) = (connect(&redis).await, connect(&redis).await);
    both_hear_each_other(&here, &there).await;
    let mut news = here.announcements();
    redis.freeze().await;
    hears(&mut news, Announcement::Gap).await;
    redis.thaw();
    both_hear_each_other(&here, &there).await;
}

#[tokio::test]
async fn a_lock_that_its_caller_gave_up_is_released() {
    let redis = RedisServer::start().await;
    let c = connect(&redis).await;
    redis.freeze().await;
    // Long enough for the SET to be on its way, too short for its answer to be given up.
    assert!(timeout(Duration::from_millis(20), c.lock("given up", LONG)).await.is_err());
    redis.thaw();
    take(&c, "given up").await;
}

#[tokio::test]
async fn a_redis_that_is_down_at_the_start_is_used_when_it_comes() {
    let mut redis = RedisServer::start().await;
    redis.kill();
    let start = Instant::now();
    let c = RedisCoordination::connect(&redis.url).await.expect("down is no error");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(matches!(c.lock("early", LONG).await, Lock::Unavailable));
    redis.start_again().await;
    take(&c, "early").await;
    both_hear_each_other(&c, &connect(&redis).await).await;
}

#[tokio::test]
async fn a_wrong_url_is_an_error() {
    let refused = RedisCoordination::connect("redis://:s3cret@one:1,two:2").await.err();
    assert_eq!(refused, Some(ConfigError::SeveralServers));
}

#[tokio::test]
async fn what_is_dropped_leaves_no_connection_behind() {
    let redis = RedisServer::start().await;
    let (here, there) = (connect(&redis).await, connect(&redis).await);
    both_hear_each_other(&here, &there).await;
    drop((here, there));
    eventually("all connections but the asking one to close", || async {
        let redis::Value::BulkString(list) = redis.command("CLIENT LIST").await else { panic!("a list") };
        String::from_utf8_lossy(&list).lines().filter(|line| !line.contains("cmd=client")).count() == 0
    })
    .await;
}

// Redis saying no.

#[tokio::test]
async fn a_replica_counts_as_no_redis() {
    let redis = RedisServer::start().await;
    let c = connect(&redis).await;
    redis.command("REPLICAOF 127.0.0.1 1").await;
    assert!(matches!(c.lock("read-only", LONG).await, Lock::Unavailable));
    sleep(Duration::from_millis(300)).await;
    assert!(!c.healthy().await, "it answers PING, but takes no writes");
    redis.command("REPLICAOF NO ONE").await;
    take(&c, "read-only").await;
    assert!(c.healthy().await);
}

#[tokio::test]
async fn a_full_redis_still_announces_and_unlocks() {
    let redis = RedisServer::start().await;
    let (here, there) = (connect(&redis).await, connect(&redis).await);
    both_hear_each_other(&here, &there).await;
    let held = take(&here, "full").await;

    redis.command("CONFIG SET maxmemory 1").await;
    assert!(matches!(here.lock("another", LONG).await, Lock::Unavailable));
    assert_eq!(here.remember("another", "value", LONG).await, None);
    both_hear_each_other(&here, &there).await;
    here.unlock(held).await;

    redis.command("CONFIG SET maxmemory 0").await;
    assert!(matches!(there.lock("full", LONG).await, Lock::Held(_)));
}

#[tokio::test]
async fn a_value_of_a_foreign_kind_is_nobody_can_say() {
    let redis = RedisServer::start().await;
    let c = connect(&redis).await;
    redis.command("RPUSH payonce:once:{odd} a").await;
    redis.command("RPUSH payonce:lock:{odd} a").await;
    assert_eq!(c.remember("odd", "value", LONG).await, None);
    c.unlock(LockToken { name: "odd".to_owned(), token: "ours".to_owned() }).await;
    assert!(c.healthy().await);
}

#[tokio::test]
async fn every_refusal_is_an_ordinary_event() {
    for refusal in [
        "-LOADING Redis is loading the dataset in memory",
        "-READONLY You can't write against a read only replica.",
        "-MASTERDOWN Link with MASTER is down",
        "-CLUSTERDOWN Hash slot not served",
        "-NOAUTH Authentication required.",
        "-MOVED 866 10.0.0.1:6379",
        "-MISCONF Errors writing to disk",
        "-OOM command not allowed when used memory > 'maxmemory'.",
        "-NOPERM this user has no permissions",
        "-ERR syntax error",
    ] {
        let c = RedisCoordination::connect(&server_that_says(refusal)).await.expect("a good URL");
        assert!(matches!(c.lock("a", LONG).await, Lock::Unavailable), "{refusal}");
        assert_eq!(c.remember("a", "value", LONG).await, None, "{refusal}");
        c.announce(&change(1)).await;
        assert!(!c.healthy().await, "{refusal}");
    }
}

// Words used above.

async fn connect(redis: &RedisServer) -> RedisCoordination {
    let c = RedisCoordination::connect(&redis.url).await.expect("a good URL");
    eventually("Redis to be connected", || c.healthy()).await;
    c
}

/// Somebody has the lock. A slow machine may make Redis late, which is no answer yet.
async fn assert_busy(c: &dyn Coordination, name: &str) {
    let answer = async {
        loop {
            match c.lock(name, LONG).await {
                Lock::Unavailable => sleep(Duration::from_millis(10)).await,
                answer => return answer,
            }
        }
    };
    let answer = timeout(DEADLINE, answer).await.expect("an answer");
    assert!(matches!(answer, Lock::Busy), "{name:?} is free");
}

/// The lock, as soon as it is to be had.
async fn take(c: &dyn Coordination, name: &str) -> LockToken {
    take_for(LONG, c, name).await
}

async fn take_for(ttl: Duration, c: &dyn Coordination, name: &str) -> LockToken {
    let taken = async {
        loop {
            if let Lock::Held(token) = c.lock(name, ttl).await {
                return token;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, taken).await.unwrap_or_else(|_| panic!("the lock {name:?} is not to be had"))
}

/// Each announces until the other has heard it: before its subscription stands, nobody can.
async fn both_hear_each_other(a: &dyn Coordination, b: &dyn Coordination) {
    for (teller, listener) in [(a, b), (b, a)] {
        let mut news = listener.announcements();
        // A version of its own, so that no echo of an earlier one is taken for it.
        let told = change(VERSION.fetch_add(1, Ordering::Relaxed));
        let heard = hears(&mut news, Announcement::Changed(told.clone()));
        let tell = async {
            loop {
                teller.announce(&told).await;
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! { () = heard => {}, () = tell => {} }
    }
}

/// Returns when the listener hears it, whatever it hears before.
async fn hears(news: &mut Receiver<Announcement>, expected: Announcement) {
    let heard = async { while news.recv().await.expect("the teller lives") != expected {} };
    timeout(DEADLINE, heard).await.unwrap_or_else(|_| panic!("{expected:?} was not heard"));
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = async {
        while !holds().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, waited).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

fn change(version: i64) -> OrderChanged {
    let order = OrderId::parse("ord_0123456789ABCDEFGHJKMNPQRS").expect("an id");
    OrderChanged { order, version }
}
