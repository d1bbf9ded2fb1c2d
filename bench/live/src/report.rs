//! What was measured, for people: figures beside what is wanted of them.

use std::fmt::Write;
use std::time::Duration;

use crate::{Result, setting};

const BEGIN: &str = "<!-- live status: written by make bench-live -->";
const END: &str = "<!-- end of live status -->";

/// The rows of the report.
#[derive(Default)]
pub struct Report {
    servers: String,
    targets: String,
    missed: Vec<String>,
}

impl Report {
    fn target(&mut self, what: &str, measured: String, wanted: &str, held: bool) {
        let verdict = if held { "held" } else { "**missed**" };
        if !held {
            self.missed.push(format!("{what}: {measured}, wanted {wanted}"));
        }
        eprintln!("{what}: {measured}, wanted {wanted}: {verdict}");
        writeln!(self.targets, "| {what} | {measured} | {wanted} | {verdict} |").ok();
    }

    /// Of the floor, the peer and Payonce: the last delivery in ms, CPU of one delivery in µs, KiB of a subscriber;
    /// and the last delivery since the payer clicked.
    pub fn fan_out(&mut self, subscribers: usize, figures: [(f64, f64, f64); 3], asked: f64) {
        let [floor, peer, payonce] = figures;
        for (name, (last, cpu, memory)) in [("floor", floor), ("Mercurius", peer), ("Payonce", payonce)] {
            let memory = if memory > 0.0 { format!("{memory:.1}") } else { "–".to_owned() };
            eprintln!("{name}: {last:.1} ms, {cpu:.1} µs, {memory} KiB");
            writeln!(self.servers, "| {name} | {last:.1} ms | {cpu:.1} µs | {memory} |").ok();
        }
        writeln!(self.servers, "| Payonce, from the payer's click | {asked:.1} ms | | |").ok();
        let (to_peer, to_floor) = (payonce.0 / peer.0, payonce.0 / floor.0);
        let what = format!("last of {subscribers} subscribers, beside Mercurius");
        self.target(&what, format!("{to_peer:.2} ×"), "≤ 0.35 ×", to_peer <= 0.35);
        let what = format!("last of {subscribers} subscribers, beside the floor");
        self.target(&what, format!("{to_floor:.2} ×"), "≤ 2 ×", to_floor <= 2.0);
    }

    /// KiB of an idle subscriber, and how long opening all of them took.
    pub fn idle(&mut self, connections: usize, memory: f64, took: Duration) {
        eprintln!("{connections} subscribers in {:.1} s", took.as_secs_f64());
        let what = format!("memory of an idle subscriber, {connections} in one process, each of its own order");
        self.target(&what, format!("{memory:.1} KiB"), "≤ 16 KiB", memory <= 16.0);
    }

    /// From commit to socket, in ms, and what the process says of itself.
    pub fn cancels(&mut self, rate: f64, median: f64, p99: f64, most: f64, own: &[String]) {
        own.iter().for_each(|line| eprintln!("  {line}"));
        let what = format!("commit to socket, {rate:.0} cancelled orders/s through three processes, p99");
        let measured = format!("{p99:.1} ms (median {median:.1}, slowest {most:.1})");
        self.target(&what, measured, "≤ 10 ms", p99 <= 10.0);
    }

    /// Events that arrived, of those that had to.
    pub fn processes(&mut self, delivered: usize, expected: usize, slowest: f64) {
        let measured = format!("{delivered} of {expected}, the slowest after {slowest:.1} ms");
        // Later than this it was the comparison with the store that brought it, and not Redis.
        let held = delivered == expected && slowest < 1_000.0;
        self.target("delivered in all of three processes behind one Redis", measured, "all, within 1 s", held);
    }

    /// Prints the section, and writes it into this file unless the name is empty. What was missed is an error.
    pub fn finish(&self, file: &str) -> Result<()> {
        let section = self.section();
        println!("{section}");
        if !file.is_empty() {
            let text = std::fs::read_to_string(file)?;
            let around = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
            let (before, after) = around.ok_or_else(|| format!("{file} has no place for this section"))?;
            std::fs::write(file, format!("{before}{section}{after}"))?;
        }
        match self.missed.is_empty() {
            true => Ok(()),
            false => Err(format!("missed: {}", self.missed.join("; ")).into()),
        }
    }

    fn section(&self) -> String {
        let (on, machine) = (setting("BENCH_DATE", "?"), setting("BENCH_MACHINE", "?"));
        let commit = setting("BENCH_COMMIT", "?");
        format!(
            "{BEGIN}\n## Live status\n\n\
             `make bench-live`, {on}, commit {commit}, release build, on {machine}; servers, clients and the measuring\n\
             process share it. PostgreSQL without fsync.\n\n\
             One event to 2,000 subscribers of one order over `graphql-transport-ws`, the three servers in turns, median\n\
             of 15. The floor writes one ready-made frame to every socket; Mercurius is the Node.js peer in\n\
             `bench/live/peer/`. Both are told through Redis and timed from there. Payonce tells only what its store\n\
             holds: an order is paid at the sandbox, and it is timed from the commit of PAID, by PostgreSQL's clock.\n\n\
             | server | last delivery | CPU of a delivery | KiB of a subscriber |\n|---|---:|---:|---:|\n{}\n\
             | figure | measured | wanted | |\n|---|---|---|---|\n{}{END}",
            self.servers, self.targets
        )
    }
}

/// The one in the middle.
pub fn median(of: &[f64]) -> f64 {
    percentile(of, 50.0)
}

/// Of so many of a hundred, the greatest.
pub fn percentile(of: &[f64], percent: f64) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted.get(at.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default()
}
