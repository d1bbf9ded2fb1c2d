//! What there is: tasks in processes, the store, the gateway, and what we remember to judge it all.

use crate::{Gateway, Told};

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// What each process works on. A crash empties it.
    pub processes: [Option<Task>; 3],
    /// What is committed.
    pub store: Store,
    /// The store before its last commit, while it may still be lost.
    pub before: Option<Store>,
    /// The gateway: its own truth.
    pub gateway: Gateway,
    /// Faults that may still happen.
    pub budget: Budget,
    /// What happened, for the properties alone: no step reads it.
    pub history: History,
}

/// How many of each may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// How often clients send each key: two clients, a retry, or a double click.
    pub sends: [u8; 2],
    /// Processes that die.
    pub crashes: u8,
    /// Leases that end while their holder lives.
    pub stalls: u8,
    /// Requests, answers and questions that get lost or come late.
    pub losses: u8,
    /// Times that the gateway says no.
    pub refusals: u8,
    /// Commits that the store loses.
    pub rewinds: u8,
}

/// One task in a process: its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Task {
    /// Why it runs.
    pub job: Job,
    /// The idempotency key it is about.
    pub key: usize,
    /// What it does next.
    pub step: Step,
    /// The fence of the lease it believes to have. Who holds it, the claim tells.
    pub lease: Option<u8>,
    /// Nobody has sent the number before, it believes.
    pub first: bool,
    /// Which of the key's numbers it sends: always 0, but in a mutant.
    pub number: usize,
    /// It has waited for somebody else already.
    pub waited: bool,
    /// What it has read before the call. Only a mutant looks at it.
    pub seen: Option<Status>,
}

/// Why a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Job {
    /// A client waits for the answer.
    Request,
    /// The scheduler found a claim whose lease has ended (`resolve::adopt`).
    Orphan,
    /// The scheduler found something undecided (`resolve::work_on`); it holds no lease.
    Due,
}

/// What a task does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the crate's page has them in a table")]
pub enum Step {
    Look,
    Lock,
    Claim { lock: LockAnswer },
    TakeOver,
    Slot,
    Ask,
    Mark,
    Renew,
    Send,
    Wait,
    AskAfterNo,
    Record(Learned),
}

/// What Redis says. It may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LockAnswer {
    /// You have it (as may others).
    Held,
    /// Somebody else has it (or nobody).
    Busy,
    /// No answer.
    Unavailable,
}

/// What a task heard, or did not hear, after it sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// The request arrived and the answer too.
    Answered,
    /// The request arrived, the answer was lost.
    AnswerLost,
    /// The request has not arrived, and may still.
    Late,
    /// The gateway said no and did nothing.
    Refused,
    /// The request never left us, or the gateway said "not now".
    NotSent,
}

/// What a task knows when it records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Learned {
    /// The gateway has it, and the money has not moved yet.
    Open,
    /// The money has moved: verified.
    Paid,
    /// The gateway has closed it: verified.
    Closed,
    /// No answer to trust.
    Nothing,
    /// It never left us.
    NotSent,
    /// A "no", and the gateway does not know the number.
    No,
}

/// What is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Store {
    /// The claim on each key.
    pub claims: [Option<Claim>; 2],
    /// The payment or refund of each key.
    pub records: [Option<Record>; 2],
}

/// A row of `operations`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// DONE, or still RUNNING.
    pub done: bool,
    /// Grows with every takeover.
    pub fence: u8,
    /// Whose random token stands in it.
    pub holder: Holder,
    /// The lease has ended.
    pub lapsed: bool,
    /// How often it has ended. No step reads it.
    pub lapses: u8,
}

/// Whose token stands in a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// The task that now runs in this process.
    Process(usize),
    /// A task that is no more: nobody has this token.
    Gone,
}

/// A row of `payments` or `refunds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Where it stands.
    pub status: Status,
    /// It was given to the gateway, or may have been.
    pub sent: bool,
    /// Which of the key's numbers it has.
    pub number: usize,
}

/// Where a payment or refund stands, with the ranks of `domain::PaymentStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the words of the contract")]
pub enum Status {
    Created,
    Unknown,
    Pending,
    Failed,
    Closed,
    Succeeded,
}

impl Status {
    /// Records only climb.
    pub fn rank(self) -> u8 {
        match self {
            Status::Created | Status::Unknown => 0,
            Status::Pending => 1,
            Status::Failed | Status::Closed => 2,
            Status::Succeeded => 3,
        }
    }

    /// The gateway may still decide it either way, as far as we know.
    pub fn is_open(self) -> bool {
        self.rank() < 2
    }
}

/// What happened. Only the properties read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct History {
    /// Whether an intent for a number was ever committed, by key and number.
    pub intended: [[bool; 2]; 2],
    /// A request left without.
    pub without_intent: bool,
    /// How often a key began in the history that the store now tells.
    pub begun: [u8; 2],
    /// Which numbers clients were told, by key and number.
    pub told: [[bool; 2]; 2],
    /// The highest rank of each record.
    pub highest: [u8; 2],
    /// A claim was renewed or finished by a task that did not hold it.
    pub trespass: bool,
    /// A client was answered from a claim that was done before.
    pub replayed: bool,
    /// A request arrived when nobody waited for its answer any more.
    pub arrived_late: bool,
    /// The store has lost a commit.
    pub rewound: bool,
}

impl State {
    /// The state in which nothing has been sent yet.
    pub fn new(budget: Budget) -> Self {
        Self {
            processes: [None; 3],
            store: Store::default(),
            before: None,
            gateway: Gateway::default(),
            budget,
            history: History::default(),
        }
    }

    /// A transaction commits. Only the last one can be lost.
    pub fn commit(&mut self, next: Store) {
        if next == self.store {
            return;
        }
        self.before = (self.budget.rewinds > 0).then_some(self.store);
        self.store = next;
        for (key, record) in self.store.records.iter().enumerate() {
            let Some(record) = record else { continue };
            self.history.highest[key] = self.history.highest[key].max(record.status.rank());
            self.history.intended[key][record.number] = true;
        }
    }

    /// A task ends, by itself or with its process. Its token is nobody's from here on.
    pub fn end(&mut self, process: usize) {
        self.processes[process] = None;
        for store in [Some(&mut self.store), self.before.as_mut()].into_iter().flatten() {
            for claim in store.claims.iter_mut().flatten() {
                if claim.holder == Holder::Process(process) {
                    claim.holder = Holder::Gone;
                }
            }
        }
    }

    /// One state for all that differ only in which process does what: processes are alike.
    pub fn representative(&self) -> Self {
        let mut order = [0, 1, 2];
        order.sort_by_key(|&process| std::cmp::Reverse((self.processes[process], self.held_by(process))));
        let mut same = self.clone();
        same.processes = order.map(|process| self.processes[process]);
        for store in [Some(&mut same.store), same.before.as_mut()].into_iter().flatten() {
            for claim in store.claims.iter_mut().flatten() {
                if let Holder::Process(process) = &mut claim.holder {
                    *process = order.iter().position(|was| was == process).unwrap_or_default();
                }
            }
        }
        same
    }

    /// Which claims a process holds, now and before the last commit.
    fn held_by(&self, process: usize) -> [bool; 4] {
        let held = |claim: Option<Claim>| claim.is_some_and(|c| c.holder == Holder::Process(process));
        let before = self.before.unwrap_or_default();
        [self.store.claims[0], self.store.claims[1], before.claims[0], before.claims[1]].map(held)
    }

    /// What the gateway would say about the number that a task is about.
    pub fn told_of(&self, task: Task) -> Told {
        self.gateway.numbers[task.key][task.number]
    }

    /// The store loses its last commit. What was seen in it is judged by what the store tells now.
    pub fn rewind(&mut self) {
        let Some(before) = self.before.take() else { return };
        self.store = before;
        self.history.rewound = true;
        for key in 0..2 {
            self.history.begun[key] = u8::from(before.claims[key].is_some());
            self.history.highest[key] = before.records[key].map_or(0, |r| r.status.rank());
        }
    }
}
