//! RSA2 (RSASSA-PKCS1-v1_5 with SHA-256) over Alipay's texts: signs what we send, verifies what we get.
//!
//! Source: Alipay's open platform, "signing" and "verifying", and the official SDKs for Java, Node and Python.

use std::borrow::Cow;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::PublicKey;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use secrecy::{ExposeSecret, SecretString};

use super::certificates::{self, Numbers};
use super::config::{ConfigError, Mode};
use super::form::Fields;
use domain::Timestamp;

/// Why an answer is not believed whose certificate nobody gave us.
pub(super) const UNKNOWN_CERTIFICATE: &str = "signed with a certificate that we were not given";

/// The text that is signed: `a=1&b=2`, sorted by name, values as they are, without those named in `without`
/// and without the empty.
fn text(fields: &Fields, without: &[&str], empty: bool) -> String {
    let signed = |(name, value): &(&String, &String)| !without.contains(&name.as_str()) && (empty || !value.is_empty());
    let pair = |(name, value): (&String, &String)| format!("{name}={value}");
    fields.iter().filter(signed).map(pair).collect::<Vec<_>>().join("&")
}

/// Signs our requests with the app's key. About 0.4 ms a signature.
pub(super) struct Signer(RsaKeyPair);

impl Signer {
    /// Reads the app's key: PKCS#8 or PKCS#1, PEM or bare base64, at least 2048 bits.
    pub(super) fn new(key: &SecretString) -> Result<Self, ConfigError> {
        let text = key.expose_secret();
        let key = if is_pem(text) {
            let der = PrivateKeyDer::from_pem_slice(text.as_bytes())
                .map_err(|_| ConfigError::PrivateKey("is not a private key in PEM"))?;
            match &der {
                PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
                PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
                _ => return Err(ConfigError::PrivateKey("is not an RSA key")),
            }
        } else {
            let der = bare(text).ok_or(ConfigError::PrivateKey("is neither PEM nor base64"))?;
            // A key of PKCS#1 begins where PKCS#8 wraps it: trying both cannot mistake one for the other.
            RsaKeyPair::from_pkcs8(&der).or_else(|why| RsaKeyPair::from_der(&der).map_err(|_| why))
        };
        key.map(Self).map_err(|why| match why.to_string().as_str() {
            "TooSmall" => ConfigError::PrivateKey("has fewer than 2048 bits"),
            _ => ConfigError::PrivateKey("is damaged or not an RSA key"),
        })
    }

    /// The `sign` of a request: over every field but `sign` itself (`sign_type` is signed) and the empty ones.
    pub(super) fn sign(&self, fields: &Fields) -> Result<String, Unspecified> {
        self.sign_text(&text(fields, &["sign"], false))
    }

    /// Whether this is the public half of the app's key.
    pub(super) fn owns(&self, key: &ParsedPublicKey) -> bool {
        let mut signature = vec![0; self.0.public_modulus_len()];
        let signed = self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), b"ours", &mut signature);
        signed.is_ok() && key.verify_sig(b"ours", &signature).is_ok()
    }

    pub(super) fn sign_text(&self, text: &str) -> Result<String, Unspecified> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)?;
        Ok(STANDARD.encode(signature))
    }
}

/// A key that Alipay signs with.
pub(super) struct AlipayKey {
    /// The certificate it comes from; `None` in public-key mode.
    pub cert_sn: Option<String>,
    pub key: ParsedPublicKey,
}

/// Verifies with Alipay's keys: one, or in certificate mode one for each certificate of its file.
pub(super) struct Verifier(Vec<AlipayKey>);

impl Verifier {
    /// Reads Alipay's key (SPKI, PEM or bare base64) or the three files of certificates, whose numbers requests
    /// must carry. The app's own key, the classic mistake, is noticed.
    pub(super) fn new(mode: &Mode, signer: &Signer, now: Timestamp) -> Result<(Self, Option<Numbers>), ConfigError> {
        match mode {
            Mode::PublicKey(text) => {
                let key = public_key(text).map_err(ConfigError::AlipayPublicKey)?;
                if signer.owns(&key) {
                    return Err(ConfigError::AlipayPublicKey("is the app's own public key"));
                }
                Ok((Self(vec![AlipayKey { cert_sn: None, key }]), None))
            }
            Mode::Certificates { app, alipay, root } => {
                let (numbers, keys) = certificates::read(app, alipay, root, signer, now)?;
                Ok((Self(keys), Some(numbers)))
            }
        }
    }

    /// The node of an answer as Alipay signed it: read this text and no other. It is the very text that was
    /// sent; or, as the official Java SDK has it, that text with `\/` turned into `/`. An answer that names a
    /// certificate must name one of ours; the name itself proves nothing.
    pub(super) fn node<'a>(
        &self,
        sent: &'a str,
        sign: &str,
        cert_sn: Option<&str>,
    ) -> Result<Cow<'a, str>, &'static str> {
        let named = |key: &&AlipayKey| cert_sn.is_none() || key.cert_sn.is_none() || key.cert_sn.as_deref() == cert_sn;
        let keys: Vec<&AlipayKey> = self.0.iter().filter(named).collect();
        if keys.is_empty() {
            return Err(UNKNOWN_CERTIFICATE);
        }
        let fits = |text: &str| keys.iter().any(|key| key.fits(text, sign));
        if fits(sent) {
            return Ok(Cow::Borrowed(sent));
        }
        let unescaped = sent.contains(r"\/").then(|| sent.replace(r"\/", "/"));
        unescaped.filter(|text| fits(text)).map(Cow::Owned).ok_or("the signature does not fit")
    }

    /// Whether Alipay signed these fields of a notification. `sign_type` is not signed here; empty values are,
    /// should there be any (the Java and Node SDKs; Alipay seems to send none).
    pub(super) fn notification(&self, fields: &Fields) -> bool {
        let signed = text(fields, &["sign", "sign_type"], true);
        fields.get("sign").is_some_and(|sign| self.0.iter().any(|key| key.fits(&signed, sign)))
    }
}

impl AlipayKey {
    fn fits(&self, text: &str, sign: &str) -> bool {
        STANDARD.decode(sign).is_ok_and(|sign| self.key.verify_sig(text.as_bytes(), &sign).is_ok())
    }
}

fn public_key(text: &str) -> Result<ParsedPublicKey, &'static str> {
    if text.contains("PRIVATE KEY-----") {
        return Err("is a private key");
    }
    if text.contains("BEGIN CERTIFICATE") {
        return Err("is a certificate, which belongs to certificate mode and its three files");
    }
    let der = if is_pem(text) {
        SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).map_err(|_| "is not a public key in PEM")?
    } else {
        SubjectPublicKeyInfoDer::from(bare(text).ok_or("is neither PEM nor base64")?)
    };
    rsa_key(&der)
}

/// Reads an SPKI in DER: RSA, 2048 to 8192 bits.
pub(super) fn rsa_key(der: &[u8]) -> Result<ParsedPublicKey, &'static str> {
    let bits = PublicKey::from_der(der).map_err(|_| "is damaged or not an RSA key")?.modulus_len() * 8;
    if !(2048..=8192).contains(&bits) {
        return Err("has fewer than 2048 or more than 8192 bits");
    }
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).map_err(|_| "is damaged or not an RSA key")
}

fn is_pem(text: &str) -> bool {
    text.contains("-----BEGIN")
}

/// Base64 as the console gives it, on one line or broken into some.
fn bare(text: &str) -> Option<Vec<u8>> {
    let line: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(line).ok().filter(|der| !der.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateways::alipay::vectors::{self, fields, text as of};

    fn signer(form: &str) -> Signer {
        Signer::new(&of(&vectors::keys()["alipay"]["app"][form]).into()).unwrap()
    }

    #[test]
    fn requests_are_signed_byte_for_byte_with_the_key_in_every_form() {
        let vectors = vectors::request();
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 18);
        for form in ["private_pkcs8_pem", "private_pkcs1_pem", "private_pkcs8_bare", "private_pkcs1_bare"] {
            let signer = signer(form);
            for case in cases {
                let params = fields(&case["params"]);
                assert_eq!(text(&params, &["sign"], false), of(&case["sign_content"]), "{}", case["id"]);
                assert_eq!(signer.sign(&params).unwrap(), params["sign"], "{}", case["id"]);
                assert_eq!(params["sign"], of(&case["sign"]), "{}", case["id"]);
            }
        }
    }

    #[test]
    fn empty_fields_are_not_signed_in_a_request_and_are_in_a_notification() {
        let fields = Fields::from([("b".into(), String::new()), ("a".into(), "1".into()), ("sign".into(), "x".into())]);
        assert_eq!(text(&fields, &["sign"], false), "a=1");
        assert_eq!(text(&fields, &["sign"], true), "a=1&b=");
    }

    #[test]
    fn alipays_key_is_read_in_every_form_and_is_not_the_apps() {
        let keys = &vectors::keys()["alipay"];
        let signer = signer("private_pkcs8_pem");
        for form in ["public_spki_pem", "public_spki_bare"] {
            let read = |key: &serde_json::Value| {
                Verifier::new(&Mode::PublicKey(of(&key[form]).to_owned()), &signer, vectors::now())
            };
            assert!(read(&keys["alipay"]).is_ok(), "{form}");
            let error = read(&keys["app"]).err().unwrap();
            assert_eq!(error, ConfigError::AlipayPublicKey("is the app's own public key"));
        }
    }
}
