//! Who asks? Checks the merchant's `Authorization` as the real gateway does: the clock first, then
//! the key, then the signature over the raw target and the raw body.

use aws_lc_rs::rsa::PublicKey;
use chrono::{DateTime, Utc};

use super::{
    refusal::Refusal,
    signature::{SCHEME, is_signed_by},
};

/// A request as it came over the wire, before anyone has read anything into it.
pub(super) struct RawRequest<'a> {
    pub(super) method: &'a str,
    /// Path and query, percent-encoded as sent.
    pub(super) target: &'a str,
    pub(super) authorization: Option<&'a str>,
    pub(super) body: &'a [u8],
}

/// The merchant as the gateway knows it.
pub(super) struct KnownMerchant<'a> {
    pub(super) mchid: &'a str,
    pub(super) serial_no: &'a str,
    pub(super) public_key: &'a PublicKey,
}

/// Refuses with 401 `SIGN_ERROR` whatever the merchant has not signed within five minutes of `now`.
pub(super) fn check(request: &RawRequest<'_>, merchant: &KnownMerchant<'_>, now: DateTime<Utc>) -> Result<(), Refusal> {
    let authorization = request
        .authorization
        .and_then(Authorization::parse)
        .ok_or_else(|| Refusal::unauthorized(malformed(request.target)))?;
    let skew = now.timestamp().saturating_sub(authorization.timestamp);
    if skew.saturating_abs() > 300 {
        return Err(Refusal::unauthorized("Http头Authorization中的timestamp与发起请求的时间不得超过5分钟"));
    }
    if authorization.mchid != merchant.mchid {
        return Err(Refusal::unauthorized("商户号不存在"));
    }
    // One client in production always sends the serial in lower case.
    if !authorization.serial_no.eq_ignore_ascii_case(merchant.serial_no) {
        return Err(Refusal::unauthorized("商户证书序列号有误"));
    }
    let head =
        format!("{}\n{}\n{}\n{}\n", request.method, request.target, authorization.timestamp_text, authorization.nonce);
    let message = [head.as_bytes(), request.body, b"\n"].concat();
    if !is_signed_by(merchant.public_key, &message, authorization.signature) {
        return Err(Refusal::unauthorized("签名错误"));
    }
    Ok(())
}

fn malformed(target: &str) -> &'static str {
    if target.starts_with("/v3/pay/transactions/") {
        "签名信息错误，验签失败"
    } else {
        "Http头Authorization值格式错误"
    }
}

/// The header's parts; in whatever order they came.
struct Authorization<'a> {
    mchid: &'a str,
    nonce: &'a str,
    signature: &'a str,
    timestamp: i64,
    timestamp_text: &'a str,
    serial_no: &'a str,
}

impl<'a> Authorization<'a> {
    fn parse(header: &'a str) -> Option<Self> {
        let pairs = header.strip_prefix(SCHEME)?.strip_prefix(' ')?;
        let (mut mchid, mut nonce, mut signature, mut timestamp, mut serial_no) = (None, None, None, None, None);
        for pair in pairs.split(',') {
            let (name, value) = pair.trim().split_once('=')?;
            let value = value.strip_prefix('"')?.strip_suffix('"')?;
            let part = match name {
                "mchid" => &mut mchid,
                "nonce_str" => &mut nonce,
                "signature" => &mut signature,
                "timestamp" => &mut timestamp,
                "serial_no" => &mut serial_no,
                _ => continue,
            };
            if part.replace(value).is_some() {
                return None;
            }
        }
        let (nonce, timestamp_text) = (nonce?, timestamp?);
        let nonce_is_usual = (1..=32).contains(&nonce.len()) && nonce.bytes().all(|byte| byte.is_ascii_alphanumeric());
        nonce_is_usual.then_some(())?;
        Some(Self {
            mchid: mchid?,
            nonce,
            signature: signature?,
            timestamp: timestamp_text.parse().ok()?,
            timestamp_text,
            serial_no: serial_no?,
        })
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::KeyPair;
    use serde_json::Value;

    use super::*;
    use crate::{keys::private_key, vectors};

    fn text(value: &Value) -> &str {
        value.as_str().expect("text")
    }

    struct Case {
        method: String,
        target: String,
        authorization: String,
        body: Vec<u8>,
    }

    impl Case {
        fn check_at(&self, seconds: i64) -> Result<(), Refusal> {
            let keys = vectors::read("keys.json");
            let merchant = &keys["wechat"]["merchant"];
            let key = private_key(text(&merchant["private_pkcs8_pem"]).as_bytes()).expect("a key");
            let known = KnownMerchant {
                mchid: text(&keys["wechat"]["mchid"]),
                serial_no: text(&merchant["serial_no"]),
                public_key: key.public_key(),
            };
            let request = RawRequest {
                method: &self.method,
                target: &self.target,
                authorization: Some(&self.authorization),
                body: &self.body,
            };
            let now = DateTime::from_timestamp(seconds, 0).expect("in range");
            check(&request, &known, now)
        }

        fn check(&self) -> Result<(), Refusal> {
            self.check_at(1_767_225_600)
        }
    }

    fn cases(order: &str) -> Vec<Case> {
        let vectors = vectors::read("wechat-request-auth.json");
        let cases = vectors["cases"].as_array().expect("a list").iter();
        cases
            .map(|case| Case {
                method: text(&case["method"]).to_owned(),
                target: text(&case["sign_url"]).to_owned(),
                authorization: text(&case[order]).to_owned(),
                body: text(&case["body"]).as_bytes().to_vec(),
            })
            .collect()
    }

    #[test]
    fn all_vectors_are_accepted_in_either_order_and_with_a_lower_case_serial() {
        let mut accepted = 0;
        for order in ["authorization", "authorization_other_order"] {
            for mut case in cases(order) {
                case.check().expect(&case.target);
                let serial = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1";
                case.authorization = case.authorization.replace(serial, &serial.to_lowercase());
                case.check().expect("the serial's case does not matter");
                accepted += 1;
            }
        }
        assert_eq!(accepted, 22);
    }

    #[test]
    fn one_changed_byte_anywhere_is_refused() {
        for case in cases("authorization") {
            let changes: [&dyn Fn(&mut Case); 6] = [
                &|case| case.method = if case.method == "GET" { "PUT" } else { "GET" }.to_owned(),
                &|case| case.target.push('0'),
                &|case| match case.body.last_mut() {
                    Some(byte) => *byte ^= 1,
                    None => case.body.push(b' '),
                },
                &|case| case.authorization = changed(&case.authorization, "nonce_str=\""),
                &|case| case.authorization = changed(&case.authorization, "signature=\""),
                &|case| {
                    case.authorization = case.authorization.replace("1767225600", "1767225601");
                },
            ];
            for (index, change) in changes.iter().enumerate() {
                let mut case = Case {
                    method: case.method.clone(),
                    target: case.target.clone(),
                    authorization: case.authorization.clone(),
                    body: case.body.clone(),
                };
                change(&mut case);
                let refused = case.check().expect_err(&format!("{} {index}", case.target));
                assert_eq!((refused.status, refused.code), (401, "SIGN_ERROR"));
                assert_eq!(refused.message, "签名错误");
            }
        }
    }

    /// The header with the character after `mark` replaced.
    fn changed(header: &str, mark: &str) -> String {
        let at = header.find(mark).expect(mark) + mark.len();
        let other = if header[at..].starts_with('A') { "B" } else { "A" };
        [&header[..at], other, &header[at + 1..]].concat()
    }

    #[test]
    fn five_minutes_off_pass_and_a_second_more_is_refused_before_the_signature_is_looked_at() {
        let mut case = cases("authorization").remove(0);
        for skew in [-300, 300] {
            case.check_at(1_767_225_600 + skew).expect("within five minutes");
        }
        case.authorization = changed(&case.authorization, "signature=\"");
        for skew in [-301, 301] {
            let refused = case.check_at(1_767_225_600 + skew).expect_err("too far off");
            assert!(refused.message.contains("5分钟"), "{}", refused.message);
        }
    }

    #[test]
    fn a_malformed_header_is_refused_in_the_words_of_its_path() {
        let good = cases("authorization").remove(0).authorization;
        let wrong = [
            String::new(),
            "Bearer abc".to_owned(),
            good.replace("mchid=", "merchant="),
            good.replace("timestamp=\"1767225600\"", "timestamp=\"now\""),
            good.clone() + ",mchid=\"1900000001\"",
            good.replace("SHA256-RSA2048 ", "SHA256-RSA2048"),
        ];
        for authorization in wrong {
            for (target, message) in [
                ("/v3/pay/transactions/native", "签名信息错误，验签失败"),
                ("/v3/certificates", "Http头Authorization值格式错误"),
            ] {
                let case = Case {
                    method: "GET".to_owned(),
                    target: target.to_owned(),
                    authorization: authorization.clone(),
                    body: Vec::new(),
                };
                assert_eq!(case.check().expect_err("malformed").message, message);
            }
        }
    }
}
