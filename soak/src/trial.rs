//! One trial: a site, a load, faults one after the other, rest, the verdict.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::drain::drain;
use crate::faults::Fault;
use crate::journal::Journal;
use crate::judge::judge;
use crate::load::Load;
use crate::machines::{Backend, Machines};
use crate::orphans::Watch;
use crate::random::Random;
use crate::site::Site;
use crate::watchers::{Figures, Watchers};
use crate::{Result, rewind};

/// Clients of a trial.
const CLIENTS: usize = 6;

/// What is tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// On which database.
    pub backend: Backend,
    /// What is broken, one after the other.
    pub faults: Vec<Fault>,
    /// How long each.
    pub time: Duration,
    /// From which everything follows that is left to chance.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Requests that were answered.
    pub operations: u64,
    /// Requests that were told to come again, or heard nothing.
    pub unanswered: u64,
    /// How often something was broken.
    pub broken: u64,
    /// How often a process of Payonce was killed or died.
    pub kills: u64,
    /// The longest wait of an operation whose holder died.
    pub slowest_orphan: Duration,
    /// How long it took until all was at rest.
    pub rest: Duration,
    /// What those saw who followed orders over sockets.
    pub watched: Figures,
    /// How long the faults took.
    pub load_time: Duration,
    /// What must not be.
    pub violations: Vec<String>,
    /// Odd answers, by their code.
    pub oddities: Vec<String>,
}

impl Trial {
    /// How to run exactly this again.
    pub fn command(&self) -> String {
        let faults: Vec<String> = self.faults.iter().map(|f| format!(" --fault {}", f.name())).collect();
        let backend = self.backend.name().to_lowercase();
        let backend = if backend == "postgresql" { "postgres" } else { &backend };
        format!("scripts/soak --seed {} --on {backend} --seconds {}{}", self.seed, self.time.as_secs(), faults.concat())
    }

    /// Runs it. What breaks in the harness itself is a violation, too: nothing was proven then.
    pub async fn run(&self, machines: &Arc<Machines>) -> Outcome {
        let journal = Arc::new(Journal::new(&format!("soak-{:016x}", self.seed)));
        let mut outcome = Outcome::default();
        if let Err(e) = self.run_on(machines, &journal, &mut outcome).await {
            outcome.violations.push(format!("the trial broke off: {e}"));
        }
        let mut book = journal.book();
        outcome.violations.append(&mut book.violations);
        outcome.oddities.append(&mut book.oddities);
        outcome.operations = journal.answered.load(Relaxed);
        outcome.unanswered = journal.unanswered.load(Relaxed);
        outcome
    }

    async fn run_on(&self, machines: &Arc<Machines>, journal: &Arc<Journal>, outcome: &mut Outcome) -> Result<()> {
        let mut random = Random::new(self.seed);
        let backend = self.backend.name().to_lowercase();
        let name = format!("soak-{backend}-{:x}", self.seed);
        let site = Arc::new(Site::open(machines, self.backend, &name, self.seed).await?);
        let mut load = Load::start(&site, journal, &mut random, CLIENTS);
        let watchers = Watchers::start(&site, journal, &mut random.fork());
        let watch = (!self.faults.contains(&Fault::Rewind)).then(|| Watch::start(&site));
        let since = Instant::now();
        for fault in &self.faults {
            let until = Instant::now() + self.time;
            if *fault == Fault::Rewind {
                tokio::time::sleep(self.time / 4).await;
                rewind::copy(&site).await?;
                tokio::time::sleep_until(until.into()).await;
                load.stop().await;
                outcome.broken += rewind::back(&site, journal).await?;
                load = Load::start(&site, journal, &mut random, CLIENTS);
            } else {
                outcome.broken += fault.run(&site, journal, &mut random, until).await?;
            }
        }
        outcome.load_time = since.elapsed();
        outcome.kills = site.kills.load(Relaxed);
        site.heal().await?;
        load.stop().await;
        outcome.rest = drain(&site, journal).await?;
        if let Some(watch) = watch {
            outcome.slowest_orphan = watch.stop();
        }
        let late_counts = !self.faults.iter().any(|fault| fault.breaks_the_store());
        outcome.watched = watchers.stop(&site, journal, late_counts).await?;
        judge(&site, journal).await?;
        if outcome.slowest_orphan > Duration::from_secs(20) {
            journal.accuse(format!("an operation waited {:?} after its lease had ended", outcome.slowest_orphan));
        }
        let held = journal.book().violations.is_empty();
        site.close(held).await;
        Ok(())
    }
}
