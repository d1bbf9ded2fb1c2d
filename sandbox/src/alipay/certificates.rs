//! Certificate mode: what a merchant would download from the console. A root signs both sides' certificates and is
//! forgotten; like the real bundle, its file also has a root of another kind, which no number counts.

use std::{fs, path::Path};

use md5::{Digest, Md5};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256,
    SerialNumber, date_time_ymd,
};
use serde::{Deserialize, Serialize};

use crate::{
    keys::{KeysError, at, read_file, write},
    random::number,
};

pub(super) const FOLDER: &str = "certificates";
pub(super) const NUMBERS: &str = "numbers.json";
const APP: &str = "appCertPublicKey.crt";
const ALIPAY: &str = "alipayCertPublicKey_RSA2.crt";
const ROOT: &str = "alipayRootCert.crt";
const AUTHORITY: &str = "Sandbox Certification Authority R1";

/// Certificate mode's three files, in PEM, and their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlipayCertificates {
    /// The app's certificate.
    pub app_pem: String,
    /// The gateway's certificate.
    pub alipay_pem: String,
    /// The roots.
    pub root_pem: String,
    /// `app_cert_sn` of requests.
    pub app_cert_sn: String,
    /// `alipay_cert_sn` of answers.
    pub alipay_cert_sn: String,
    /// `alipay_root_cert_sn` of requests.
    pub root_cert_sn: String,
}

#[derive(Serialize, Deserialize)]
struct Numbers {
    app_cert_sn: String,
    alipay_cert_sn: String,
    alipay_root_cert_sn: String,
}

impl AlipayCertificates {
    /// Certifies both keys, given in PKCS#8.
    pub(super) fn issue(app_id: &str, seller_id: &str, app: &str, alipay: &str) -> Result<Self, KeysError> {
        issue(app_id, seller_id, app, alipay).map_err(|_| KeysError::Generate)
    }

    pub(super) fn load(folder: &Path) -> Result<Self, KeysError> {
        let path = folder.join(NUMBERS);
        let numbers = serde_json::from_slice(&read_file(&path)?).map_err(|_| KeysError::Content { path })?;
        let Numbers { app_cert_sn, alipay_cert_sn, alipay_root_cert_sn: root_cert_sn } = numbers;
        let pem = |name| {
            let path = folder.join(name);
            String::from_utf8(read_file(&path)?).map_err(|_| KeysError::Content { path })
        };
        let (app_pem, alipay_pem, root_pem) = (pem(APP)?, pem(ALIPAY)?, pem(ROOT)?);
        Ok(Self { app_pem, alipay_pem, root_pem, app_cert_sn, alipay_cert_sn, root_cert_sn })
    }

    pub(super) fn save(&self, folder: &Path) -> Result<(), KeysError> {
        let numbers = Numbers {
            app_cert_sn: self.app_cert_sn.clone(),
            alipay_cert_sn: self.alipay_cert_sn.clone(),
            alipay_root_cert_sn: self.root_cert_sn.clone(),
        };
        let numbers = serde_json::to_string_pretty(&numbers).map_err(|_| KeysError::Generate)?;
        fs::create_dir_all(folder).map_err(at(folder))?;
        let files = [(NUMBERS, &numbers), (APP, &self.app_pem), (ALIPAY, &self.alipay_pem), (ROOT, &self.root_pem)];
        files.into_iter().try_for_each(|(name, text)| write(folder.join(name), text, 0o644))
    }
}

fn issue(app_id: &str, seller_id: &str, app: &str, alipay: &str) -> Result<AlipayCertificates, rcgen::Error> {
    let root_key = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
    let (root, root_cert_sn) = certificate(AUTHORITY, true);
    let (other, _) = certificate("Sandbox Certification Authority E1", true);
    let root_pem = root.self_signed(&root_key)?.pem() + &other.self_signed(&KeyPair::generate()?)?.pem();
    let issuer = Issuer::new(root, root_key);
    let issued = |name: &str, key: &str| {
        let (params, sn) = certificate(name, false);
        let key = KeyPair::from_pkcs8_pem_and_sign_algo(key, &PKCS_RSA_SHA256)?;
        Ok::<_, rcgen::Error>((params.signed_by(&key, &issuer)?.pem(), sn))
    };
    let (app_pem, app_cert_sn) = issued(&format!("{seller_id}-{app_id}"), app)?;
    let (alipay_pem, alipay_cert_sn) = issued(&format!("支付宝(中国)网络技术有限公司-{seller_id}"), alipay)?;
    Ok(AlipayCertificates { app_pem, alipay_pem, root_pem, app_cert_sn, alipay_cert_sn, root_cert_sn })
}

/// A certificate to be signed in the name of the authority, and its number: MD5 of the issuer's name, last part
/// first, and of the serial in decimal.
fn certificate(name: &str, is_authority: bool) -> (CertificateParams, String) {
    let parts = [
        (DnType::CountryName, "CN"),
        (DnType::OrganizationName, "Payonce"),
        (DnType::OrganizationalUnitName, "Sandbox"),
        (DnType::CommonName, name),
    ];
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (part, value) in parts {
        params.distinguished_name.push(part, value);
    }
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2049, 12, 31));
    if is_authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let serial = number() >> 1;
    params.serial_number = Some(SerialNumber::from(serial));
    let issuer = format!("CN={AUTHORITY},OU=Sandbox,O=Payonce,C=CN");
    (params, hex::encode(Md5::digest(format!("{issuer}{serial}"))))
}
