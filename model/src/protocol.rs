//! The steps, one after the other, as the code takes them.

use crate::{Claim, Guard, Holder, Job, Learned, LockAnswer, Mutant, Record, Reply, State, Status, Step, Task, Told};

impl Guard {
    fn broken(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether there is a reason to begin. The scheduler asks about what is undecided for as long as it is; the
    /// model leaves out the questions of which nothing new is learned.
    pub(crate) fn is_due(&self, state: &State, job: Job, key: usize) -> bool {
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

    pub(crate) fn begin(&self, state: &mut State, process: usize, job: Job, key: usize) {
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
    pub(crate) fn go(&self, state: &mut State, process: usize) {
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
    pub(crate) fn wait(&self, state: &mut State, process: usize, reply: Reply) {
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
    pub(crate) fn notified(&self, state: &State, key: usize) -> Option<Record> {
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
