//! What the provider's error codes mean for each call.
//!
//! Errors are not signed, only TLS vouches for them. So a code counts only where it is listed for the call;
//! whatever is not listed, and every 5xx, leaves the outcome unknown.
//!
//! Source: the error lists of the calls (WeChat Pay API v3), the official SDKs, and spellings that older
//! pages and integrators report.

use http::StatusCode;

use super::wire::ErrorBody;
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
use Meaning::{Later, Nothing, Refused};

const ALL: &[Call] = &[Open, Find, Close, Refund, FindRefund];
const PAYMENTS: &[Call] = &[Open, Close];

/// Code, status as documented, calls, meaning. The status decides only where absence is claimed.
const TABLE: &[(&str, u16, &[Call], Meaning)] = &[
    // The request or the merchant's account is wrong: it will not get better by itself.
    ("PARAM_ERROR", 400, ALL, Refused),
    ("INVALID_REQUEST", 400, ALL, Refused),
    ("APPID_MCHID_NOT_MATCH", 400, ALL, Refused),
    ("MCH_NOT_EXISTS", 400, ALL, Refused),
    ("SIGN_ERROR", 401, ALL, Refused),
    ("NO_AUTH", 403, ALL, Refused),
    ("NOAUTH", 403, ALL, Refused), // older pages
    ("RULE_LIMIT", 403, ALL, Refused),
    ("TRADE_ERROR", 403, ALL, Refused),
    ("ACCOUNTERROR", 403, ALL, Refused), // older pages
    // The order is further than we thought: the caller asks.
    ("OUT_TRADE_NO_USED", 403, PAYMENTS, Refused),
    ("ORDERPAID", 400, PAYMENTS, Refused), // integrators; the lists say OUT_TRADE_NO_USED
    ("ORDER_PAID", 400, PAYMENTS, Refused), // another spelling of it
    ("ORDER_CLOSED", 400, &[Open], Refused),
    ("ORDER_CLOSED", 400, &[Close], Nothing),
    // Refunds.
    ("NOT_ENOUGH", 403, &[Refund], Later),
    ("NOTENOUGH", 403, &[Refund], Later), // older pages
    ("USER_ACCOUNT_ABNORMAL", 403, &[Refund], Refused),
    ("TRADE_OVERDUE", 403, &[Refund], Refused), // more than a year after the payment
    ("REFUND_FEE_MISMATCH", 400, &[Refund], Refused), // the vendor's FAQ: one number, two amounts
    ("RESOURCE_NOT_EXISTS", 404, &[Refund], Refused),
    ("ORDER_NOT_EXIST", 404, &[Refund], Refused),
    // Absence.
    ("ORDER_NOT_EXIST", 404, &[Find, Close], Nothing),
    ("ORDERNOTEXIST", 404, &[Find, Close], Nothing), // older pages
    ("RESOURCE_NOT_EXISTS", 404, &[FindRefund, Close], Nothing),
    // Too fast. A refund may have been accepted all the same; its number makes it safe to send again.
    ("FREQUENCY_LIMITED", 429, ALL, Later),
    ("RATELIMIT_EXCEEDED", 429, ALL, Later),
];

/// Sorts one error: the code first, the status second, the message never.
pub(super) fn meaning(call: Call, status: StatusCode, code: Option<&str>) -> Meaning {
    let listed = |row: &&(&str, u16, &[Call], Meaning)| Some(row.0) == code && row.2.contains(&call);
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Later;
    }
    match TABLE.iter().find(listed) {
        _ if !status.is_client_error() => Meaning::Unknown,
        Some((_, documented, _, Nothing)) if status.as_u16() != *documented => Meaning::Unknown,
        Some((.., meaning)) => *meaning,
        None => Meaning::Unknown,
    }
}

/// An answer that is not a success. Nobody signed it.
#[derive(Debug)]
pub(super) struct ErrorAnswer {
    pub status: StatusCode,
    pub code: Option<String>,
    pub message: String,
    /// The provider's trace id, for its support.
    pub request_id: Option<String>,
}

impl ErrorAnswer {
    /// Reads what can be read; a body that is no JSON has no code.
    pub(super) fn read(status: StatusCode, body: &[u8], request_id: Option<String>) -> Self {
        let ErrorBody { code, message } =
            serde_json::from_slice(body).unwrap_or(ErrorBody { code: String::new(), message: String::new() });
        let is_code = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        Self { status, code: is_code.then_some(code), message: printable(&message), request_id }
    }

    /// `Ok`: there is nothing there, and that is the answer.
    pub(super) fn nothing_there(self, call: Call) -> Result<(), GatewayError> {
        match meaning(call, self.status, self.code.as_deref()) {
            Nothing => Ok(()),
            Refused => Err(GatewayError::Refused(self.refusal())),
            Later => Err(GatewayError::Later(self.refusal())),
            Meaning::Unknown => Err(self.unknown()),
        }
    }

    /// The error, for calls to which "nothing there" is no answer.
    pub(super) fn sorted(self, call: Call) -> GatewayError {
        let nothing = GatewayError::Unknown(format!("{} says that there is nothing", self.status));
        self.nothing_there(call).err().unwrap_or(nothing)
    }

    fn refusal(self) -> Refusal {
        let code = self.code.unwrap_or_else(|| format!("HTTP_{}", self.status.as_u16()));
        Refusal { code, message: self.message }
    }

    fn unknown(self) -> GatewayError {
        let code = self.code.as_deref().unwrap_or("no code");
        let request = self.request_id.as_deref().unwrap_or("none");
        GatewayError::Unknown(format!("{} {code} (Request-ID {request})", self.status))
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
        use Meaning::Unknown;
        // code, status → open, find, close, refund, find_refund
        let cases: &[(&str, u16, [Meaning; 5])] = &[
            ("PARAM_ERROR", 400, [Refused, Refused, Refused, Refused, Refused]),
            ("INVALID_REQUEST", 400, [Refused, Refused, Refused, Refused, Refused]),
            ("APPID_MCHID_NOT_MATCH", 400, [Refused, Refused, Refused, Refused, Refused]),
            ("MCH_NOT_EXISTS", 400, [Refused, Refused, Refused, Refused, Refused]),
            ("MCH_NOT_EXISTS", 404, [Refused, Refused, Refused, Refused, Refused]),
            ("SIGN_ERROR", 401, [Refused, Refused, Refused, Refused, Refused]),
            ("NO_AUTH", 403, [Refused, Refused, Refused, Refused, Refused]),
            ("NOAUTH", 403, [Refused, Refused, Refused, Refused, Refused]),
            ("RULE_LIMIT", 403, [Refused, Refused, Refused, Refused, Refused]),
            ("TRADE_ERROR", 403, [Refused, Refused, Refused, Refused, Refused]),
            ("OUT_TRADE_NO_USED", 403, [Refused, Unknown, Refused, Unknown, Unknown]),
            ("ORDERPAID", 400, [Refused, Unknown, Refused, Unknown, Unknown]),
            ("ORDER_PAID", 400, [Refused, Unknown, Refused, Unknown, Unknown]),
            ("ORDER_CLOSED", 400, [Refused, Unknown, Nothing, Unknown, Unknown]),
            ("USER_ACCOUNT_ABNORMAL", 403, [Unknown, Unknown, Unknown, Refused, Unknown]),
            ("NOT_ENOUGH", 403, [Unknown, Unknown, Unknown, Later, Unknown]),
            ("NOTENOUGH", 403, [Unknown, Unknown, Unknown, Later, Unknown]),
            ("ORDER_NOT_EXIST", 404, [Unknown, Nothing, Nothing, Refused, Unknown]),
            ("ORDERNOTEXIST", 404, [Unknown, Nothing, Nothing, Unknown, Unknown]),
            ("RESOURCE_NOT_EXISTS", 404, [Unknown, Unknown, Nothing, Refused, Nothing]),
            ("FREQUENCY_LIMITED", 429, [Later, Later, Later, Later, Later]),
            ("RATELIMIT_EXCEEDED", 429, [Later, Later, Later, Later, Later]),
            ("", 429, [Later, Later, Later, Later, Later]),
            // The code goes before the status …
            ("FREQUENCY_LIMITED", 403, [Later, Later, Later, Later, Later]),
            ("NOT_ENOUGH", 400, [Unknown, Unknown, Unknown, Later, Unknown]),
            // … but absence needs both, and a 5xx never says anything definite.
            ("ORDER_NOT_EXIST", 400, [Unknown, Unknown, Unknown, Refused, Unknown]),
            ("", 404, [Unknown; 5]),
            ("PARAM_ERROR", 500, [Unknown; 5]),
            ("ORDER_NOT_EXIST", 503, [Unknown; 5]),
            ("SYSTEM_ERROR", 500, [Unknown; 5]),
            ("BANKERROR", 500, [Unknown; 5]),
            ("SERVICE_UNAVAILABLE", 503, [Unknown; 5]),
            ("", 502, [Unknown; 5]),
            ("PARAM_ERROR", 302, [Unknown; 5]),
            ("SOMETHING_NEW", 400, [Unknown; 5]),
            ("SOMETHING_NEW", 403, [Unknown; 5]),
            ("", 400, [Unknown; 5]),
        ];
        for (code, status, expected) in cases {
            let status = StatusCode::from_u16(*status).unwrap();
            let code = Some(*code).filter(|code| !code.is_empty());
            let got = [Open, Find, Close, Refund, FindRefund].map(|call| meaning(call, status, code));
            assert_eq!(&got, expected, "{code:?} {status}");
        }
    }

    #[test]
    fn what_is_no_error_of_the_provider_has_no_code() {
        for body in ["", "<html>", "{}", r#"{"code":7}"#, r#"{"code":""}"#, r#"{"code":"A B"}"#] {
            let error = ErrorAnswer::read(StatusCode::BAD_REQUEST, body.as_bytes(), None);
            assert_eq!(error.code, None, "{body}");
        }
    }

    #[test]
    fn messages_are_cut_and_cleaned() {
        let body = format!(r#"{{"code":"PARAM_ERROR","message":"a\r\n{}","detail":{{"new":1}}}}"#, "长".repeat(300));
        let error = ErrorAnswer::read(StatusCode::BAD_REQUEST, body.as_bytes(), None);
        assert_eq!(error.code.as_deref(), Some("PARAM_ERROR"));
        assert_eq!(error.message, format!("a{}", "长".repeat(199)));
    }
}
