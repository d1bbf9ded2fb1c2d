//! Coordination keeps one contract, through Redis and in-process; and Redis may do whatever it likes.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use domain::OrderId;
use payonce::coordination::{ConfigError, InProcessCoordination, RedisCoordination};
use payonce::payments::ports::{
    Announcement, Begun, Coordination, Counted, Lock, LockToken, Memory, OrderChanged, Rate,
};
use tokio::sync::broadcast::Receiver;
use tokio::time::{sleep, timeout};

use crate::support::redis_cluster::RedisCluster;
use crate::support::redis_proxy::{Lie, RedisProxy};
use crate::support::redis_sentinel::RedisSentinel;
use crate::support::redis_server::{RedisServer, server_that_says};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(400);
const DEADLINE: Duration = Duration::from_secs(20);
/// The most that the first call may wait for a Redis that does not answer…
const FIRST: Duration = Duration::from_millis(150);
/// …and the most that any later one may.
const LATER: Duration = Duration::from_millis(10);

static VERSION: AtomicI64 = AtomicI64::new(1000);

// One contract.

#[tokio::test]
async fn in_process_coordination_keeps_the_contract() {
    let c = InProcessCoordination::new();
    contract(&c).await;
    assert_eq!(c.count(&[counted("a", 3, LONG), counted("b", 1, LONG)]).await, [None, None], "nobody else counts");
}

#[tokio::test]
async fn one_redis_keeps_the_contract_through_faults() {
    let redis = RedisServer::start().await;
    let c = connect(&redis.url).await;
    contract(&c).await;
    faults(&c, &redis.url, &[&redis]).await;
}

#[tokio::test]
async fn sentinel_keeps_the_contract_through_faults_and_a_failover() {
    let mut redis = RedisSentinel::start().await;
    let (c, other) = (connect(&redis.url).await, connect(&redis.url).await);
    contract(&c).await;
    faults(&c, &redis.url, &[&redis.first]).await;

    both_hear_each_other(&c, &other).await;
    let mut news = c.announcements();
    let held = take(&c, "over the failover").await;
    redis.first.kill();
    hears(&mut news, Announcement::Gap).await;
    serves_again(&c).await;
    both_hear_each_other(&c, &other).await;
    c.end(Some(held), None);
    take(&c, "over the failover").await;

    // The old master comes back as a replica, whatever it still believes.
    redis.first.start_again().await;
    eventually("the old master to follow", async || redis.first.text("INFO replication").await.contains("role:slave"))
        .await;
    serves_again(&c).await;
    both_hear_each_other(&c, &other).await;
}

#[tokio::test]
async fn a_cluster_keeps_the_contract_through_faults() {
    let redis = RedisCluster::start().await;
    let c = connect(&redis.url).await;
    contract(&c).await;
    let masters: Vec<&RedisServer> = redis.masters.iter().collect();
    faults(&c, &redis.url, &masters).await;
}

#[tokio::test]
async fn a_cluster_keeps_the_contract_through_a_failover() {
    let mut redis = RedisCluster::start_with_replicas().await;
    let (c, other) = (connect(&redis.url).await, connect(&redis.url).await);
    contract(&c).await;
    both_hear_each_other(&c, &other).await;
    for master in 0..2 {
        redis.masters[master].kill();
        serves_again(&c).await;
        serves_again(&other).await;
        both_hear_each_other(&c, &other).await;
    }
}

async fn contract(c: &dyn Coordination) {
    assert!(c.healthy().await);
    a_lock_excludes_until_it_is_given_back(c).await;
    a_lock_ends_by_itself(c).await;
    a_stale_token_frees_nobody_elses_lock(c).await;
    one_of_many_gets_the_lock(c).await;
    the_first_value_is_remembered_until_the_window_ends(c).await;
    locks_and_memories_of_one_name_are_apart(c).await;
    owners_are_apart(c).await;
    an_announcement_reaches_every_listener(c).await;
}

async fn a_lock_excludes_until_it_is_given_back(c: &dyn Coordination) {
    let held = take(c, "excludes").await;
    assert_eq!((held.owner.as_str(), held.name.as_str()), ("excludes", "lock"));
    assert_busy(c, "excludes").await;
    take(c, "excludes another name").await;
    give_back(c, LockToken { token: "not ours".to_owned(), ..held.clone() }).await;
    assert_busy(c, "excludes").await;
    give_back(c, held.clone()).await;
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
    give_back(c, stale).await;
    assert_busy(c, "stale").await;
    give_back(c, held).await;
    take(c, "stale").await;
}

async fn one_of_many_gets_the_lock(c: &dyn Coordination) {
    let attempts = futures_util::future::join_all((0..40).map(|_| lock(c, "many"))).await;
    let held = attempts.iter().filter(|lock| matches!(lock, Lock::Held(_))).count();
    assert_eq!((held, attempts.len()), (1, 40));
}

async fn the_first_value_is_remembered_until_the_window_ends(c: &dyn Coordination) {
    let before = Instant::now();
    assert_eq!(remember(c, "click", "first", SHORT).await, None);
    assert_eq!(remember(c, "click", "second", LONG).await.as_deref(), Some("first"));
    assert_eq!(remember(c, "click", "third", LONG).await.as_deref(), Some("first"));
    eventually("the window to end", async || remember(c, "click", "fourth", LONG).await.is_none()).await;
    assert!(before.elapsed() >= SHORT);
    assert_eq!(remember(c, "click", "fifth", LONG).await.as_deref(), Some("fourth"));
}

async fn locks_and_memories_of_one_name_are_apart(c: &dyn Coordination) {
    let memory = |value: &str| Memory { name: "same".to_owned(), value: value.to_owned(), window: LONG };
    let Begun { lock: Lock::Held(held), remembered: None } =
        c.begin("apart", "same", LONG, Some(&memory("value"))).await
    else {
        panic!("both are free")
    };
    let begun = c.begin("apart", "same", LONG, Some(&memory("other"))).await;
    assert!(matches!(begun.lock, Lock::Busy) && begun.remembered.as_deref() == Some("value"), "{begun:?}");
    give_back(c, held).await;
    let begun = c.begin("apart", "same", LONG, Some(&memory("other"))).await;
    assert!(matches!(begun.lock, Lock::Held(_)) && begun.remembered.as_deref() == Some("value"), "{begun:?}");
}

async fn owners_are_apart(c: &dyn Coordination) {
    // As hash tags, and as names, these would be one.
    for (owner, name) in [("a", "b:c"), ("a:b", "c"), ("}", "x"), ("{}", "x"), ("", "x"), ("a}b", "c"), ("a}c", "c")] {
        let lock = c.begin(owner, name, LONG, None).await.lock;
        assert!(matches!(lock, Lock::Held(_)), "{owner:?} {name:?}: {lock:?}");
    }
}

async fn an_announcement_reaches_every_listener(c: &dyn Coordination) {
    let (mut one, mut two) = (c.announcements(), c.announcements());
    c.end(None, Some(&change(1)));
    c.end(None, Some(&change(2)));
    for listener in [&mut one, &mut two] {
        hears(listener, Announcement::Changed(change(1))).await;
        hears(listener, Announcement::Changed(change(2))).await;
    }
}

fn counted(name: &str, count: u32, per: Duration) -> Counted {
    Counted { name: name.to_owned(), count, rate: Rate { count: 10, per } }
}

/// What two processes let in comes to one level for each name, and runs off at its rate. A Redis that is slow says
/// nothing, and is asked about other names.
async fn both_count_together(one: &dyn Coordination, two: &dyn Coordination) {
    let new_name = || format!("counted {}", VERSION.fetch_add(1, Ordering::Relaxed));
    eventually("both to count together", async || {
        // More than fit into one pipeline, and some for each master of a cluster.
        let names: Vec<String> = (0..90).map(|_| new_name()).collect();
        let all = |count| names.iter().map(|name| counted(name, count, LONG)).collect::<Vec<_>>();
        for (process, count, expected) in [(one, 3, 3.0), (two, 4, 7.0), (one, 0, 7.0)] {
            let levels = process.count(&all(count)).await;
            assert_eq!(levels.len(), names.len());
            for level in levels {
                let Some(level) = level else { return false };
                // Ten in a minute: six seconds are one.
                assert!(level <= expected && level > expected - 1.0, "{level} of {expected}");
            }
        }
        true
    })
    .await;
    let name = new_name();
    let level = async |count| one.count(&[counted(&name, count, SHORT)]).await[0];
    eventually("a level", async || level(10).await.is_some_and(|level| level > 5.0)).await;
    eventually("the level to run off", async || level(0).await == Some(0.0)).await;
    // However much is claimed, it is over after two periods.
    level(1_000_000).await;
    eventually("an answer", async || level(0).await.inspect(|level| assert!(*level <= 20.0)).is_some()).await;
}

// Whatever Redis is made of, it may break in every way.

async fn faults(c: &RedisCoordination, url: &str, servers: &[&RedisServer]) {
    let other = connect(url).await;
    both_hear_each_other(c, &other).await;
    both_count_together(c, &other).await;
    everywhere(servers, "SCRIPT FLUSH").await;
    both_count_together(c, &other).await;
    serves_again(c).await;
    serves_again(&other).await;

    // It forgets everything, again and again.
    let start = Instant::now();
    let flushing = async {
        while start.elapsed() < Duration::from_secs(1) {
            everywhere(servers, "FLUSHALL").await;
            sleep(Duration::from_millis(40)).await;
        }
    };
    let using = async {
        for n in 0.. {
            let held = take(c, &format!("flushed {n}")).await;
            c.end(Some(held), Some(&change(1)));
            if start.elapsed() > Duration::from_secs(1) {
                return;
            }
        }
    };
    tokio::join!(flushing, using);

    let held = take(c, "forgotten").await;
    everywhere(servers, "FLUSHALL").await;
    let next = take(&other, "forgotten").await;
    give_back(c, held).await;
    assert_busy(c, "forgotten").await;
    everywhere(servers, "SCRIPT FLUSH").await;
    other.end(Some(next), None);
    take(c, "forgotten").await;

    // It cuts every connection.
    let mut news = c.announcements();
    everywhere(servers, "CLIENT KILL TYPE pubsub").await;
    hears(&mut news, Announcement::Gap).await;
    both_hear_each_other(c, &other).await;
    everywhere(servers, "CLIENT KILL TYPE normal").await;
    serves_again(c).await;
    serves_again(&other).await;

    // Its memory is full.
    let held = take(c, "full").await;
    everywhere(servers, "CONFIG SET maxmemory 1").await;
    assert!(matches!(lock(c, "another").await, Lock::Unavailable));
    assert_eq!(remember(c, "another", "value", LONG).await, None);
    both_hear_each_other(c, &other).await;
    c.end(Some(held), None);
    everywhere(servers, "CONFIG SET maxmemory 0").await;
    serves_again(c).await;
    take(&other, "full").await;

    // One of its masters stops for a second, and the others do not notice.
    let frozen = servers[0];
    let owner = owner_on(c, frozen).await;
    let held = take(c, &owner).await;
    frozen.freeze().await;
    let start = Instant::now();
    assert!(matches!(c.begin(&owner, "more", LONG, None).await.lock, Lock::Unavailable));
    assert!(start.elapsed() < FIRST, "the first wait: {:?}", start.elapsed());
    if servers.len() == 1 {
        assert_eq!(c.count(&[counted("frozen", 1, LONG)]).await, [None]);
    }
    let mut waits: Vec<Duration> = Vec::new();
    for n in 0..100 {
        let start = Instant::now();
        assert!(matches!(c.begin(&owner, &n.to_string(), LONG, None).await.lock, Lock::Unavailable));
        waits.push(start.elapsed());
    }
    waits.sort();
    assert!(waits[98] < LATER, "later waits: {waits:?}");
    c.end(Some(held), Some(&change(2)));
    if servers.len() > 1 {
        let (mut held, start) = (0, Instant::now());
        for n in 0..300 {
            held += usize::from(matches!(lock(c, &format!("elsewhere {n}")).await, Lock::Held(_)));
        }
        assert!(held > 150, "of 300 calls about two in three go to others: {held}");
        assert!(start.elapsed() < Duration::from_millis(900), "300 calls: {:?}", start.elapsed());
    }
    frozen.thaw();
    serves_again(c).await;
    // What was owed is paid: the SET that was never answered, and the release that could not be sent.
    take(c, &owner).await;
    both_hear_each_other(c, &other).await;
}

/// An owner whose locks are kept by this server.
async fn owner_on(c: &dyn Coordination, server: &RedisServer) -> String {
    for n in 0..100 {
        let owner = format!("owner {n}");
        server.text("CONFIG RESETSTAT").await;
        let held = take(c, &owner).await;
        let asked = server.text("INFO commandstats").await.contains("cmdstat_set:");
        give_back(c, held).await;
        if asked {
            return owner;
        }
    }
    panic!("no owner on {}", server.url)
}

// Redis between processes.

#[tokio::test]
async fn two_processes_share_locks_memories_and_announcements() {
    let redis = RedisServer::start().await;
    let (here, there) = (connect(&redis.url).await, connect(&redis.url).await);

    let held = take(&here, "shared").await;
    assert_busy(&there, "shared").await;
    here.end(Some(held), None);
    take(&there, "shared").await;

    assert_eq!(remember(&here, "click", "first", LONG).await, None);
    assert_eq!(remember(&there, "click", "second", LONG).await.as_deref(), Some("first"));

    both_hear_each_other(&here, &there).await;
}

#[tokio::test]
async fn a_message_nobody_can_read_is_a_gap() {
    let redis = RedisServer::start().await;
    let (here, there) = (connect(&redis.url).await, connect(&redis.url).await);
    both_hear_each_other(&here, &there).await;
    let mut news = here.announcements();
    redis.command("PUBLISH payonce:orders rubbish").await;
    hears(&mut news, Announcement::Gap).await;
}

#[tokio::test]
async fn a_restart_is_survived() {
    let mut redis = RedisServer::start().await;
    let (here, there) = (connect(&redis.url).await, connect(&redis.url).await);
    both_hear_each_other(&here, &there).await;
    let held = take(&here, "lost").await;
    let mut news = here.announcements();
    redis.start_again().await;
    hears(&mut news, Announcement::Gap).await;
    let next = take(&there, "lost").await;
    give_back(&here, held).await;
    assert_busy(&here, "lost").await;
    there.end(Some(next), None);
    take(&here, "lost").await;
    both_hear_each_other(&here, &there).await;
}

// Redis away.

#[tokio::test]
async fn a_redis_that_stands_still_for_five_seconds_costs_one_short_wait() {
    let redis = RedisServer::start().await;
    let c = connect(&redis.url).await;
    let held = take(&c, "held before").await;
    redis.freeze().await;
    let frozen = Instant::now();
    assert!(matches!(lock(&c, "frozen").await, Lock::Unavailable));
    assert!(frozen.elapsed() < FIRST, "the first wait: {:?}", frozen.elapsed());
    let mut waits: Vec<Duration> = Vec::new();
    while frozen.elapsed() < Duration::from_secs(5) {
        let start = Instant::now();
        assert!(matches!(lock(&c, "frozen").await, Lock::Unavailable));
        assert_eq!(remember(&c, "frozen", "value", LONG).await, None);
        assert!(!c.healthy().await);
        waits.push(start.elapsed());
        sleep(Duration::from_millis(20)).await;
    }
    waits.sort();
    assert!(waits[waits.len() * 99 / 100 - 1] < LATER, "later waits: {waits:?}");
    let mut news = c.announcements();
    c.end(Some(held), Some(&change(1)));
    hears(&mut news, Announcement::Changed(change(1))).await;
    redis.thaw();
    serves_again(&c).await;
    // The SET that timed out has landed meanwhile, and the release could not be sent: both are made good.
    take(&c, "frozen").await;
    take(&c, "held before").await;
}

#[tokio::test]
async fn news_told_while_redis_was_away_for_a_moment_arrive() {
    let redis = RedisServer::start().await;
    let (here, there) = (connect(&redis.url).await, connect(&redis.url).await);
    both_hear_each_other(&here, &there).await;
    let mut news = there.announcements();
    redis.command("CLIENT KILL TYPE normal").await;
    assert!(matches!(lock(&here, "cut").await, Lock::Unavailable));
    here.end(None, Some(&change(7)));
    hears(&mut news, Announcement::Changed(change(7))).await;
}

#[tokio::test]
async fn a_silent_redis_is_a_gap() {
    let redis = RedisServer::start().await;
    let (here, there) = (connect(&redis.url).await, connect(&redis.url).await);
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
    let c = connect(&redis.url).await;
    redis.freeze().await;
    // Long enough for the SET to be on its way, too short for its answer to be given up.
    assert!(timeout(Duration::from_millis(20), lock(&c, "given up")).await.is_err());
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
    assert!(matches!(lock(&c, "early").await, Lock::Unavailable));
    redis.start_again().await;
    take(&c, "early").await;
    both_hear_each_other(&c, &connect(&redis.url).await).await;
}

#[tokio::test]
async fn a_wrong_url_is_an_error() {
    let refused = RedisCoordination::connect("redis://:s3cret@one:1,two:2").await.err();
    assert_eq!(refused, Some(ConfigError::Several));
}

#[tokio::test]
async fn over_tls_the_certificate_is_checked() {
    let (redis, port) = RedisServer::start_with_tls().await;
    let doctor = |url: String, certificate: Option<&std::path::Path>| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_payonce"));
        command.arg("doctor").env("PAYONCE_REDIS_URL", url).env("PAYONCE_SANDBOX_HOME", "off");
        command.env("PAYONCE_DATABASE_URL", format!("sqlite://{}?mode=rwc", redis.folder.join("a.db").display()));
        certificate.map(|file| command.env("SSL_CERT_FILE", file));
        let said = String::from_utf8(command.output().expect("payonce doctor").stdout).expect("text");
        said.lines().find(|line| line.contains("redis")).expect("a line about Redis").to_owned()
    };
    let certificate = redis.folder.join("certificate.pem");
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("rediss://{host}:{port}");
        eventually("Redis to answer over TLS", async || doctor(url.clone(), Some(&certificate)).starts_with("ok"))
            .await;
    }
    assert!(doctor(format!("rediss://localhost:{port}"), None).starts_with("FAIL"), "nobody knows this certificate");
    assert!(doctor(format!("redis://localhost:{port}"), Some(&certificate)).starts_with("FAIL"), "it speaks TLS only");
}

#[tokio::test]
async fn what_is_dropped_leaves_no_connection_behind() {
    let redis = RedisServer::start().await;
    let (here, there) = (connect(&redis.url).await, connect(&redis.url).await);
    both_hear_each_other(&here, &there).await;
    drop((here, there));
    eventually("all connections but the asking one to close", async || {
        let redis::Value::BulkString(list) = redis.command("CLIENT LIST").await else { panic!("a list") };
        String::from_utf8_lossy(&list).lines().filter(|line| !line.contains("cmd=client")).count() == 0
    })
    .await;
}

// Redis saying no.

#[tokio::test]
async fn a_replica_counts_as_no_redis() {
    let redis = RedisServer::start().await;
    let c = connect(&redis.url).await;
    redis.command("REPLICAOF 127.0.0.1 1").await;
    assert!(matches!(lock(&c, "read-only").await, Lock::Unavailable));
    sleep(Duration::from_millis(300)).await;
    assert!(!c.healthy().await, "it answers PING, but takes no writes");
    redis.command("REPLICAOF NO ONE").await;
    take(&c, "read-only").await;
    assert!(c.healthy().await);
}

#[tokio::test]
async fn a_value_of_a_foreign_kind_is_nobody_can_say() {
    let redis = RedisServer::start().await;
    let c = connect(&redis.url).await;
    let held = take(&c, "odd").await;
    remember(&c, "odd", "value", LONG).await;
    for key in redis_keys(&redis, "payonce:*").await {
        let key: String = redis::from_redis_value(key).expect("a key");
        redis.command(&format!("DEL {key}")).await;
        redis.command(&format!("RPUSH {key} a")).await;
    }
    assert_eq!(remember(&c, "odd", "value", LONG).await, None);
    c.end(Some(held), None);
    assert!(c.healthy().await);
}

#[tokio::test]
async fn names_of_people_are_not_kept() {
    let redis = RedisServer::start().await;
    let c = connect(&redis.url).await;
    take(&c, "alice@example.org").await;
    remember(&c, "alice@example.org", "value", LONG).await;
    let keys = redis_keys(&redis, "payonce:*").await;
    assert!(keys.len() >= 3 && !format!("{keys:?}").contains("alice"), "{keys:?}");
}

#[tokio::test]
async fn whatever_a_lying_redis_says_no_call_hangs_and_the_truth_serves_again() {
    let redis = RedisServer::start().await;
    let proxy = RedisProxy::start(&redis.url).await;
    let (c, other) = (connect(&proxy.url).await, connect(&redis.url).await);
    for lie in Lie::ALL {
        let held = take(&c, &format!("{lie:?}, held")).await;
        let others = take(&other, &format!("{lie:?}, other's")).await;
        proxy.lie(lie);
        let start = Instant::now();
        for n in 0..50 {
            let begun = lock(&c, &format!("{lie:?} {n}")).await;
            remember(&c, &format!("{lie:?} {n}"), "value", LONG).await;
            c.end(begun.held(), Some(&change(1)));
        }
        assert!(start.elapsed() < Duration::from_secs(2), "{lie:?}: {:?}", start.elapsed());
        c.end(Some(held), None);
        c.end(Some(LockToken { token: "not ours".to_owned(), ..others.clone() }), None);
        proxy.lie(Lie::None);
        serves_again(&c).await;
        both_hear_each_other(&c, &other).await;
        assert_busy(&other, &format!("{lie:?}, other's")).await;
        give_back(&other, others).await;
    }
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
        assert!(matches!(lock(&c, "a").await, Lock::Unavailable), "{refusal}");
        assert_eq!(remember(&c, "a", "value", LONG).await, None, "{refusal}");
        c.end(None, Some(&change(1)));
        assert!(!c.healthy().await, "{refusal}");
    }
}

// Words used above.

async fn connect(url: &str) -> RedisCoordination {
    let c = RedisCoordination::connect(url).await.expect("a good URL");
    eventually("Redis to be connected", async || c.healthy().await).await;
    c
}

async fn everywhere(servers: &[&RedisServer], command: &str) {
    for server in servers {
        server.command(command).await;
    }
}

async fn redis_keys(redis: &RedisServer, pattern: &str) -> Vec<redis::Value> {
    let redis::Value::Array(keys) = redis.command(&format!("KEYS {pattern}")).await else { panic!("keys") };
    keys
}

/// The lock of an owner of this name.
async fn lock(c: &dyn Coordination, name: &str) -> Lock {
    c.begin(name, "lock", LONG, None).await.lock
}

async fn remember(c: &dyn Coordination, name: &str, value: &str, window: Duration) -> Option<String> {
    let memory = Memory { name: "memory".to_owned(), value: value.to_owned(), window };
    // A lock of its own, that is nobody's business.
    let lock = format!("remembers {}", VERSION.fetch_add(1, Ordering::Relaxed));
    c.begin(name, &lock, LONG, Some(&memory)).await.remembered
}

/// Returns when the release has been done: what the same owner gives back is done in its order.
async fn give_back(c: &dyn Coordination, held: LockToken) {
    let owner = held.owner.clone();
    let name = format!("after {}", VERSION.fetch_add(1, Ordering::Relaxed));
    let after = loop {
        match c.begin(&owner, &name, LONG, None).await.lock {
            Lock::Held(after) => break after,
            _ => sleep(Duration::from_millis(10)).await,
        }
    };
    c.end(Some(held), None);
    c.end(Some(after), None);
    eventually("a later release", async || matches!(c.begin(&owner, &name, LONG, None).await.lock, Lock::Held(_)))
        .await;
}

/// Every slot has a master that takes locks, and gives them back.
async fn serves_again(c: &dyn Coordination) {
    eventually("Redis to be used again", async || c.healthy().await).await;
    let from = VERSION.fetch_add(100, Ordering::Relaxed);
    for n in from..from + 30 {
        let name = format!("again {n}");
        let held = take(c, &name).await;
        c.end(Some(held), None);
        take(c, &name).await;
    }
}

/// Somebody has the lock. A slow machine may make Redis late, which is no answer yet.
async fn assert_busy(c: &dyn Coordination, name: &str) {
    let answer = async {
        loop {
            match lock(c, name).await {
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
            if let Lock::Held(token) = c.begin(name, "lock", ttl, None).await.lock {
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
                teller.end(None, Some(&told));
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

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
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
