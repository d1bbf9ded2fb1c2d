//! RSASSA-PKCS1-v1_5 with SHA-256 over raw bytes: signs what we send, verifies what we get.
//!
//! Source: WeChat Pay API v3, "signature generation" and "signature verification", and the official SDKs.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa::PublicKey;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::Timestamp;
use http::HeaderMap;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use secrecy::{ExposeSecret, SecretString};

use super::certificates::Certificates;
use super::config::{ConfigError, is_certificate_serial, is_key_name};

/// The one algorithm: scheme of `Authorization` and value of `Wechatpay-Signature-Type`.
pub(super) const ALGORITHM: &str = "WECHATPAY2-SHA256-RSA2048";
/// WeChat Pay sends a wrong signature with this beginning now and then, to see that we verify.
const PROBE: &str = "WECHATPAY/SIGNTEST/";
/// A signature must be younger, and our clock not further behind.
const TOLERANCE_SECONDS: u64 = 300;

/// Signs our requests with the merchant's key. About 0.4 ms a signature.
pub(super) struct Signer {
    mchid: String,
    serial_no: String,
    key: RsaKeyPair,
}

impl Signer {
    /// Reads the merchant's key: PKCS#8 or PKCS#1 in PEM, at least 2048 bits.
    pub(super) fn new(mchid: &str, serial_no: &str, pem: &SecretString) -> Result<Self, ConfigError> {
        let der = PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes())
            .map_err(|_| ConfigError::PrivateKey(what_it_is(pem.expose_secret(), "is not a private key in PEM")))?;
        let key = match &der {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(ConfigError::PrivateKey("is not an RSA key")),
        };
        let key = key.map_err(|why| match why.to_string().as_str() {
            "TooSmall" => ConfigError::PrivateKey("has fewer than 2048 bits"),
            _ => ConfigError::PrivateKey("is damaged or not an RSA key"),
        })?;
        Ok(Self { mchid: mchid.to_owned(), serial_no: serial_no.to_owned(), key })
    }

    /// The public half, as PKCS#1 in DER.
    pub(super) fn public_key(&self) -> &[u8] {
        aws_lc_rs::signature::KeyPair::public_key(&self.key).as_ref()
    }

    /// The `Authorization` of one attempt; another attempt needs another. `target` is path and query as
    /// they go over the wire, `body` the very bytes that are sent.
    pub(super) fn authorization(
        &self,
        method: &str,
        target: &str,
        now: Timestamp,
        body: &[u8],
    ) -> Result<String, Unspecified> {
        self.authorization_with(method, target, now.timestamp(), &nonce()?, body)
    }

    fn authorization_with(
        &self,
        method: &str,
        target: &str,
        timestamp: i64,
        nonce: &str,
        body: &[u8],
    ) -> Result<String, Unspecified> {
        let mut message = format!("{method}\n{target}\n{timestamp}\n{nonce}\n").into_bytes();
        message.extend_from_slice(body);
        message.push(b'\n');
        let signature = self.sign(&message)?;
        let Self { mchid, serial_no, .. } = self;
        Ok(format!(
            "{ALGORITHM} mchid=\"{mchid}\",nonce_str=\"{nonce}\",signature=\"{signature}\",\
             timestamp=\"{timestamp}\",serial_no=\"{serial_no}\""
        ))
    }

    /// The signature over these bytes, in base64.
    pub(super) fn sign(&self, message: &[u8]) -> Result<String, Unspecified> {
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)?;
        Ok(STANDARD.encode(signature))
    }
}

/// 32 capital letters and digits, never the same twice.
pub(super) fn nonce() -> Result<String, Unspecified> {
    let mut random = [0; 16];
    rand::fill(&mut random)?;
    Ok(hex::encode_upper(random))
}

/// Where signed headers came with. The difference: the official SDKs do not ask an answer for its
/// signature type, so one that does not say it is taken; one that says another is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signed {
    Answer,
    Notification,
}

/// Why a signature is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
pub(super) enum SignatureError {
    Headers,
    Type,
    Timestamp,
    Stale,
    UnknownKey,
    /// A name that a certificate may have which we have not seen yet.
    UnknownCertificate,
    Probe,
    Wrong,
}

impl SignatureError {
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Headers => "a Wechatpay header is missing, repeated or not text",
            Self::Type => "the signature type is not WECHATPAY2-SHA256-RSA2048",
            Self::Timestamp => "the timestamp is not a number of seconds",
            Self::Stale => "the timestamp is 300 s or more away from our clock",
            Self::UnknownKey => "signed with a key that is not configured",
            Self::UnknownCertificate => "signed under a certificate that we do not know",
            Self::Probe => "a signature probe, wrong on purpose",
            Self::Wrong => "the signature does not fit",
        }
    }
}

/// Verifies with the key that the sender names, and never with another.
pub(super) struct Verifier {
    configured: HashMap<String, ParsedPublicKey>,
    /// Replaced as a whole while others verify.
    certificates: RwLock<Arc<Certificates>>,
}

impl Verifier {
    /// Reads the keys that are configured; with none, nothing verifies before certificates are there.
    pub(super) fn new(keys: &[(String, String)]) -> Result<Self, ConfigError> {
        let mut configured = HashMap::new();
        for (serial, pem) in keys {
            if !is_key_name(serial) {
                return Err(ConfigError::PlatformSerial(serial.clone()));
            }
            let key =
                public_key(pem).map_err(|problem| ConfigError::PlatformKey { serial: serial.clone(), problem })?;
            if configured.insert(serial.to_ascii_uppercase(), key).is_some() {
                return Err(ConfigError::PlatformKeyTwice(serial.clone()));
            }
        }
        Ok(Self { configured, certificates: RwLock::default() })
    }

    /// With these certificates alone.
    pub(super) fn of(certificates: Certificates) -> Self {
        Self { configured: HashMap::new(), certificates: RwLock::new(Arc::new(certificates)) }
    }

    /// The certificates again.
    pub(super) fn into_certificates(self) -> Certificates {
        let certificates = self.certificates.into_inner().unwrap_or_else(PoisonError::into_inner);
        Arc::into_inner(certificates).unwrap_or_default()
    }

    /// Takes these certificates in the place of those that were there.
    pub(super) fn replace(&self, certificates: Certificates) {
        *self.certificates.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificates);
    }

    fn certificates(&self) -> Arc<Certificates> {
        self.certificates.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether anything can be verified at this moment.
    pub(super) fn has_keys(&self, now: Timestamp) -> bool {
        !self.configured.is_empty() || self.certificates().values().any(|certificate| certificate.is_valid(now))
    }

    /// Whether a key of this name is configured; case does not matter.
    pub(super) fn knows(&self, serial: &str) -> bool {
        self.configured.contains_key(&serial.to_ascii_uppercase())
    }

    /// Says that exactly these bytes were signed by WeChat Pay, not long ago.
    pub(super) fn verify(
        &self,
        signed: Signed,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        let timestamp = once(headers, "wechatpay-timestamp")?.ok_or(SignatureError::Headers)?;
        let nonce = once(headers, "wechatpay-nonce")?.ok_or(SignatureError::Headers)?;
        let signature = once(headers, "wechatpay-signature")?.ok_or(SignatureError::Headers)?;
        let serial = once(headers, "wechatpay-serial")?.ok_or(SignatureError::Headers)?;
        match once(headers, "wechatpay-signature-type")? {
            Some(ALGORITHM) => {}
            None if signed == Signed::Answer => {}
            None => return Err(SignatureError::Headers),
            Some(_) => return Err(SignatureError::Type),
        }
        if seconds(timestamp)?.abs_diff(now.timestamp()) >= TOLERANCE_SECONDS {
            return Err(SignatureError::Stale);
        }
        let (certificates, named) = (self.certificates(), serial.to_ascii_uppercase());
        let of_certificate = || certificates.get(&named).filter(|one| one.is_valid(now)).map(|one| &one.key);
        let Some(key) = self.configured.get(&named).or_else(of_certificate) else {
            let certificate = is_certificate_serial(serial);
            return Err(if certificate { SignatureError::UnknownCertificate } else { SignatureError::UnknownKey });
        };
        if signature.starts_with(PROBE) {
            return Err(SignatureError::Probe);
        }
        let signature = STANDARD.decode(signature).map_err(|_| SignatureError::Wrong)?;
        let mut message = format!("{timestamp}\n{nonce}\n").into_bytes();
        message.extend_from_slice(body);
        message.push(b'\n');
        key.verify_sig(&message, &signature).map_err(|_| SignatureError::Wrong)
    }
}

fn public_key(pem: &str) -> Result<ParsedPublicKey, &'static str> {
    if pem.contains("BEGIN CERTIFICATE") {
        return Err("is a certificate (`openssl x509 -noout -pubkey` prints its key)");
    }
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| what_it_is(pem, "is not a public key in PEM"))?;
    parsed_key(&der)
}

/// A key (SPKI in DER) that signatures may be verified with.
pub(super) fn parsed_key(der: &[u8]) -> Result<ParsedPublicKey, &'static str> {
    let bits = PublicKey::from_der(der).map_err(|_| "is damaged or not an RSA key")?.modulus_len() * 8;
    if !(2048..=8192).contains(&bits) {
        return Err("has fewer than 2048 or more than 8192 bits");
    }
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).map_err(|_| "is damaged or not an RSA key")
}

/// Names what was given in the place of a key, where that can be told.
fn what_it_is(pem: &str, otherwise: &'static str) -> &'static str {
    let labels = [
        ("BEGIN CERTIFICATE", "is a certificate"),
        ("BEGIN PUBLIC KEY", "is a public key"),
        ("BEGIN RSA PUBLIC KEY", "is a public key of another form (PKCS#1)"),
        ("BEGIN ENCRYPTED PRIVATE KEY", "is locked with a password (`openssl pkcs8 -topk8 -nocrypt` takes it off)"),
        ("PRIVATE KEY", "is a private key"),
    ];
    labels
        .iter()
        .find(|(label, _)| pem.contains(label) && !otherwise.contains(&label.to_lowercase()))
        .map_or(otherwise, |(_, what)| what)
}

/// The header's value; two of one name are as bad as none, for nobody says which was meant.
fn once<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, SignatureError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| SignatureError::Headers),
        (Some(_), Some(_)) => Err(SignatureError::Headers),
    }
}

fn seconds(text: &str) -> Result<i64, SignatureError> {
    match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse().map_err(|_| SignatureError::Timestamp),
        false => Err(SignatureError::Timestamp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateways::wechat_pay::vectors::{self, headers, now, text};
    use http::HeaderValue;

    fn signer(pem: &str) -> Signer {
        let keys = &vectors::keys()["wechat"];
        Signer::new(text(&keys["mchid"]), text(&keys["merchant"]["serial_no"]), &text(&keys["merchant"][pem]).into())
            .unwrap()
    }

    fn verifier() -> Verifier {
        Verifier::new(&vectors::config("").platform_keys).unwrap()
    }

    #[test]
    fn requests_are_signed_byte_for_byte() {
        let vectors = vectors::request_auth();
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 11);
        for pem in ["private_pkcs8_pem", "private_pkcs1_pem"] {
            let signer = signer(pem);
            for case in cases {
                let field = |name: &str| text(&case[name]);
                assert_eq!(signer.sign(field("message").as_bytes()).unwrap(), field("signature"), "{}", case["id"]);
                let authorization = signer.authorization_with(
                    field("method"),
                    field("sign_url"),
                    field("timestamp").parse().unwrap(),
                    field("nonce_str"),
                    field("body").as_bytes(),
                );
                assert_eq!(authorization.unwrap(), field("authorization_other_order"), "{}", case["id"]);
            }
        }
    }

    #[test]
    fn every_attempt_is_signed_anew() {
        let signer = signer("private_pkcs8_pem");
        let one = || signer.authorization("GET", "/v3/certificates", now(), b"").unwrap();
        assert_ne!(one(), one());
        let nonce = nonce().unwrap();
        assert!(nonce.len() == 32 && nonce.bytes().all(|b| b.is_ascii_alphanumeric()));
    }

    #[test]
    fn good_answers_verify_and_bad_ones_say_why_not() {
        let (verifier, vectors) = (verifier(), vectors::response_verify());
        let verify = |case: &serde_json::Value| {
            verifier.verify(Signed::Answer, &headers(&case["headers"]), text(&case["body"]).as_bytes(), now())
        };
        for case in vectors["good"].as_array().unwrap() {
            assert_eq!(verify(case), Ok(()), "{}", case["id"]);
        }
        let bad = vectors["bad"].as_array().unwrap();
        assert_eq!(bad.len(), 9);
        for case in bad {
            let why = match (text(&case["id"]), text(&case["expect"])) {
                ("signtest_probe", "bad_signature") => SignatureError::Probe,
                (_, "bad_signature") => SignatureError::Wrong,
                (_, "unknown_serial") => SignatureError::UnknownCertificate,
                (_, "missing_header") => SignatureError::Headers,
                ("stale_timestamp" | "future_timestamp", _) => SignatureError::Stale,
                (id, other) => panic!("{id} expects {other}"),
            };
            assert_eq!(verify(case), Err(why), "{}", case["id"]);
        }
    }

    #[test]
    fn a_key_is_named_in_either_case_but_never_guessed() {
        let (mut headers, verifier) = (vectors::signed(b"{}"), verifier());
        let verify = |headers: &HeaderMap| verifier.verify(Signed::Notification, headers, b"{}", now());
        let serial = headers["wechatpay-serial"].to_str().unwrap().to_owned();
        for (named, expected) in [
            (serial.to_lowercase(), Ok(())),
            (serial[1..].to_owned(), Err(SignatureError::UnknownKey)),
            (format!("0{serial}"), Err(SignatureError::UnknownKey)),
            (String::new(), Err(SignatureError::UnknownKey)),
        ] {
            headers.insert("wechatpay-serial", HeaderValue::from_str(&named).unwrap());
            assert_eq!(verify(&headers), expected, "{named}");
        }
    }

    #[test]
    fn headers_count_once_or_not_at_all() {
        let verifier = verifier();
        let verify = |signed, headers: &HeaderMap| verifier.verify(signed, headers, b"", now());
        for name in ["timestamp", "nonce", "signature", "serial", "signature-type"] {
            let name: http::HeaderName = format!("wechatpay-{name}").parse().unwrap();
            for signed in [Signed::Answer, Signed::Notification] {
                let mut headers = vectors::signed(b"");
                headers.append(name.clone(), headers[&name].clone());
                assert_eq!(verify(signed, &headers), Err(SignatureError::Headers), "two of {name}");
                headers.remove(&name);
                let optional = signed == Signed::Answer && name == "wechatpay-signature-type";
                let expected = if optional { Ok(()) } else { Err(SignatureError::Headers) };
                assert_eq!(verify(signed, &headers), expected, "no {name}");
                headers.insert(name.clone(), HeaderValue::from_bytes(b"\xff").unwrap());
                assert_eq!(verify(signed, &headers), Err(SignatureError::Headers), "no text in {name}");
            }
        }
        let mut headers = vectors::signed(b"");
        headers.insert("wechatpay-signature-type", HeaderValue::from_static("WECHATPAY2-SM2-WITH-SM3"));
        assert_eq!(verify(Signed::Answer, &headers), Err(SignatureError::Type));
    }

    #[test]
    fn a_signature_lives_less_than_300_seconds_both_ways() {
        let (headers, verifier) = (vectors::signed(b""), verifier());
        for (seconds, expected) in
            [(-300, Err(SignatureError::Stale)), (-299, Ok(())), (299, Ok(())), (300, Err(SignatureError::Stale))]
        {
            let at = now() + domain::Duration::seconds(seconds);
            assert_eq!(verifier.verify(Signed::Answer, &headers, b"", at), expected, "{seconds}");
        }
        for (text, why) in [
            ("", SignatureError::Timestamp),
            ("+1767225600", SignatureError::Timestamp),
            ("1767225600.0", SignatureError::Timestamp),
            ("99999999999999999999", SignatureError::Timestamp),
            ("9223372036854775807", SignatureError::Stale),
        ] {
            let mut headers = headers.clone();
            headers.insert("wechatpay-timestamp", HeaderValue::from_str(text).unwrap());
            assert_eq!(verifier.verify(Signed::Answer, &headers, b"", now()), Err(why), "{text}");
        }
    }
}
