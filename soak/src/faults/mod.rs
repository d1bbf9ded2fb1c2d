//! What is broken on purpose. Each driver breaks one kind of thing until its time is over, by chance of its seed.

mod broker;
mod crash;
mod database;
mod disconnect;
mod gateway;
mod kill;
mod redis;

pub use crash::POINTS;

use std::sync::Arc;
use std::time::Instant;

use clap::ValueEnum;

use crate::Result;
use crate::journal::Journal;
use crate::machines::Backend;
use crate::random::Random;
use crate::site::Site;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum Fault {
    /// Processes die at the points that `FAILPOINTS` names, one after the other.
    Crash,
    /// Processes are killed at any moment, also while the gateway thinks.
    Kill,
    /// Clients leave: reset, close, half-close, in the middle of a request; the database is a little slow.
    Disconnect,
    /// The gateway loses, repeats, refuses, delays, does not sign.
    Gateway,
    /// Requests to the gateway and its answers are cut in half.
    Wire,
    /// The database crashes and recovers.
    DatabaseCrash,
    /// The database's sessions are ended.
    DatabaseSessions,
    /// The database stands still.
    DatabaseFreeze,
    /// A COMMIT goes through and its answer does not.
    LostCommits,
    /// The store loses its last commits, and the clients send their keys again.
    Rewind,
    /// FLUSHALL every 40 ms.
    RedisFlush,
    /// Redis is killed and starts empty.
    RedisRestart,
    /// Redis stands still.
    RedisFreeze,
    /// Redis hangs up on everybody.
    RedisKick,
    /// Something that says OK to every SET, has nothing and keeps nothing.
    RedisLies,
    /// RabbitMQ is killed, and stands still.
    Broker,
    /// Many of these at once.
    Everything,
}

impl Fault {
    /// For people, and for `--fault`.
    pub fn name(self) -> String {
        self.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether a site with this database has what is broken here.
    pub fn applies_to(self, backend: Backend) -> bool {
        match self {
            Self::Crash | Self::Kill | Self::Disconnect | Self::Gateway | Self::Wire | Self::Everything => true,
            Self::Rewind => backend != Backend::Mariadb,
            Self::Broker => backend == Backend::Postgres,
            _ => backend != Backend::Sqlite,
        }
    }

    /// Whether the store itself is broken: who follows an order may have to wait for it.
    pub const fn breaks_the_store(self) -> bool {
        matches!(
            self,
            Self::DatabaseCrash
                | Self::DatabaseSessions
                | Self::DatabaseFreeze
                | Self::LostCommits
                | Self::Rewind
                | Self::Everything
        )
    }

    /// What a round of it is worth, in ordinary rounds: those that add kills up get more time.
    pub const fn weight(self) -> u32 {
        match self {
            Self::Crash => 4,
            Self::Kill => 3,
            Self::Everything => 2,
            _ => 1,
        }
    }

    /// Breaks things until then; how many times. [`Fault::Rewind`] is the round's own work.
    pub async fn run(
        self,
        site: &Arc<Site>,
        journal: &Arc<Journal>,
        random: &mut Random,
        until: Instant,
    ) -> Result<u64> {
        match self {
            Self::Crash => crash::run(site, random, until).await,
            Self::Kill => kill::run(site, random, until).await,
            Self::Disconnect => disconnect::run(site, journal, random, until).await,
            Self::Gateway => gateway::faults(site, random, until).await,
            Self::Wire => gateway::wire(site, until).await,
            Self::DatabaseCrash => database::crash(site, random, until).await,
            Self::DatabaseSessions => database::sessions(site, random, until).await,
            Self::DatabaseFreeze => database::freeze(site, random, until).await,
            Self::LostCommits => database::lost_commits(site, until).await,
            Self::Rewind => Ok(0),
            Self::RedisFlush => redis::flush(site, until).await,
            Self::RedisRestart => redis::restart(site, random, until).await,
            Self::RedisFreeze => redis::freeze(site, random, until).await,
            Self::RedisKick => redis::kick(site, until).await,
            Self::RedisLies => redis::lies(site, until).await,
            Self::Broker => broker::run(site, random, until).await,
            Self::Everything => everything(site, journal, random, until).await,
        }
    }
}

/// Kills, gateway faults, cut wires, hang-ups, and what there is of database and Redis faults, beside each other.
async fn everything(site: &Arc<Site>, journal: &Arc<Journal>, random: &mut Random, until: Instant) -> Result<u64> {
    let mut own: Vec<Random> = (0..6).map(|_| random.fork()).collect();
    let [killing, leaving, asking, ending, crashing, forgetting] = &mut own[..] else { return Ok(0) };
    let served = site.backend != Backend::Sqlite;
    let nothing = || Ok::<u64, crate::Wrong>(0);
    let results = tokio::join!(
        kill::run(site, killing, until),
        disconnect::run(site, journal, leaving, until),
        gateway::faults(site, asking, until),
        gateway::wire(site, until),
        async { if served { database::sessions(site, ending, until).await } else { nothing() } },
        async { if served { database::crash(site, crashing, until).await } else { nothing() } },
        async { if served { redis::restart(site, forgetting, until).await } else { nothing() } },
    );
    let (a, b, c, d, e, f, g) = results;
    Ok(a? + b? + c? + d? + e? + f? + g?)
}
