//! Measures live payment status: one event to many subscribers, the memory of idle ones, many orders that change
//! at once, and several processes behind one Redis; beside a Node.js peer and the least that any server can do, in
//! one run. `scripts/bench-live` starts the servers it needs and calls it.

mod bus;
mod cancels;
mod fan_out;
mod floor;
mod idle;
mod processes;
mod report;
mod server;
mod shop;
mod subscriber;

use std::process::ExitCode;

use report::Report;
use server::Server;
use shop::Shop;

/// Why a measurement cannot go on.
pub type Wrong = Box<dyn std::error::Error + Send + Sync>;
/// What may go wrong in a measurement.
pub type Result<T> = std::result::Result<T, Wrong>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["floor", port] => {
            tokio::runtime::Runtime::new().map_err(Wrong::from).and_then(|r| r.block_on(floor::run(port)))
        }
        // One thread: the measuring side must not take both cores of a small machine.
        [] => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Wrong::from)
            .and_then(|r| r.block_on(measure())),
        _ => Err("usage: bench-live, or bench-live floor PORT".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench-live: {e}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> Result<()> {
    let mut report = Report::default();
    let shop = Shop::make().await?;
    let (one, two, three) = (shop.open().await?, shop.open().await?, shop.open().await?);
    {
        let (floor, peer) = (Server::floor().await?, Server::peer(shop.secret()).await?);
        fan_out::measure(&shop, &floor, &peer, &one, &mut report).await?;
    }
    let processes = [&one, &two, &three];
    let watched = idle::measure(&shop, &one, &two, &mut report).await?;
    let rest = cancels::measure(&shop, &processes, watched, &mut report).await?;
    processes::measure(&shop, &processes, rest, &mut report).await?;
    report.finish(setting("BENCH_WRITE", "").as_str())
}

/// A setting from the environment.
pub fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}
