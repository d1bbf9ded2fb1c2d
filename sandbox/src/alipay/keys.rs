//! Both sides' keys for Alipay: the app's pair and Alipay's own, and the certificates of both.

use std::{fmt, fs, path::Path, sync::Arc};

use aws_lc_rs::{
    rsa::{KeyPair, PublicKey},
    signature::KeyPair as _,
};
use serde::{Deserialize, Serialize};

use super::certificates::{self, AlipayCertificates};
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
    /// The same keys for certificate mode.
    pub certificates: AlipayCertificates,
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

/// What is kept of it, beside the certificates.
struct Pairs {
    ids: Ids,
    app: KeyPair,
    alipay: KeyPair,
}

impl Pairs {
    fn generate() -> Result<Self, KeysError> {
        let ids =
            Ids { app_id: format!("202100{}", random_digits(10)?), seller_id: format!("208800{}", random_digits(10)?) };
        let (app, alipay) = two_key_pairs()?;
        Ok(Self { ids, app, alipay })
    }

    fn load(folder: &Path) -> Result<Self, KeysError> {
        let path = folder.join(IDS);
        let ids = read_file(&path)?;
        let ids = serde_json::from_slice(&ids).map_err(|_| KeysError::Content { path })?;
        Ok(Self { ids, app: read_key(folder.join(APP_KEY))?, alipay: read_key(folder.join(ALIPAY_KEY))? })
    }

    fn save(&self, folder: &Path) -> Result<(), KeysError> {
        let ids = serde_json::to_string_pretty(&self.ids).map_err(|_| KeysError::Generate)?;
        let (app_key, alipay_key) = (private_pem(&self.app)?, private_pem(&self.alipay)?);
        let alipay_public_key = public_pem(&self.alipay)?;
        fs::create_dir_all(folder).map_err(at(folder))?;
        write(folder.join(IDS), &ids, 0o600)?;
        write(folder.join(APP_KEY), &app_key, 0o600)?;
        write(folder.join(ALIPAY_KEY), &alipay_key, 0o600)?;
        write(folder.join(ALIPAY_PUBLIC_KEY), &alipay_public_key, 0o644)
    }

    fn certificates(&self) -> Result<AlipayCertificates, KeysError> {
        let Ids { app_id, seller_id } = &self.ids;
        AlipayCertificates::issue(app_id, seller_id, &private_pem(&self.app)?, &private_pem(&self.alipay)?)
    }
}

impl Keys {
    pub(crate) fn generate() -> Result<Self, KeysError> {
        let pairs = Pairs::generate()?;
        let certificates = pairs.certificates()?;
        Self::assemble(pairs, certificates)
    }

    /// The certificates have a folder within that of the keys: it is made where there is none yet.
    pub(crate) fn load_or_create(home: &Path) -> Result<Self, KeysError> {
        let pairs = kept(home, FOLDER, IDS, Pairs::load, Pairs::generate, Pairs::save)?;
        let certificates = kept(
            &home.join(FOLDER),
            certificates::FOLDER,
            certificates::NUMBERS,
            AlipayCertificates::load,
            || pairs.certificates(),
            AlipayCertificates::save,
        )?;
        Self::assemble(pairs, certificates)
    }

    pub(super) fn app_public_key(&self) -> &PublicKey {
        self.app_key.public_key()
    }

    pub(super) fn alipay_key(&self) -> &KeyPair {
        &self.alipay_key
    }

    fn assemble(Pairs { ids, app, alipay }: Pairs, certificates: AlipayCertificates) -> Result<Self, KeysError> {
        Ok(Self {
            merchant: AlipayMerchant {
                app_id: ids.app_id,
                seller_id: ids.seller_id,
                private_key_pem: private_pem(&app)?,
                alipay_public_key_pem: public_pem(&alipay)?,
                certificates,
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
        let files = &alipay["cert_mode"];
        let numbers = &crate::vectors::read("alipay-request.json")["cert_sn"];
        let certificates = AlipayCertificates {
            app_pem: text(&files["app_cert_pem"]),
            alipay_pem: text(&files["alipay_public_cert_pem"]),
            root_pem: text(&files["alipay_root_certs_pem"]),
            app_cert_sn: text(&numbers["app_cert_sn"]),
            alipay_cert_sn: text(&numbers["alipay_cert_sn"]),
            root_cert_sn: text(&numbers["alipay_root_cert_sn"]),
        };
        let pairs = Pairs { ids, app: key("app"), alipay: key("alipay") };
        Self::assemble(pairs, certificates).expect("assembled")
    }
}
