//! What a merchant of Alipay has to give, and what can be wrong with it.

use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

/// Everything Alipay gives a direct merchant. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where we call: the whole address, path included; [`Config::GATEWAY_URL`] in life.
    pub gateway_url: String,
    /// Where the payer's browser finds the same gateway, for PAGE and WAP; `None`: at `gateway_url`. Only a
    /// sandbox that browsers reach by another name needs it.
    pub browser_url: Option<String>,
    /// The app: 16 digits.
    pub app_id: String,
    /// The merchant's own number at Alipay (PID): 16 digits, beginning with 2088.
    pub seller_id: String,
    /// The app's private key: PKCS#8 or PKCS#1, in PEM or as bare base64.
    pub private_key: SecretString,
    /// How Alipay's signature is known.
    pub mode: Mode,
    /// How long one call may take, retries and a second question included.
    pub timeout: Duration,
}

/// How the merchant and Alipay know each other's keys; chosen once, in Alipay's console.
#[derive(Clone, Debug)]
pub enum Mode {
    /// The key that Alipay signs with (SPKI), in PEM or as bare base64. Not the app's own public key.
    PublicKey(String),
    /// Three files of certificates in PEM, as the console hands them out.
    Certificates {
        /// `appCertPublicKey_<app id>.crt`: the app's, with its issuer's behind it or alone.
        app: String,
        /// `alipayCertPublicKey_RSA2.crt`: Alipay's, with its issuer's behind it. While Alipay changes over, the
        /// old one and the new one may both stand here.
        alipay: String,
        /// `alipayRootCert.crt`: several roots.
        root: String,
    },
}

impl Config {
    /// The gateway.
    pub const GATEWAY_URL: &'static str = "https://openapi.alipay.com/gateway.do";
    /// The gateway deadline.
    pub const TIMEOUT: Duration = Duration::from_secs(8);
}

/// What is wrong with a [`Config`], and what would be right. Never quotes a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not an address we can call.
    #[error("the gateway URL {0}; right is the whole address, such as https://openapi.alipay.com/gateway.do")]
    GatewayUrl(&'static str),
    /// Not an address a browser can call.
    #[error("the browser URL {0}; right is the gateway's address as payers' browsers reach it, or none")]
    BrowserUrl(&'static str),
    /// Not an app id.
    #[error("the app id is not 16 digits; right is an id such as 2021000000000001")]
    AppId,
    /// Not a merchant's number.
    #[error("the seller id is not 16 digits that begin with 2088; right is the PID such as 2088000000000001")]
    SellerId,
    /// Not a private key.
    #[error(
        "the app's private key {0}; right is an RSA key of 2048 to 8192 bits, as bare base64 or between \
         -----BEGIN PRIVATE KEY----- and -----END PRIVATE KEY-----"
    )]
    PrivateKey(&'static str),
    /// Not Alipay's public key.
    #[error(
        "Alipay's public key {0}; right is the RSA key that the console shows as Alipay's after the app's was \
         uploaded, as bare base64 or between -----BEGIN PUBLIC KEY----- and -----END PUBLIC KEY-----"
    )]
    AlipayPublicKey(&'static str),
    /// Not the app's certificate.
    #[error("the app's certificate {0}; right is appCertPublicKey_<app id>.crt of this app and this private key")]
    AppCertificate(String),
    /// Not Alipay's certificate.
    #[error(
        "Alipay's certificate {0}; right is alipayCertPublicKey_RSA2.crt as the console gives it, with the \
         certificate of its issuer in the same file"
    )]
    AlipayCertificate(String),
    /// Not Alipay's root certificates.
    #[error("the root certificates: {0}; right is alipayRootCert.crt as the console gives it")]
    RootCertificates(&'static str),
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
            Self::GatewayUrl(_) => Some("gateway_url"),
            Self::BrowserUrl(_) => Some("browser_url"),
            Self::AppId => Some("app_id"),
            Self::SellerId => Some("seller_id"),
            Self::PrivateKey(_) => Some("private_key"),
            Self::AlipayPublicKey(_) => Some("alipay_public_key"),
            Self::AppCertificate(_) => Some("app_cert"),
            Self::AlipayCertificate(_) => Some("alipay_cert"),
            Self::RootCertificates(_) => Some("root_cert"),
            Self::Timeout => Some("timeout"),
            Self::HttpClient(_) => None,
        }
    }
}

/// Reads a gateway's address: http or https, no query of its own.
///
/// Plain http is taken too, for the sandbox; whether it is allowed is for whoever reads the environment.
pub(super) fn gateway_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    match url.scheme() {
        "http" | "https" if !url.username().is_empty() || url.password().is_some() => Err("carries a user name"),
        "http" | "https" if url.query().is_some() || url.fragment().is_some() => Err("carries a query or fragment"),
        "http" | "https" => Ok(url),
        _ => Err("is neither http nor https"),
    }
}

/// Looks at the plain fields; keys and addresses are read where they are used.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let number = |text: &str| text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit());
    if !number(&config.app_id) {
        return Err(ConfigError::AppId);
    }
    if !number(&config.seller_id) || !config.seller_id.starts_with("2088") {
        return Err(ConfigError::SellerId);
    }
    if config.timeout.is_zero() {
        return Err(ConfigError::Timeout);
    }
    Ok(())
}
