//! What must be true of every state, and what must be reached at all.

use stateright::{Expectation, Model, Property};

use crate::{Action, Guard, State, Status, Told};

/// A property that no state may break.
pub const ONE_CHARGE: &str = "a key is charged at most once";
/// L2.
pub const INTENT_FIRST: &str = "no request leaves without a committed intent";
/// L1.
pub const BEGINS_ONCE: &str = "a key begins at most once";
/// L3.
pub const SAME_NUMBER: &str = "a key has one number, whenever it is asked";
/// L5.
pub const CLIMBS: &str = "a record only climbs";
/// Section 4.
pub const HOLDER_ONLY: &str = "only its holder renews and finishes a claim";
/// Section 4.
pub const LAPSE_FIRST: &str = "a takeover follows the end of a lease";
/// L4, section 6.
pub const NO_IS_FINAL: &str = "what we call failed is not charged";
/// Section 6.
pub const MONEY_FITS: &str = "what is reserved and charged fits the money there is";
/// L6.
pub const SUCCESS_IS_TRUE: &str = "what we call charged is charged";
/// L9.
pub const ANSWER_LASTS: &str = "what a client was told stays claimed";
/// L9: with nothing left to happen, nothing is undecided, and our records are the gateway's.
pub const NOTHING_LOST: &str = "in the end everything is decided and agrees with the gateway";

type Holds = fn(&Guard, &State) -> bool;

/// What no state may break.
const ALWAYS: [(&str, Holds); 12] = [
    (ONE_CHARGE, |_, s| s.gateway.numbers.iter().all(|key| charged(key) <= 1)),
    (INTENT_FIRST, |_, s| !s.history.without_intent),
    (BEGINS_ONCE, |_, s| s.history.begun.iter().all(|begun| *begun <= 1)),
    (SAME_NUMBER, |_, s| s.history.intended.iter().chain(&s.history.told).all(|numbers| !numbers[1])),
    (CLIMBS, |_, s| (0..2).all(|k| s.store.records[k].is_none_or(|r| r.status.rank() >= s.history.highest[k]))),
    (HOLDER_ONLY, |_, s| !s.history.trespass),
    (LAPSE_FIRST, |_, s| s.store.claims.iter().flatten().all(|claim| claim.fence <= claim.lapses)),
    (NO_IS_FINAL, no_is_final),
    (MONEY_FITS, |m, s| {
        let used = s.store.records.iter().flatten().filter(|r| r.status.is_open() || r.status == Status::Succeeded);
        used.count() <= m.room
    }),
    (SUCCESS_IS_TRUE, |_, s| {
        (0..2).all(|key| {
            let record = s.store.records[key].filter(|r| r.status == Status::Succeeded);
            record.is_none_or(|r| s.gateway.numbers[key][r.number] == Told::Paid)
        })
    }),
    (ANSWER_LASTS, |_, s| {
        s.history.rewound || (0..2).all(|key| s.history.told[key] == [false; 2] || s.store.claims[key].is_some())
    }),
    (NOTHING_LOST, |m, s| !rests(m, s) || decided(s)),
];

/// What must be reachable, or the model tries less than it says.
const SOMETIMES: [(&str, Holds); 6] = [
    ("a key is charged", |_, s| s.gateway.numbers.iter().any(|key| charged(key) == 1)),
    ("a client is answered again", |_, s| s.history.replayed),
    ("an operation is taken over", |_, s| s.store.claims.iter().flatten().any(|c| c.fence > 0)),
    ("a request arrives late", |_, s| s.history.arrived_late),
    ("a refusal is believed", |_, s| s.store.records.iter().flatten().any(|r| r.status == Status::Failed)),
    ("everything comes to rest", rests),
];

/// All of them, for the checker.
pub fn all() -> Vec<Property<Guard>> {
    let always = ALWAYS.map(|(name, condition)| Property { expectation: Expectation::Always, name, condition });
    let sometimes =
        SOMETIMES.map(|(name, condition)| Property { expectation: Expectation::Sometimes, name, condition });
    always.into_iter().chain(sometimes).collect()
}

fn charged(numbers: &[Told; 2]) -> usize {
    numbers.iter().filter(|told| **told == Told::Paid).count()
}

/// A store that has lost the intent cannot know that the number was sent before: there, a "no" may hide a request
/// that is still on its way. It is recorded when the gateway tells.
fn no_is_final(_: &Guard, state: &State) -> bool {
    let wrong = |key: usize| {
        let failed = state.store.records[key].filter(|r| r.status == Status::Failed);
        failed.is_some_and(|r| matches!(state.gateway.numbers[key][r.number], Told::Open | Told::Paid))
    };
    state.history.rewound || !(wrong(0) || wrong(1))
}

/// Nothing can happen any more but that a request arrives very late.
fn rests(guard: &Guard, state: &State) -> bool {
    if state.processes.iter().any(Option::is_some) {
        return false;
    }
    let mut actions = Vec::new();
    guard.actions(state, &mut actions);
    actions.iter().all(|action| matches!(action, Action::Arrive(..)))
}

fn decided(state: &State) -> bool {
    (0..2).all(|key| {
        let finished = state.store.claims[key].is_none_or(|claim| claim.done);
        let told = state.gateway.numbers[key];
        let agrees = match state.store.records[key] {
            // Lost with its commit, and no client came again: the gateway's notification is kept for people.
            None => state.history.rewound || charged(&told) == 0,
            Some(r) => !r.status.is_open() && (r.status == Status::Succeeded) == (charged(&told) == 1),
        };
        finished && agrees
    })
}
