//! What WeChat Pay tells a merchant by itself: a signed envelope around encrypted JSON.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    error::Unspecified,
};
use axum::http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    certificates::{KeyMode, Signer},
    refund::Ending,
    signature::{self, Seal},
};
use crate::{
    clock::beijing_time,
    faults::FaultKind,
    keys::{Keys, random_hex},
    outbox::Letter,
};

/// Pauses before the 15 repetitions, some 24 hours in all.
pub(crate) const PAUSES_S: [i64; 15] =
    [15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600];

/// Something a merchant is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Event {
    event_type: String,
    summary: String,
    original_type: String,
    plaintext: String,
}

impl Event {
    pub(super) fn paid(order: Value) -> Self {
        Self {
            event_type: "TRANSACTION.SUCCESS".to_owned(),
            summary: "支付成功".to_owned(),
            original_type: "transaction".to_owned(),
            plaintext: order.to_string(),
        }
    }

    pub(super) fn refunded(ending: Ending, refund: Value) -> Self {
        Self {
            event_type: format!("REFUND.{}", ending.name()),
            summary: ending.words().to_owned(),
            original_type: "refund".to_owned(),
            plaintext: refund.to_string(),
        }
    }
}

/// The request that carries a letter: encrypted and signed anew each time, under the same id.
pub(crate) fn request(
    letter: &Letter,
    event: &Event,
    fault: Option<FaultKind>,
    (keys, mode): (&Keys, KeyMode),
    now: DateTime<Utc>,
) -> Result<(HeaderMap, Vec<u8>), Unspecified> {
    let nonce = random_hex(6)?;
    let key = keys.borrow_merchant().api_v3_key.as_bytes();
    let ciphertext = encrypt(key, &nonce, &event.original_type, &event.plaintext)?;
    let body = json!({
        "id": letter.id,
        "create_time": beijing_time(letter.created_at),
        "resource_type": "encrypt-resource",
        "event_type": event.event_type,
        "summary": event.summary,
        "resource": {
            "original_type": event.original_type,
            "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": ciphertext,
            "associated_data": event.original_type,
            "nonce": nonce,
        },
    });
    let body = body.to_string().into_bytes();
    let seal = match fault {
        Some(FaultKind::Signtest) => Seal::Probe,
        Some(FaultKind::WronglySigned) => Seal::Wrong,
        Some(FaultKind::Unsigned) => Seal::Missing,
        _ => Seal::Good,
    };
    let mut headers = signature::headers(&Signer::of(keys, mode, None)?, now, &body, seal)?;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok((headers, body))
}

/// AES-256-GCM; base64 of the ciphertext with its tag behind it.
pub(super) fn encrypt(key: &[u8], nonce: &str, data: &str, plaintext: &str) -> Result<String, Unspecified> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key)?);
    let nonce = Nonce::try_assume_unique_for_key(nonce.as_bytes())?;
    let mut text = plaintext.as_bytes().to_vec();
    key.seal_in_place_append_tag(nonce, Aad::from(data.as_bytes()), &mut text)?;
    Ok(BASE64_STANDARD.encode(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn ciphertexts_are_those_of_the_vectors_byte_for_byte() {
        let vectors = vectors::read("wechat-notify.json");
        let keys = vectors::read("keys.json");
        let key = keys["wechat"]["apiv3_key"].as_str().expect("a key");
        let good = vectors["good"].as_array().expect("a list");
        for case in good {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let body: Value = serde_json::from_str(&text(&case["body"])).expect("JSON");
            let resource = &body["resource"];
            let encrypted = encrypt(
                key.as_bytes(),
                &text(&resource["nonce"]),
                &text(&resource["associated_data"]),
                &text(&case["decrypted_text"]),
            );
            let expected = text(&resource["ciphertext"]);
            assert_eq!(encrypted.expect("encrypted"), expected, "{}", case["id"]);
        }
        assert_eq!(good.len(), 5);
    }
}
