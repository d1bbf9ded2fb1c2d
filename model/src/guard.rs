//! What may happen next, and what it leads to: the model as the checker sees it.

use stateright::{Model, Property};

use crate::properties;
use crate::{Budget, Holder, Job, Learned, LockAnswer, Mutant, Reply, State, Step, Task, Told};

/// The protocol, as it is or with one rule broken, and how much it is tried with.
#[derive(Clone, Debug)]
pub struct Guard {
    /// How many processes there are, at most three; each works on one task at a time.
    pub processes: usize,
    /// For how many charges the money suffices: two for two orders, one for two refunds of one payment that
    /// each want all of it.
    pub room: usize,
    /// Which faults may happen.
    pub budget: Budget,
    /// The rule that is broken, if one is.
    pub mutant: Option<Mutant>,
}

/// What may happen next. A process is named by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A task begins: a client's request arrives, or the scheduler finds work.
    Begin(usize, Job, usize),
    /// A task takes its next step, which has one outcome.
    Go(usize),
    /// Redis answers.
    Lock(usize, LockAnswer),
    /// A question to the gateway is answered (`true`) or not.
    Ask(usize, bool),
    /// This becomes of a request.
    Wait(usize, Reply),
    /// A process dies.
    Crash(usize),
    /// A key's lease ends.
    Lapse(usize),
    /// A request arrives for which nobody waits any more, by key and number.
    Arrive(usize, usize),
    /// The money moves at the gateway, by key and number.
    Pay(usize, usize),
    /// The gateway closes the number unpaid.
    Close(usize, usize),
    /// The gateway tells us that the money has moved (`settle::apply_once`), by key.
    Notify(usize),
    /// The store loses its last commit.
    Rewind,
}

impl Model for Guard {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.budget)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let budget = &state.budget;
        for (process, task) in state.processes.iter().enumerate() {
            let Some(task) = task else { continue };
            match task.step {
                Step::Lock => {
                    actions.push(Action::Lock(process, LockAnswer::Held));
                    actions.push(Action::Lock(process, LockAnswer::Busy));
                    actions.push(Action::Lock(process, LockAnswer::Unavailable));
                }
                Step::Ask | Step::AskAfterNo => {
                    actions.push(Action::Ask(process, true));
                    if budget.losses > 0 {
                        actions.push(Action::Ask(process, false));
                    }
                }
                Step::Wait => {
                    actions.push(Action::Wait(process, Reply::Answered));
                    if budget.losses > 0 {
                        let lost = [Reply::AnswerLost, Reply::Late, Reply::NotSent];
                        actions.extend(lost.map(|reply| Action::Wait(process, reply)));
                    }
                    if budget.refusals > 0 && state.told_of(*task) == Told::Absent {
                        actions.push(Action::Wait(process, Reply::Refused));
                    }
                }
                _ => actions.push(Action::Go(process)),
            }
            if budget.crashes > 0 {
                actions.push(Action::Crash(process));
            }
        }
        // Free processes are alike: the first takes what comes.
        let free = state.processes[..self.processes].iter().position(Option::is_none);
        for key in 0..2 {
            if let Some(process) = free {
                let jobs =
                    [Job::Request, Job::Orphan, Job::Due].into_iter().filter(|job| self.is_due(state, *job, key));
                actions.extend(jobs.map(|job| Action::Begin(process, job, key)));
            }
            if let Some(claim) = state.store.claims[key]
                && !claim.done
                && !claim.lapsed
                && (claim.holder == Holder::Gone || budget.stalls > 0)
            {
                actions.push(Action::Lapse(key));
            }
            for number in 0..2 {
                if state.gateway.late[key][number] {
                    actions.push(Action::Arrive(key, number));
                }
                if state.gateway.numbers[key][number] == Told::Open {
                    actions.push(Action::Pay(key, number));
                    actions.push(Action::Close(key, number));
                }
            }
            if self.notified(state, key).is_some() {
                actions.push(Action::Notify(key));
            }
        }
        if budget.rewinds > 0 && state.before.is_some() {
            actions.push(Action::Rewind);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        match action {
            Action::Begin(process, job, key) => self.begin(&mut next, process, job, key),
            Action::Go(process) => self.go(&mut next, process),
            Action::Lock(process, answer) => {
                let step = match (self.mutant, answer) {
                    // Who does not get the lock waits a little for the other's claim, and looks again.
                    (_, LockAnswer::Busy) => Step::Look,
                    (Some(Mutant::CallBeforeCommit), _) => Step::Send,
                    _ => Step::Claim { lock: answer },
                };
                let task = next.processes[process].as_mut()?;
                (task.step, task.waited) = (step, answer == LockAnswer::Busy);
            }
            Action::Ask(process, answered) => {
                next.budget.losses -= u8::from(!answered);
                let told = next.told_of(next.processes[process]?);
                let told = answered.then_some(told);
                let task = next.processes[process].as_mut()?;
                task.step = match (told, task.step) {
                    (Some(Told::Open), _) => Step::Record(Learned::Open),
                    (Some(Told::Paid), _) => Step::Record(Learned::Paid),
                    (Some(Told::Closed), _) => Step::Record(Learned::Closed),
                    // It never arrived: the same number (again).
                    (Some(Told::Absent), Step::Ask) => Step::Mark,
                    (Some(Told::Absent), _) => Step::Record(Learned::No),
                    (None, Step::Ask) => Step::Record(Learned::NotSent),
                    (None, _) => Step::Record(Learned::Nothing),
                };
            }
            Action::Wait(process, reply) => self.wait(&mut next, process, reply),
            Action::Crash(process) => {
                next.budget.crashes -= 1;
                if let Some(Task { step: Step::Wait, key, number, .. }) = next.processes[process] {
                    next.gateway.late[key][number] = true;
                }
                next.end(process);
            }
            Action::Lapse(key) => {
                let mut store = next.store;
                let claim = store.claims[key].as_mut()?;
                next.budget.stalls -= u8::from(claim.holder != Holder::Gone);
                claim.lapsed = true;
                claim.lapses += 1;
                // Time is no commit: the clock is not in the store.
                next.store = store;
            }
            Action::Arrive(key, number) => {
                next.gateway.late[key][number] = false;
                next.history.arrived_late = true;
                next.gateway.take(key, number, self.room);
            }
            Action::Pay(key, number) => next.gateway.numbers[key][number] = Told::Paid,
            Action::Close(key, number) => next.gateway.numbers[key][number] = Told::Closed,
            Action::Notify(key) => {
                let mut store = next.store;
                store.records[key] = self.notified(last, key);
                next.commit(store);
            }
            Action::Rewind => {
                next.budget.rewinds -= 1;
                next.rewind();
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
