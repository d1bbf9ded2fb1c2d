//! Whether a webhook comes from Payonce: Standard Webhooks, without a library. Most languages have one.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Older or newer than this, in seconds, and it is not believed: somebody may have kept it.
const TOLERANCE: i64 = 5 * 60;

/// The three headers of a webhook.
pub struct Headers<'a> {
    /// `webhook-id`
    pub id: &'a str,
    /// `webhook-timestamp`
    pub timestamp: &'a str,
    /// `webhook-signature`
    pub signature: &'a str,
}

/// Whether one of the signatures is made with this secret (`whsec_…`), over exactly these bytes, about now
/// (in seconds of Unix time).
pub fn is_genuine(secret: &str, headers: &Headers<'_>, body: &[u8], now: i64) -> bool {
    let Some(secret) = secret.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok()) else { return false };
    let Ok(timestamp) = headers.timestamp.parse::<i64>() else { return false };
    if (now - timestamp).abs() > TOLERANCE {
        return false;
    }
    let signed = [headers.id.as_bytes(), b".", headers.timestamp.as_bytes(), b".", body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let of_version_1 = headers.signature.split(' ').filter_map(|one| one.strip_prefix("v1,"));
    // `verify` compares in constant time.
    of_version_1.filter_map(|one| STANDARD.decode(one).ok()).any(|tag| hmac::verify(&key, &signed, &tag).is_ok())
}
