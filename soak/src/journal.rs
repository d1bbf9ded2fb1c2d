//! What the clients meant, sent and heard: every answer is a promise, and is held against the store later.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A mutation with an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// createOrder
    Create,
    /// repayOrder
    Repay,
    /// cancelOrder
    Cancel,
    /// refundOrder
    Refund,
}

impl Verb {
    /// The field of the mutation.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Create => "createOrder",
            Self::Repay => "repayOrder",
            Self::Cancel => "cancelOrder",
            Self::Refund => "refundOrder",
        }
    }

    /// The document that is sent.
    pub fn document(self) -> String {
        let (field, input) = (self.field(), self.input());
        let more = match self {
            Self::Create | Self::Repay => "payment { id status }",
            Self::Cancel => "",
            Self::Refund => "refund { id status }",
        };
        format!(
            "mutation($key: IdempotencyKey!, $input: {input}!) {{ {field}(idempotencyKey: $key, input: $input) \
             {{ replayed order {{ id status version }} {more} }} }}"
        )
    }

    const fn input(self) -> &'static str {
        match self {
            Self::Create => "CreateOrderInput",
            Self::Repay => "RepayOrderInput",
            Self::Cancel => "CancelOrderInput",
            Self::Refund => "RefundOrderInput",
        }
    }
}

/// Ids that an answer has promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The order.
    pub order: String,
    /// The payment that the operation opened.
    pub payment: Option<String>,
    /// The refund that it asked for.
    pub refund: Option<String>,
}

/// One thing that a client wants, under one key for ever.
#[derive(Clone, Debug)]
pub struct Intent {
    /// Which customer; staff for refunds.
    pub customer: usize,
    /// What is to happen.
    pub verb: Verb,
    /// Key and input.
    pub variables: Value,
    /// How often it was sent.
    pub sent: u32,
    /// What was promised, once something was.
    pub ids: Option<Ids>,
    /// The last refusal by a rule, while nothing was promised.
    pub refused: Option<String>,
}

impl Intent {
    /// Its key.
    pub fn key(&self) -> &str {
        self.variables["key"].as_str().unwrap_or_default()
    }

    /// The client has no final answer.
    pub fn is_open(&self) -> bool {
        self.ids.is_none() && self.refused.is_none()
    }
}

/// What the clients know of an order.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its id.
    pub order: String,
    /// Whose it is.
    pub customer: usize,
    /// The latest status seen.
    pub status: String,
    /// The highest version seen.
    pub version: i64,
    /// The payments that were shown, with the last status seen.
    pub payments: Vec<(String, String)>,
    /// A payer has paid at the cashier.
    pub paid: bool,
}

/// What came back.
#[derive(Clone, Debug)]
pub enum Heard {
    /// The payload.
    Payload(Value),
    /// Come again with the same key: this code.
    Again(String),
    /// A rule says no: this code.
    Refused(String),
    /// No answer.
    Nothing,
}

/// Everything that clients remember, and what they have found wrong.
pub struct Journal {
    book: Mutex<Book>,
    prefix: String,
    keys: AtomicU64,
    /// Requests that were answered.
    pub answered: AtomicU64,
    /// Requests that were told to come again, or heard nothing.
    pub unanswered: AtomicU64,
    /// Of these, all but those told that the first of their kind, or an earlier payment, is still under way.
    errors: AtomicU64,
    /// How long answers took, in milliseconds.
    pub times: Mutex<Vec<f64>>,
}

/// The pages.
#[derive(Default)]
pub struct Book {
    /// In the order in which they were made.
    pub intents: Vec<Intent>,
    /// Orders.
    pub orders: Vec<Known>,
    /// What no client should ever see.
    pub violations: Vec<String>,
    /// `INTERNAL` and other odd answers, which are no violations by themselves.
    pub oddities: Vec<String>,
    /// The store has lost commits.
    pub rewound: bool,
    /// What was promised by repays and cancellations that were lost with them and are refused now.
    pub lost: Vec<Ids>,
}

impl Journal {
    /// An empty one; its keys begin with `prefix`.
    pub fn new(prefix: &str) -> Self {
        Self {
            book: Mutex::default(),
            prefix: prefix.to_owned(),
            keys: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            times: Mutex::default(),
        }
    }

    /// The pages, for a moment.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an intent down, before it is sent for the first time.
    pub fn intend(&self, customer: usize, verb: Verb, input: Value) -> usize {
        let key = format!("{}-{:08}", self.prefix, self.keys.fetch_add(1, Relaxed));
        let variables = json!({"key": key, "input": input});
        let mut book = self.book();
        book.intents.push(Intent { customer, verb, variables, sent: 0, ids: None, refused: None });
        book.intents.len() - 1
    }

    /// Requests that failed, and not because something was still under way.
    pub fn errors(&self) -> usize {
        self.errors.load(Relaxed) as usize
    }

    /// Writes down that something must not be.
    pub fn accuse(&self, what: String) {
        self.book().violations.push(what);
    }

    /// From now on versions may be lower: the store has lost some of what it said. A repay or a cancellation whose
    /// order has since been paid is lost. Everything else gets its ids again.
    pub fn rewound(&self) {
        let mut book = self.book();
        book.rewound = true;
        book.orders.iter_mut().for_each(|known| known.version = 0);
    }

    /// Writes an answer down and holds it against what was promised before.
    pub fn hear(&self, intent: usize, heard: &Heard, since: Instant) {
        let took: Duration = since.elapsed();
        match heard {
            Heard::Payload(_) | Heard::Refused(_) => {
                self.answered.fetch_add(1, Relaxed);
                let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
                times.push(took.as_secs_f64() * 1e3);
            }
            Heard::Again(_) | Heard::Nothing => _ = self.unanswered.fetch_add(1, Relaxed),
        }
        if matches!(heard, Heard::Nothing) || matches!(heard, Heard::Again(c) if !c.ends_with("_IN_PROGRESS")) {
            self.errors.fetch_add(1, Relaxed);
        }
        let mut book = self.book();
        let Book { intents, orders, violations, oddities, rewound, lost } = &mut *book;
        let intent = &mut intents[intent];
        let (verb, key) = (intent.verb, intent.key().to_owned());
        match heard {
            Heard::Nothing => {}
            Heard::Again(code) if code == "INTERNAL" => oddities.push(format!("{verb:?} {key}: INTERNAL")),
            Heard::Again(_) => {}
            Heard::Refused(code) => {
                let lost_by_paying = matches!(verb, Verb::Repay | Verb::Cancel) && code == "ORDER_ALREADY_PAID";
                if *rewound && lost_by_paying {
                    lost.extend(intent.ids.take());
                } else if let Some(ids) = &intent.ids {
                    violations.push(format!("{verb:?} {key} was answered with {ids:?}, and then refused: {code}"));
                } else if !expected(verb).contains(&code.as_str()) {
                    violations.push(format!("{verb:?} {key} was refused for no reason: {code}"));
                }
                intent.refused = Some(code.clone());
            }
            Heard::Payload(payload) => {
                let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
                let ids = Ids {
                    order: text("/order/id").unwrap_or_default(),
                    payment: text("/payment/id"),
                    refund: text("/refund/id"),
                };
                match &intent.ids {
                    // The gateway knows the lost attempt with another content, so it was closed and this operation
                    // has opened another. Had it been charged, it would have to be known here all the same.
                    Some(before) if *rewound && before.order == ids.order && before.refund == ids.refund => {
                        intent.ids = Some(ids.clone());
                    }
                    Some(before) if *before != ids => {
                        violations.push(format!("{verb:?} {key} was answered with {before:?}, and then with {ids:?}"));
                    }
                    _ => intent.ids = Some(ids.clone()),
                }
                intent.refused = None;
                see(orders, intent.customer, payload);
            }
        }
    }
}

/// Remembers what an answer shows of its order.
pub fn see(orders: &mut Vec<Known>, customer: usize, payload: &Value) {
    let order = &payload["order"];
    let Some(id) = order["id"].as_str() else { return };
    let at = orders.iter().position(|k| k.order == id).unwrap_or_else(|| {
        let (status, payments) = (String::new(), Vec::new());
        orders.push(Known { order: id.to_owned(), customer, status, version: 0, payments, paid: false });
        orders.len() - 1
    });
    let known = &mut orders[at];
    let version = order["version"].as_i64().unwrap_or_default();
    if version >= known.version {
        known.version = version;
        known.status = order["status"].as_str().unwrap_or_default().to_owned();
    }
    if let (Some(payment), Some(status)) = (payload["payment"]["id"].as_str(), payload["payment"]["status"].as_str()) {
        match known.payments.iter_mut().find(|(id, _)| id == payment) {
            Some((_, seen)) if seen == "SUCCEEDED" => {}
            Some((_, seen)) => *seen = status.to_owned(),
            None => known.payments.push((payment.to_owned(), status.to_owned())),
        }
    }
}

/// By which rules a mutation of this load may be refused.
fn expected(verb: Verb) -> &'static [&'static str] {
    match verb {
        Verb::Create => &[],
        Verb::Repay | Verb::Cancel => &["ORDER_ALREADY_PAID", "ORDER_CLOSED", "ORDER_EXPIRED"],
        Verb::Refund => &["NOT_REFUNDABLE", "REFUND_EXCEEDS_PAID", "REFUND_LIMIT_REACHED"],
    }
}
