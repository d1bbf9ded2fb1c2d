//! What can be made to go wrong, on request.

mod kind;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

use crate::calls::Call;

pub use kind::FaultKind;
pub(crate) use kind::Gateway;
use kind::{CALLS, KINDS};

/// A fault that waits for its call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    call: Call,
    kind: FaultKind,
    times: u32,
    number: Option<String>,
}

/// A fault that no call can have; says which there are.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}; there are {}", kind::list())]
pub struct UnknownFault {
    reason: String,
}

impl Fault {
    /// A fault for the next such call, whatever its number. Refuses a kind that this call cannot
    /// have: a fault that silently never happens would make a test pass for nothing. A kind that only
    /// one gateway can have waits for a call of that gateway.
    pub fn new(call: Call, kind: FaultKind) -> Result<Self, UnknownFault> {
        if !kind.happens(call) {
            let reason = format!("{kind:?} cannot happen to {call:?}");
            return Err(UnknownFault { reason });
        }
        Ok(Self { call, kind, times: 1, number: None })
    }

    /// For so many calls instead of one.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Only for calls about this number: the payment's, for refunds the refund's.
    #[must_use]
    pub fn number(mut self, number: impl Into<String>) -> Self {
        self.number = Some(number.into());
        self
    }

    /// Reads `{"call","fault","times":1,"number":null,"ms"}`.
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, UnknownFault> {
        let unknown = |reason: String| UnknownFault { reason };
        let asked: AskedFault = serde_json::from_slice(json).map_err(|error| unknown(error.to_string()))?;
        let named = KINDS.iter().find(|(name, _)| *name == asked.fault);
        let (name, kind) = named.ok_or_else(|| unknown(format!("no fault is called {:?}", asked.fault)))?;
        let kind = match (kind.ms(), asked.ms) {
            (Some(_), Some(ms)) => kind.with_ms(ms),
            (None, None) => *kind,
            (Some(_), None) => return Err(unknown(format!("{name} needs \"ms\""))),
            (None, Some(_)) => return Err(unknown(format!("{name} has no \"ms\""))),
        };
        let mut fault = Self::new(asked.call, kind)?.times(asked.times);
        fault.number = asked.number;
        Ok(fault)
    }

    /// As [`Fault::from_json`] reads it.
    pub(crate) fn to_json(&self) -> Value {
        let call = CALLS.iter().find(|(_, call)| *call == self.call).map(|(name, _)| *name);
        let mut json = json!({"call": call, "fault": self.kind.name(), "times": self.times, "number": self.number});
        if let Some(ms) = self.kind.ms() {
            json["ms"] = json!(ms);
        }
        json
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedFault {
    call: Call,
    fault: String,
    #[serde(default = "once")]
    times: u32,
    number: Option<String>,
    ms: Option<u64>,
}

fn once() -> u32 {
    1
}

/// The faults that still wait, and what they keep from being found.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    waiting: Mutex<Vec<Fault>>,
    hidden: Mutex<BTreeMap<String, DateTime<Utc>>>,
}

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        lock(&self.waiting).push(fault);
    }

    /// Forgets what has not happened, and hides nothing any more.
    pub(crate) fn clear(&self) {
        lock(&self.waiting).clear();
        lock(&self.hidden).clear();
    }

    /// What has not happened yet.
    pub(crate) fn waiting(&self) -> Vec<Fault> {
        lock(&self.waiting).iter().filter(|fault| fault.times > 0).cloned().collect()
    }

    /// Takes the oldest fault that fits, one time of it.
    pub(crate) fn take(&self, gateway: Gateway, call: Call, number: Option<&str>) -> Option<FaultKind> {
        self.take_if(gateway, call, number, |_| true)
    }

    /// The same, but only if it is of this kind.
    pub(crate) fn take_one(&self, kind: FaultKind, gateway: Gateway, call: Call, number: &str) -> bool {
        self.take_if(gateway, call, Some(number), |next| next == kind).is_some()
    }

    fn take_if(
        &self,
        gateway: Gateway,
        call: Call,
        number: Option<&str>,
        wanted: impl Fn(FaultKind) -> bool,
    ) -> Option<FaultKind> {
        let mut waiting = lock(&self.waiting);
        waiting.retain(|fault| fault.times > 0);
        let mut fitting = waiting.iter_mut().filter(|fault| {
            let is_meant = fault.number.is_none() || fault.number.as_deref() == number;
            is_meant && fault.call == call && fault.kind.happens_at(gateway, call)
        });
        let fault = fitting.next().filter(|fault| wanted(fault.kind))?;
        fault.times -= 1;
        Some(fault.kind)
    }

    /// What has this number is not found until then.
    pub(crate) fn hide(&self, number: &str, until: DateTime<Utc>) {
        lock(&self.hidden).insert(number.to_owned(), until);
    }

    /// Whether such a call finds nothing, for what it asks for is hidden.
    pub(crate) fn hides(&self, call: Call, number: Option<&str>, now: DateTime<Utc>) -> bool {
        let looks = matches!(call, Call::Find | Call::Close | Call::FindRefund);
        looks && number.and_then(|number| lock(&self.hidden).get(number).copied()).is_some_and(|until| now < until)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use FaultKind as F;
    use Gateway::{Alipay, WechatPay};

    #[test]
    fn a_fault_happens_as_often_as_asked_and_only_to_its_number() {
        let faults = Faults::default();
        let fault = br#"{"call":"open","fault":"lose_answer","times":2,"number":"A"}"#;
        faults.add(Fault::from_json(fault).expect("known"));

        assert_eq!(faults.take(WechatPay, Call::Open, Some("B")), None);
        assert_eq!(faults.take(WechatPay, Call::Find, Some("A")), None);
        assert_eq!(faults.take(WechatPay, Call::Open, Some("A")), Some(F::LoseAnswer));
        let left = json!({"call": "open", "fault": "lose_answer", "times": 1, "number": "A"});
        assert_eq!(faults.waiting()[0].to_json(), left);
        assert_eq!(faults.take(Alipay, Call::Open, Some("A")), Some(F::LoseAnswer));
        assert_eq!(faults.take(WechatPay, Call::Open, Some("A")), None);
        assert_eq!(faults.waiting(), []);
    }

    #[test]
    fn a_fault_of_one_gateway_waits_for_it() {
        let faults = Faults::default();
        faults.add(Fault::from_json(br#"{"call":"find","fault":"user_paying"}"#).expect("known"));
        faults.add(Fault::from_json(br#"{"call":"find","fault":"delay_ms","ms":5}"#).expect("known"));
        assert!(!faults.take_one(F::UserPaying, Alipay, Call::Find, "A"));
        assert_eq!(faults.take(Alipay, Call::Find, None), Some(F::DelayMs(5)));
        assert_eq!(faults.take(WechatPay, Call::Find, None), Some(F::UserPaying));
    }

    #[test]
    fn what_cannot_happen_is_refused_with_the_list() {
        for wrong in [
            r#"{"call":"open","fault":"nonsense"}"#,
            r#"{"call":"nobody","fault":"lose_answer"}"#,
            r#"{"call":"open","fault":"not_enough"}"#,
            r#"{"call":"find","fault":"error_502_after"}"#,
            r#"{"call":"pay","fault":"unsigned"}"#,
            r#"{"call":"open","fault":"delay_ms"}"#,
            r#"{"call":"open","fault":"empty","ms":5}"#,
            r#"{"call":"open","fault":"lose_answer","often":2}"#,
            "",
        ] {
            let refused = Fault::from_json(wrong.as_bytes()).expect_err(wrong);
            assert!(refused.to_string().contains("notify: delay_ms"), "{refused}");
        }
        assert!(Fault::new(Call::Open, F::HttpError(200)).is_err());
    }
}
