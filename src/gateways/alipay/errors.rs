//! An answer that is not a success, and what may be done next.
//!
//! An error is signed like everything else, but for those that come before the gateway knows which key to
//! sign with. Of the unsigned only these are believed, and never that something is absent.
//!
//! The codes themselves are in [`codes`](super::codes).

use super::codes;
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
    Bill,
}

impl Call {
    /// The provider's name for it, where it takes a call at all.
    pub(super) const fn method(self) -> &'static str {
        match self {
            Self::Open => "alipay.trade.precreate",
            Self::Find => "alipay.trade.query",
            Self::Close => "alipay.trade.close",
            Self::Refund => "alipay.trade.refund",
            Self::FindRefund => "alipay.trade.fastpay.refund.query",
            Self::Bill => "alipay.data.dataservice.bill.downloadurl.query",
        }
    }

    /// It changes nothing and may be asked again at once.
    pub(super) const fn is_question(self) -> bool {
        matches!(self, Self::Find | Self::FindRefund | Self::Bill)
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

use Meaning::{Later, Nothing, Refused, Unknown};

/// The code of success.
pub(super) const SUCCESS: &str = "10000";

/// Codes of a request that was turned away before anybody looked at what it asks for.
const UNSIGNED: [&str; 3] = ["40001", "40002", "40003"];

/// Sorts one error: by its codes, never by its sentences.
pub(super) fn meaning(call: Call, code: &str, sub_code: &str, signed: bool) -> Meaning {
    let believed = signed || (UNSIGNED.contains(&code) && sub_code.starts_with("isv."));
    if !believed {
        return Unknown;
    }
    codes::meaning(call, code, sub_code)
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
    fn without_a_signature_only_a_request_turned_away_is_believed() {
        for (code, sub_code, believed) in [
            ("40001", "isv.missing-method", true),
            ("40002", "isv.invalid-signature", true),
            ("40002", "isv.invalid-app-id", true),
            ("40003", "isv.missing-signature-config", true),
            ("40002", "ACQ.INVALID_PARAMETER", false),
            ("40004", "ACQ.TRADE_NOT_EXIST", false),
            ("40004", "ACQ.TRADE_HAS_CLOSE", false),
            ("40005", "isv.app-call-limited", false),
            ("20000", "isp.unknow-error", false),
        ] {
            for call in [Call::Open, Call::Find, Call::Close, Call::Refund, Call::FindRefund, Call::Bill] {
                let expected = if believed { Refused } else { Unknown };
                assert_eq!(meaning(call, code, sub_code, false), expected, "{code} {sub_code}");
            }
        }
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
