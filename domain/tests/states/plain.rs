//! What an order should be, in plain words: numbers, names and sums. It shares no code with the rules.

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

/// What the order costs, in minor units.
pub const TOTAL: i64 = 10_000;
/// Seconds in which it can be paid.
pub const TIME_TO_PAY: i64 = 1_800;
/// Less time than this is too little for another attempt.
pub const MARGIN: i64 = 60;
/// At most so many attempts.
pub const MAX_ATTEMPTS: usize = 20;

/// The order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plain {
    /// Seconds since it was placed.
    pub now: i64,
    /// The payment that won.
    pub winner: Option<usize>,
    /// The live attempt.
    pub live: Option<usize>,
    /// It is to be closed, and why.
    pub closing: Option<&'static str>,
    /// It is closed, and why.
    pub closed: Option<&'static str>,
    /// Oldest first.
    pub payments: Vec<Payment>,
    /// Oldest first.
    pub refunds: Vec<Refund>,
    /// Whether the latest thing was allowed.
    pub allowed: bool,
}

/// A payment.
#[derive(Clone, Debug, PartialEq)]
pub struct Payment {
    /// Seconds that must lie between two refunds of it.
    pub pause: i64,
    /// `created`, `unknown`, `pending`, `failed`, `closed`, `succeeded`.
    pub is: &'static str,
    /// What arrived.
    pub paid: i64,
    /// It arrived in another currency.
    pub foreign: bool,
    /// It is being closed.
    pub closing: bool,
    /// Nobody answers for it, since then.
    pub silent_since: Option<i64>,
    /// It is at WeChat Pay, or at Alipay.
    pub wechat: bool,
    /// When the latest refund was sent.
    pub refund_sent_at: Option<i64>,
    /// `winner`, `surplus`, `mismatch`, or nothing.
    pub counts_as: &'static str,
}

/// A refund.
#[derive(Clone, Debug, PartialEq)]
pub struct Refund {
    /// Of which payment.
    pub of: usize,
    /// How much.
    pub amount: i64,
    /// `requested`, `processing`, `unknown`, `succeeded`, `failed`.
    pub is: &'static str,
    /// It was, or may have been, given to the gateway.
    pub sent: bool,
}

/// What can happen. Payments and refunds are named by their place.
#[derive(Clone, Debug)]
pub enum Happens {
    /// Time passes, in seconds.
    Pass(i64),
    /// Another attempt, at WeChat Pay or Alipay.
    Attempt { wechat: bool },
    /// The gateway opened it.
    Opened(usize),
    /// The "no" of a gateway that is not to be believed.
    Unknown(usize),
    /// No answer; what was asked of it may have happened, or never left us.
    Silent(usize, bool),
    /// The gateway refused it.
    Failed(usize),
    /// The gateway closed it.
    Closed(usize),
    /// The gateway did not know what it was to close.
    NotFound(usize),
    /// The gateway says that it is still open.
    StillOpen(usize),
    /// We are about to close it there.
    CloseAttempt(usize),
    /// Money arrived.
    Paid(usize, Brings),
    /// The customer cancels, or the time is over.
    Close { expired: bool },
    /// What was closing is looked at again.
    FinishClose,
    /// Money is asked back: so much, or all that is left.
    AskBack(Option<i64>),
    /// A refund may be sent, if its turn has come.
    Send(usize),
    /// It never left us.
    NotSent(usize),
    /// The gateway accepted it.
    Accepted(usize),
    /// No answer to trust.
    RefundUnknown(usize),
    /// The money is back.
    Back(usize),
    /// The gateway refused it.
    RefundFailed(usize),
    /// The gateway closed it without moving money: another one takes over.
    RefundClosed(usize),
}

/// What arrives: the amount asked for, or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Brings {
    Right,
    Less,
    More,
    OtherCurrency,
}

impl Plain {
    fn is_open(&self, payment: usize) -> bool {
        matches!(self.payments[payment].is, "created" | "unknown" | "pending")
    }

    /// An attempt elsewhere need not wait for it.
    fn gives_way(&self, payment: usize) -> bool {
        let Payment { is, silent_since, .. } = self.payments[payment];
        let patience = if is == "pending" { 10 } else { 0 };
        self.is_open(payment) && silent_since.is_some_and(|since| self.now - since >= patience)
    }

    /// Asked back and not decided.
    pub fn reserved(&self, payment: usize) -> i64 {
        let open = |r: &&Refund| r.of == payment && matches!(r.is, "requested" | "processing" | "unknown");
        self.refunds.iter().filter(open).map(|r| r.amount).sum()
    }

    /// Given back.
    pub fn refunded(&self, payment: usize) -> i64 {
        self.refunds.iter().filter(|r| r.of == payment && r.is == "succeeded").map(|r| r.amount).sum()
    }

    /// What could still be asked back.
    pub fn left(&self, payment: usize) -> i64 {
        self.payments[payment].paid - self.reserved(payment) - self.refunded(payment)
    }

    /// The word that callers see.
    pub fn word(&self) -> &'static str {
        match (self.winner, self.closed, self.live) {
            (Some(winner), ..) => match self.refunded(winner) {
                0 => "PAID",
                back if back == TOTAL => "REFUNDED",
                _ => "PARTIALLY_REFUNDED",
            },
            (None, Some(_), _) => "CLOSED",
            (None, None, Some(_)) => "PAYING",
            (None, None, None) => "PENDING_PAYMENT",
        }
    }

    /// What did not fit and is not all back.
    fn mismatch(&self) -> Option<usize> {
        let undecided =
            |n: &usize| self.payments[*n].counts_as == "mismatch" && self.refunded(*n) < self.payments[*n].paid;
        (0..self.payments.len()).find(undecided)
    }

    fn has_mismatch(&self) -> bool {
        self.mismatch().is_some()
    }

    fn end(&mut self, payment: usize, how: &'static str) {
        if self.is_open(payment) {
            self.payments[payment].is = how;
            if self.live == Some(payment) {
                self.live = None;
            }
        }
    }

    fn paid(&mut self, payment: usize, brings: Brings) {
        if self.payments[payment].is == "succeeded" {
            self.allowed = false;
            return;
        }
        let unpaid = self.winner.is_none() && self.closed.is_none();
        let mine = &mut self.payments[payment];
        mine.is = "succeeded";
        mine.closing = false;
        mine.paid = brings.minor();
        mine.foreign = brings == Brings::OtherCurrency;
        if brings != Brings::Right {
            mine.counts_as = "mismatch";
            self.closing = None;
            if self.live == Some(payment) {
                self.live = None;
            }
        } else if unpaid {
            mine.counts_as = "winner";
            (self.winner, self.live, self.closing) = (Some(payment), None, None);
            for other in 0..self.payments.len() {
                self.payments[other].closing |= self.is_open(other);
            }
        } else {
            mine.counts_as = "surplus";
            self.refunds.push(Refund { of: payment, amount: TOTAL, is: "requested", sent: false });
        }
    }

    fn back(&mut self, refund: usize) {
        let Refund { of, amount, is, .. } = self.refunds[refund];
        if is == "failed" {
            // Done after all. The youngest of those that were never sent give way to it, if that is needed
            // and enough.
            let waits = |r: &Refund| r.of == of && r.is == "requested" && !r.sent;
            let waiting: i64 = self.refunds.iter().filter(|r| waits(r)).map(|r| r.amount).sum();
            if self.left(of) + waiting < amount {
                self.allowed = false;
                return;
            }
            while self.left(of) < amount {
                let youngest = self.refunds.iter().rposition(waits).expect("enough waits");
                self.refunds[youngest].is = "failed";
            }
        }
        self.refunds[refund].is = "succeeded";
    }

    fn happen(&mut self, what: &Happens) {
        match *what {
            Happens::Pass(seconds) => self.now += seconds,
            Happens::Silent(n, sent) => {
                if sent && self.payments[n].is == "created" {
                    self.payments[n].is = "unknown";
                }
                if self.is_open(n) {
                    let since = self.payments[n].silent_since.unwrap_or(self.now);
                    self.payments[n].silent_since = Some(since);
                }
            }
            Happens::Attempt { wechat } => {
                let over = self.winner.is_some() || self.closed.is_some() || self.closing.is_some();
                let enough = self.now + MARGIN <= TIME_TO_PAY && self.payments.len() < MAX_ATTEMPTS;
                let same_gateway = |n: usize| self.is_open(n) && self.payments[n].wechat == wechat;
                let free = !(0..self.payments.len()).any(same_gateway) && self.live.is_none_or(|n| self.gives_way(n));
                self.allowed = !over && !self.has_mismatch() && enough && free;
                if self.allowed {
                    if let Some(earlier) = self.live {
                        self.payments[earlier].closing = true;
                    }
                    self.live = Some(self.payments.len());
                    self.payments.push(Payment {
                        pause: if wechat { 60 } else { 3 },
                        is: "created",
                        paid: 0,
                        foreign: false,
                        closing: false,
                        silent_since: None,
                        wechat,
                        refund_sent_at: None,
                        counts_as: "",
                    });
                }
            }
            Happens::Opened(n) if matches!(self.payments[n].is, "created" | "unknown") => {
                self.payments[n].is = "pending";
                self.payments[n].silent_since = None;
            }
            Happens::Opened(_) => {}
            Happens::Unknown(n) => {
                if self.payments[n].is == "created" {
                    self.payments[n].is = "unknown";
                }
                self.payments[n].silent_since = None;
            }
            Happens::Failed(n) => self.end(n, "failed"),
            Happens::Closed(n) | Happens::NotFound(n) => self.end(n, "closed"),
            Happens::StillOpen(n) => {
                self.payments[n].silent_since = None;
                if self.live == Some(n) && self.closing.is_none() {
                    self.payments[n].closing = false;
                }
            }
            Happens::CloseAttempt(n) => self.payments[n].closing = self.is_open(n),
            Happens::Paid(n, brings) => self.paid(n, brings),
            Happens::Close { expired } => {
                let reason = if expired { "EXPIRED" } else { "CANCELLED" };
                self.allowed = self.winner.is_none() && self.closed.is_none() && !self.has_mismatch();
                match self.live {
                    _ if !self.allowed => {}
                    Some(live) => {
                        self.closing = self.closing.or(Some(reason));
                        self.payments[live].closing = true;
                    }
                    None if (0..self.payments.len()).any(|n| self.is_open(n)) => {
                        self.closing = self.closing.or(Some(reason));
                    }
                    None => self.closed = self.closing.take().or(Some(reason)),
                }
            }
            Happens::FinishClose => {
                if self.live.is_none() && self.winner.is_none() && self.closing.is_some() {
                    self.closed = self.closing.take();
                }
            }
            Happens::AskBack(amount) => {
                self.allowed = false;
                let Some(of) = self.winner.or_else(|| self.mismatch()) else { return };
                let left = self.left(of);
                // Amounts are asked for in the order's currency.
                let named_wrongly = amount.is_some() && self.payments[of].foreign;
                let amount = amount.unwrap_or(left);
                self.allowed = amount >= 1 && amount <= left && !named_wrongly;
                if self.allowed {
                    self.refunds.push(Refund { of, amount, is: "requested", sent: false });
                }
            }
            Happens::Send(n) => {
                let Refund { of, is, sent, .. } = self.refunds[n];
                let rested = self.payments[of].refund_sent_at.is_none_or(|at| at + self.payments[of].pause <= self.now);
                self.allowed = is == "requested" && !sent && rested;
                if self.allowed {
                    self.refunds[n].sent = true;
                    self.payments[of].refund_sent_at = Some(self.now);
                }
            }
            Happens::NotSent(n) => self.refunds[n].sent = false,
            Happens::Accepted(n) if matches!(self.refunds[n].is, "requested" | "unknown") => {
                self.refunds[n].is = "processing";
            }
            Happens::RefundUnknown(n) if self.refunds[n].is == "requested" => self.refunds[n].is = "unknown",
            Happens::Accepted(_) | Happens::RefundUnknown(_) => {}
            Happens::Back(n) => self.back(n),
            Happens::RefundFailed(n) | Happens::RefundClosed(n) => {
                let Refund { of, amount, is, .. } = self.refunds[n];
                if matches!(is, "succeeded" | "failed") {
                    return;
                }
                self.refunds[n].is = "failed";
                if matches!(what, Happens::RefundClosed(_)) {
                    self.refunds.push(Refund { of, amount, is: "requested", sent: false });
                }
            }
        }
    }
}

impl Brings {
    /// Minor units, of whatever currency.
    pub fn minor(self) -> i64 {
        match self {
            Brings::Right | Brings::OtherCurrency => TOTAL,
            Brings::Less => TOTAL - 1,
            Brings::More => TOTAL + 1,
        }
    }
}

impl ReferenceStateMachine for Plain {
    type State = Plain;
    type Transition = Happens;

    fn init_state() -> BoxedStrategy<Plain> {
        Just(Plain { allowed: true, ..Plain::default() }).boxed()
    }

    fn transitions(state: &Plain) -> BoxedStrategy<Happens> {
        let order = prop_oneof![
            4 => any::<bool>().prop_map(|wechat| Happens::Attempt { wechat }),
            2 => prop_oneof![1..90_i64, 60..2_000_i64, Just(90_000)].prop_map(Happens::Pass),
            1 => any::<bool>().prop_map(|expired| Happens::Close { expired }),
            1 => Just(Happens::FinishClose),
            3 => prop_oneof![Just(None), (-1..=TOTAL + 1).prop_map(Some), (1..4_000_i64).prop_map(Some)]
                .prop_map(Happens::AskBack),
        ];
        let brings = prop_oneof![6 => Just(Brings::Right), 1 => Just(Brings::Less), 1 => Just(Brings::More), 1 => Just(Brings::OtherCurrency)];
        let payment = (0..state.payments.len().max(1)).prop_flat_map(move |n| {
            prop_oneof![
                3 => Just(Happens::Opened(n)),
                1 => Just(Happens::Unknown(n)),
                2 => any::<bool>().prop_map(move |sent| Happens::Silent(n, sent)),
                1 => Just(Happens::Failed(n)),
                2 => Just(Happens::Closed(n)),
                1 => Just(Happens::NotFound(n)),
                1 => Just(Happens::StillOpen(n)),
                1 => Just(Happens::CloseAttempt(n)),
                3 => brings.clone().prop_map(move |brings| Happens::Paid(n, brings)),
            ]
        });
        let refund = (0..state.refunds.len().max(1)).prop_flat_map(|n| {
            prop_oneof![
                3 => Just(Happens::Send(n)),
                1 => Just(Happens::NotSent(n)),
                1 => Just(Happens::Accepted(n)),
                1 => Just(Happens::RefundUnknown(n)),
                2 => Just(Happens::Back(n)),
                2 => Just(Happens::RefundFailed(n)),
                1 => Just(Happens::RefundClosed(n)),
            ]
        });
        match (state.payments.is_empty(), state.refunds.is_empty()) {
            (true, _) => order.boxed(),
            (false, true) => prop_oneof![1 => order, 2 => payment].boxed(),
            (false, false) => prop_oneof![2 => order, 2 => payment, 4 => refund].boxed(),
        }
    }

    fn preconditions(state: &Plain, what: &Happens) -> bool {
        match *what {
            Happens::Opened(n)
            | Happens::Unknown(n)
            | Happens::Silent(n, _)
            | Happens::Failed(n)
            | Happens::Closed(n)
            | Happens::NotFound(n)
            | Happens::StillOpen(n)
            | Happens::CloseAttempt(n)
            | Happens::Paid(n, _) => n < state.payments.len(),
            Happens::Send(n)
            | Happens::NotSent(n)
            | Happens::Accepted(n)
            | Happens::RefundUnknown(n)
            | Happens::Back(n)
            | Happens::RefundFailed(n)
            | Happens::RefundClosed(n) => n < state.refunds.len(),
            _ => true,
        }
    }

    fn apply(mut state: Plain, what: &Happens) -> Plain {
        state.allowed = true;
        state.happen(what);
        state
    }
}
