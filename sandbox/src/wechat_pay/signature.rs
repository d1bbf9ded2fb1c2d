//! How WeChat Pay signs: RSA PKCS#1 v1.5 with SHA-256 over lines that each end in `\n`.

use aws_lc_rs::{
    error::Unspecified,
    rand::SystemRandom,
    rsa::{KeyPair, PublicKey},
    signature::{self, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey},
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};

use super::certificates::Signer;
use crate::keys::random_hex;

pub(super) const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048";
const PROBE: &str = "WECHATPAY/SIGNTEST/";

/// How an answer or a notification is to be signed. All but the first are faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Seal {
    #[default]
    Good,
    Missing,
    /// The signature of another body.
    Wrong,
    /// Wrong on purpose and marked so; receivers must refuse it like any other wrong one.
    Probe,
}

/// The `Wechatpay-*` headers for a body that is sent now.
pub(super) fn headers(signer: &Signer, now: DateTime<Utc>, body: &[u8], seal: Seal) -> Result<HeaderMap, Unspecified> {
    let (timestamp, nonce) = (now.timestamp(), random_hex(16)?);
    let sign = |body: &[u8]| sign(&signer.key, timestamp, &nonce, body);
    let signature = match seal {
        Seal::Missing => return Ok(HeaderMap::new()),
        Seal::Good => sign(body)?,
        Seal::Wrong => sign(b"another body")?,
        Seal::Probe => PROBE.to_owned() + &sign(b"probe")?,
    };
    let named = [
        ("wechatpay-timestamp", timestamp.to_string()),
        ("wechatpay-nonce", nonce.clone()),
        ("wechatpay-signature", signature),
        ("wechatpay-serial", signer.serial.clone()),
        ("wechatpay-signature-type", SCHEME.to_owned()),
    ];
    named
        .into_iter()
        .map(|(name, value)| {
            let value = HeaderValue::from_str(&value).map_err(|_| Unspecified)?;
            Ok((HeaderName::from_static(name), value))
        })
        .collect()
}

/// Signs `timestamp\nnonce\nbody\n`, as answers and notifications are signed.
fn sign(key: &KeyPair, timestamp: i64, nonce: &str, body: &[u8]) -> Result<String, Unspecified> {
    let message = [format!("{timestamp}\n{nonce}\n").as_bytes(), body, b"\n"].concat();
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &message, &mut signature)?;
    Ok(BASE64_STANDARD.encode(signature))
}

/// Whether `signature` (base64) of the message was made by the owner of the key.
pub(super) fn is_signed_by(key: &PublicKey, message: &[u8], signature: &str) -> bool {
    let Ok(signature) = BASE64_STANDARD.decode(signature) else {
        return false;
    };
    let key: UnparsedPublicKey<_> = signature::UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
    key.verify(message, &signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        keys::{Keys, private_key},
        vectors,
        wechat_pay::KeyMode,
    };

    fn signer(name: &str) -> KeyPair {
        let keys = vectors::read("keys.json");
        let pem = keys["wechat"][name]["private_pkcs8_pem"].as_str().expect("a key");
        private_key(pem.as_bytes()).expect("PKCS#8")
    }

    fn assert_reproduced(file: &str) -> usize {
        let vectors = vectors::read(file);
        let good = vectors["good"].as_array().expect("a list");
        for case in good {
            let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
            let headers = &case["headers"];
            let signature = sign(
                &signer(&text(&case["signed_by"])),
                text(&headers["Wechatpay-Timestamp"]).parse().expect("seconds"),
                &text(&headers["Wechatpay-Nonce"]),
                text(&case["body"]).as_bytes(),
            );
            let expected = text(&headers["Wechatpay-Signature"]);
            assert_eq!(signature.expect("signed"), expected, "{}", case["id"]);
        }
        good.len()
    }

    #[test]
    fn signatures_of_answers_are_those_of_the_vectors_byte_for_byte() {
        assert_eq!(assert_reproduced("wechat-response-verify.json"), 5);
    }

    #[test]
    fn signatures_of_notifications_are_those_of_the_vectors_byte_for_byte() {
        assert_eq!(assert_reproduced("wechat-notify.json"), 5);
    }

    #[test]
    fn only_a_good_seal_verifies_and_a_probe_is_marked() {
        let keys = Keys::generate().expect("keys");
        let verifies = |seal| {
            let signer = Signer::of(&keys, KeyMode::PublicKey, None).expect("a key");
            let headers = headers(&signer, DateTime::UNIX_EPOCH, b"{}", seal).expect("signed");
            let nonce = headers["wechatpay-nonce"].to_str().expect("text");
            let message = format!("0\n{nonce}\n{{}}\n");
            let signature = headers["wechatpay-signature"].to_str().expect("text");
            let key = keys.platform_key();
            let key = signature::KeyPair::public_key(&*key);
            (is_signed_by(key, message.as_bytes(), signature), signature.starts_with(PROBE))
        };
        assert_eq!(verifies(Seal::Good), (true, false));
        assert_eq!(verifies(Seal::Wrong), (false, false));
        assert_eq!(verifies(Seal::Probe), (false, true));
    }
}
