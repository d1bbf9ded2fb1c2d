//! Both sides' keys for Alipay, in its public key mode: the app's pair and Alipay's own.

use std::{fmt, fs, path::Path, sync::Arc};

use aws_lc_rs::{
    rsa::{KeyPair, PublicKey},
    signature::KeyPair as _,
};
use serde::{Deserialize, Serialize};

use crate::keys::{
    KeysError, at, kept, private_pem, public_pem, random_digits, read_file, read_key, two_key_pairs, write,
};

const FOLDER: &str = "alipay";
const IDS: &str = "ids.json";
const APP_KEY: &str = "app_private_key.pem";
const ALIPAY_KEY: &str = "alipay_private_key.pem";
const ALIPAY_PUBLIC_KEY: &str = "alipay_public_key.pem";

/// What a merchant of Alipay would be given or would own.
#[derive(Clone, PartialEq, Eq)]
pub struct AlipayMerchant {
    /// The app: 16 digits.
    pub app_id: String,
    /// The merchant's account (PID): 16 digits.
    pub seller_id: String,
    /// The app's key, PKCS#8.
    pub private_key_pem: String,
    /// The gateway's public key, SPKI; not that of the app.
    pub alipay_public_key_pem: String,
}

impl fmt::Debug for AlipayMerchant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlipayMerchant")
            .field("app_id", &self.app_id)
            .field("seller_id", &self.seller_id)
            .finish_non_exhaustive()
    }
}

/// The merchant's side and the gateway's own key.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) merchant: AlipayMerchant,
    app_key: Arc<KeyPair>,
    alipay_key: Arc<KeyPair>,
}

#[derive(Serialize, Deserialize)]
struct Ids {
    app_id: String,
    seller_id: String,
}

impl Keys {
    pub(crate) fn generate() -> Result<Self, KeysError> {
        let ids =
            Ids { app_id: format!("202100{}", random_digits(10)?), seller_id: format!("208800{}", random_digits(10)?) };
        let (app_key, alipay_key) = two_key_pairs()?;
        Self::assemble(ids, app_key, alipay_key)
    }

    pub(crate) fn load_or_create(home: &Path) -> Result<Self, KeysError> {
        kept(home, FOLDER, IDS, Self::load, Self::generate, Self::save)
    }

    pub(super) fn app_public_key(&self) -> &PublicKey {
        self.app_key.public_key()
    }

    pub(super) fn alipay_key(&self) -> &KeyPair {
        &self.alipay_key
    }

    fn load(folder: &Path) -> Result<Self, KeysError> {
        let path = folder.join(IDS);
        let ids = read_file(&path)?;
        let ids = serde_json::from_slice(&ids).map_err(|_| KeysError::Content { path })?;
        Self::assemble(ids, read_key(folder.join(APP_KEY))?, read_key(folder.join(ALIPAY_KEY))?)
    }

    fn save(&self, folder: &Path) -> Result<(), KeysError> {
        let ids = Ids { app_id: self.merchant.app_id.clone(), seller_id: self.merchant.seller_id.clone() };
        let ids = serde_json::to_string_pretty(&ids).map_err(|_| KeysError::Generate)?;
        let alipay_key = private_pem(&self.alipay_key)?;
        fs::create_dir_all(folder).map_err(at(folder))?;
        write(folder.join(IDS), &ids, 0o600)?;
        write(folder.join(APP_KEY), &self.merchant.private_key_pem, 0o600)?;
        write(folder.join(ALIPAY_KEY), &alipay_key, 0o600)?;
        write(folder.join(ALIPAY_PUBLIC_KEY), &self.merchant.alipay_public_key_pem, 0o644)
    }

    fn assemble(ids: Ids, app: KeyPair, alipay: KeyPair) -> Result<Self, KeysError> {
        Ok(Self {
            merchant: AlipayMerchant {
                app_id: ids.app_id,
                seller_id: ids.seller_id,
                private_key_pem: private_pem(&app)?,
                alipay_public_key_pem: public_pem(&alipay)?,
            },
            app_key: Arc::new(app),
            alipay_key: Arc::new(alipay),
        })
    }

    /// Keys that are not made here: those of the vectors.
    #[cfg(test)]
    pub(super) fn of_vectors() -> Self {
        let vectors = crate::vectors::read("keys.json");
        let alipay = &vectors["alipay"];
        let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
        let key = |name: &str| {
            let pem = text(&alipay[name]["private_pkcs8_pem"]);
            crate::keys::private_key(pem.as_bytes()).expect("PKCS#8")
        };
        let ids = Ids { app_id: text(&alipay["app_id"]), seller_id: text(&alipay["seller_id"]) };
        Self::assemble(ids, key("app"), key("alipay")).expect("assembled")
    }
}
