//! The protocol has no counterexample; each of its mutants has one.

use std::collections::BTreeSet;
use std::time::Instant;

use model::properties::*;
use model::{Budget, Guard, Mutant, State};
use stateright::{Checker, Expectation, HasDiscoveries, Model};

const NO_FAULTS: Budget = Budget { sends: [0, 0], crashes: 0, stalls: 0, losses: 0, refusals: 0, rewinds: 0 };

/// One key, sent by two clients, with every fault but a store that forgets.
fn one_key() -> Guard {
    let budget = Budget { sends: [2, 0], crashes: 1, stalls: 1, losses: 1, refusals: 1, ..NO_FAULTS };
    Guard { processes: 2, room: 2, budget, mutant: None }
}

/// The same with three processes: a stale holder, its successor and the scheduler at once.
fn three_at_work() -> Guard {
    let budget = Budget { sends: [1, 0], stalls: 1, losses: 1, refusals: 1, ..NO_FAULTS };
    Guard { processes: 3, room: 2, budget, mutant: None }
}

/// Two refunds under two keys, and money for one.
fn two_keys() -> Guard {
    let budget = Budget { sends: [1, 1], crashes: 1, refusals: 1, ..NO_FAULTS };
    Guard { processes: 2, room: 1, budget, mutant: None }
}

/// The store loses its last commit, at any moment.
fn a_store_that_forgets() -> Guard {
    let budget = Budget { sends: [2, 0], crashes: 1, losses: 1, rewinds: 1, ..NO_FAULTS };
    Guard { processes: 2, room: 2, budget, mutant: None }
}

/// Visits every state. Whatever it cannot reach is named too: a model that does nothing breaks nothing.
fn holds(guard: Guard, unreachable: &[&str]) {
    let began = Instant::now();
    let checker = guard.checker().threads(2).symmetry_fn(State::representative).spawn_dfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("{states} states, up to {depth} steps, {:.1} s", began.elapsed().as_secs_f32());
    let found = checker.discoveries();
    for property in checker.model().properties() {
        let name = property.name;
        match (property.expectation, found.get(name)) {
            (Expectation::Always, Some(path)) => {
                panic!("broken: {name}\n{:#?}\n{:#?}", path.clone().into_actions(), path.last_state())
            }
            (Expectation::Sometimes, example) => {
                assert_eq!(example.is_none(), unreachable.contains(&name), "reached: {name}");
            }
            _ => {}
        }
    }
}

#[test]
fn one_key_holds() {
    holds(one_key(), &[]);
}

#[test]
fn three_at_work_hold() {
    holds(three_at_work(), &["a client is answered again"]);
}

#[test]
fn two_keys_hold() {
    holds(two_keys(), &["a client is answered again"]);
}

#[test]
fn a_store_that_forgets_holds() {
    holds(a_store_that_forgets(), &["a refusal is believed"]);
}

/// The mutant breaks this property; how it comes to that is printed with `--nocapture`.
fn caught(mutant: Mutant, guard: Guard, property: &'static str) {
    let checker = Guard { mutant: Some(mutant), ..guard }
        .checker()
        .finish_when(HasDiscoveries::AnyOf(BTreeSet::from([property])))
        .spawn_bfs()
        .join();
    let states = checker.unique_state_count();
    let path = checker.discovery(property).unwrap_or_else(|| {
        panic!("{mutant:?} is not caught by {property:?}, but by {:?}", checker.discoveries().keys())
    });
    println!("{mutant:?} breaks {property:?} after {states} states: {:?}", path.into_actions());
}

#[test]
fn every_mutant_is_caught() {
    caught(Mutant::CallBeforeCommit, one_key(), INTENT_FIRST);
    caught(Mutant::TrustRedis, one_key(), BEGINS_ONCE);
    caught(Mutant::NoFence, one_key(), CLIMBS);
    caught(Mutant::NoHolder, one_key(), HOLDER_ONLY);
    caught(Mutant::TakeoverOfTheLiving, one_key(), LAPSE_FIRST);
    caught(Mutant::NewNumberOnRetry, one_key(), ONE_CHARGE);
    caught(Mutant::DrawnNumbers, a_store_that_forgets(), ONE_CHARGE);
    caught(Mutant::TimeoutIsFailure, one_key(), NO_IS_FINAL);
    caught(Mutant::TimeoutUnclaims, one_key(), NOTHING_LOST);
    caught(Mutant::BelieveEveryNo, one_key(), NO_IS_FINAL);
    caught(Mutant::NoMark, three_at_work(), NO_IS_FINAL);
    caught(Mutant::ForgetTheFirst, one_key(), NO_IS_FINAL);
    caught(Mutant::ReadThenWrite, two_keys(), MONEY_FITS);
    // Only a store that forgets can take for failed what is still on its way.
    let budget = Budget { crashes: 0, refusals: 1, ..a_store_that_forgets().budget };
    caught(Mutant::FailedIsFinal, Guard { budget, ..a_store_that_forgets() }, NOTHING_LOST);
    caught(Mutant::NoScheduler, one_key(), NOTHING_LOST);
}
