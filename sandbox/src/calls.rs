//! What was asked of the gateways, kept so that tests can count it.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Older calls than this many are forgotten.
const KEPT: usize = 10_000;

/// What a merchant may ask of a gateway, what a gateway tells a merchant, and what a payer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Opens a payment.
    Open,
    /// Asks what became of a payment.
    Find,
    /// Closes a payment.
    Close,
    /// Asks for a refund.
    Refund,
    /// Asks what became of a refund.
    FindRefund,
    /// Asks for the gateway's certificates.
    Certificates,
    /// Asks for the bill of a day, or downloads it.
    Bill,
    /// The gateway's notification to the merchant; never in the list of calls received.
    Notify,
    /// The payer pays, at the cashier; never in the list of calls received.
    Pay,
}

/// One call that arrived, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReceivedCall {
    /// What was asked.
    pub call: Call,
    /// The payment's number, for refunds the refund's; `None` if the request named none.
    pub number: Option<String>,
    /// When it arrived.
    pub at: DateTime<Utc>,
    /// The HTTP status answered; `None` while unanswered, and for good if no answer was sent.
    pub status: Option<u16>,
}

/// The last calls, in the order of their arrival.
#[derive(Debug, Default)]
pub(crate) struct CallLog(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    forgotten: usize,
    calls: VecDeque<ReceivedCall>,
}

/// Names one entry of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallId(usize);

impl CallLog {
    pub(crate) fn received(&self, call: Call, number: Option<String>, at: DateTime<Utc>) -> CallId {
        let mut recent = self.lock();
        if recent.calls.len() == KEPT {
            recent.calls.pop_front();
            recent.forgotten += 1;
        }
        recent.calls.push_back(ReceivedCall { call, number, at, status: None });
        CallId(recent.forgotten + recent.calls.len() - 1)
    }

    pub(crate) fn answered(&self, CallId(id): CallId, status: u16) {
        let mut recent = self.lock();
        let index = id.checked_sub(recent.forgotten);
        if let Some(call) = index.and_then(|index| recent.calls.get_mut(index)) {
            call.status = Some(status);
        }
    }

    pub(crate) fn all(&self) -> Vec<ReceivedCall> {
        self.lock().calls.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_calls_are_kept_and_an_answer_finds_its_call() {
        let (log, at) = (CallLog::default(), DateTime::UNIX_EPOCH);
        let first = log.received(Call::Open, Some("first".into()), at);
        for _ in 1..KEPT {
            log.received(Call::Find, None, at);
        }
        let last = log.received(Call::Close, Some("last".into()), at);
        log.answered(first, 200);
        log.answered(last, 204);

        let calls = log.all();
        assert_eq!(calls.len(), KEPT);
        assert!(calls.iter().all(|call| call.status != Some(200)));
        assert_eq!(calls[KEPT - 1].number.as_deref(), Some("last"));
        assert_eq!(calls[KEPT - 1].status, Some(204));
    }
}
