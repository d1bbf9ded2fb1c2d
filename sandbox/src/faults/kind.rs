//! Every way in which something goes wrong, and to what it can happen.

use std::mem::discriminant;

use crate::calls::Call;

/// One way in which something goes wrong, in WeChat Pay's words. Alipay answers 200 whatever happens, so
/// what is said of it is the code in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The effect happens, the connection ends without an answer.
    LoseAnswer,
    /// The connection ends without an effect and without an answer.
    LoseRequest,
    /// The connection is reset (RST) without an effect and without an answer.
    ResetRequest,
    /// The effect happens, the connection is reset (RST) without an answer.
    ResetAnswer,
    /// The effect happens, the connection is reset (RST) in the middle of the answer's body.
    ResetMidBody,
    /// 500 `SYSTEM_ERROR`, nothing happened. Alipay: 20000 `aop.ACQ.SYSTEM_ERROR`.
    Error500,
    /// 500 `SYSTEM_ERROR`, and yet it happened. Alipay: 20000 `aop.ACQ.SYSTEM_ERROR`.
    Error500After,
    /// 502, 503 or 504 and a page of somebody in between, nothing happened.
    HttpError(u16),
    /// 502, 503 or 504 and a page of somebody in between, and yet it happened.
    HttpErrorAfter(u16),
    /// 429, nothing happened. Alipay: 40005 `isv.app-call-limited`.
    RateLimited,
    /// 307 to the same address, nothing happened: who follows sends everything again.
    Redirect,
    /// The answer comes this much later, the effect does not. It is real time, because what it
    /// tries is the timeout of a socket. A notification waits by the clock instead.
    DelayMs(u64),
    /// A good answer whose body comes byte by byte, four a second.
    SlowDrip,
    /// 200 with an empty body, well signed where the signature is not in the body; yet it happened.
    Empty,
    /// A good and well signed answer, but longer than 256 KiB.
    Huge,
    /// In the place of a good answer 10 KiB of gzip that unpack to 10 MiB.
    GzipBomb,
    /// A good answer, or notification, without a signature.
    Unsigned,
    /// A good answer, or notification, with the signature of another one.
    WronglySigned,
    /// A well signed answer about another order.
    OtherAnswer,
    /// A well signed answer in which only the merchant's number is another one's.
    WrongNumber,
    /// A probe whose signature is wrong on purpose and says so (`WECHATPAY/SIGNTEST/`). In the
    /// place of a notification: the real one follows at the next time of its schedule. Alipay, which
    /// marks no probes, signs wrongly.
    Signtest,
    /// The slashes of an answer are sent as `\/`, its signature is that of the text without.
    EscapedSlashes,
    /// Behind the signed node comes another one of the same name, about another trade.
    DuplicateNode,
    /// An unpaid order is said to be `USERPAYING`.
    UserPaying,
    /// An unpaid order is said to be `ACCEPT`.
    Accept,
    /// What this call makes is made, but not found by queries, nor for a close, for this long by the clock.
    LagMs(u64),
    /// What this call makes comes to its end at once, and the notification of that arrives before the
    /// answer: the payer pays; the refund is done.
    NoticeFirst,
    /// The payer pays just before the close is looked at.
    PayDuringClose,
    /// 403 `NOT_ENOUGH`: the merchant's balance does not cover the refund. Alipay: 40004
    /// `ACQ.SELLER_BALANCE_NOT_ENOUGH`.
    NotEnough,
    /// A refund is accepted and later ends `CLOSED`: nothing moved. Alipay: `fund_change` is `N`,
    /// and no query finds the refund.
    RefundClosed,
    /// A refund is accepted and later ends `ABNORMAL`: the bank refused it. Alipay: 40004
    /// `ACQ.TRADE_NOT_ALLOW_REFUND`.
    RefundAbnormal,
    /// One minor unit more moves than was asked for.
    OneMore,
    /// One minor unit less moves than was asked for.
    OneLess,
    /// The payer is charged in US dollars.
    OtherCurrency,
    /// The payer can pay although the order is closed, or past its time.
    AlthoughClosed,
    /// A notification is lost on its way.
    Drop,
    /// A notification arrives once more: two such faults, three times.
    Duplicate,
    /// A notification waits until another one was sent, and comes behind it.
    Swap,
}

use FaultKind as F;

/// Whose gateway it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gateway {
    WechatPay,
    Alipay,
}

pub(super) const CALLS: [(&str, Call); 9] = [
    ("open", Call::Open),
    ("find", Call::Find),
    ("close", Call::Close),
    ("refund", Call::Refund),
    ("find_refund", Call::FindRefund),
    ("certificates", Call::Certificates),
    ("bill", Call::Bill),
    ("notify", Call::Notify),
    ("pay", Call::Pay),
];

/// Their names over HTTP. Those with a duration have it beside them, as `ms`.
pub(super) const KINDS: [(&str, FaultKind); 42] = [
    ("lose_request", F::LoseRequest),
    ("lose_answer", F::LoseAnswer),
    ("reset_request", F::ResetRequest),
    ("reset_answer", F::ResetAnswer),
    ("reset_mid_body", F::ResetMidBody),
    ("error_500", F::Error500),
    ("error_502", F::HttpError(502)),
    ("error_503", F::HttpError(503)),
    ("error_504", F::HttpError(504)),
    ("error_500_after", F::Error500After),
    ("error_502_after", F::HttpErrorAfter(502)),
    ("error_503_after", F::HttpErrorAfter(503)),
    ("error_504_after", F::HttpErrorAfter(504)),
    ("rate_limited", F::RateLimited),
    ("redirect", F::Redirect),
    ("delay_ms", F::DelayMs(0)),
    ("slow_drip", F::SlowDrip),
    ("empty", F::Empty),
    ("huge", F::Huge),
    ("gzip_bomb", F::GzipBomb),
    ("unsigned", F::Unsigned),
    ("wrongly_signed", F::WronglySigned),
    ("signtest", F::Signtest),
    ("other_answer", F::OtherAnswer),
    ("wrong_number", F::WrongNumber),
    ("escaped_slashes", F::EscapedSlashes),
    ("duplicate_node", F::DuplicateNode),
    ("user_paying", F::UserPaying),
    ("accept", F::Accept),
    ("lag_ms", F::LagMs(0)),
    ("notice_first", F::NoticeFirst),
    ("pay_during_close", F::PayDuringClose),
    ("not_enough", F::NotEnough),
    ("refund_closed", F::RefundClosed),
    ("refund_abnormal", F::RefundAbnormal),
    ("one_more", F::OneMore),
    ("one_less", F::OneLess),
    ("other_currency", F::OtherCurrency),
    ("although_closed", F::AlthoughClosed),
    ("drop", F::Drop),
    ("duplicate", F::Duplicate),
    ("swap", F::Swap),
];

impl FaultKind {
    /// Its name over HTTP.
    pub(super) fn name(self) -> &'static str {
        let timed = |kind| self.ms().is_some() && discriminant(&self) == discriminant(kind);
        KINDS.iter().find(|(_, kind)| *kind == self || timed(kind)).map_or("", |(name, _)| name)
    }

    pub(super) fn ms(self) -> Option<u64> {
        match self {
            F::DelayMs(ms) | F::LagMs(ms) => Some(ms),
            _ => None,
        }
    }

    pub(super) fn with_ms(self, ms: u64) -> Self {
        match self {
            F::DelayMs(_) => F::DelayMs(ms),
            F::LagMs(_) => F::LagMs(ms),
            other => other,
        }
    }

    /// Whether it can happen to such a call of any gateway.
    pub(super) fn happens(self, call: Call) -> bool {
        self.happens_at(Gateway::WechatPay, call) || self.happens_at(Gateway::Alipay, call)
    }

    /// Whether it can happen to such a call of this gateway. One that cannot waits for a gateway where it can.
    pub(super) fn happens_at(self, gateway: Gateway, call: Call) -> bool {
        let is_alipay = gateway == Gateway::Alipay;
        if is_alipay && call == Call::Certificates {
            return false;
        }
        let is_call = !matches!(call, Call::Notify | Call::Pay);
        let is_file = matches!(call, Call::Certificates | Call::Bill);
        let has_effect = matches!(call, Call::Open | Call::Close | Call::Refund);
        // WeChat Pay's answer to a close has no body, and that to an opening names no number.
        let has_body = is_call && !is_file && (is_alipay || call != Call::Close);
        let names_number = has_body && (is_alipay || call != Call::Open);
        match self {
            F::LoseAnswer | F::LoseRequest | F::ResetRequest | F::ResetAnswer => is_call,
            F::Error500 | F::RateLimited | F::Redirect => is_call,
            F::HttpError(status) => is_call && (502..=504).contains(&status),
            F::Error500After => has_effect,
            F::HttpErrorAfter(status) => has_effect && (502..=504).contains(&status),
            F::DelayMs(_) | F::Unsigned | F::WronglySigned | F::Signtest => call != Call::Pay,
            F::ResetMidBody | F::SlowDrip | F::Empty | F::Huge | F::GzipBomb | F::OtherAnswer => has_body,
            F::WrongNumber => names_number,
            // Only the answer to an opening has slashes in it.
            F::EscapedSlashes => is_alipay && call == Call::Open,
            F::DuplicateNode => is_alipay && has_body,
            F::UserPaying | F::Accept => !is_alipay && call == Call::Find,
            F::LagMs(_) | F::NoticeFirst => matches!(call, Call::Open | Call::Refund),
            F::PayDuringClose => call == Call::Close,
            F::NotEnough | F::RefundClosed | F::RefundAbnormal => call == Call::Refund,
            F::OneMore | F::OneLess => matches!(call, Call::Pay | Call::Refund),
            F::OtherCurrency => !is_alipay && call == Call::Pay,
            F::AlthoughClosed => call == Call::Pay,
            F::Drop | F::Duplicate | F::Swap => call == Call::Notify,
        }
    }
}

/// Which there are, call by call.
pub(super) fn list() -> String {
    let lines = CALLS.map(|(name, call)| {
        let kinds = KINDS.iter().filter(|(_, kind)| kind.happens(call));
        let kinds: Vec<_> = kinds.map(|(name, _)| *name).collect();
        format!("{name}: {}", kinds.join(" "))
    });
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_call_to_happen_to_and_a_name_of_its_own() {
        for (name, kind) in KINDS {
            assert!(CALLS.iter().any(|(_, call)| kind.happens(*call)), "{name}");
            assert_eq!(kind.with_ms(7).name(), name);
        }
    }

    /// A row of the table in docs/sandbox.md begins with the knob and the calls that it can happen to.
    #[test]
    fn the_table_in_the_documents_is_complete() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/sandbox.md");
        let page = std::fs::read_to_string(page).expect("docs/sandbox.md");
        let calls = |kind: FaultKind, gateway| {
            let calls = CALLS.iter().filter(|(_, call)| kind.happens_at(gateway, *call));
            let names: Vec<_> = calls.map(|(name, _)| *name).collect();
            match names.join(" ") {
                none if none.is_empty() => "–".to_owned(),
                names => names.replace("open find close refund find_refund", "all five"),
            }
        };
        for (name, kind) in KINDS {
            let (wechat_pay, alipay) = (calls(kind, Gateway::WechatPay), calls(kind, Gateway::Alipay));
            let row = format!("| `{name}` | {wechat_pay} | {alipay} | ");
            assert!(page.contains(&row), "docs/sandbox.md has no row {row}");
        }
        assert_eq!(page.lines().filter(|line| line.starts_with("| `")).count(), KINDS.len());
    }
}
