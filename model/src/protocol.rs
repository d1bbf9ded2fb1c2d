//! The steps, one after the other, as the code takes them.

use stateright::{Model, Property};

use crate::properties;
use crate::{Budget, Claim, Holder, Job, Learned, LockAnswer, Mutant, Record, Reply, State, Status, Step, Task, Told};

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

impl Guard {
    fn broken(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether there is a reason to begin. The scheduler asks about what is undecided for as long as it is; the
    /// model leaves out the questions of which nothing new is learned.
    fn is_due(&self, state: &State, job: Job, key: usize) -> bool {
        match job {
            Job::Request => state.budget.sends[key] > 0,
            Job::Orphan => {
                let living = self.broken(Mutant::TakeoverOfTheLiving);
                let left = state.store.claims[key].is_some_and(|c| !c.done && (c.lapsed || living));
                left && !self.broken(Mutant::NoScheduler)
            }
            Job::Due => {
                let open = state.store.records[key].is_some_and(|r| {
                    let told = state.gateway.numbers[key][r.number];
                    r.status.is_open() && (r.status, told) != (Status::Pending, Told::Open)
                });
                open && !self.broken(Mutant::NoScheduler)
            }
        }
    }

    fn begin(&self, state: &mut State, process: usize, job: Job, key: usize) {
        let step = match job {
            Job::Request => {
                state.budget.sends[key] -= 1;
                Step::Look
            }
            Job::Orphan => Step::TakeOver,
            Job::Due => Step::Slot,
        };
        let number = state.store.records[key].map_or(0, |r| r.number);
        state.processes[process] =
            Some(Task { job, key, step, lease: None, first: false, number, waited: false, seen: None });
    }

    /// A step that has one outcome.
    fn go(&self, state: &mut State, process: usize) {
        let Some(task) = state.processes[process] else { return };
        match task.step {
            Step::Look => self.look(state, process, task),
            Step::Claim { lock } => self.claim(state, process, task, lock),
            Step::TakeOver => self.take_over(state, process, task),
            Step::Slot => self.slot(state, process, task),
            Step::Mark => self.mark(state, process, task),
            Step::Renew => self.renew(state, process, task),
            Step::Send => {
                state.history.without_intent |= !state.history.intended[task.key][task.number];
                state.processes[process] = Some(Task { step: Step::Wait, ..task });
            }
            Step::Record(learned) => self.record(state, process, task, learned),
            Step::Lock | Step::Ask | Step::Wait | Step::AskAfterNo => {}
        }
    }

    /// Is the key known? Then the answer again, or the work that was left, or "in progress".
    fn look(&self, state: &mut State, process: usize, task: Task) {
        let step = match state.store.claims[task.key] {
            None if task.waited => Step::Claim { lock: LockAnswer::Busy },
            None => Step::Lock,
            Some(claim) if claim.done => {
                state.history.replayed = true;
                return self.answer(state, process, task);
            }
            Some(claim) if claim.lapsed => Step::TakeOver,
            // In progress: the client comes again.
            Some(_) => return state.end(process),
        };
        state.processes[process] = Some(Task { step, ..task });
    }

    /// Claim, number and intent in one transaction, or nothing of it.
    fn claim(&self, state: &mut State, process: usize, mut task: Task, lock: LockAnswer) {
        let mut store = state.store;
        let trusting = self.broken(Mutant::TrustRedis) && lock == LockAnswer::Held;
        if store.claims[task.key].is_some() && !trusting {
            // Taken: wait for the other and look again.
            state.processes[process] = Some(Task { step: Step::Look, waited: true, ..task });
            return;
        }
        // The money is held while this is decided. In the mutant it was counted a step before.
        let late = self.broken(Mutant::ReadThenWrite) && task.seen.is_some();
        let used = store.records.iter().flatten().filter(|r| r.status.is_open() || r.status == Status::Succeeded);
        if used.count() >= self.room && !late {
            // A rule says no and the transaction is rolled back: nothing began.
            return state.end(process);
        }
        if self.broken(Mutant::ReadThenWrite) && task.seen.is_none() {
            state.processes[process] = Some(Task { seen: Some(Status::Created), ..task });
            return;
        }
        let drawn = self.broken(Mutant::DrawnNumbers) && state.history.intended[task.key][0];
        task.number = usize::from(drawn);
        store.claims[task.key] =
            Some(Claim { done: false, fence: 0, holder: Holder::Process(process), lapsed: false, lapses: 0 });
        store.records[task.key] = Some(Record { status: Status::Created, sent: true, number: task.number });
        state.commit(store);
        state.history.begun[task.key] += 1;
        if self.broken(Mutant::CallBeforeCommit) {
            return self.answer(state, process, task);
        }
        state.processes[process] = Some(Task { step: Step::Mark, lease: Some(0), first: true, ..task });
    }

    /// The lease has ended: one task gets the next fence.
    fn take_over(&self, state: &mut State, process: usize, task: Task) {
        let mut store = state.store;
        let living = self.broken(Mutant::TakeoverOfTheLiving);
        let Some(claim) = store.claims[task.key].as_mut().filter(|c| !c.done && (c.lapsed || living)) else {
            return state.end(process);
        };
        claim.fence += 1;
        claim.holder = Holder::Process(process);
        claim.lapsed = false;
        let lease = Some(claim.fence);
        let number = store.records[task.key].map_or(0, |r| r.number);
        state.commit(store);
        state.processes[process] = Some(Task { step: Step::Slot, lease, number, ..task });
    }

    /// What was never given to the gateway is given to it by one task alone.
    fn slot(&self, state: &mut State, process: usize, mut task: Task) {
        let mut store = state.store;
        let Some(record) = store.records[task.key].as_mut().filter(|r| r.status.is_open()) else {
            return self.finish(state, process, task);
        };
        if record.status == Status::Created && !record.sent {
            record.sent = true;
            task.first = true;
        }
        state.commit(store);
        state.processes[process] = Some(Task { step: Step::Ask, ..task });
    }

    /// Decided meanwhile? And who sends again says so before: from then on, nobody is the first.
    fn mark(&self, state: &mut State, process: usize, mut task: Task) {
        let mut store = state.store;
        let Some(record) = store.records[task.key].as_mut().filter(|r| r.status.is_open()) else {
            return self.finish(state, process, task);
        };
        if self.broken(Mutant::NoFence) {
            task.seen = Some(record.status);
        }
        if !task.first && record.status == Status::Created && !self.broken(Mutant::NoMark) {
            record.status = Status::Unknown;
        }
        if !task.first && self.broken(Mutant::NewNumberOnRetry) {
            (record.number, task.number) = (1, 1);
        }
        state.commit(store);
        let step = if task.lease.is_some() { Step::Renew } else { Step::Send };
        state.processes[process] = Some(Task { step, ..task });
    }

    /// Is the claim still this task's?
    fn holds(&self, state: &mut State, process: usize, task: Task) -> bool {
        let Some(claim) = state.store.claims[task.key].filter(|c| !c.done) else { return false };
        let holds = claim.holder == Holder::Process(process) && Some(claim.fence) == task.lease;
        if !holds && task.lease.is_some() && self.broken(Mutant::NoHolder) {
            state.history.trespass = true;
            return true;
        }
        holds
    }

    fn renew(&self, state: &mut State, process: usize, task: Task) {
        if !self.holds(state, process, task) {
            // It goes on without us. Who has just made the claim still answers with its ids.
            return if task.first { self.answer(state, process, task) } else { state.end(process) };
        }
        let mut store = state.store;
        if let Some(claim) = store.claims[task.key].as_mut() {
            claim.lapsed = false;
        }
        state.commit(store);
        state.processes[process] = Some(Task { step: Step::Send, ..task });
    }

    /// What becomes of a request, and what the task hears of it.
    fn wait(&self, state: &mut State, process: usize, reply: Reply) {
        let Some(task) = state.processes[process] else { return };
        let Task { key, number, .. } = task;
        match reply {
            Reply::Answered => state.gateway.take(key, number, self.room),
            Reply::AnswerLost => {
                state.budget.losses -= 1;
                state.gateway.take(key, number, self.room);
            }
            Reply::Late => {
                state.budget.losses -= 1;
                state.gateway.late[key][number] = true;
            }
            Reply::NotSent => state.budget.losses -= 1,
            Reply::Refused => state.budget.refusals -= 1,
        }
        let step = match reply {
            _ if self.broken(Mutant::CallBeforeCommit) && task.lease.is_none() && task.job == Job::Request => {
                Step::Claim { lock: LockAnswer::Held }
            }
            Reply::Answered if state.told_of(task) == Told::Open => Step::Record(Learned::Open),
            // A number that is paid or closed, or an empty account, is a "no" too.
            Reply::Answered | Reply::Refused => Step::AskAfterNo,
            Reply::AnswerLost | Reply::Late => Step::Record(Learned::Nothing),
            Reply::NotSent => Step::Record(Learned::NotSent),
        };
        state.processes[process] = Some(Task { step, ..task });
    }

    /// Records what was learned upon what is in the store now, and finishes the claim if it is still ours.
    fn record(&self, state: &mut State, process: usize, task: Task, learned: Learned) {
        let mut store = state.store;
        let Some(record) = store.records[task.key] else { return state.end(process) };
        let known = if self.broken(Mutant::NoFence) { task.seen.unwrap_or(record.status) } else { record.status };
        let next = self.learn(Record { status: known, ..record }, learned, task.first);
        if next.status == Status::Succeeded && !self.fits(state, task.key) {
            // Taken for failed, and its money was given to another since: for people.
            return self.finish(state, process, task);
        }
        store.records[task.key] = Some(next);
        if self.broken(Mutant::TimeoutUnclaims) && learned == Learned::Nothing && task.lease.is_some() {
            (store.records[task.key], store.claims[task.key]) = (None, None);
            state.commit(store);
            return state.end(process);
        }
        if self.holds(state, process, task)
            && let Some(claim) = store.claims[task.key].as_mut()
        {
            (claim.done, claim.lapsed, claim.holder) = (true, false, Holder::Gone);
        }
        state.commit(store);
        self.answer(state, process, task);
    }

    /// What a record becomes. Only a success of which the gateway is sure moves what is decided.
    fn learn(&self, record: Record, learned: Learned, first: bool) -> Record {
        let climb = |status: Status| if record.status.rank() < status.rank() { status } else { record.status };
        let unknown = if record.status == Status::Created { Status::Unknown } else { record.status };
        let status = match learned {
            Learned::Paid if record.status == Status::Failed && self.broken(Mutant::FailedIsFinal) => record.status,
            Learned::Paid => Status::Succeeded,
            Learned::Closed => climb(Status::Closed),
            Learned::Open => climb(Status::Pending),
            Learned::Nothing if self.broken(Mutant::TimeoutIsFailure) => climb(Status::Failed),
            Learned::Nothing => unknown,
            Learned::NotSent if first => return Record { sent: false, ..record },
            Learned::NotSent if self.broken(Mutant::ForgetTheFirst) => return Record { sent: false, ..record },
            Learned::NotSent => unknown,
            // The "no" of who was first is final, if nobody has sent it again meanwhile.
            Learned::No if first && record.status == Status::Created => Status::Failed,
            Learned::No if first && self.broken(Mutant::NoMark) => climb(Status::Failed),
            Learned::No if self.broken(Mutant::BelieveEveryNo) => climb(Status::Failed),
            Learned::No => unknown,
        };
        Record { status, ..record }
    }

    /// Whether a success that comes late still finds its money.
    fn fits(&self, state: &State, key: usize) -> bool {
        let others = state.store.records.iter().enumerate().filter(|(other, _)| *other != key);
        let used = others.filter_map(|(_, r)| *r).filter(|r| r.status.is_open() || r.status == Status::Succeeded);
        used.count() < self.room
    }

    /// The record that a notification makes of a key's, if it changes anything.
    fn notified(&self, state: &State, key: usize) -> Option<Record> {
        let record = state.store.records[key]?;
        let paid = state.gateway.numbers[key][record.number] == Told::Paid;
        let next = self.learn(record, Learned::Paid, false);
        (paid && next != record && self.fits(state, key)).then_some(next)
    }

    /// Nothing is left to do: the claim is finished if it is still ours.
    fn finish(&self, state: &mut State, process: usize, task: Task) {
        let mut store = state.store;
        if self.holds(state, process, task)
            && let Some(claim) = store.claims[task.key].as_mut()
        {
            (claim.done, claim.lapsed, claim.holder) = (true, false, Holder::Gone);
        }
        state.commit(store);
        self.answer(state, process, task);
    }

    /// The client gets its ids, and the task is over.
    fn answer(&self, state: &mut State, process: usize, task: Task) {
        if task.job == Job::Request
            && let Some(record) = state.store.records[task.key]
        {
            state.history.told[task.key][record.number] = true;
        }
        state.end(process);
    }
}
