//! Both sides' keys: what a merchant would be given or would own, and what only the gateway has.

use std::{
    fmt, fs, io,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    error::Unspecified,
    rand,
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    alipay::{self, AlipayMerchant},
    wechat_pay::certificates::{self, PlatformCertificate},
};

const FOLDER: &str = "wechat_pay";
const IDS: &str = "ids.json";
const MERCHANT_CERTIFICATE: &str = "merchant_certificate.pem";
const MERCHANT_KEY: &str = "merchant_private_key.pem";
const PLATFORM_KEY: &str = "platform_private_key.pem";
const PLATFORM_PUBLIC_KEY: &str = "platform_public_key.pem";

/// What a merchant would be given or would own: everything a connector must be configured with.
#[derive(Clone, PartialEq, Eq)]
pub struct Merchant {
    /// The merchant's number.
    pub mchid: String,
    /// The app bound to it.
    pub appid: String,
    /// Serial of the merchant's API certificate: 40 hex digits.
    pub serial_no: String,
    /// The merchant's key, PKCS#8.
    pub private_key_pem: String,
    /// Its API certificate, of that serial and key.
    pub certificate_pem: String,
    /// 32 ASCII characters, the AES key of notifications.
    pub api_v3_key: String,
    /// Names the gateway's key: `PUB_KEY_ID_…`.
    pub public_key_id: String,
    /// The gateway's public key, SPKI.
    pub public_key_pem: String,
    /// The same for Alipay.
    pub alipay: AlipayMerchant,
}

impl fmt::Debug for Merchant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merchant")
            .field("mchid", &self.mchid)
            .field("appid", &self.appid)
            .field("serial_no", &self.serial_no)
            .field("public_key_id", &self.public_key_id)
            .field("alipay", &self.alipay)
            .finish_non_exhaustive()
    }
}

/// The merchant's side and the gateway's own key.
#[derive(Clone)]
pub struct Keys {
    merchant: Merchant,
    merchant_key: Arc<KeyPair>,
    platform_key: Arc<KeyPair>,
    /// Made when they are needed first: most merchants never ask.
    platform_certificates: Arc<OnceLock<[PlatformCertificate; 2]>>,
    home: Option<PathBuf>,
    alipay: alipay::Keys,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.merchant).finish()
    }
}

/// Why there are no keys.
#[derive(Debug, Error)]
pub enum KeysError {
    /// The operating system has no randomness to give, or the library refused.
    #[error("cannot make a key")]
    Generate,
    /// A file of the folder cannot be written or read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is there and is not what it should be.
    #[error("{path}: not what this program writes there")]
    Content {
        /// Which.
        path: PathBuf,
    },
}

impl From<Unspecified> for KeysError {
    fn from(_: Unspecified) -> Self {
        Self::Generate
    }
}

/// The small things beside the PEM files.
#[derive(Serialize, Deserialize)]
struct Ids {
    mchid: String,
    appid: String,
    serial_no: String,
    api_v3_key: String,
    public_key_id: String,
}

impl Keys {
    /// New keys, two 2048-bit RSA pairs for each gateway; takes some tenths of a second.
    pub fn generate() -> Result<Self, KeysError> {
        Self::make(alipay::Keys::generate()?)
    }

    fn make(alipay: alipay::Keys) -> Result<Self, KeysError> {
        let (merchant_key, platform_key) = two_key_pairs()?;
        let ids = Ids {
            mchid: "1900000001".to_owned(),
            appid: "wxd678efh567hg6787".to_owned(),
            serial_no: format!("51{}", &random_hex(20)?.to_uppercase()[2..]),
            api_v3_key: random_hex(16)?,
            public_key_id: format!("PUB_KEY_ID_01{}", random_digits(32)?),
        };
        Self::assemble(ids, merchant_key, platform_key, alipay)
    }

    /// Reads the keys kept in `dir`, or makes and keeps them. Several processes may do this at
    /// once: a gateway's folder appears whole or not at all, and all of them get the same keys.
    pub fn load_or_create(dir: &Path) -> Result<Self, KeysError> {
        let alipay = alipay::Keys::load_or_create(dir)?;
        let load = |folder: &Path| Self::load(folder, alipay.clone());
        let keys = kept(dir, FOLDER, IDS, load, || Self::make(alipay.clone()), Self::save)?;
        Ok(Self { home: Some(dir.to_owned()), ..keys })
    }

    /// The merchant's side of it.
    pub fn merchant(&self) -> Merchant {
        self.merchant.clone()
    }

    pub(crate) fn borrow_merchant(&self) -> &Merchant {
        &self.merchant
    }

    pub(crate) fn merchant_public_key(&self) -> &aws_lc_rs::rsa::PublicKey {
        self.merchant_key.public_key()
    }

    pub(crate) fn platform_key(&self) -> Arc<KeyPair> {
        self.platform_key.clone()
    }

    /// The gateway's two certificates. Making them takes some tenths of a second, once.
    pub(crate) fn platform_certificates(&self) -> Result<&[PlatformCertificate; 2], Unspecified> {
        if let Some(made) = self.platform_certificates.get() {
            return Ok(made);
        }
        let made = certificates::load_or_create(self.home.as_deref()).map_err(|error| {
            tracing::error!(%error, "no certificates");
            Unspecified
        })?;
        Ok(self.platform_certificates.get_or_init(|| made))
    }

    pub(crate) fn alipay(&self) -> &alipay::Keys {
        &self.alipay
    }

    fn load(folder: &Path, alipay: alipay::Keys) -> Result<Self, KeysError> {
        let path = folder.join(IDS);
        let ids = read_file(&path)?;
        let ids = serde_json::from_slice(&ids).map_err(|_| KeysError::Content { path })?;
        let merchant_key = read_key(folder.join(MERCHANT_KEY))?;
        let platform_key = read_key(folder.join(PLATFORM_KEY))?;
        let keys = Self::assemble(ids, merchant_key, platform_key, alipay)?;
        // Not in what was kept before there were certificates.
        let certificate = folder.join(MERCHANT_CERTIFICATE);
        if !certificate.exists() {
            fs::write(&certificate, &keys.merchant.certificate_pem).map_err(at(&certificate))?;
        }
        Ok(keys)
    }

    fn save(&self, folder: &Path) -> Result<(), KeysError> {
        let ids = Ids {
            mchid: self.merchant.mchid.clone(),
            appid: self.merchant.appid.clone(),
            serial_no: self.merchant.serial_no.clone(),
            api_v3_key: self.merchant.api_v3_key.clone(),
            public_key_id: self.merchant.public_key_id.clone(),
        };
        let ids = serde_json::to_string_pretty(&ids).map_err(|_| KeysError::Generate)?;
        let platform_key = private_pem(&self.platform_key)?;
        fs::create_dir_all(folder).map_err(at(folder))?;
        write(folder.join(IDS), &ids, 0o600)?;
        write(folder.join(MERCHANT_CERTIFICATE), &self.merchant.certificate_pem, 0o644)?;
        write(folder.join(MERCHANT_KEY), &self.merchant.private_key_pem, 0o600)?;
        write(folder.join(PLATFORM_KEY), &platform_key, 0o600)?;
        write(folder.join(PLATFORM_PUBLIC_KEY), &self.merchant.public_key_pem, 0o644)
    }

    fn assemble(ids: Ids, merchant: KeyPair, platform: KeyPair, alipay: alipay::Keys) -> Result<Self, KeysError> {
        let certificate_pem = certificates::self_signed(&merchant, &ids.serial_no, "Merchant of the sandbox")?;
        Ok(Self {
            merchant: Merchant {
                mchid: ids.mchid,
                appid: ids.appid,
                serial_no: ids.serial_no,
                private_key_pem: private_pem(&merchant)?,
                certificate_pem,
                api_v3_key: ids.api_v3_key,
                public_key_id: ids.public_key_id,
                public_key_pem: public_pem(&platform)?,
                alipay: alipay.merchant.clone(),
            },
            merchant_key: Arc::new(merchant),
            platform_key: Arc::new(platform),
            platform_certificates: Arc::default(),
            home: None,
            alipay,
        })
    }
}

/// Reads what is kept in a folder of `dir`, or makes and keeps it. The folder is there when its
/// `mark` is.
pub(crate) fn kept<T>(
    dir: &Path,
    name: &str,
    mark: &str,
    load: impl Fn(&Path) -> Result<T, KeysError>,
    make: impl FnOnce() -> Result<T, KeysError>,
    save: impl FnOnce(&T, &Path) -> Result<(), KeysError>,
) -> Result<T, KeysError> {
    let folder = dir.join(name);
    if folder.join(mark).exists() {
        return load(&folder);
    }
    let made = make()?;
    let draft = dir.join(format!(".{name}-{}", random_hex(8)?));
    save(&made, &draft)?;
    match fs::rename(&draft, &folder) {
        Ok(()) => Ok(made),
        // Another process was first: its folder is there and not empty.
        Err(_) if folder.join(mark).exists() => {
            fs::remove_dir_all(&draft).map_err(at(&draft))?;
            load(&folder)
        }
        Err(error) => Err(at(&folder)(error)),
    }
}

/// Two 2048-bit RSA pairs, made side by side.
pub(crate) fn two_key_pairs() -> Result<(KeyPair, KeyPair), KeysError> {
    let (one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| KeyPair::generate(KeySize::Rsa2048));
        let one = KeyPair::generate(KeySize::Rsa2048);
        (one, other.join().unwrap_or(Err(Unspecified)))
    });
    Ok((one?, other?))
}

/// `bytes` random bytes, as lower-case hex digits.
pub(crate) fn random_hex(bytes: usize) -> Result<String, Unspecified> {
    let mut random = vec![0; bytes];
    rand::fill(&mut random)?;
    Ok(hex::encode(random))
}

/// So many random decimal digits.
pub(crate) fn random_digits(count: usize) -> Result<String, Unspecified> {
    let mut random = vec![0; count];
    rand::fill(&mut random)?;
    Ok(random.iter().map(|byte| char::from(b'0' + byte % 10)).collect())
}

pub(crate) fn private_pem(key: &KeyPair) -> Result<String, KeysError> {
    let der: Pkcs8V1Der<'_> = key.as_der()?;
    Ok(pem("PRIVATE KEY", &BASE64_STANDARD.encode(der.as_ref())))
}

pub(crate) fn public_pem(key: &KeyPair) -> Result<String, KeysError> {
    let der: PublicKeyX509Der<'_> = key.public_key().as_der()?;
    Ok(pem("PUBLIC KEY", &BASE64_STANDARD.encode(der.as_ref())))
}

/// PEM of what is in base64 already.
pub(crate) fn pem(label: &str, text: &str) -> String {
    let mut pem = format!("-----BEGIN {label}-----\n");
    for (index, character) in text.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem + &format!("\n-----END {label}-----\n")
}

pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, KeysError> {
    fs::read(path).map_err(at(path))
}

pub(crate) fn read_key(path: PathBuf) -> Result<KeyPair, KeysError> {
    let text = read_file(&path)?;
    private_key(&text).ok_or(KeysError::Content { path })
}

/// Reads a PKCS#8 key in PEM.
pub(crate) fn private_key(pem: &[u8]) -> Option<KeyPair> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?;
    KeyPair::from_pkcs8(der.secret_pkcs8_der()).ok()
}

pub(crate) fn write(path: PathBuf, text: &str, mode: u32) -> Result<(), KeysError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let written = options.open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(at(&path))
}

pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> KeysError + use<> {
    let path = path.to_owned();
    move |source| KeysError::File { path, source }
}
