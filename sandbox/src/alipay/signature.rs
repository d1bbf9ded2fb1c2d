//! RSA2: RSA PKCS#1 v1.5 with SHA-256 over sorted `name=value` pairs, or over an answer's raw text.

use aws_lc_rs::{
    error::Unspecified,
    rand::SystemRandom,
    rsa::{KeyPair, PublicKey},
    signature::{self, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey},
};
use base64::{Engine, prelude::BASE64_STANDARD};

use crate::faults::FaultKind;

/// How an answer or a notification is to be signed. All but the first are faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seal {
    Good,
    Missing,
    /// The signature of another text.
    Wrong,
}

impl Seal {
    pub(super) fn of(fault: Option<FaultKind>) -> Self {
        match fault {
            Some(FaultKind::Unsigned) => Self::Missing,
            // Alipay has no marked probes: a wrong signature is all a receiver sees.
            Some(FaultKind::WronglySigned | FaultKind::Signtest) => Self::Wrong,
            _ => Self::Good,
        }
    }

    /// The signature that belongs to it; `None`: there is none.
    pub(super) fn sign(self, key: &KeyPair, text: &str) -> Result<Option<String>, Unspecified> {
        match self {
            Self::Good => sign(key, text).map(Some),
            Self::Missing => Ok(None),
            Self::Wrong => sign(key, "another text").map(Some),
        }
    }
}

/// Base64 of the signature of `text`.
pub(super) fn sign(key: &KeyPair, text: &str) -> Result<String, Unspecified> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)?;
    Ok(BASE64_STANDARD.encode(signature))
}

/// Whether `signature` (base64) of the text was made by the owner of the key.
pub(super) fn is_signed_by(key: &PublicKey, text: &str, signature: &str) -> bool {
    let Ok(signature) = BASE64_STANDARD.decode(signature) else {
        return false;
    };
    let key: UnparsedPublicKey<_> = signature::UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
    key.verify(text.as_bytes(), &signature).is_ok()
}

/// `a=1&b=2`, in the order given, which must be that of the names. Values are not URL-encoded.
pub(super) fn content<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}
