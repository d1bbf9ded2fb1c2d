//! AEAD_AES_256_GCM with the APIv3 key: what WeChat Pay encrypts for the merchant.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use super::config::ConfigError;
use super::wire::Sealed;

/// Opens what was sealed with the APIv3 key. It only opens: nonces are the provider's.
pub(super) struct Cipher(LessSafeKey);

impl Cipher {
    /// Takes the key: 32 bytes, as they are.
    pub(super) fn new(key: &SecretString) -> Result<Self, ConfigError> {
        let key = key.expose_secret().as_bytes();
        let wrong = |_| ConfigError::ApiV3Key(key.len());
        UnboundKey::new(&AES_256_GCM, key).map(|key| Self(LessSafeKey::new(key))).map_err(wrong)
    }

    /// The plain text, if the tag fits the text, the nonce and the associated data.
    pub(super) fn open(&self, sealed: &Sealed) -> Option<Vec<u8>> {
        let nonce = Nonce::try_assume_unique_for_key(sealed.nonce.as_bytes()).ok()?;
        let aad = Aad::from(sealed.associated_data.as_deref().unwrap_or_default());
        let mut text = STANDARD.decode(&sealed.ciphertext).ok()?;
        let length = self.0.open_in_place(nonce, aad, &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}
