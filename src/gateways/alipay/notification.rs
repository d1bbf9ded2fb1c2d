//! Checks a notification and says what it means.
//!
//! Source: Alipay's open platform, asynchronous notifications (`trade_status_sync`). It is a form, signed over
//! its fields; nothing of it is believed before the signature fits. Its age is not judged: Alipay repeats
//! for more than a day, and a repeat changes nothing.
//!
//! Alipay takes exactly the body `success` (seven bytes, HTTP 200, nothing else) for an acknowledgement;
//! after anything else it sends again, eight times in 25 hours. That is `http/notify.rs`' to say.
//!
//! There is no notification of a refund: it is the paid trade's once more, with `out_biz_no` (the refund's
//! number), `gmt_refund` and `refund_fee`, which is the sum of all refunds of the trade. How much this
//! refund was, it does not say. So it is kept and not acted on; the refund query decides.

use domain::OrderId;

use super::form::{self, Fields};
use super::signature::Verifier;
use super::translate::{evidence, is_paid};
use super::yuan::Yuan;
use crate::payments::ports::{News, Notification, NotificationError};

/// A real one has one or two KiB.
const BODY_LIMIT: usize = 64 * 1024;
/// The documents say 128 characters.
const ID_LIMIT: usize = 128;

/// Everything that reading takes.
pub(super) struct Reader<'a> {
    pub verifier: &'a Verifier,
    pub app_id: &'a str,
    pub seller_id: &'a str,
}

impl Reader<'_> {
    /// Only what is verified comes out. Whether number and amount are what we expect is the caller's to ask.
    pub(super) fn read(&self, body: &[u8]) -> Result<Notification, NotificationError> {
        if body.len() > BODY_LIMIT {
            return invalid("the body is longer than 64 KiB");
        }
        let mut fields = form::decode(body).map_err(NotificationError::Invalid)?;
        if said(&fields, "sign_type") != Some("RSA2") {
            return invalid("the signature type is not RSA2");
        }
        if !said(&fields, "charset").is_some_and(|charset| charset.eq_ignore_ascii_case("utf-8")) {
            return invalid("the charset is not utf-8");
        }
        if !fields.contains_key("sign") {
            return invalid("there is no signature");
        }
        if !self.verifier.notification(&fields) {
            return invalid("the signature does not fit");
        }
        fields.retain(|name, _| name != "sign" && name != "sign_type");
        let id = said(&fields, "notify_id").unwrap_or_default().to_owned();
        if !(1..=ID_LIMIT).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return invalid("the id is not 1 to 128 printable characters");
        }
        let facts = fields.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        let facts = serde_json::Value::Object(facts);
        if let Some(what) = self.foreign(&fields) {
            return Err(NotificationError::NotOurs { what, id, facts: Box::new(facts) });
        }
        let news = news(&fields).map_err(NotificationError::Invalid)?;
        Ok(Notification { id, news, facts })
    }

    /// Which field is not ours; both must be there.
    fn foreign(&self, fields: &Fields) -> Option<&'static str> {
        let ours = [("app_id", self.app_id), ("seller_id", self.seller_id)];
        ours.into_iter().find(|(name, ours)| said(fields, name) != Some(ours)).map(|(name, _)| name)
    }
}

fn said<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

fn news(fields: &Fields) -> Result<News, &'static str> {
    let kind = said(fields, "notify_type").unwrap_or("a notification without notify_type");
    let other = |what: &str| Ok(News::Other { what: super::errors::printable(what) });
    if kind != "trade_status_sync" {
        return other(kind);
    }
    let status = said(fields, "trade_status").ok_or("no trade_status")?;
    if tells_of_a_refund(fields) {
        return other(&format!("{status} with a refund"));
    }
    if !is_paid(status) {
        return other(status);
    }
    let total_amount = said(fields, "total_amount").map(Yuan::parse).transpose()?;
    Ok(News::Paid {
        number: said(fields, "out_trade_no").ok_or("no out_trade_no")?.to_owned(),
        evidence: evidence(said(fields, "trade_no"), total_amount, said(fields, "gmt_payment"))?,
        order: said(fields, "passback_params").and_then(|order| OrderId::parse(order).ok()),
    })
}

/// `refund_fee` may be there as `0.00`; one that cannot be read is no reason to believe that there is none.
fn tells_of_a_refund(fields: &Fields) -> bool {
    let refunded = |fee: &str| !Yuan::parse(fee).is_ok_and(Yuan::is_nothing);
    said(fields, "gmt_refund").is_some()
        || said(fields, "out_biz_no").is_some()
        || said(fields, "refund_fee").is_some_and(refunded)
}

fn invalid<T>(why: &'static str) -> Result<T, NotificationError> {
    Err(NotificationError::Invalid(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateways::alipay::vectors::{self, fields, now, signed, text};
    use crate::payments::ports::Gateway;
    use http::HeaderMap;

    fn read(body: &[u8]) -> Result<Notification, NotificationError> {
        vectors::alipay("http://127.0.0.1:1").read_notification(&HeaderMap::new(), body, now())
    }

    fn reason(result: Result<Notification, NotificationError>) -> &'static str {
        match result {
            Err(NotificationError::Invalid(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    fn paid() -> Fields {
        fields(&vectors::notify()["good"][0]["params"])
    }

    /// The paid notification with some fields changed, signed by Alipay; an empty value takes a field away.
    fn with(changes: &[(&str, &str)]) -> Result<Notification, NotificationError> {
        let mut fields = paid();
        for (name, value) in changes {
            fields.insert((*name).to_owned(), (*value).to_owned());
        }
        fields.retain(|_, value| !value.is_empty());
        read(signed(fields).as_bytes())
    }

    #[test]
    fn good_notifications_are_read() {
        let vectors = vectors::notify();
        let good = vectors["good"].as_array().unwrap();
        assert_eq!(good.len(), 5);
        for case in good {
            let notification = read(text(&case["body"]).as_bytes()).unwrap();
            let mut params = case["params"].clone();
            assert_eq!(notification.id, text(&params["notify_id"]));
            params.as_object_mut().unwrap().retain(|name, _| name != "sign" && name != "sign_type");
            assert_eq!(notification.facts, params);
            let other = |what: &str| News::Other { what: what.to_owned() };
            match (text(&case["id"]), notification.news) {
                ("trade_success" | "trade_finished", News::Paid { number, evidence, .. }) => {
                    assert_eq!(number, "T20260101000000001");
                    assert_eq!(evidence.transaction_id, "2026010122001470780000000001");
                    assert_eq!(evidence.amount.to_string(), "100.00 CNY");
                    assert_eq!(evidence.paid_at, now() + domain::Duration::seconds(5));
                }
                ("partial_refund", news) => assert_eq!(news, other("TRADE_SUCCESS with a refund")),
                ("full_refund_closed", news) => assert_eq!(news, other("TRADE_CLOSED with a refund")),
                ("timeout_closed", news) => assert_eq!(news, other("TRADE_CLOSED")),
                (id, news) => panic!("{id}: {news:?}"),
            }
        }
    }

    #[test]
    fn bad_notifications_are_refused_or_say_what_the_caller_compares() {
        let vectors = vectors::notify();
        let bad = vectors["bad"].as_array().unwrap();
        assert_eq!(bad.len(), 7);
        for case in bad {
            let result = read(text(&case["body"]).as_bytes());
            match (text(&case["id"]), result) {
                ("amount_altered" | "signed_by_app_key_instead", Err(NotificationError::Invalid(why))) => {
                    assert_eq!(why, "the signature does not fit");
                }
                ("sign_missing", Err(NotificationError::Invalid(why))) => assert_eq!(why, "there is no signature"),
                ("other_app_id_valid_signature", Err(NotificationError::NotOurs { what, .. })) => {
                    assert_eq!(what, "app_id");
                }
                ("other_seller_valid_signature", Err(NotificationError::NotOurs { what, .. })) => {
                    assert_eq!(what, "seller_id");
                }
                // These are ours; the amount and the number are compared with the order's.
                ("other_amount_valid_signature", Ok(Notification { news: News::Paid { evidence, .. }, .. })) => {
                    assert_ne!(evidence.amount.to_string(), "100.00 CNY");
                }
                ("unknown_order_valid_signature", Ok(Notification { news: News::Paid { number, .. }, .. })) => {
                    assert_eq!(number, "NOPE");
                }
                (id, result) => panic!("{id}: {result:?}"),
            }
        }
        let back = text(&vectors["return_url_get"]["query"]);
        let fields = form::decode(back.as_bytes()).unwrap();
        let alipay = vectors::alipay("http://127.0.0.1:1");
        assert!(alipay.client.verifier.notification(&fields), "signed as a notification is");
        assert!(!fields.contains_key("trade_status"));
        assert!(read(back.as_bytes()).is_err(), "a browser that comes back proves nothing");
    }

    #[test]
    fn a_form_is_read_strictly() {
        let good = vectors::notify()["good"][0]["body"].as_str().unwrap().to_owned();
        for (body, why) in [
            (format!("{good}&total_amount=0.01"), "a field is there twice"),
            (format!("{good}&sign=x"), "a field is there twice"),
            (format!("{good}&new=1"), "the signature does not fit"),
            (good.replace("sign_type=RSA2", "sign_type=RSA"), "the signature type is not RSA2"),
            (good.replace("sign_type=RSA2&", ""), "the signature type is not RSA2"),
            (good.replace("charset=utf-8", "charset=GBK"), "the charset is not utf-8"),
            (String::new(), "a field has no value"),
            ("{}".to_owned(), "a field has no value"),
        ] {
            assert_eq!(reason(read(body.as_bytes())), why);
        }
        assert_eq!(reason(read(&vec![b' '; BODY_LIMIT + 1])), "the body is longer than 64 KiB");
        // The sign_type is not signed: changing it gains nothing, as only one is taken.
        assert!(read(good.as_bytes()).is_ok());
    }

    #[test]
    fn a_payment_is_told_with_all_of_its_proof() {
        assert!(matches!(with(&[]).unwrap().news, News::Paid { .. }));
        assert!(matches!(with(&[("refund_fee", "0.00")]).unwrap().news, News::Paid { .. }));
        for field in ["out_trade_no", "trade_no", "total_amount", "gmt_payment", "trade_status"] {
            reason(with(&[(field, "")]));
        }
        for (field, value) in [
            ("total_amount", "0.00"),
            ("total_amount", "-1.00"),
            ("total_amount", "1e2"),
            ("gmt_payment", "2026-01-01T08:00:05+08:00"),
        ] {
            reason(with(&[(field, value)]));
        }
        for id in ["", "a b", &"x".repeat(ID_LIMIT + 1)] {
            assert_eq!(reason(with(&[("notify_id", id)])), "the id is not 1 to 128 printable characters");
        }
    }

    #[test]
    fn whatever_hints_at_a_refund_is_not_taken_for_a_payment() {
        for (field, value) in [
            ("gmt_refund", "2026-01-01 09:00:00.123"),
            ("out_biz_no", "R1"),
            ("refund_fee", "0.01"),
            ("refund_fee", "?"),
        ] {
            let what = "TRADE_SUCCESS with a refund".to_owned();
            assert_eq!(with(&[(field, value)]).unwrap().news, News::Other { what }, "{field}");
        }
    }

    #[test]
    fn what_we_do_not_act_on_is_kept() {
        for (field, value) in
            [("trade_status", "WAIT_BUYER_PAY"), ("trade_status", "NEW"), ("notify_type", "dut_user_sign")]
        {
            assert_eq!(with(&[(field, value)]).unwrap().news, News::Other { what: value.to_owned() });
        }
    }

    #[test]
    fn genuine_but_for_somebody_else_is_not_ours() {
        for (field, value) in
            [("app_id", "2021000000009999"), ("app_id", ""), ("seller_id", "2088000000009999"), ("seller_id", "")]
        {
            match with(&[(field, value)]) {
                Err(NotificationError::NotOurs { what, id, facts }) => {
                    assert_eq!((what, id.as_str()), (field, "2026010100222080006070780000000001"));
                    assert_eq!(facts["trade_no"], "2026010122001470780000000001");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
