//! What a merchant of WeChat Pay has to give, and what can be wrong with it.

use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

/// Everything WeChat Pay gives a direct merchant. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Config {
    /// Scheme and host, and a path where a proxy or the sandbox needs one; [`Config::BASE_URL`] in life.
    pub base_url: String,
    /// The same at another place, for when no connection to the first comes about; [`Config::STANDBY_URL`] in life.
    pub standby_url: Option<String>,
    /// The merchant's number.
    pub mchid: String,
    /// The app that is bound to the merchant.
    pub appid: String,
    /// The serial of the merchant's API certificate: 40 hexadecimal digits.
    pub serial_no: String,
    /// The merchant's private key, `apiclient_key.pem`: PKCS#8 or PKCS#1.
    pub private_key_pem: SecretString,
    /// The merchant's API certificate, `apiclient_cert.pem`: only to see that serial and key belong to it.
    pub certificate_pem: Option<String>,
    /// The APIv3 key: 32 bytes, taken as they are.
    pub api_v3_key: SecretString,
    /// The keys that WeChat Pay signs with: the serial of a platform certificate or `PUB_KEY_ID_…`, and
    /// the public key (SPKI) in PEM. None: the platform certificates are downloaded. They are looked for, too,
    /// when something comes signed under one while WeChat Pay moves a merchant from them to its public key.
    pub platform_keys: Vec<(String, String)>,
    /// How long one call may take, retries of a question included.
    pub timeout: Duration,
    /// Which of `platform_keys` answers shall be signed with; sent as `Wechatpay-Serial`. Needed in
    /// public-key mode.
    pub wanted_key: Option<String>,
}

impl Config {
    /// The main host. There is no official sandbox of API v3.
    pub const BASE_URL: &'static str = "https://api.mch.weixin.qq.com";
    /// The host in another region.
    pub const STANDBY_URL: &'static str = "https://api2.mch.weixin.qq.com";
    /// The gateway deadline.
    pub const TIMEOUT: Duration = Duration::from_secs(8);
}

/// What is wrong with a [`Config`], and what would be right. Never quotes a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not an address we can call.
    #[error("the base URL {0}; right is https:// and a host, such as https://api.mch.weixin.qq.com")]
    BaseUrl(&'static str),
    /// Not another address we can call.
    #[error("the standby URL {0}; right is https:// and a host, such as https://api2.mch.weixin.qq.com")]
    StandbyUrl(&'static str),
    /// Not a merchant's number.
    #[error("the merchant number is not 1 to 32 digits; right is a number such as 1900000001")]
    MerchantNumber,
    /// Not an app id.
    #[error("the app id is not 1 to 32 letters and digits; right is an id such as wxd678efh567hg6787")]
    AppId,
    /// Not a serial.
    #[error(
        "the merchant certificate's serial is not 40 hexadecimal digits; right is what \
         `openssl x509 -noout -serial -in apiclient_cert.pem` prints after `serial=`"
    )]
    MerchantSerial,
    /// Not a private key.
    #[error(
        "the merchant's private key {0}; right is the text of apiclient_key.pem with its line breaks: \
         an RSA key of 2048 to 8192 bits between -----BEGIN PRIVATE KEY----- and -----END PRIVATE KEY-----"
    )]
    PrivateKey(&'static str),
    /// Not an APIv3 key.
    #[error("the APIv3 key has {0} bytes; right are exactly 32")]
    ApiV3Key(usize),
    /// Serial, key and certificate are not one merchant's.
    #[error("the merchant's certificate {0}; right is the apiclient_cert.pem of that serial and private key")]
    Certificate(String),
    /// Not a selector of a key.
    #[error(
        "the platform key's name {0:?} is neither 40 hexadecimal digits (a certificate's serial) nor \
         PUB_KEY_ID_ and digits; right is the name as the merchant console shows it"
    )]
    PlatformSerial(String),
    /// Two keys of one name.
    #[error("the platform key {0} is there twice; right is one key for each name")]
    PlatformKeyTwice(String),
    /// Not a public key.
    #[error(
        "the platform key {serial} {problem}; right is an RSA key of 2048 to 8192 bits between \
         -----BEGIN PUBLIC KEY----- and -----END PUBLIC KEY-----"
    )]
    PlatformKey {
        /// Its name.
        serial: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A wanted key that we could not verify with.
    #[error("the wanted key {0:?} is not among the platform keys; right is one of their names")]
    WantedKey(String),
    /// No time at all.
    #[error("the timeout is zero; right is some seconds, 8 by default")]
    Timeout,
    /// TLS could not be set up.
    #[error("the HTTP client cannot start: {0}; right is a system with CA certificates installed")]
    HttpClient(String),
}

impl ConfigError {
    /// The field of [`Config`] it is about; `None`: none of them.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::BaseUrl(_) => Some("base_url"),
            Self::StandbyUrl(_) => Some("standby_url"),
            Self::Certificate(_) => Some("certificate_pem"),
            Self::MerchantNumber => Some("mchid"),
            Self::AppId => Some("appid"),
            Self::MerchantSerial => Some("serial_no"),
            Self::PrivateKey(_) => Some("private_key_pem"),
            Self::ApiV3Key(_) => Some("api_v3_key"),
            Self::PlatformSerial(_) => Some("platform_key_name"),
            Self::PlatformKeyTwice(_) | Self::PlatformKey { .. } => Some("platform_keys"),
            Self::WantedKey(_) => Some("wanted_key"),
            Self::Timeout => Some("timeout"),
            Self::HttpClient(_) => None,
        }
    }
}

/// Reads the base URL: http or https, a host, a path at most; no trailing slash comes out.
///
/// Plain http is taken too, for the sandbox; whether it is allowed is for whoever reads the environment.
pub(super) fn base_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    let problem = match url.scheme() {
        "http" | "https" if !url.username().is_empty() || url.password().is_some() => Some("carries a user name"),
        "http" | "https" if url.query().is_some() || url.fragment().is_some() => Some("carries a query or fragment"),
        "http" | "https" => None,
        _ => Some("is neither http nor https"),
    };
    problem.map_or(Ok(url), Err)
}

/// Looks at the plain fields; keys are read where they are used.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let plain = |text: &str, fits: fn(&u8) -> bool| (1..=32).contains(&text.len()) && text.as_bytes().iter().all(fits);
    if !plain(&config.mchid, u8::is_ascii_digit) {
        return Err(ConfigError::MerchantNumber);
    }
    if !plain(&config.appid, u8::is_ascii_alphanumeric) {
        return Err(ConfigError::AppId);
    }
    if !is_certificate_serial(&config.serial_no) {
        return Err(ConfigError::MerchantSerial);
    }
    if config.timeout.is_zero() {
        return Err(ConfigError::Timeout);
    }
    Ok(())
}

/// Whether WeChat Pay could name a key of its own so.
pub(super) fn is_key_name(name: &str) -> bool {
    let public_key = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
    is_certificate_serial(name) || name.strip_prefix("PUB_KEY_ID_").is_some_and(public_key)
}

pub(super) fn is_certificate_serial(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}
