//! What the provider's result codes mean for each call.
//!
//! An error is signed like everything else, but for those that come before the gateway knows which key to
//! sign with. Of the unsigned only these are believed, and never that something is absent.
//!
//! Source: the public result codes and the error lists of the calls (Alipay's open platform), and spellings
//! that integrators report: `ACQ.SYSTEM_ERROR` also comes as `aop.ACQ.SYSTEM_ERROR`, so ends are compared.

use super::wire::Head;
use crate::payments::ports::{GatewayError, Refusal};

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Open,
    Find,
    Close,
    Refund,
    FindRefund,
}

impl Call {
    /// The provider's name for it, where it takes a call at all.
    pub(super) const fn method(self) -> &'static str {
        match self {
            Open => "alipay.trade.precreate",
            Find => "alipay.trade.query",
            Close => "alipay.trade.close",
            Refund => "alipay.trade.refund",
            FindRefund => "alipay.trade.fastpay.refund.query",
        }
    }

    /// It changes nothing and may be asked again at once.
    pub(super) const fn is_question(self) -> bool {
        matches!(self, Find | FindRefund)
    }
}

/// What an error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A definite no.
    Refused,
    /// A definite not yet: the same number again.
    Later,
    /// A fact: there is nothing there; for a close: nothing left to close.
    Nothing,
    /// It may or may not have happened.
    Unknown,
}

use Call::{Close, Find, FindRefund, Open, Refund};
use Meaning::{Later, Nothing, Refused, Unknown};

/// The code of success.
pub(super) const SUCCESS: &str = "10000";
const ALL: &[Call] = &[Open, Find, Close, Refund, FindRefund];
/// In place of a code or the end of a sub-code.
const ANY: &str = "";

/// Code, end of the sub-code, calls, meaning: the first row that fits. What fits none is unknown.
const TABLE: &[(&str, &str, &[Call], Meaning)] = &[
    // It may have happened.
    ("20000", ANY, ALL, Unknown),
    (ANY, "SYSTEM_ERROR", ALL, Unknown), // also AQC., aop.ACQ.
    (ANY, "unknow-error", ALL, Unknown), // isp., aop.: spelled so
    (ANY, "unknown-error", ALL, Unknown),
    // One number, two amounts: the earlier refund may have succeeded.
    (ANY, "ACQ.DISCORDANT_REPEAT_REQUEST", ALL, Unknown),
    // Not executed.
    ("40005", ANY, ALL, Later),
    (ANY, "RATE_LIMIT", ALL, Later),
    ("40004", "ACQ.SELLER_BALANCE_NOT_ENOUGH", &[Refund], Later),
    ("40004", "ACQ.REFUND_CHARGE_ERROR", &[Refund], Later),
    // Absence. A precreated code that nobody scanned, and a page that nobody opened, are no trade yet.
    ("40004", "ACQ.TRADE_NOT_EXIST", &[Find, Close, FindRefund], Nothing),
    // The request, the account or the state of the trade: it will not get better by itself. Of an open:
    // TRADE_HAS_SUCCESS, TRADE_HAS_CLOSE, CONTEXT_INCONSISTENT say that the payment is further than we thought.
    ("20001", ANY, ALL, Refused),
    ("40001", ANY, ALL, Refused),
    ("40002", ANY, ALL, Refused),
    ("40003", ANY, ALL, Refused),
    ("40004", ANY, ALL, Refused),
    ("40006", ANY, ALL, Refused),
];

/// Codes of a request that was turned away before anybody looked at what it asks for.
const UNSIGNED: [&str; 3] = ["40001", "40002", "40003"];

/// Sorts one error: by its codes, never by its sentences.
pub(super) fn meaning(call: Call, code: &str, sub_code: &str, signed: bool) -> Meaning {
    let believed = signed || (UNSIGNED.contains(&code) && sub_code.starts_with("isv."));
    if !believed {
        return Unknown;
    }
    let fits = |row: &&(&str, &str, &[Call], Meaning)| {
        (row.0 == ANY || row.0 == code) && sub_code.ends_with(row.1) && row.2.contains(&call)
    };
    TABLE.iter().find(fits).map_or(Unknown, |row| row.3)
}

/// An answer that is not a success.
#[derive(Debug)]
pub(super) struct ErrorAnswer {
    pub code: String,
    pub sub_code: String,
    pub message: String,
    pub signed: bool,
}

impl ErrorAnswer {
    /// Takes the codes over where they are codes; the sentence is cut and cleaned.
    pub(super) fn read(head: Head, signed: bool) -> Self {
        let Head { code, msg, sub_code, sub_msg } = head;
        let is_code = |text: &str| text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic());
        let sub_code = sub_code.filter(|code| is_code(code)).unwrap_or_default();
        // This one quotes the whole request.
        let sentence = sub_msg.filter(|_| sub_code != "isv.invalid-signature").unwrap_or(msg);
        let code = if is_code(&code) { code } else { String::new() };
        Self { code, sub_code, message: printable(&sentence), signed }
    }

    pub(super) fn meaning(&self, call: Call) -> Meaning {
        meaning(call, &self.code, &self.sub_code, self.signed)
    }

    /// `Ok`: there is nothing there, and that is the answer.
    pub(super) fn nothing_there(self, call: Call) -> Result<(), GatewayError> {
        match self.meaning(call) {
            Nothing => Ok(()),
            Refused => Err(GatewayError::Refused(self.refusal())),
            Later => Err(GatewayError::Later(self.refusal())),
            Unknown => Err(self.unknown()),
        }
    }

    /// The error, for calls to which "nothing there" is no answer.
    pub(super) fn sorted(self, call: Call) -> GatewayError {
        let nothing = GatewayError::Unknown("the gateway says that there is nothing".to_owned());
        self.nothing_there(call).err().unwrap_or(nothing)
    }

    fn refusal(self) -> Refusal {
        let code = if self.sub_code.is_empty() { self.code } else { self.sub_code };
        Refusal { code, message: self.message }
    }

    fn unknown(self) -> GatewayError {
        let signed = if self.signed { "" } else { ", unsigned" };
        GatewayError::Unknown(format!("{} {}{signed}", self.code, self.sub_code))
    }
}

/// The provider's sentence, cut short and without control characters.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_sorted_by_what_may_be_done_next() {
        // code, sub-code → open, find, close, refund, find_refund
        let cases: &[(&str, &str, [Meaning; 5])] = &[
            ("20000", "isp.unknow-error", [Unknown; 5]),
            ("20000", "aop.unknow-error", [Unknown; 5]),
            ("20000", "aop.ACQ.SYSTEM_ERROR", [Unknown; 5]),
            ("20000", "", [Unknown; 5]),
            ("20000", "ACQ.TRADE_NOT_EXIST", [Unknown; 5]),
            ("40004", "ACQ.SYSTEM_ERROR", [Unknown; 5]),
            ("40004", "AQC.SYSTEM_ERROR", [Unknown; 5]),
            ("40004", "aop.ACQ.SYSTEM_ERROR", [Unknown; 5]),
            ("40004", "isp.unknow-error", [Unknown; 5]),
            ("40004", "ACQ.DISCORDANT_REPEAT_REQUEST", [Unknown; 5]),
            ("40005", "isv.app-call-limited", [Later; 5]),
            ("40005", "isv.method-call-limited", [Later; 5]),
            ("40004", "SYSTEM_RATE_LIMIT", [Later; 5]),
            ("40004", "ACQ.SELLER_BALANCE_NOT_ENOUGH", [Refused, Refused, Refused, Later, Refused]),
            ("40004", "ACQ.REFUND_CHARGE_ERROR", [Refused, Refused, Refused, Later, Refused]),
            ("40004", "ACQ.TRADE_NOT_EXIST", [Refused, Nothing, Nothing, Refused, Nothing]),
            ("40004", "aop.ACQ.TRADE_NOT_EXIST", [Refused, Nothing, Nothing, Refused, Nothing]),
            ("40002", "ACQ.TRADE_NOT_EXIST", [Refused; 5]),
            ("40004", "TRADE_NOT_EXIST", [Refused; 5]),
            ("40004", "ACQ.TRADE_HAS_SUCCESS", [Refused; 5]),
            ("40004", "ACQ.TRADE_HAS_CLOSE", [Refused; 5]),
            ("40004", "ACQ.CONTEXT_INCONSISTENT", [Refused; 5]),
            ("40004", "ACQ.TRADE_STATUS_ERROR", [Refused; 5]),
            ("40004", "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", [Refused; 5]),
            ("40004", "ACQ.SOMETHING_NEW", [Refused; 5]),
            ("20001", "aop.invalid-app-auth-token", [Refused; 5]),
            ("40001", "isv.missing-method", [Refused; 5]),
            ("40002", "isv.invalid-signature", [Refused; 5]),
            ("40003", "isv.missing-signature-config", [Refused; 5]),
            ("40006", "isv.insufficient-isv-permissions", [Refused; 5]),
            ("10003", "", [Unknown; 5]),
            ("50000", "ACQ.TRADE_NOT_EXIST", [Unknown; 5]),
            ("", "", [Unknown; 5]),
        ];
        let calls = [Open, Find, Close, Refund, FindRefund];
        for (code, sub_code, expected) in cases {
            let got = calls.map(|call| meaning(call, code, sub_code, true));
            assert_eq!(&got, expected, "{code} {sub_code}");
            let believed = ["isv.missing-method", "isv.invalid-signature", "isv.missing-signature-config"];
            let expected = if believed.contains(sub_code) { Refused } else { Unknown };
            assert_eq!(calls.map(|call| meaning(call, code, sub_code, false)), [expected; 5], "{code} {sub_code}");
        }
        assert_eq!(meaning(Open, "40002", "isv.invalid-app-id", false), Refused);
    }

    #[test]
    fn sentences_are_cut_and_cleaned_and_quote_no_request() {
        let head = |sub_code: &str, sub_msg: String| Head {
            code: "40004".to_owned(),
            msg: "Business Failed".to_owned(),
            sub_code: Some(sub_code.to_owned()),
            sub_msg: Some(sub_msg),
        };
        let error = ErrorAnswer::read(head("ACQ.X", format!("a\r\n{}", "长".repeat(300))), true);
        assert_eq!(error.message, format!("a{}", "长".repeat(199)));
        let error = ErrorAnswer::read(head("isv.invalid-signature", "app_id=1&biz_content={}".to_owned()), true);
        assert_eq!(error.message, "Business Failed");
        assert_eq!(ErrorAnswer::read(head("A B", String::new()), true).sub_code, "");
    }
}
