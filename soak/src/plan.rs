//! What is tried, and in which order: each database has a lane of its own, and the lanes run beside each other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use futures_util::future::join_all;

use crate::faults::Fault;
use crate::machines::{Backend, Machines};
use crate::races::races;
use crate::random::Random;
use crate::report::Report;
use crate::storm::{Figure, storms};
use crate::trial::{Outcome, Trial};

/// What the short form breaks, group by group: each group is one trial.
const SHORT: [&[Fault]; 6] = [
    &[Fault::Crash],
    &[Fault::Kill, Fault::Disconnect, Fault::Gateway, Fault::Wire],
    &[Fault::DatabaseCrash, Fault::DatabaseSessions, Fault::LostCommits, Fault::DatabaseFreeze],
    &[Fault::RedisFlush, Fault::RedisRestart, Fault::RedisFreeze, Fault::RedisKick, Fault::RedisLies],
    &[Fault::Rewind],
    &[Fault::Broker],
];

/// Exactly these faults with exactly this seed, on each of these databases.
pub async fn one(
    machines: &Arc<Machines>,
    backends: &[Backend],
    faults: &[Fault],
    seed: u64,
    time: Duration,
) -> Report {
    let report = Mutex::new(Report::default());
    for &backend in backends {
        try_it(machines, &report, Trial { backend, faults: faults.to_vec(), time, seed }).await;
    }
    report.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The races alone, on each of these databases.
pub async fn races_alone(machines: &Arc<Machines>, backends: &[Backend], seed: u64, times: usize) -> Report {
    let report = Mutex::new(Report::default());
    for &backend in backends {
        let (figures, outcome) = races(machines, backend, seed, times).await;
        tell(&report, "races", backend, figures, &outcome);
    }
    report.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The storms and races first, alone, because they are measured; then every lane, until the time is over or, without one,
/// once through.
pub async fn everything(machines: &Arc<Machines>, backends: &[Backend], seed: u64, time: Option<Duration>) -> Report {
    let until = time.map(|time| Instant::now() + time);
    let report = Mutex::new(Report::default());
    for &backend in backends {
        let (duplicates, long) = match time {
            Some(time) => (10_000, (time / 120).min(Duration::from_secs(20))),
            None if backend == Backend::Postgres => (1_000, Duration::from_secs(3)),
            None => continue,
        };
        let (figures, outcome) = storms(machines, backend, seed, duplicates, long).await;
        tell(&report, "storm", backend, figures, &outcome);
        let times = if time.is_some() { 1_000 } else { 24 };
        let (figures, outcome) = races(machines, backend, seed, times).await;
        tell(&report, "races", backend, figures, &outcome);
    }
    let lanes = backends.iter().map(|&backend| {
        let (machines, report) = (machines, &report);
        let random = Random::new(seed ^ backend as u64);
        async move {
            match until {
                Some(until) => long_lane(machines, report, backend, random, until).await,
                None => short_lane(machines, report, backend, random).await,
            }
        }
    });
    join_all(lanes).await;
    report.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn tell(report: &Mutex<Report>, what: &str, backend: Backend, figures: Vec<Figure>, outcome: &Outcome) {
    for figure in &figures {
        println!("{:10} {}: {}", backend.name(), figure.what, figure.result);
    }
    for violation in &outcome.violations {
        println!("  VIOLATION {violation}");
    }
    lock(report).add_figures(what, backend, figures, outcome);
}

async fn short_lane(machines: &Arc<Machines>, report: &Mutex<Report>, backend: Backend, mut random: Random) {
    for group in SHORT {
        let faults: Vec<Fault> = group.iter().copied().filter(|f| f.applies_to(backend)).collect();
        let seconds = if group == [Fault::Crash] { 12 } else { 3 };
        let time = Duration::from_secs(seconds);
        if !faults.is_empty() {
            try_it(machines, report, Trial { backend, faults, time, seed: random.next() }).await;
        }
    }
}

/// Round after round of all its faults, each round in another order.
async fn long_lane(
    machines: &Arc<Machines>,
    report: &Mutex<Report>,
    backend: Backend,
    mut random: Random,
    until: Instant,
) {
    let left = until.saturating_duration_since(Instant::now());
    let unit = (left / 150).clamp(Duration::from_secs(4), Duration::from_secs(15));
    loop {
        let mut faults: Vec<Fault> =
            Fault::value_variants().iter().copied().filter(|f| f.applies_to(backend)).collect();
        while !faults.is_empty() {
            let fault = faults.swap_remove(random.below(faults.len() as u64) as usize);
            let time = unit * fault.weight();
            // It must also come to rest, and be judged.
            if Instant::now() + time + Duration::from_secs(25) > until {
                return;
            }
            try_it(machines, report, Trial { backend, faults: vec![fault], time, seed: random.next() }).await;
        }
    }
}

async fn try_it(machines: &Arc<Machines>, report: &Mutex<Report>, trial: Trial) {
    let outcome = trial.run(machines).await;
    let line = lock(report).add(&trial, &outcome);
    println!("{line}");
}

fn lock(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}
