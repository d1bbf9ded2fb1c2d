//! Checks a notification, opens it and says what it means.
//!
//! Source: WeChat Pay API v3, payment and refund notifications. The order of the checks is fixed: nothing
//! of the body is read before its signature fits.

use std::sync::Arc;

use domain::{OrderId, Timestamp};
use http::HeaderMap;
use serde_json::Value;

use super::client::Client;
use super::signature::{SignatureError, Signed};
use super::translate::{Account, evidence, is_paid, refund_as};
use super::wire::{Envelope, Refund, Trade};
use crate::payments::ports::{News, Notification, NotificationError};

/// A real one has one or two KiB.
const BODY_LIMIT: usize = 64 * 1024;
/// The documents say 36 characters; some room for more.
const ID_LIMIT: usize = 64;

/// Everything that reading takes.
pub(super) struct Reader<'a> {
    pub client: &'a Arc<Client>,
    pub account: &'a Account,
}

impl Reader<'_> {
    /// Only what is verified comes out. Whether number and amount are what we expect is the caller's to ask.
    pub(super) fn read(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Notification, NotificationError> {
        if body.len() > BODY_LIMIT {
            return invalid("the body is longer than 64 KiB");
        }
        self.client.verifier.verify(Signed::Notification, headers, body, now).map_err(|why| {
            // We have no time to wait for it; the provider repeats what is refused.
            if why == SignatureError::UnknownCertificate {
                self.client.download_in_background();
            }
            NotificationError::Invalid(why.reason())
        })?;
        let envelope = envelope(body)?;
        let text = self
            .client
            .cipher
            .open(&envelope.resource.sealed)
            .ok_or(NotificationError::Invalid("it does not decrypt"))?;
        let facts: Value =
            serde_json::from_slice(&text).map_err(|_| NotificationError::Invalid("what was decrypted is no JSON"))?;
        let Envelope { id, event_type, .. } = envelope;
        if let Some(what) = self.foreign(&event_type, &facts) {
            return Err(NotificationError::NotOurs { what, id, facts: Box::new(facts) });
        }
        let news = news(&event_type, &text).map_err(NotificationError::Invalid)?;
        Ok(Notification { id, news, facts })
    }

    /// Which field is not ours. A payment must name merchant and app, a refund the merchant.
    fn foreign(&self, event_type: &str, facts: &Value) -> Option<&'static str> {
        let said = |name: &str| facts.get(name).and_then(Value::as_str);
        match event_type {
            "TRANSACTION.SUCCESS" if said("appid").is_none() => Some("appid"),
            "TRANSACTION.SUCCESS" | "REFUND.SUCCESS" | "REFUND.ABNORMAL" | "REFUND.CLOSED"
                if said("mchid").is_none() =>
            {
                Some("mchid")
            }
            _ => self.account.foreign(said("mchid"), said("appid")),
        }
    }
}

fn envelope(body: &[u8]) -> Result<Envelope, NotificationError> {
    let envelope: Envelope =
        serde_json::from_slice(body).map_err(|_| NotificationError::Invalid("the body is not a notification"))?;
    let printable = envelope.id.bytes().all(|b| b.is_ascii_graphic());
    if !(1..=ID_LIMIT).contains(&envelope.id.len()) || !printable {
        return invalid("the id is not 1 to 64 printable characters");
    }
    if envelope.resource_type != "encrypt-resource" {
        return invalid("the resource is not encrypted");
    }
    if envelope.resource.sealed.algorithm != "AEAD_AES_256_GCM" {
        return invalid("the algorithm is not AEAD_AES_256_GCM");
    }
    let family = envelope.event_type.split('.').next().unwrap_or_default();
    match (family, envelope.resource.original_type.as_str()) {
        ("TRANSACTION", "transaction") | ("REFUND", "refund") => Ok(envelope),
        ("TRANSACTION" | "REFUND", _) | (_, "transaction" | "refund") => {
            invalid("event_type and original_type do not fit together")
        }
        _ => Ok(envelope),
    }
}

fn news(event_type: &str, text: &[u8]) -> Result<News, &'static str> {
    let other = || News::Other { what: event_type.to_owned() };
    match event_type {
        "TRANSACTION.SUCCESS" => {
            let trade: Trade = serde_json::from_slice(text).map_err(|_| "what was decrypted is not a payment")?;
            if !is_paid(&trade.trade_state) {
                return Err("the event says paid, the payment does not");
            }
            let order = trade.attach.as_deref().and_then(|attach| OrderId::parse(attach).ok());
            Ok(News::Paid { evidence: evidence(&trade)?, number: trade.out_trade_no, order })
        }
        "REFUND.SUCCESS" => refunded(text, "SUCCESS"),
        "REFUND.ABNORMAL" => refunded(text, "ABNORMAL"),
        "REFUND.CLOSED" => refunded(text, "CLOSED"),
        _ => Ok(other()),
    }
}

fn refunded(text: &[u8], status: &str) -> Result<News, &'static str> {
    let refund: Refund = serde_json::from_slice(text).map_err(|_| "what was decrypted is not a refund")?;
    if refund.refund_status.as_deref() != Some(status) {
        return Err("the event and the refund's status differ");
    }
    let news = refund_as(status, &refund)?;
    Ok(News::Refund { number: refund.out_refund_no, payment: refund.out_trade_no, refund: news })
}

fn invalid<T>(why: &'static str) -> Result<T, NotificationError> {
    Err(NotificationError::Invalid(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateways::wechat_pay::vectors::{self, headers, now, signed, text};
    use crate::payments::ports::{Gateway, GatewayRefundState};
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    fn read(headers: &HeaderMap, body: &[u8]) -> Result<Notification, NotificationError> {
        vectors::wechat_pay("http://127.0.0.1:1").read_notification(headers, body, now())
    }

    fn reason(result: Result<Notification, NotificationError>) -> &'static str {
        match result {
            Err(NotificationError::Invalid(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    /// A notification as the provider would send it.
    fn sealed(event_type: &str, original_type: &str, facts: &Value) -> Value {
        let keys = vectors::keys();
        let key = UnboundKey::new(&AES_256_GCM, text(&keys["wechat"]["apiv3_key"]).as_bytes()).unwrap();
        let nonce = Nonce::assume_unique_for_key(*b"fdasflkja484");
        let mut data = facts.to_string().into_bytes();
        LessSafeKey::new(key).seal_in_place_append_tag(nonce, Aad::empty(), &mut data).unwrap();
        json!({
            "id": "EV-1", "create_time": "2026-01-01T08:00:06+08:00", "resource_type": "encrypt-resource",
            "event_type": event_type, "summary": "",
            "resource": {
                "original_type": original_type, "algorithm": "AEAD_AES_256_GCM",
                "ciphertext": STANDARD.encode(data), "nonce": "fdasflkja484",
            },
        })
    }

    fn sent(notification: &Value) -> Result<Notification, NotificationError> {
        let body = notification.to_string().into_bytes();
        read(&signed(&body), &body)
    }

    fn paid() -> Value {
        vectors::notify()["good"][0]["decrypted"].clone()
    }

    fn without(mut facts: Value, field: &str) -> Value {
        facts.as_object_mut().unwrap().remove(field);
        facts
    }

    fn with(mut value: Value, pointer: &str, new: Value) -> Value {
        *value.pointer_mut(pointer).unwrap() = new;
        value
    }

    #[test]
    fn good_notifications_decrypt_to_the_given_text() {
        let vectors = vectors::notify();
        let good = vectors["good"].as_array().unwrap();
        assert_eq!(good.len(), 5);
        for case in good {
            let notification = read(&headers(&case["headers"]), text(&case["body"]).as_bytes()).unwrap();
            assert_eq!(notification.facts, case["decrypted"], "{}", case["id"]);
            let body: Value = serde_json::from_str(text(&case["body"])).unwrap();
            assert_eq!(notification.id, text(&body["id"]));
            match (text(&case["id"]), notification.news) {
                ("payment_success" | "payment_success_public_key_mode", News::Paid { number, evidence, .. }) => {
                    assert_eq!(number, "1217752501201407033233368018");
                    assert_eq!(evidence.transaction_id, "4200000000202601011234567890");
                    assert_eq!(evidence.amount.to_string(), "1.00 CNY");
                    assert_eq!(evidence.paid_at, now() + domain::Duration::seconds(5));
                }
                (id, News::Refund { number, payment, refund }) => {
                    assert_eq!(
                        (number.as_str(), payment.as_str()),
                        ("R20260101000001", "1217752501201407033233368018")
                    );
                    assert_eq!(refund.amount.to_string(), "0.40 CNY");
                    let state = match id {
                        "refund_success" => {
                            GatewayRefundState::Succeeded { at: now() + domain::Duration::seconds(605) }
                        }
                        "refund_abnormal" => GatewayRefundState::Abnormal,
                        "refund_closed" => GatewayRefundState::Closed,
                        other => panic!("{other}"),
                    };
                    assert_eq!(refund.state, state);
                }
                (id, news) => panic!("{id}: {news:?}"),
            }
        }
    }

    #[test]
    fn bad_notifications_are_refused_for_the_stated_reason() {
        let vectors = vectors::notify();
        let bad = vectors["bad"].as_array().unwrap();
        assert_eq!(bad.len(), 4);
        for case in bad {
            let why = reason(read(&headers(&case["headers"]), text(&case["body"]).as_bytes()));
            let expected = match text(&case["id"]) {
                "signtest_probe" => "a signature probe, wrong on purpose",
                "body_altered" => "the signature does not fit",
                "gcm_tag_altered_signature_ok" | "wrong_aad_signature_ok" => "it does not decrypt",
                other => panic!("{other}"),
            };
            assert_eq!(why, expected, "{}", case["id"]);
        }
    }

    #[test]
    fn the_envelope_is_read_strictly() {
        let good = sealed("TRANSACTION.SUCCESS", "transaction", &paid());
        assert!(sent(&good).is_ok());
        let wrong = [
            (with(good.clone(), "/resource/algorithm", json!("AEAD_SM4_GCM")), "the algorithm is not AEAD_AES_256_GCM"),
            (with(good.clone(), "/resource_type", json!("plain")), "the resource is not encrypted"),
            (with(good.clone(), "/resource/nonce", json!("fdasflkja4844")), "it does not decrypt"),
            (with(good.clone(), "/resource/ciphertext", json!("AA==")), "it does not decrypt"),
            (with(good.clone(), "/resource/ciphertext", json!("@")), "it does not decrypt"),
            (with(good.clone(), "/id", json!("")), "the id is not 1 to 64 printable characters"),
            (with(good.clone(), "/id", json!("a\nb")), "the id is not 1 to 64 printable characters"),
            (with(good.clone(), "/id", json!(7)), "the body is not a notification"),
            (without(good.clone(), "resource"), "the body is not a notification"),
            (sealed("TRANSACTION.SUCCESS", "refund", &paid()), "event_type and original_type do not fit together"),
            (sealed("COUPON.USE", "transaction", &paid()), "event_type and original_type do not fit together"),
        ];
        for (notification, why) in wrong {
            assert_eq!(reason(sent(&notification)), why, "{notification}");
        }
        for body in [&b""[..], b"{", b"null", b"\xff"] {
            assert_eq!(reason(read(&signed(body), body)), "the body is not a notification");
        }
    }

    #[test]
    fn too_long_is_refused_before_anything_else() {
        let body = vec![b' '; BODY_LIMIT + 1];
        assert_eq!(reason(read(&HeaderMap::new(), &body)), "the body is longer than 64 KiB");
    }

    #[test]
    fn an_event_must_say_what_its_text_says() {
        let refunded = || vectors::notify()["good"][2]["decrypted"].clone();
        let wrong = [
            ("TRANSACTION.SUCCESS", "transaction", with(paid(), "/trade_state", json!("NOTPAY"))),
            ("TRANSACTION.SUCCESS", "transaction", without(paid(), "transaction_id")),
            ("TRANSACTION.SUCCESS", "transaction", without(paid(), "success_time")),
            ("TRANSACTION.SUCCESS", "transaction", without(paid(), "amount")),
            ("TRANSACTION.SUCCESS", "transaction", without(paid(), "out_trade_no")),
            ("REFUND.CLOSED", "refund", refunded()),
            ("REFUND.SUCCESS", "refund", without(refunded(), "refund_status")),
            ("REFUND.SUCCESS", "refund", without(refunded(), "success_time")),
            ("REFUND.SUCCESS", "refund", with(refunded(), "/amount", json!({}))),
        ];
        for (event, kind, facts) in wrong {
            assert!(
                matches!(sent(&sealed(event, kind, &facts)), Err(NotificationError::Invalid(_))),
                "{event} {facts}"
            );
        }
        let part_refunded = with(paid(), "/trade_state", json!("REFUND"));
        let notification = sent(&sealed("TRANSACTION.SUCCESS", "transaction", &part_refunded)).unwrap();
        assert!(matches!(notification.news, News::Paid { .. }));
    }

    #[test]
    fn genuine_but_for_somebody_else_is_not_ours() {
        let refunded = || vectors::notify()["good"][2]["decrypted"].clone();
        let cases = [
            ("TRANSACTION.SUCCESS", "transaction", with(paid(), "/mchid", json!("1900000002")), "mchid"),
            ("TRANSACTION.SUCCESS", "transaction", with(paid(), "/appid", json!("wx0")), "appid"),
            ("TRANSACTION.SUCCESS", "transaction", without(paid(), "mchid"), "mchid"),
            ("TRANSACTION.SUCCESS", "transaction", without(paid(), "appid"), "appid"),
            ("REFUND.SUCCESS", "refund", with(refunded(), "/mchid", json!("1900000002")), "mchid"),
            ("REFUND.SUCCESS", "refund", without(refunded(), "mchid"), "mchid"),
            ("COUPON.USE", "coupon", json!({"mchid": "1900000002"}), "mchid"),
        ];
        for (event, kind, facts, field) in cases {
            match sent(&sealed(event, kind, &facts)) {
                Err(NotificationError::NotOurs { what, id, facts: kept }) => {
                    assert_eq!((what, id.as_str(), *kept), (field, "EV-1", facts));
                }
                other => panic!("{event}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_we_do_not_act_on_is_still_read() {
        for (event, kind) in
            [("COUPON.USE", "coupon"), ("TRANSACTION.PAYFAIL", "transaction"), ("REFUND.NEW", "refund")]
        {
            let notification = sent(&sealed(event, kind, &json!({"mchid": "1900000001"}))).unwrap();
            assert_eq!(notification.news, News::Other { what: event.to_owned() });
        }
    }
}
