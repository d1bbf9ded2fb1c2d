//! RSA2 (RSASSA-PKCS1-v1_5 with SHA-256) over Alipay's texts: signs what we send, verifies what we get.
//!
//! Source: Alipay's open platform, "signing" and "verifying", and the official SDKs for Java, Node and Python.
//!
//! Certificate mode would come in here: the verifier would hold the certificate's key and number, and
//! [`request`](super::request) would send `app_cert_sn` and `alipay_root_cert_sn`.

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

use super::config::ConfigError;
use super::form::Fields;

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

    pub(super) fn sign_text(&self, text: &str) -> Result<String, Unspecified> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)?;
        Ok(STANDARD.encode(signature))
    }
}

/// Verifies with Alipay's key.
pub(super) struct Verifier(ParsedPublicKey);

impl Verifier {
    /// Reads Alipay's key: SPKI, PEM or bare base64. The app's own key, the classic mistake, is noticed.
    pub(super) fn new(key: &str, signer: &Signer) -> Result<Self, ConfigError> {
        let verifier = public_key(key).map(Self).map_err(ConfigError::AlipayPublicKey)?;
        let ours = signer.sign_text("ours").is_ok_and(|sign| verifier.fits("ours", &sign));
        if ours {
            return Err(ConfigError::AlipayPublicKey("is the app's own public key"));
        }
        Ok(verifier)
    }

    /// The node of an answer as Alipay signed it: read this text and no other. It is the very text that was
    /// sent; or, as the official Java SDK has it, that text with `\/` turned into `/`.
    pub(super) fn node<'a>(&self, sent: &'a str, sign: &str) -> Option<Cow<'a, str>> {
        if self.fits(sent, sign) {
            return Some(Cow::Borrowed(sent));
        }
        let unescaped = sent.contains(r"\/").then(|| sent.replace(r"\/", "/"))?;
        self.fits(&unescaped, sign).then_some(Cow::Owned(unescaped))
    }

    /// Whether Alipay signed these fields of a notification. `sign_type` is not signed here; empty values are,
    /// should there be any (the Java and Node SDKs; Alipay seems to send none).
    pub(super) fn notification(&self, fields: &Fields) -> bool {
        let signed = text(fields, &["sign", "sign_type"], true);
        fields.get("sign").is_some_and(|sign| self.fits(&signed, sign))
    }

    fn fits(&self, text: &str, sign: &str) -> bool {
        STANDARD.decode(sign).is_ok_and(|sign| self.0.verify_sig(text.as_bytes(), &sign).is_ok())
    }
}

fn public_key(text: &str) -> Result<ParsedPublicKey, &'static str> {
    if text.contains("BEGIN CERTIFICATE") {
        return Err("is a certificate, but certificate mode is not offered");
    }
    let der = if is_pem(text) {
        SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).map_err(|_| "is not a public key in PEM")?
    } else {
        SubjectPublicKeyInfoDer::from(bare(text).ok_or("is neither PEM nor base64")?)
    };
    let bits = PublicKey::from_der(&der).map_err(|_| "is damaged or not an RSA key")?.modulus_len() * 8;
    if !(2048..=8192).contains(&bits) {
        return Err("has fewer than 2048 or more than 8192 bits");
    }
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &der).map_err(|_| "is damaged or not an RSA key")
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
            assert!(Verifier::new(of(&keys["alipay"][form]), &signer).is_ok(), "{form}");
            let error = Verifier::new(of(&keys["app"][form]), &signer).err().unwrap();
            assert_eq!(error, ConfigError::AlipayPublicKey("is the app's own public key"));
        }
    }
}
