//! What can be made to go wrong, on request.

use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use thiserror::Error;

use crate::calls::Call;

/// One way in which a call goes wrong, in WeChat Pay's words. Alipay answers 200 whatever happens, so
/// what is said of it is the code in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The effect happens, the connection ends without an answer.
    LoseAnswer,
    /// The connection ends without an effect and without an answer.
    LoseRequest,
    /// 500 `SYSTEM_ERROR`, nothing happened. Alipay: 20000 `aop.ACQ.SYSTEM_ERROR`.
    Error500,
    /// 500 `SYSTEM_ERROR`, and yet it happened. Alipay: 20000 `aop.ACQ.SYSTEM_ERROR`.
    Error500After,
    /// 429, nothing happened. Alipay: 40005 `isv.app-call-limited`.
    RateLimited,
    /// The answer comes this much later, the effect does not. It is real time, because what it
    /// tries is the timeout of a socket. A notification waits by the clock instead.
    DelayMs(u64),
    /// A good answer, or notification, without a signature.
    Unsigned,
    /// A good answer, or notification, with the signature of another one.
    WronglySigned,
    /// A well signed answer about another order.
    OtherAnswer,
    /// 403 `NOT_ENOUGH`: the merchant's balance does not cover the refund. Alipay: 40004
    /// `ACQ.SELLER_BALANCE_NOT_ENOUGH`.
    NotEnough,
    /// A probe whose signature is wrong on purpose and says so (`WECHATPAY/SIGNTEST/`). In the
    /// place of a notification: the real one follows at the next time of its schedule. Alipay, which
    /// marks no probes, signs wrongly.
    Signtest,
    /// A notification is lost on its way.
    Drop,
    /// A notification arrives twice.
    Duplicate,
    /// A refund is accepted and later ends `CLOSED`: nothing moved. Alipay: `fund_change` is `N`,
    /// and no query finds the refund.
    RefundClosed,
    /// A refund is accepted and later ends `ABNORMAL`: the bank refused it. Alipay: 40004
    /// `ACQ.TRADE_NOT_ALLOW_REFUND`.
    RefundAbnormal,
    /// The payer pays just before the close is looked at.
    PayDuringClose,
}

use FaultKind as F;

const KINDS: [(&str, FaultKind); 16] = [
    ("lose_answer", F::LoseAnswer),
    ("lose_request", F::LoseRequest),
    ("error_500", F::Error500),
    ("error_500_after", F::Error500After),
    ("rate_limited", F::RateLimited),
    ("delay_ms", F::DelayMs(0)),
    ("unsigned", F::Unsigned),
    ("wrongly_signed", F::WronglySigned),
    ("other_answer", F::OtherAnswer),
    ("not_enough", F::NotEnough),
    ("signtest", F::Signtest),
    ("drop", F::Drop),
    ("duplicate", F::Duplicate),
    ("refund_closed", F::RefundClosed),
    ("refund_abnormal", F::RefundAbnormal),
    ("pay_during_close", F::PayDuringClose),
];

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
#[error("{reason}; there are {}", applicable_list())]
pub struct UnknownFault {
    reason: String,
}

impl Fault {
    /// A fault for the next such call, whatever its number. Refuses a kind that this call cannot
    /// have: a fault that silently never happens would make a test pass for nothing.
    pub fn new(call: Call, kind: FaultKind) -> Result<Self, UnknownFault> {
        if !applies(kind, call) {
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
        let asked: AskedFault =
            serde_json::from_slice(json).map_err(|error| UnknownFault { reason: error.to_string() })?;
        let named = KINDS.iter().find(|(name, _)| *name == asked.fault);
        let kind = match (named.map(|(_, kind)| *kind), asked.ms) {
            (Some(F::DelayMs(_)), Some(ms)) => F::DelayMs(ms),
            (Some(F::DelayMs(_)), None) => {
                let reason = "delay_ms needs \"ms\"".to_owned();
                return Err(UnknownFault { reason });
            }
            (Some(kind), _) => kind,
            (None, _) => {
                let reason = format!("no fault is called {:?}", asked.fault);
                return Err(UnknownFault { reason });
            }
        };
        let mut fault = Self::new(asked.call, kind)?.times(asked.times);
        fault.number = asked.number;
        Ok(fault)
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

fn applies(kind: FaultKind, call: Call) -> bool {
    match kind {
        F::DelayMs(_) | F::Unsigned | F::WronglySigned | F::Signtest => true,
        F::LoseAnswer | F::LoseRequest | F::Error500 | F::Error500After | F::RateLimited => call != Call::Notify,
        // Only what is about one order can be about another.
        F::OtherAnswer => matches!(call, Call::Open | Call::Find | Call::Refund | Call::FindRefund),
        F::NotEnough | F::RefundClosed | F::RefundAbnormal => call == Call::Refund,
        F::PayDuringClose => call == Call::Close,
        F::Drop | F::Duplicate => call == Call::Notify,
    }
}

fn applicable_list() -> String {
    let calls = [
        ("open", Call::Open),
        ("find", Call::Find),
        ("close", Call::Close),
        ("refund", Call::Refund),
        ("find_refund", Call::FindRefund),
        ("certificates", Call::Certificates),
        ("bill", Call::Bill),
        ("notify", Call::Notify),
    ];
    let lines = calls.map(|(name, call)| {
        let kinds: Vec<_> = KINDS.iter().filter(|(_, kind)| applies(*kind, call)).collect();
        let kinds: Vec<_> = kinds.iter().map(|(name, _)| *name).collect();
        format!("{name}: {}", kinds.join(" "))
    });
    lines.join("; ")
}

/// The faults that still wait.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Takes the oldest fault that fits, one time of it.
    pub(crate) fn take(&self, call: Call, number: Option<&str>) -> Option<FaultKind> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|fault| fault.times > 0);
        let fault = waiting
            .iter_mut()
            .find(|fault| fault.call == call && (fault.number.is_none() || fault.number.as_deref() == number))?;
        fault.times -= 1;
        Some(fault.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_happens_as_often_as_asked_and_only_to_its_number() {
        let faults = Faults::default();
        let fault = br#"{"call":"open","fault":"lose_answer","times":2,"number":"A"}"#;
        faults.add(Fault::from_json(fault).expect("known"));

        assert_eq!(faults.take(Call::Open, Some("B")), None);
        assert_eq!(faults.take(Call::Find, Some("A")), None);
        assert_eq!(faults.take(Call::Open, Some("A")), Some(F::LoseAnswer));
        assert_eq!(faults.take(Call::Open, Some("A")), Some(F::LoseAnswer));
        assert_eq!(faults.take(Call::Open, Some("A")), None);
    }

    #[test]
    fn what_cannot_happen_is_refused_with_the_list() {
        for wrong in [
            r#"{"call":"open","fault":"nonsense"}"#,
            r#"{"call":"nobody","fault":"lose_answer"}"#,
            r#"{"call":"open","fault":"not_enough"}"#,
            r#"{"call":"open","fault":"delay_ms"}"#,
            r#"{"call":"open","fault":"lose_answer","often":2}"#,
            "",
        ] {
            let refused = Fault::from_json(wrong.as_bytes()).expect_err(wrong);
            assert!(refused.to_string().contains("notify: delay_ms"), "{refused}");
        }
    }

    #[test]
    fn every_kind_has_a_call_to_happen_to() {
        let calls = [Call::Open, Call::Find, Call::Close, Call::Refund, Call::FindRefund, Call::Notify];
        for (name, kind) in KINDS {
            assert!(calls.iter().any(|call| applies(kind, *call)), "{name}");
        }
    }
}
