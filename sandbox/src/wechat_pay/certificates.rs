//! Certificates: the merchant's own, and the gateway's two, of which one may take over from the other.

use std::{fs, path::Path, sync::Arc};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    error::Unspecified,
    rsa::KeyPair,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{CertificateParams, DnType, PKCS_RSA_SHA256, SerialNumber, date_time_ymd};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::notification::encrypt;
use crate::keys::{Keys, KeysError, at, kept, pem, private_pem, random_hex, read_file, read_key, two_key_pairs, write};

const FOLDER: &str = "wechat_pay_certificates";
/// First and last day of every certificate.
const FROM: &str = "2020-01-01T08:00:00+08:00";
const UNTIL: &str = "2049-12-31T08:00:00+08:00";

/// Which keys WeChat Pay has for the merchant, and which of them signs. A request that names another one that
/// there is (`Wechatpay-Serial`) is answered under that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyMode {
    /// A new merchant's: the public key alone, there are no certificates.
    #[default]
    PublicKey,
    /// An older merchant's: one certificate, which signs. The public key is there for who names it.
    FirstCertificate,
    /// A second certificate is listed beside the first, which still signs.
    SecondAnnounced,
    /// The second certificate signs, the first is still listed.
    SecondSigns,
}

impl KeyMode {
    /// How many certificates are listed.
    pub(super) fn listed(self) -> usize {
        match self {
            Self::PublicKey => 0,
            Self::FirstCertificate => 1,
            Self::SecondAnnounced | Self::SecondSigns => 2,
        }
    }

    fn signs(self) -> Option<usize> {
        match self {
            Self::PublicKey => None,
            Self::FirstCertificate | Self::SecondAnnounced => Some(0),
            Self::SecondSigns => Some(1),
        }
    }
}

/// The gateway's certificate with its key.
#[derive(Clone)]
pub(crate) struct PlatformCertificate {
    serial: String,
    pem: String,
    key: Arc<KeyPair>,
}

/// The key that signs one answer, and its name.
pub(super) struct Signer {
    pub(super) serial: String,
    pub(super) key: Arc<KeyPair>,
}

impl Signer {
    /// The key that was asked for, if there is such a one; else the one that signs.
    pub(super) fn of(keys: &Keys, mode: KeyMode, wanted: Option<&str>) -> Result<Self, Unspecified> {
        let public_key = &keys.borrow_merchant().public_key_id;
        let with_public_key = || Self { serial: public_key.clone(), key: keys.platform_key() };
        let Some(signs) = mode.signs().filter(|_| wanted != Some(public_key)) else { return Ok(with_public_key()) };
        let certificates = keys.platform_certificates()?;
        let named = |one: &&PlatformCertificate| wanted.is_some_and(|wanted| wanted.eq_ignore_ascii_case(&one.serial));
        let one = certificates[..mode.listed()].iter().find(named).unwrap_or(&certificates[signs]);
        Ok(Self { serial: one.serial.clone(), key: one.key.clone() })
    }
}

/// The answer to `GET /v3/certificates`.
pub(super) fn listed(keys: &Keys, mode: KeyMode) -> Result<Value, Unspecified> {
    let mut data = Vec::new();
    for certificate in &keys.platform_certificates()?[..mode.listed()] {
        let nonce = random_hex(6)?;
        let key = keys.borrow_merchant().api_v3_key.as_bytes();
        data.push(json!({
            "serial_no": certificate.serial,
            "effective_time": FROM,
            "expire_time": UNTIL,
            "encrypt_certificate": {
                "algorithm": "AEAD_AES_256_GCM",
                "nonce": nonce,
                "associated_data": "certificate",
                "ciphertext": encrypt(key, &nonce, "certificate", &certificate.pem)?,
            },
        }));
    }
    Ok(json!({ "data": data }))
}

/// Makes the gateway's certificates, or reads those that are kept in `home`.
pub(crate) fn load_or_create(home: Option<&Path>) -> Result<[PlatformCertificate; 2], KeysError> {
    match home {
        None => make(),
        Some(home) => kept(home, FOLDER, &file(1, "certificate"), load, make, save),
    }
}

/// The first name ends with 1, the second, whose serial begins with a zero, with 2.
fn file(index: usize, what: &str) -> String {
    format!("platform_{what}_{}.pem", index + 1)
}

fn make() -> Result<[PlatformCertificate; 2], KeysError> {
    let (first, second) = two_key_pairs()?;
    let serial = |start: &str| Ok::<_, Unspecified>(format!("{start}{}", &random_hex(20)?.to_uppercase()[2..]));
    let certificate = |key: KeyPair, serial: String| {
        let pem = self_signed(&key, &serial, "Sandbox of WeChat Pay")?;
        Ok::<_, KeysError>(PlatformCertificate { serial, pem, key: Arc::new(key) })
    };
    Ok([certificate(first, serial("37")?)?, certificate(second, serial("0F")?)?])
}

fn load(folder: &Path) -> Result<[PlatformCertificate; 2], KeysError> {
    let one = |index: usize| {
        let path = folder.join(file(index, "certificate"));
        let text = String::from_utf8(read_file(&path)?).map_err(|_| KeysError::Content { path: path.clone() })?;
        let (serial, pem) = text.split_once('\n').ok_or(KeysError::Content { path })?;
        let key = Arc::new(read_key(folder.join(file(index, "private_key")))?);
        Ok::<_, KeysError>(PlatformCertificate { serial: serial.to_owned(), pem: pem.to_owned(), key })
    };
    Ok([one(0)?, one(1)?])
}

/// The serial stands on a line before the PEM, where whoever reads PEM passes over it.
fn save(certificates: &[PlatformCertificate; 2], folder: &Path) -> Result<(), KeysError> {
    fs::create_dir_all(folder).map_err(at(folder))?;
    for (index, certificate) in certificates.iter().enumerate() {
        write(folder.join(file(index, "private_key")), &private_pem(&certificate.key)?, 0o600)?;
        let text = format!("{}\n{}", certificate.serial, certificate.pem);
        write(folder.join(file(index, "certificate")), &text, 0o644)?;
    }
    Ok(())
}

/// A certificate over this key, in PEM: the same for the same key, serial and name.
pub(crate) fn self_signed(key: &KeyPair, serial: &str, name: &str) -> Result<String, KeysError> {
    let der: Pkcs8V1Der<'_> = key.as_der()?;
    let der = PrivatePkcs8KeyDer::from(der.as_ref());
    let signing = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_RSA_SHA256);
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    params.serial_number = Some(SerialNumber::from(hex::decode(serial).map_err(|_| KeysError::Generate)?));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let made = signing.and_then(|signing| params.self_signed(&signing)).map_err(|_| KeysError::Generate)?;
    Ok(pem("CERTIFICATE", &BASE64_STANDARD.encode(made.der())))
}
