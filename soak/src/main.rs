//! Breaks Payonce on purpose and counts: real processes, real servers, faults by seed; then the invariants in the
//! database and the gateway's own ledger. Without arguments it does a few minutes of everything.

mod client;
mod consumer;
mod drain;
mod expiry;
mod faults;
mod journal;
mod judge;
mod load;
mod machines;
mod orphans;
mod plan;
mod process;
mod proxy;
mod races;
mod random;
mod report;
mod rewind;
mod servers;
mod site;
mod storm;
mod trial;
mod watchers;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use faults::Fault;
use machines::{Backend, Machines};

/// Why the harness itself cannot go on.
pub type Wrong = Box<dyn std::error::Error + Send + Sync>;
/// The harness' own trouble, not Payonce's.
pub type Result<T> = std::result::Result<T, Wrong>;

/// Breaks Payonce on purpose and counts. Ends with 1 when a promise was broken.
#[derive(Parser)]
#[command(name = "soak")]
struct Arguments {
    /// The program to try, built with the feature `failpoints`.
    #[arg(long, value_name = "PATH")]
    payonce: PathBuf,
    /// Goes on for this long: 10m, 1h. Without it, a few rounds of each fault.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    time: Option<Duration>,
    /// What chance follows from. The short form has always the same, a long one a new one.
    #[arg(long)]
    seed: Option<u64>,
    /// Only on these databases.
    #[arg(long = "on", value_enum)]
    backends: Vec<Backend>,
    /// One trial with these faults, one after the other, and exactly this seed.
    #[arg(long = "fault", value_enum)]
    faults: Vec<Fault>,
    /// How long each of them.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The races alone, so many of each.
    #[arg(long, value_name = "TIMES")]
    races: Option<usize>,
    /// Measures this instead of breaking anything.
    #[arg(long, value_enum)]
    bench: Option<Bench>,
    /// How many orders with an open payment the benchmark has.
    #[arg(long, default_value_t = 5_000)]
    open: usize,
    /// Writes the tables into this file.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// What can be measured.
#[derive(Clone, Copy, ValueEnum)]
enum Bench {
    /// How fast orders are closed that fall due at the same moment.
    Expiry,
}

fn time(text: &str) -> std::result::Result<Duration, String> {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => 0,
    };
    let number: u64 = number.parse().unwrap_or_default();
    if number * seconds == 0 {
        Err("right is like 90s, 10m, 1h".to_owned())
    } else {
        Ok(Duration::from_secs(number * seconds))
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("soak: {e}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        tokio::select! {
            done = run(&arguments) => match done {
                Ok(true) => 0,
                Ok(false) => 1,
                Err(e) => {
                    eprintln!("soak: {e}");
                    2
                }
            },
            () = interrupted() => 130,
        }
    });
    // Whatever still runs is dropped here, and every server with it.
    drop(runtime);
    ExitCode::from(code)
}

async fn interrupted() {
    let mut wanted = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        wanted.extend(signal(kind).ok());
    }
    let heard = wanted.iter_mut().map(|signal| Box::pin(signal.recv()));
    futures_util::future::select_all(heard).await;
}

async fn run(arguments: &Arguments) -> Result<bool> {
    let payonce = std::path::absolute(&arguments.payonce)?;
    if let Some(Bench::Expiry) = arguments.bench {
        let machines = Arc::new(Machines::start(&payonce, &[Backend::Postgres]).await?);
        return expiry::expiry(&machines, arguments.open).await;
    }
    let backends = if arguments.backends.is_empty() { Backend::value_variants() } else { &arguments.backends };
    let machines = Arc::new(Machines::start(&payonce, backends).await?);
    let seed = arguments
        .seed
        .unwrap_or_else(|| if arguments.time.is_some() { clock_now().timestamp_micros() as u64 } else { 1 });
    println!("seed {seed}, on {}", backends.iter().map(|b| b.name()).collect::<Vec<_>>().join(", "));
    let report = if let Some(times) = arguments.races {
        plan::races_alone(&machines, backends, seed, times).await
    } else if arguments.faults.is_empty() {
        plan::everything(&machines, backends, seed, arguments.time).await
    } else {
        plan::one(&machines, backends, &arguments.faults, seed, Duration::from_secs(arguments.seconds)).await
    };
    let tables = report.tables();
    println!("\n{tables}");
    if let Some(file) = &arguments.report {
        std::fs::write(file, tables)?;
    }
    let held = report.violations.is_empty();
    if !held {
        println!("{} violations; logs and files are kept in {}", report.violations.len(), machines.keep().display());
    }
    Ok(held)
}

/// The machine's clock, which is the databases' here.
#[expect(clippy::disallowed_methods, reason = "the harness judges by the same clock as the servers beside it")]
pub fn clock_now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}
