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
    /// Asking for a bill.
    Bill,
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

use Call::{Bill, Close, Find, FindRefund, Open, Refund};
use Meaning::{Later, Nothing, Refused, Unknown};

const ALL: &[Call] = &[Open, Find, Close, Refund, FindRefund, Bill];
const PAYMENTS: &[Call] = &[Open, Close];

/// One code, and what it means for some calls.
struct Row {
    code: &'static str,
    /// As documented. It decides only where absence is claimed.
    status: u16,
    calls: &'static [Call],
    meaning: Meaning,
    /// Who says so.
    #[cfg_attr(not(test), expect(dead_code, reason = "for who reads the table; a test asks that it is said"))]
    source: &'static str,
}

const fn row(code: &'static str, status: u16, calls: &'static [Call], meaning: Meaning, source: &'static str) -> Row {
    Row { code, status, calls, meaning, source }
}

/// The error lists of the calls.
const LISTS: &str = "the vendor's lists";
const OLDER: &str = "older pages of the vendor's";
const SEEN: &str = "integrators have seen it";

/// Every code that we know. What stands here as unknown is known to say nothing; what does not stand here is
/// unknown, too.
const TABLE: &[Row] = &[
    // The request or the merchant's account is wrong: it will not get better by itself.
    row("PARAM_ERROR", 400, ALL, Refused, LISTS),
    row("INVALID_REQUEST", 400, ALL, Refused, LISTS),
    row("APPID_MCHID_NOT_MATCH", 400, ALL, Refused, LISTS),
    row("MCH_NOT_EXISTS", 400, ALL, Refused, LISTS), // 404 on refunds
    row("SIGN_ERROR", 401, ALL, Refused, LISTS),
    row("NO_AUTH", 403, ALL, Refused, LISTS),
    row("NOAUTH", 403, ALL, Refused, OLDER),
    row("RULE_LIMIT", 403, ALL, Refused, LISTS),
    row("TRADE_ERROR", 403, ALL, Refused, LISTS),
    row("ACCOUNTERROR", 403, ALL, Refused, OLDER),
    // The order is further than we thought: the caller asks.
    row("OUT_TRADE_NO_USED", 403, PAYMENTS, Refused, LISTS),
    row("ORDERPAID", 400, PAYMENTS, Refused, SEEN), // where the lists say OUT_TRADE_NO_USED
    row("ORDER_PAID", 400, PAYMENTS, Refused, SEEN),
    row("ORDER_CLOSED", 400, &[Open], Refused, LISTS),
    row("ORDER_CLOSED", 400, &[Close], Nothing, LISTS),
    // Refunds.
    row("NOT_ENOUGH", 403, &[Refund], Later, LISTS),
    row("NOTENOUGH", 403, &[Refund], Later, OLDER),
    row("USER_ACCOUNT_ABNORMAL", 403, &[Refund], Refused, LISTS),
    row("TRADE_OVERDUE", 403, &[Refund], Refused, LISTS), // more than a year after the payment
    row("REFUND_FEE_MISMATCH", 400, &[Refund], Refused, "the vendor's FAQ"), // one number, two amounts
    row("RESOURCE_NOT_EXISTS", 404, &[Refund], Refused, LISTS),
    row("ORDER_NOT_EXIST", 404, &[Refund], Refused, LISTS),
    // Absence.
    row("ORDER_NOT_EXIST", 404, &[Find, Close], Nothing, LISTS),
    row("ORDERNOTEXIST", 404, &[Find, Close], Nothing, OLDER),
    row("RESOURCE_NOT_EXISTS", 404, &[FindRefund, Close], Nothing, LISTS),
    row("NO_STATEMENT_EXIST", 400, &[Bill], Nothing, LISTS), // no trades that day
    row("STATEMENT_CREATING", 400, &[Bill], Later, LISTS),
    // Too fast. A refund may have been accepted all the same.
    row("FREQUENCY_LIMITED", 429, &[Refund], Unknown, LISTS),
    row("RATELIMIT_EXCEEDED", 429, &[Refund], Unknown, LISTS),
    row("FREQUENCY_LIMITED", 429, ALL, Later, LISTS),
    row("RATELIMIT_EXCEEDED", 429, ALL, Later, LISTS),
    // It may have happened.
    row("SYSTEM_ERROR", 500, ALL, Unknown, LISTS),
    row("SERVICE_UNAVAILABLE", 503, ALL, Unknown, LISTS),
    row("BANKERROR", 500, ALL, Unknown, OLDER),
    row("OPENID_MISMATCH", 500, ALL, Unknown, OLDER),
    row("INVALID_TRANSACTIONID", 500, ALL, Unknown, OLDER),
    row("USERPAYING", 202, ALL, Unknown, OLDER),
];

/// Sorts one error: the code first, the status second, the message never.
pub(super) fn meaning(call: Call, status: StatusCode, code: Option<&str>) -> Meaning {
    let listed = |row: &&Row| Some(row.code) == code && row.calls.contains(&call);
    if status == StatusCode::TOO_MANY_REQUESTS {
        return if call == Refund { Unknown } else { Later };
    }
    match TABLE.iter().find(listed) {
        _ if !status.is_client_error() => Unknown,
        Some(row) if row.meaning == Nothing && status.as_u16() != row.status => Unknown,
        Some(row) => row.meaning,
        None => Unknown,
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
            Unknown => Err(self.unknown()),
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
        // code, status → open, find, close, refund, find_refund, bill
        let cases: &[(&str, u16, [Meaning; 6])] = &[
            ("PARAM_ERROR", 400, [Refused, Refused, Refused, Refused, Refused, Refused]),
            ("INVALID_REQUEST", 400, [Refused, Refused, Refused, Refused, Refused, Refused]),
            ("APPID_MCHID_NOT_MATCH", 400, [Refused, Refused, Refused, Refused, Refused, Refused]),
            ("MCH_NOT_EXISTS", 400, [Refused, Refused, Refused, Refused, Refused, Refused]),
            ("MCH_NOT_EXISTS", 404, [Refused, Refused, Refused, Refused, Refused, Refused]),
            ("SIGN_ERROR", 401, [Refused, Refused, Refused, Refused, Refused, Refused]),
            ("NO_AUTH", 403, [Refused, Refused, Refused, Refused, Refused, Refused]),
            ("NOAUTH", 403, [Refused, Refused, Refused, Refused, Refused, Refused]),
            ("RULE_LIMIT", 403, [Refused, Refused, Refused, Refused, Refused, Refused]),
            ("TRADE_ERROR", 403, [Refused, Refused, Refused, Refused, Refused, Refused]),
            ("OUT_TRADE_NO_USED", 403, [Refused, Unknown, Refused, Unknown, Unknown, Unknown]),
            ("ORDERPAID", 400, [Refused, Unknown, Refused, Unknown, Unknown, Unknown]),
            ("ORDER_PAID", 400, [Refused, Unknown, Refused, Unknown, Unknown, Unknown]),
            ("ORDER_CLOSED", 400, [Refused, Unknown, Nothing, Unknown, Unknown, Unknown]),
            ("USER_ACCOUNT_ABNORMAL", 403, [Unknown, Unknown, Unknown, Refused, Unknown, Unknown]),
            ("NOT_ENOUGH", 403, [Unknown, Unknown, Unknown, Later, Unknown, Unknown]),
            ("NOTENOUGH", 403, [Unknown, Unknown, Unknown, Later, Unknown, Unknown]),
            ("ORDER_NOT_EXIST", 404, [Unknown, Nothing, Nothing, Refused, Unknown, Unknown]),
            ("ORDERNOTEXIST", 404, [Unknown, Nothing, Nothing, Unknown, Unknown, Unknown]),
            ("RESOURCE_NOT_EXISTS", 404, [Unknown, Unknown, Nothing, Refused, Nothing, Unknown]),
            ("FREQUENCY_LIMITED", 429, [Later, Later, Later, Unknown, Later, Later]),
            ("RATELIMIT_EXCEEDED", 429, [Later, Later, Later, Unknown, Later, Later]),
            ("", 429, [Later, Later, Later, Unknown, Later, Later]),
            // The code goes before the status …
            ("FREQUENCY_LIMITED", 403, [Later, Later, Later, Unknown, Later, Later]),
            ("NOT_ENOUGH", 400, [Unknown, Unknown, Unknown, Later, Unknown, Unknown]),
            // … but absence needs both, and a 5xx never says anything definite.
            ("ORDER_NOT_EXIST", 400, [Unknown, Unknown, Unknown, Refused, Unknown, Unknown]),
            ("", 404, [Unknown; 6]),
            ("PARAM_ERROR", 500, [Unknown; 6]),
            ("ORDER_NOT_EXIST", 503, [Unknown; 6]),
            ("SYSTEM_ERROR", 500, [Unknown; 6]),
            ("BANKERROR", 500, [Unknown; 6]),
            ("SERVICE_UNAVAILABLE", 503, [Unknown; 6]),
            ("SERVICE_UNAVAILABLE", 502, [Unknown; 6]),
            ("OPENID_MISMATCH", 500, [Unknown; 6]),
            ("INVALID_TRANSACTIONID", 500, [Unknown; 6]),
            ("USERPAYING", 202, [Unknown; 6]),
            ("", 202, [Unknown; 6]),
            ("NO_STATEMENT_EXIST", 400, [Unknown, Unknown, Unknown, Unknown, Unknown, Nothing]),
            ("NO_STATEMENT_EXIST", 404, [Unknown; 6]),
            ("STATEMENT_CREATING", 400, [Unknown, Unknown, Unknown, Unknown, Unknown, Later]),
            ("TRADE_OVERDUE", 403, [Unknown, Unknown, Unknown, Refused, Unknown, Unknown]),
            ("REFUND_FEE_MISMATCH", 400, [Unknown, Unknown, Unknown, Refused, Unknown, Unknown]),
            ("ACCOUNTERROR", 403, [Refused; 6]),
            ("", 502, [Unknown; 6]),
            ("PARAM_ERROR", 302, [Unknown; 6]),
            ("SOMETHING_NEW", 400, [Unknown; 6]),
            ("SOMETHING_NEW", 403, [Unknown; 6]),
            ("", 400, [Unknown; 6]),
        ];
        for (code, status, expected) in cases {
            let status = StatusCode::from_u16(*status).unwrap();
            let code = Some(*code).filter(|code| !code.is_empty());
            let got = [Open, Find, Close, Refund, FindRefund, Bill].map(|call| meaning(call, status, code));
            assert_eq!(&got, expected, "{code:?} {status}");
        }
        // Every row of the table is one of the cases, under its own status, and says where it comes from.
        for row in TABLE {
            let tried = cases.iter().any(|(code, status, _)| *code == row.code && *status == row.status);
            assert!(tried && !row.source.is_empty(), "{} {}", row.code, row.status);
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
