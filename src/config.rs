//! File and environment to a typed `Config`. A wrong or missing value stops the start with one line
//! that names the variable and says what would be right.

pub mod access;
mod events;

pub use events::{Amqp, Events, Webhook};
mod limits;
mod quotes;

pub use quotes::Quotes;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::NumberKey;
use secrecy::SecretString;

/// Which of two lives this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A newcomer's machine: embedded defaults, the sandbox gateway, fixed secrets.
    Dev,
    /// Real money: no default secrets, no sandbox, no plain-text notify URL.
    Production,
}

/// What tokens are verified with.
#[derive(Clone, Debug)]
pub enum TokenKey {
    /// A secret shared with the issuer; `payonce token` can mint with it.
    Hs256(SecretString),
    /// A set of public keys, as JSON.
    Jwks(String),
    /// Where the issuer publishes its set of public keys.
    JwksUrl(String),
}

/// A file that was read: where, and what stands in it.
#[derive(Clone, Debug)]
pub struct PemFile<T = String> {
    /// Where.
    pub path: String,
    /// What stands in it.
    pub text: T,
}

/// WeChat Pay's part; the sandbox fills it in when it is not given.
#[derive(Clone, Debug)]
pub struct WechatPay {
    /// Scheme and host.
    pub base_url: String,
    /// The same of another region; `None`: there is no other.
    pub standby_url: Option<String>,
    /// The merchant's number.
    pub mchid: String,
    /// The app bound to it.
    pub appid: String,
    /// The serial of the merchant's API certificate.
    pub serial_no: String,
    /// The merchant's private key.
    pub private_key: PemFile<SecretString>,
    /// The merchant's API certificate, to be compared with serial and key.
    pub certificate: Option<PemFile>,
    /// The APIv3 key.
    pub api_v3_key: SecretString,
    /// `PUB_KEY_ID_…` and WeChat Pay's public key; `None`: its certificates are downloaded.
    pub public_key: Option<(String, PemFile)>,
}

/// Alipay's part; the sandbox fills it in when it is not given.
#[derive(Clone, Debug)]
pub struct Alipay {
    /// Where `gateway.do` is.
    pub gateway_url: String,
    /// The app.
    pub app_id: String,
    /// Who gets the money.
    pub seller_id: String,
    /// The app's private key: PEM or bare base64.
    pub private_key: SecretString,
    /// How Alipay's signature is known.
    pub keys: AlipayKeys,
    /// Where the files are, by key (`alipay_private_key_file`): for sentences about what is in them.
    pub files: BTreeMap<&'static str, String>,
}

/// What stands for Alipay: one key, or three files of certificates.
#[derive(Clone, Debug)]
pub enum AlipayKeys {
    /// Alipay's public key: PEM or bare base64.
    PublicKey(String),
    /// Certificate mode, PEM.
    Certificates {
        /// The app's certificate.
        app: String,
        /// Alipay's certificate, and its issuer's.
        alipay: String,
        /// Alipay's root certificates.
        root: String,
    },
}

/// Everything that can be configured, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `PAYONCE_PROFILE`
    pub profile: Profile,
    /// `PAYONCE_LISTEN`
    pub listen: SocketAddr,
    /// `PAYONCE_ADMIN_LISTEN`; `None`: the public listener serves it too.
    pub admin_listen: Option<SocketAddr>,
    /// `PAYONCE_DATABASE_URL`
    pub database_url: String,
    /// `PAYONCE_REDIS_URL`; `None`: in-process coordination.
    pub redis_url: Option<SecretString>,
    /// `PAYONCE_JWT_HS256_SECRET`, `PAYONCE_JWKS_FILE` or `PAYONCE_JWKS_URL`
    pub token_key: TokenKey,
    /// `PAYONCE_JWT_ISSUER`
    pub jwt_issuer: String,
    /// `PAYONCE_JWT_AUDIENCE`
    pub jwt_audience: String,
    /// `PAYONCE_PUBLIC_URL`, without a slash at its end; `None` (dev only): where the listener is.
    pub public_url: Option<String>,
    /// `PAYONCE_ORDER_TTL`
    pub order_ttl: Duration,
    /// `PAYONCE_REPAY_MARGIN`
    pub repay_margin: Duration,
    /// `PAYONCE_LEASE`
    pub lease: Duration,
    /// `PAYONCE_DUPLICATE_WINDOW`
    pub duplicate_window: Duration,
    /// `PAYONCE_ORDER_MIN_MINOR`, `PAYONCE_ORDER_MAX_MINOR`, `PAYONCE_CUSTOMER_DAILY_MAX_MINOR`,
    /// `PAYONCE_REFUND_MAX_MINOR`, `PAYONCE_REFUND_APPROVAL_MINOR`
    pub limits: domain::Limits,
    /// `PAYONCE_QUOTE_KEYS_FILE`, `PAYONCE_QUOTE_ISSUER`; `None`: quotes are refused.
    pub quotes: Option<Quotes>,
    /// `PAYONCE_KEY_RETENTION`; never below the longest time to pay, so that no purged key finds its order open.
    pub key_retention: Duration,
    /// `PAYONCE_MAX_OPERATIONS`
    pub max_operations: usize,
    /// `PAYONCE_SHUTDOWN_TIMEOUT`
    pub shutdown_timeout: Duration,
    /// `PAYONCE_NUMBER_KEY`
    pub number_key: NumberKey,
    /// `PAYONCE_WECHAT_PAY_*`
    pub wechat_pay: Option<WechatPay>,
    /// `PAYONCE_ALIPAY_*`
    pub alipay: Option<Alipay>,
    /// `PAYONCE_AMQP_*`, `PAYONCE_WEBHOOK_*`
    pub events: Events,
    /// `PAYONCE_SANDBOX_LISTEN`; `None`: off.
    pub sandbox_listen: Option<SocketAddr>,
    /// `PAYONCE_SANDBOX_HOME`: where the sandbox keeps its keys and its orders; `None`: off, nothing is kept.
    pub sandbox_home: Option<PathBuf>,
    /// `PAYONCE_SANDBOX_URL`: where payers reach the cashier; `None`: where the sandbox listens.
    pub sandbox_url: Option<String>,
    /// Who may come in, and how often.
    pub access: access::Access,
    /// `PAYONCE_CORS_ORIGINS`
    pub cors_origins: Vec<String>,
    /// `PAYONCE_WS_PER_PROCESS`
    pub ws_per_process: usize,
    /// `PAYONCE_WS_PER_SUBJECT`; `None`: off.
    pub ws_per_subject: Option<usize>,
    /// `PAYONCE_LOG`
    pub log: String,
    /// `PAYONCE_LOG_FORMAT=json`
    pub log_json: bool,
}

/// One line for the operator: the variable, what is wrong, what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {wrong}")]
pub struct ConfigError {
    variable: String,
    wrong: String,
}

/// Everything that is understood. A key of the file is the variable's name without `PAYONCE_`, in lower case.
const KEYS: &[&str] = &[
    "profile",
    "listen",
    "admin_listen",
    "database_url",
    "redis_url",
    "jwt_hs256_secret",
    "jwks_file",
    "jwks_url",
    "jwt_issuer",
    "jwt_audience",
    "public_url",
    "order_ttl",
    "repay_margin",
    "lease",
    "duplicate_window",
    "order_min_minor",
    "order_max_minor",
    "customer_daily_max_minor",
    "refund_max_minor",
    "refund_approval_minor",
    "quote_keys_file",
    "quote_issuer",
    "key_retention",
    "max_operations",
    "shutdown_timeout",
    "number_key",
    "wechat_pay_base_url",
    "wechat_pay_standby_url",
    "wechat_pay_mchid",
    "wechat_pay_appid",
    "wechat_pay_serial_no",
    "wechat_pay_private_key_file",
    "wechat_pay_cert_file",
    "wechat_pay_api_v3_key",
    "wechat_pay_public_key_id",
    "wechat_pay_public_key_file",
    "alipay_gateway_url",
    "alipay_app_id",
    "alipay_seller_id",
    "alipay_private_key_file",
    "alipay_alipay_public_key_file",
    "alipay_app_cert_file",
    "alipay_alipay_cert_file",
    "alipay_root_cert_file",
    "amqp_url",
    "amqp_exchange",
    "webhook_url",
    "webhook_secret",
    "sandbox_listen",
    "sandbox_home",
    "sandbox_url",
    "rate_subject",
    "rate_address",
    "trusted_proxies",
    "trusted_documents",
    "cors_origins",
    "ws_per_process",
    "ws_per_subject",
    "allow_sqlite",
    "log",
    "log_format",
];

const DEV_SECRET: &str = "payonce-dev-secret-not-for-production-use";
const DEV_NUMBER_KEY: &str = "payonce-dev-number-key-not-for-production";

impl Config {
    /// Reads the file, if one is given, and then the environment, which wins.
    pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
        let file = file.map(read_file).transpose()?.unwrap_or_default();
        Self::from(file, std::env::vars().collect())
    }

    /// From the file's and the environment's values.
    pub fn from(file: BTreeMap<String, String>, environment: BTreeMap<String, String>) -> Result<Config, ConfigError> {
        let mut values = Values(file);
        for (name, value) in environment {
            if let Some(key) = name.strip_prefix("PAYONCE_").map(str::to_ascii_lowercase) {
                values.0.insert(key, value);
            }
        }
        let profile = match values.text("profile", "dev").as_str() {
            "dev" => Profile::Dev,
            "production" => Profile::Production,
            other => return Err(wrong("profile", format!("{other:?} is neither dev nor production"))),
        };
        let dev = profile == Profile::Dev;
        let config = Config {
            profile,
            listen: values
                .address("listen", Some("127.0.0.1:8080"))?
                .ok_or_else(|| wrong("listen", "cannot be off"))?,
            admin_listen: values.address("admin_listen", (!dev).then_some("127.0.0.1:8081"))?,
            database_url: values.database_url()?,
            redis_url: values.get("redis_url").map(SecretString::from),
            token_key: values.token_key(dev)?,
            jwt_issuer: values.text("jwt_issuer", "payonce-dev"),
            jwt_audience: values.text("jwt_audience", "payonce"),
            public_url: values.url("public_url")?,
            order_ttl: values.duration("order_ttl", "30m", 120, 7 * 86_400)?,
            repay_margin: values.duration("repay_margin", "1m", 60, 3_600)?,
            lease: values.duration("lease", "15s", 0, 60)?,
            duplicate_window: values.duration("duplicate_window", "5s", 0, 3_600)?,
            limits: values.limits()?,
            quotes: values.quotes(&values.text("jwt_issuer", "payonce-dev"))?,
            key_retention: values.duration("key_retention", "30d", 7 * 86_400, 3_650 * 86_400)?,
            max_operations: values.number("max_operations", Some(1_024))?.unwrap_or(usize::MAX),
            shutdown_timeout: values.duration("shutdown_timeout", "10s", 0, 300)?,
            number_key: values.number_key(dev)?,
            wechat_pay: values.wechat_pay()?,
            alipay: values.alipay()?,
            events: values.events(dev)?,
            sandbox_listen: values.address("sandbox_listen", dev.then_some("127.0.0.1:8090"))?,
            sandbox_home: Some(PathBuf::from(values.text("sandbox_home", ".payonce/sandbox")))
                .filter(|p| p.as_os_str() != "off"),
            sandbox_url: values.url("sandbox_url")?,
            access: values.access(dev)?,
            cors_origins: values.origins("cors_origins")?,
            ws_per_process: values.number("ws_per_process", Some(20_000))?.unwrap_or(20_000),
            ws_per_subject: values.number("ws_per_subject", (!dev).then_some(20))?,
            log: values.text("log", "info,sea_orm_migration=warn"),
            log_json: match values.text("log_format", "pretty").as_str() {
                "json" => true,
                "pretty" => false,
                other => return Err(wrong("log_format", format!("{other:?} is neither json nor pretty"))),
            },
        };
        if profile == Profile::Production {
            config.check_production(values.get("allow_sqlite").as_deref() == Some("true"))?;
        }
        Ok(config)
    }

    fn check_production(&self, sqlite_allowed: bool) -> Result<(), ConfigError> {
        if self.database_url.starts_with("sqlite:") && !sqlite_allowed {
            return Err(wrong(
                "database_url",
                "SQLite serves one process; use postgres:// or mysql://, or set PAYONCE_ALLOW_SQLITE=true",
            ));
        }
        if self.sandbox_listen.is_some() {
            return Err(wrong("sandbox_listen", "there is no sandbox in production; right is off, or leave it unset"));
        }
        if !self.public_url.as_ref().is_some_and(|url| url.starts_with("https://")) {
            return Err(wrong("public_url", "gateways send money's news there; right is https://…"));
        }
        if self.wechat_pay.is_none() && self.alipay.is_none() {
            return Err(wrong(
                "wechat_pay_mchid",
                "is missing; production needs a real gateway: set PAYONCE_WECHAT_PAY_* or PAYONCE_ALIPAY_*",
            ));
        }
        if self.alipay.as_ref().is_some_and(|a| !a.gateway_url.starts_with("https://")) {
            return Err(wrong(
                "alipay_gateway_url",
                "is not https://; right is https://openapi.alipay.com/gateway.do, or leave it unset",
            ));
        }
        let Some(wechat_pay) = &self.wechat_pay else { return Ok(()) };
        if !wechat_pay.base_url.starts_with("https://") {
            return Err(wrong(
                "wechat_pay_base_url",
                "is not https://; right is https://api.mch.weixin.qq.com, or leave it unset",
            ));
        }
        if wechat_pay.standby_url.as_ref().is_some_and(|url| !url.starts_with("https://")) {
            return Err(wrong(
                "wechat_pay_standby_url",
                "is not https://; right is https://api2.mch.weixin.qq.com, off, or leave it unset",
            ));
        }
        Ok(())
    }
}

/// What was given, by key.
struct Values(BTreeMap<String, String>);

impl Values {
    fn get(&self, key: &str) -> Option<String> {
        self.0.get(key).filter(|v| !v.is_empty()).cloned()
    }

    fn text(&self, key: &str, default: &str) -> String {
        self.get(key).unwrap_or_else(|| default.to_owned())
    }

    fn required(&self, key: &str) -> Result<String, ConfigError> {
        self.get(key).ok_or_else(|| wrong(key, "is missing"))
    }

    fn list(&self, key: &str) -> Vec<String> {
        self.text(key, "").split(',').map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned).collect()
    }

    fn address(&self, key: &str, default: Option<&str>) -> Result<Option<SocketAddr>, ConfigError> {
        let given = self.get(key).or(default.map(str::to_owned));
        match given.as_deref() {
            None | Some("off") => Ok(None),
            Some(text) => match text.parse() {
                Ok(address) => Ok(Some(address)),
                Err(_) => {
                    Err(wrong(key, format!("{text:?} is not an address; right is like 127.0.0.1:8080 or [::]:8080")))
                }
            },
        }
    }

    fn number(&self, key: &str, default: Option<usize>) -> Result<Option<usize>, ConfigError> {
        match self.get(key).as_deref() {
            None => Ok(default),
            Some("off") => Ok(None),
            Some(text) => match text.parse() {
                Ok(n) if n > 0 => Ok(Some(n)),
                _ => Err(wrong(key, format!("{text:?} is not a whole number from 1, nor off"))),
            },
        }
    }

    fn duration(&self, key: &str, default: &str, least: u64, most: u64) -> Result<Duration, ConfigError> {
        let text = self.text(key, default);
        let fits = |d: &Duration| *d >= Duration::from_secs(least) && *d <= Duration::from_secs(most) && !d.is_zero();
        parse_duration(&text).filter(fits).ok_or_else(|| {
            let least = if least == 0 { "1ms".to_owned() } else { format!("{least}s") };
            wrong(
                key,
                format!("{text:?} is not a duration from {least} to {most}s; right is like 300ms, 15s, 30m, 1h, 7d"),
            )
        })
    }

    fn url(&self, key: &str) -> Result<Option<String>, ConfigError> {
        let Some(url) = self.get(key) else { return Ok(None) };
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        match rest {
            Some(rest) if !rest.is_empty() && !rest.contains(['?', '#', ' ']) => {
                Ok(Some(url.trim_end_matches('/').to_owned()))
            }
            _ => Err(wrong(
                key,
                format!("{url:?} is not an http(s) URL without a query; right is like https://pay.example.com"),
            )),
        }
    }

    fn database_url(&self) -> Result<String, ConfigError> {
        let url = self.text("database_url", "sqlite://payonce.db?mode=rwc");
        let known = ["sqlite:", "postgres://", "postgresql://", "mysql://"];
        if known.iter().any(|scheme| url.starts_with(scheme)) {
            Ok(url)
        } else {
            Err(wrong("database_url", "does not begin with sqlite://, postgres:// or mysql://"))
        }
    }

    fn token_key(&self, dev: bool) -> Result<TokenKey, ConfigError> {
        if let Some(url) = self.jwks_url(dev)? {
            if self.get("jwt_hs256_secret").is_some() || self.get("jwks_file").is_some() {
                let words = "is set beside PAYONCE_JWT_HS256_SECRET or PAYONCE_JWKS_FILE; right is one of them";
                return Err(wrong("jwks_url", words));
            }
            return Ok(TokenKey::JwksUrl(url));
        }
        match (self.get("jwt_hs256_secret"), self.get("jwks_file")) {
            (Some(_), Some(_)) => {
                Err(wrong("jwks_file", "is set beside PAYONCE_JWT_HS256_SECRET; right is one of them"))
            }
            (Some(secret), None) if secret.len() < 32 => {
                Err(wrong("jwt_hs256_secret", format!("has {} bytes; right are at least 32", secret.len())))
            }
            (Some(secret), None) if !dev && secret == DEV_SECRET => {
                Err(wrong("jwt_hs256_secret", "is the one that everybody knows; make your own"))
            }
            (Some(secret), None) => Ok(TokenKey::Hs256(secret.into())),
            (None, Some(file)) => Ok(TokenKey::Jwks(self.file("jwks_file", &file)?)),
            (None, None) if dev => Ok(TokenKey::Hs256(DEV_SECRET.into())),
            (None, None) => Err(wrong(
                "jwks_url",
                "is missing, and so are PAYONCE_JWKS_FILE and PAYONCE_JWT_HS256_SECRET; production needs one of them",
            )),
        }
    }

    fn number_key(&self, dev: bool) -> Result<NumberKey, ConfigError> {
        let given = self.get("number_key");
        let secret = match given {
            Some(secret) if !dev && secret == DEV_NUMBER_KEY => {
                return Err(wrong(
                    "number_key",
                    "is the one that everybody knows; make your own, once, and keep it for ever",
                ));
            }
            Some(secret) => secret,
            None if dev => DEV_NUMBER_KEY.to_owned(),
            None => {
                return Err(wrong(
                    "number_key",
                    "is missing; right are at least 32 random bytes, made once and kept for ever",
                ));
            }
        };
        NumberKey::new(secret.as_bytes())
            .map_err(|_| wrong("number_key", format!("has {} bytes; right are at least 32", secret.len())))
    }

    fn wechat_pay(&self) -> Result<Option<WechatPay>, ConfigError> {
        if !self.0.iter().any(|(k, v)| k.starts_with("wechat_pay_") && !v.is_empty()) {
            return Ok(None);
        }
        const BASE_URL: &str = "https://api.mch.weixin.qq.com";
        const STANDBY_URL: &str = "https://api2.mch.weixin.qq.com";
        let base_url = self.text("wechat_pay_base_url", BASE_URL);
        // Another main host has no standby that we could know.
        let standby = if base_url == BASE_URL { STANDBY_URL } else { "off" };
        let private_key = self.pem_file("wechat_pay_private_key_file")?;
        Ok(Some(WechatPay {
            standby_url: Some(self.text("wechat_pay_standby_url", standby)).filter(|url| url != "off"),
            base_url,
            mchid: self.required("wechat_pay_mchid")?,
            appid: self.required("wechat_pay_appid")?,
            serial_no: self.required("wechat_pay_serial_no")?,
            private_key: PemFile { path: private_key.path, text: private_key.text.into() },
            certificate: self.get("wechat_pay_cert_file").map(|_| self.pem_file("wechat_pay_cert_file")).transpose()?,
            api_v3_key: self.required("wechat_pay_api_v3_key")?.into(),
            public_key: match (self.get("wechat_pay_public_key_id"), self.get("wechat_pay_public_key_file")) {
                (None, None) => None,
                _ => Some((self.required("wechat_pay_public_key_id")?, self.pem_file("wechat_pay_public_key_file")?)),
            },
        }))
    }

    fn alipay(&self) -> Result<Option<Alipay>, ConfigError> {
        if !self.0.iter().any(|(k, v)| k.starts_with("alipay_") && !v.is_empty()) {
            return Ok(None);
        }
        let mut files = BTreeMap::new();
        let mut read = |key: &'static str| {
            let path = self.required(key)?;
            let text = self.file(key, &path)?;
            files.insert(key, path);
            Ok::<_, ConfigError>(text)
        };
        let private_key = read("alipay_private_key_file")?.into();
        let certificates = ["alipay_app_cert_file", "alipay_alipay_cert_file", "alipay_root_cert_file"];
        let keys = match (self.get("alipay_alipay_public_key_file"), certificates.iter().any(|k| self.get(k).is_some()))
        {
            (Some(_), true) => {
                let words = "is set beside certificates; right is one of the two modes";
                return Err(wrong("alipay_alipay_public_key_file", words));
            }
            (_, false) => AlipayKeys::PublicKey(read("alipay_alipay_public_key_file")?),
            (None, true) => {
                let [app, alipay, root] = certificates;
                AlipayKeys::Certificates { app: read(app)?, alipay: read(alipay)?, root: read(root)? }
            }
        };
        Ok(Some(Alipay {
            gateway_url: self.text("alipay_gateway_url", "https://openapi.alipay.com/gateway.do"),
            app_id: self.required("alipay_app_id")?,
            seller_id: self.required("alipay_seller_id")?,
            private_key,
            keys,
            files,
        }))
    }

    fn pem_file(&self, key: &str) -> Result<PemFile, ConfigError> {
        let path = self.required(key)?;
        Ok(PemFile { text: self.file(key, &path)?, path })
    }

    fn file(&self, key: &str, path: &str) -> Result<String, ConfigError> {
        std::fs::read_to_string(path).map_err(|e| wrong(key, format!("{path}: {e}")))
    }
}

fn wrong(key: &str, wrong: impl Into<String>) -> ConfigError {
    ConfigError { variable: format!("PAYONCE_{}", key.to_ascii_uppercase()), wrong: wrong.into() }
}

fn read_file(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let file_error = |wrong: String| ConfigError { variable: format!("--config {}", path.display()), wrong };
    let text = std::fs::read_to_string(path).map_err(|e| file_error(e.to_string()))?;
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| file_error(e.message().to_owned()))?;
    table
        .into_iter()
        .map(|(key, value)| match value {
            _ if !KEYS.contains(&key.as_str()) => {
                Err(file_error(format!("{key:?} is not a key; right are: {}", KEYS.join(", "))))
            }
            toml::Value::String(text) => Ok((key, text)),
            toml::Value::Integer(number) => Ok((key, number.to_string())),
            toml::Value::Boolean(yes) => Ok((key, yes.to_string())),
            _ => Err(file_error(format!("{key:?} is neither text nor a number nor true or false"))),
        })
        .collect()
}

/// Reads `300ms`, `15s`, `30m`, `1h`, `7d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3_600).map(Duration::from_secs),
        "d" => number.checked_mul(86_400).map(Duration::from_secs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::from(BTreeMap::new(), environment)
    }

    #[test]
    fn nothing_at_all_is_the_newcomers_machine() {
        let config = from(&[]).unwrap();
        assert_eq!(config.profile, Profile::Dev);
        assert_eq!(config.order_ttl, Duration::from_secs(1800));
        assert!(config.admin_listen.is_none() && config.redis_url.is_none() && config.sandbox_listen.is_some());
    }

    #[test]
    fn a_wrong_value_names_its_variable_and_what_would_be_right() {
        let cases = [
            ("PAYONCE_PROFILE", "prod", "neither dev nor production"),
            ("PAYONCE_LISTEN", "8080", "127.0.0.1:8080"),
            ("PAYONCE_DATABASE_URL", "oracle://x", "sqlite://, postgres:// or mysql://"),
            ("PAYONCE_JWT_HS256_SECRET", "short", "at least 32"),
            ("PAYONCE_NUMBER_KEY", "short", "at least 32"),
            ("PAYONCE_ORDER_TTL", "soon", "30m"),
            ("PAYONCE_ORDER_TTL", "1s", "from 120s"),
            ("PAYONCE_KEY_RETENTION", "6d", "from 604800s"),
            ("PAYONCE_MAX_OPERATIONS", "0", "from 1"),
            ("PAYONCE_PUBLIC_URL", "ftp://x", "https://"),
            ("PAYONCE_WS_PER_PROCESS", "0", "from 1"),
            ("PAYONCE_LOG_FORMAT", "xml", "neither json nor pretty"),
            ("PAYONCE_JWKS_FILE", "/nowhere/jwks.json", "/nowhere/jwks.json"),
        ];
        for (variable, value, hint) in cases {
            let line = from(&[(variable, value)]).unwrap_err().to_string();
            assert!(line.starts_with(variable) && line.contains(hint) && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn production_refuses_what_only_a_newcomer_may_have() {
        let mut good = vec![
            ("PAYONCE_PROFILE", "production"),
            ("PAYONCE_DATABASE_URL", "postgres://db/payonce"),
            ("PAYONCE_JWT_HS256_SECRET", "0123456789abcdef0123456789abcdef"),
            ("PAYONCE_NUMBER_KEY", "0123456789abcdef0123456789abcdef"),
            ("PAYONCE_PUBLIC_URL", "https://pay.example.com"),
        ];
        let line = from(&good).unwrap_err().to_string();
        assert!(line.starts_with("PAYONCE_WECHAT_PAY_MCHID"), "{line}");
        for (variable, value) in [
            ("PAYONCE_JWT_HS256_SECRET", DEV_SECRET),
            ("PAYONCE_NUMBER_KEY", DEV_NUMBER_KEY),
            ("PAYONCE_PUBLIC_URL", "http://pay.example.com"),
            ("PAYONCE_DATABASE_URL", "sqlite://x.db"),
            ("PAYONCE_SANDBOX_LISTEN", "127.0.0.1:1"),
        ] {
            let mut values = good.clone();
            values.push((variable, value));
            let line = from(&values).unwrap_err().to_string();
            assert!(line.starts_with(variable), "{line}");
            assert!(!line.contains(value) || !variable.contains("SECRET"), "{line}");
        }
        good.retain(|(k, _)| *k != "PAYONCE_NUMBER_KEY");
        assert!(from(&good).unwrap_err().to_string().starts_with("PAYONCE_NUMBER_KEY: is missing"));
    }

    #[test]
    fn a_gateway_is_configured_whole_or_not_at_all() {
        for (given, value, missing) in [
            ("PAYONCE_WECHAT_PAY_MCHID", "1900000001", "PAYONCE_WECHAT_PAY_PRIVATE_KEY_FILE: is missing"),
            ("PAYONCE_ALIPAY_APP_ID", "2021000000000001", "PAYONCE_ALIPAY_PRIVATE_KEY_FILE: is missing"),
            ("PAYONCE_ALIPAY_PRIVATE_KEY_FILE", file!(), "PAYONCE_ALIPAY_ALIPAY_PUBLIC_KEY_FILE: is missing"),
        ] {
            assert_eq!(from(&[(given, value)]).unwrap_err().to_string(), missing);
        }
    }

    #[test]
    fn alipays_keys_are_one_file_or_three_and_a_file_that_is_not_there_is_named() {
        let with = |more: &[(&str, &str)]| {
            let mut given = vec![
                ("PAYONCE_ALIPAY_APP_ID", "2021000000000001"),
                ("PAYONCE_ALIPAY_SELLER_ID", "2088000000000001"),
                ("PAYONCE_ALIPAY_PRIVATE_KEY_FILE", file!()),
            ];
            given.extend_from_slice(more);
            from(&given)
        };
        let (app, alipay, root) =
            ("PAYONCE_ALIPAY_APP_CERT_FILE", "PAYONCE_ALIPAY_ALIPAY_CERT_FILE", "PAYONCE_ALIPAY_ROOT_CERT_FILE");
        let public = "PAYONCE_ALIPAY_ALIPAY_PUBLIC_KEY_FILE";
        let keys = |config: Config| config.alipay.unwrap().keys;
        assert!(matches!(keys(with(&[(public, file!())]).unwrap()), AlipayKeys::PublicKey(_)));
        let three = [(app, file!()), (alipay, file!()), (root, file!())];
        assert!(matches!(keys(with(&three).unwrap()), AlipayKeys::Certificates { .. }));
        for (more, sentence) in [
            (&three[..2], "PAYONCE_ALIPAY_ROOT_CERT_FILE: is missing"),
            (&three[1..], "PAYONCE_ALIPAY_APP_CERT_FILE: is missing"),
            (&[three[0], (public, file!())], "PAYONCE_ALIPAY_ALIPAY_PUBLIC_KEY_FILE: is set beside certificates"),
            (&[(app, "/nowhere/a.crt")], "PAYONCE_ALIPAY_APP_CERT_FILE: /nowhere/a.crt: "),
            (&[(public, "/nowhere/a.pem")], "PAYONCE_ALIPAY_ALIPAY_PUBLIC_KEY_FILE: /nowhere/a.pem: "),
        ] {
            let line = with(more).unwrap_err().to_string();
            assert!(line.starts_with(sentence), "{line}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let config = from(&[("PAYONCE_REDIS_URL", "redis://:hunter22@h")]).unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter22") && !shown.contains(DEV_SECRET) && !shown.contains(DEV_NUMBER_KEY));
    }
}
