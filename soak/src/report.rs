//! What a run has found, for people.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::faults::{Fault, POINTS};
use crate::machines::Backend;
use crate::storm::Figure;
use crate::trial::{Outcome, Trial};
use crate::watchers::Figures;

/// Violations of one trial that are told one by one.
const SHOWN: usize = 8;

/// The sums of a run.
#[derive(Default)]
pub struct Report {
    rows: BTreeMap<(String, &'static str), Row>,
    figures: Vec<(Backend, Figure)>,
    /// What must not be, with the command that does it again.
    pub violations: Vec<String>,
    oddities: BTreeMap<String, usize>,
    watched: Figures,
}

#[derive(Default)]
struct Row {
    runs: u64,
    operations: u64,
    broken: u64,
    kills: u64,
    violations: usize,
    slowest_orphan: Duration,
    slowest_rest: Duration,
    time: Duration,
}

impl Report {
    /// Adds a trial, and says what came of it.
    pub fn add(&mut self, trial: &Trial, outcome: &Outcome) -> String {
        let names: Vec<String> = trial.faults.iter().copied().map(Fault::name).collect();
        let row = self.rows.entry((names.join(", "), trial.backend.name())).or_default();
        row.runs += 1;
        row.operations += outcome.operations;
        row.broken += outcome.broken;
        row.kills += outcome.kills;
        row.violations += outcome.violations.len();
        row.slowest_orphan = row.slowest_orphan.max(outcome.slowest_orphan);
        row.slowest_rest = row.slowest_rest.max(outcome.rest);
        row.time += outcome.load_time;
        self.watched.streams += outcome.watched.streams;
        self.watched.fell += outcome.watched.fell;
        self.watched.late += outcome.watched.late;
        for odd in &outcome.oddities {
            *self.oddities.entry(odd.rsplit(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let mut line = format!(
            "{:10} {}: {} answered, {} not; {} faults, {} kills; {} streams watched; slowest orphan {:.1} s, at rest after {:.1} s; {} violations",
            trial.backend.name(),
            names.join(", "),
            outcome.operations,
            outcome.unanswered,
            outcome.broken,
            outcome.kills,
            outcome.watched.streams,
            outcome.slowest_orphan.as_secs_f64(),
            outcome.rest.as_secs_f64(),
            outcome.violations.len()
        );
        let more = outcome.violations.len().saturating_sub(SHOWN);
        for violation in outcome.violations.iter().take(SHOWN) {
            let found = format!("{violation}\n    again: {}", trial.command());
            write!(line, "\n  VIOLATION {found}").ok();
            self.violations.push(found);
        }
        if more > 0 {
            write!(line, "\n  and {more} more").ok();
        }
        line
    }

    /// Adds the figures of a storm, or of races.
    pub fn add_figures(&mut self, what: &str, backend: Backend, figures: Vec<Figure>, outcome: &Outcome) {
        self.figures.extend(figures.into_iter().map(|figure| (backend, figure)));
        self.violations.extend(outcome.violations.iter().map(|v| format!("{what} on {}: {v}", backend.name())));
    }

    /// The tables, in Markdown.
    pub fn tables(&self) -> String {
        let mut text = String::from(
            "| fault | database | runs | operations | faults | kills | violations | slowest orphan | slowest rest | operations/s |\n\
             |---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        let mut sum = Row::default();
        for ((fault, backend), row) in &self.rows {
            line(&mut text, fault, backend, row);
            sum.runs += row.runs;
            sum.operations += row.operations;
            sum.broken += row.broken;
            sum.kills += row.kills;
            sum.violations += row.violations;
            sum.slowest_orphan = sum.slowest_orphan.max(row.slowest_orphan);
            sum.slowest_rest = sum.slowest_rest.max(row.slowest_rest);
            sum.time += row.time;
        }
        line(&mut text, "**all**", "", &sum);
        let died: Vec<String> =
            POINTS.iter().map(|(point, _, died)| format!("`{point}` {}", died.load(Relaxed))).collect();
        writeln!(text, "\nDeaths by point: {}.", died.join(", ")).ok();
        let Figures { streams, fell, late } = self.watched;
        writeln!(
            text,
            "\nFollowed over sockets: {streams} streams; versions that fell: {fell}; later than 6 s: {late}."
        )
        .ok();
        if !self.oddities.is_empty() {
            writeln!(text, "\nAnswers that are no violation and should not be: {:?}.", self.oddities).ok();
        }
        if !self.figures.is_empty() {
            text.push_str("\n| database | storm or race | result |\n|---|---|---|\n");
            for (backend, figure) in &self.figures {
                writeln!(text, "| {} | {} | {} |", backend.name(), figure.what, figure.result).ok();
            }
        }
        text
    }
}

fn line(text: &mut String, fault: &str, backend: &str, row: &Row) {
    let Row { runs, operations, broken, kills, violations, slowest_orphan, slowest_rest, time } = row;
    writeln!(
        text,
        "| {fault} | {backend} | {runs} | {operations} | {broken} | {kills} | {violations} | {:.1} s | {:.1} s | {:.0} |",
        slowest_orphan.as_secs_f64(),
        slowest_rest.as_secs_f64(),
        *operations as f64 / time.as_secs_f64().max(1.0)
    )
    .ok();
}
