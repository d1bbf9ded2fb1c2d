//! What Alipay tells a merchant by itself: a signed form.

use std::collections::BTreeMap;

use aws_lc_rs::error::Unspecified;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Keys,
    amount::yuan,
    form,
    parameters::TIME,
    signature::{Seal, content},
    trade::{BUYER_ID, BUYER_LOGON_ID, Trade},
};
use crate::{clock::beijing, faults::FaultKind, outbox::Letter};

/// Pauses before the 7 repetitions, some 25 hours in all.
pub(crate) const PAUSES_S: [i64; 7] = [240, 600, 600, 3600, 7200, 21_600, 54_000];

/// Something a merchant is told: the fields that belong to the trade. None is empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Event(BTreeMap<String, String>);

impl Event {
    /// The trade as it stands after a payment.
    pub(super) fn paid(trade: &Trade, now: DateTime<Utc>) -> Self {
        let (total, status) = (yuan(trade.order.total), trade.status(now));
        let funds = json!([{"amount": total, "fundChannel": "ALIPAYACCOUNT"}]).to_string();
        let mut fields = vec![
            ("out_trade_no", trade.order.number.clone()),
            ("trade_status", status.name().to_owned()),
            ("subject", trade.order.subject.clone()),
            ("buyer_id", BUYER_ID.to_owned()),
            ("buyer_logon_id", BUYER_LOGON_ID.to_owned()),
            ("gmt_create", beijing(trade.created_at, TIME)),
            ("total_amount", total.clone()),
            ("receipt_amount", total.clone()),
            ("invoice_amount", total.clone()),
            ("buyer_pay_amount", total),
            ("point_amount", yuan(0)),
            ("fund_bill_list", funds),
        ];
        fields.extend(status.paid_at().map(|at| ("gmt_payment", beijing(at, TIME))));
        let optional = [
            ("trade_no", &trade.trade_no),
            ("body", &trade.order.body),
            ("passback_params", &trade.order.passback_params),
        ];
        fields.extend(optional.into_iter().filter_map(|(name, text)| Some((name, text.clone()?))));
        Self(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The same again with what was given back: there is no event of its own for refunds.
    pub(super) fn refunded(trade: &Trade, number: &str, now: DateTime<Utc>) -> Self {
        let mut event = Self::paid(trade, now);
        let last = trade.refunds.last().map_or(0, |refund| refund.minor);
        let fields = [
            ("out_biz_no", number.to_owned()),
            ("refund_fee", yuan(trade.refunded())),
            ("send_back_fee", yuan(last)),
            ("gmt_refund", beijing(now, "%Y-%m-%d %H:%M:%S%.3f")),
        ];
        event.0.extend(fields.map(|(name, value)| (name.to_owned(), value)));
        event
    }
}

/// The request that carries a letter: signed anew each time, under the same id.
pub(crate) fn request(
    letter: &Letter,
    event: &Event,
    fault: Option<FaultKind>,
    keys: &Keys,
    now: DateTime<Utc>,
) -> Result<(HeaderMap, Vec<u8>), Unspecified> {
    let mut fields = event.0.clone();
    let common = [
        ("notify_id", letter.id.as_str()),
        ("notify_type", "trade_status_sync"),
        ("app_id", &keys.merchant.app_id),
        ("auth_app_id", &keys.merchant.app_id),
        ("seller_id", &keys.merchant.seller_id),
        ("charset", "utf-8"),
        ("version", "1.0"),
    ];
    fields.extend(common.map(|(name, value)| (name.to_owned(), value.to_owned())));
    fields.insert("notify_time".to_owned(), beijing(now, TIME));
    let body = signed_form(fields, keys, Seal::of(fault))?;
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
    Ok((HeaderMap::from_iter([(CONTENT_TYPE, kind)]), body.into_bytes()))
}

/// A form with its signature, which covers neither itself nor its type.
pub(super) fn signed_form(
    mut fields: BTreeMap<String, String>,
    keys: &Keys,
    seal: Seal,
) -> Result<String, Unspecified> {
    let signed = content(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    fields.insert("sign_type".to_owned(), "RSA2".to_owned());
    fields.extend(seal.sign(keys.alipay_key(), &signed)?.map(|sign| ("sign".to_owned(), sign)));
    Ok(form::encode(fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))))
}

/// Whether the merchant took a notification: it says exactly `success`.
pub(crate) fn is_taken(status: StatusCode, body: &[u8]) -> bool {
    status == StatusCode::OK && body == b"success"
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::vectors;

    fn fields(text: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        form::decode_into(&mut fields, text);
        fields
    }

    fn assert_reproduced(sent: &str, signed: &Value) {
        let sent = fields(sent.as_bytes());
        let mut bare = sent.clone();
        bare.remove("sign");
        bare.remove("sign_type");
        let text = content(bare.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        assert_eq!(text, signed.as_str().expect("text"));
        let form = signed_form(bare, &Keys::of_vectors(), Seal::Good).expect("signed");
        assert_eq!(fields(form.as_bytes()), sent);
    }

    #[test]
    fn notifications_and_returns_are_signed_as_the_vectors_are_byte_for_byte() {
        let vectors = vectors::read("alipay-notify.json");
        for case in vectors["good"].as_array().expect("a list") {
            assert_reproduced(case["body"].as_str().expect("text"), &case["verify_content"]);
        }
        let back = &vectors["return_url_get"];
        assert_reproduced(back["query"].as_str().expect("text"), &back["verify_content"]);
    }

    #[test]
    fn only_the_exact_word_takes_a_notification() {
        assert!(is_taken(StatusCode::OK, b"success"));
        for wrong in [&b"SUCCESS"[..], b"success\n", b"\"success\"", b"", b"fail"] {
            assert!(!is_taken(StatusCode::OK, wrong));
        }
        assert!(!is_taken(StatusCode::NO_CONTENT, b"success"));
    }
}
