//! Who may come in and how often: the issuer's keys by URL, rates, proxies, trusted documents, browsers' origins.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::{ConfigError, Values, wrong};

/// So many requests in so much time; as many at once, when none came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How many.
    pub count: u32,
    /// In what time: a second, or a minute.
    pub per: Duration,
}

/// Everything about who may come in.
#[derive(Clone, Debug)]
pub struct Access {
    /// `PAYONCE_RATE_SUBJECT`; `None`: off.
    pub rate_subject: Option<RateLimit>,
    /// `PAYONCE_RATE_ADDRESS`; `None`: off.
    pub rate_address: Option<RateLimit>,
    /// `PAYONCE_TRUSTED_PROXIES`: whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `PAYONCE_TRUSTED_DOCUMENTS`: the files of that folder; `None`: every document is taken.
    pub trusted_documents: Option<Vec<DocumentFile>>,
}

/// One file of trusted documents, read.
#[derive(Clone, Debug)]
pub struct DocumentFile {
    /// Where.
    pub path: PathBuf,
    /// What stands in it.
    pub text: String,
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// Of one subject, in production.
const SUBJECT: RateLimit = RateLimit { count: 20, per: SECOND };
/// Of one address, in production: many customers of a mobile network share one.
const ADDRESS: RateLimit = RateLimit { count: 200, per: SECOND };
/// More would be no limit.
const MOST: u32 = 1_000_000;

impl Values {
    pub(super) fn access(&self, dev: bool) -> Result<Access, ConfigError> {
        Ok(Access {
            rate_subject: self.rate("rate_subject", (!dev).then_some(SUBJECT))?,
            rate_address: self.rate("rate_address", (!dev).then_some(ADDRESS))?,
            trusted_proxies: self.list("trusted_proxies").iter().map(|n| network(n)).collect::<Result<_, _>>()?,
            trusted_documents: self.get("trusted_documents").map(|folder| documents(&folder)).transpose()?,
        })
    }

    fn rate(&self, key: &str, default: Option<RateLimit>) -> Result<Option<RateLimit>, ConfigError> {
        let Some(text) = self.get(key) else { return Ok(default) };
        if text == "off" {
            return Ok(None);
        }
        let parsed = text.split_once('/').and_then(|(count, unit)| {
            let per = match unit {
                "s" => SECOND,
                "m" => MINUTE,
                _ => return None,
            };
            let count = count.parse().ok().filter(|n| (1..=MOST).contains(n))?;
            Some(RateLimit { count, per })
        });
        let words = || format!("{text:?} is not a rate; right is like 20/s, 600/m, or off");
        parsed.map(Some).ok_or_else(|| wrong(key, words()))
    }

    /// The URL of a JWKS: it says whom to believe, so in production it is not asked in plain text.
    pub(super) fn jwks_url(&self, dev: bool) -> Result<Option<String>, ConfigError> {
        let Some(url) = self.get("jwks_url") else { return Ok(None) };
        let fits = |url: &String| {
            let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://").filter(|_| dev));
            rest.is_some_and(|rest| {
                let host = rest.split(['/', '?']).next().unwrap_or_default();
                !host.is_empty() && !host.contains('@') && !rest.contains(['#', ' '])
            })
        };
        let right = if dev { "an http(s) URL" } else { "https://…" };
        Some(url).filter(fits).map(Some).ok_or_else(|| {
            wrong("jwks_url", format!("is not {right} without user and password; right is like https://login.example.com/.well-known/jwks.json"))
        })
    }

    /// Origins as browsers write them.
    pub(super) fn origins(&self, key: &str) -> Result<Vec<String>, ConfigError> {
        let origins = self.list(key);
        for origin in &origins {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")).unwrap_or_default();
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
            if host.is_empty() || !host.chars().all(plain) {
                let words = "is not an origin; right is like https://shop.example.com, without a path, several with commas; * is not offered";
                return Err(wrong(key, format!("{origin:?} {words}")));
            }
        }
        Ok(origins)
    }
}

fn network(text: &str) -> Result<IpNet, ConfigError> {
    let one = || text.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address));
    text.parse().ok().or_else(one).ok_or_else(|| {
        wrong("trusted_proxies", format!("{text:?} is not a network; right is like 10.0.0.0/8, fd00::/8 or 192.0.2.7"))
    })
}

/// `.graphql` and `.json` files of a folder, by name.
fn documents(folder: &str) -> Result<Vec<DocumentFile>, ConfigError> {
    let failed =
        |path: &Path, why: &dyn std::fmt::Display| wrong("trusted_documents", format!("{}: {why}", path.display()));
    let folder = Path::new(folder);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| failed(folder, &e))? {
        let path = entry.map_err(|e| failed(folder, &e))?.path();
        if path.extension().is_some_and(|e| e == "graphql" || e == "json") {
            let text = std::fs::read_to_string(&path).map_err(|e| failed(&path, &e))?;
            files.push(DocumentFile { path, text });
        }
    }
    if files.is_empty() {
        return Err(failed(
            folder,
            &"there is no .graphql and no .json file in it; nobody but staff could ask anything",
        ));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Config;
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::from(BTreeMap::new(), environment)
    }

    #[test]
    fn rates_are_off_on_a_newcomers_machine_and_read_when_they_are_given() {
        let access = |pairs: &[(&str, &str)]| from(pairs).unwrap().access;
        assert!(access(&[]).rate_subject.is_none() && access(&[]).rate_address.is_none());
        let given = access(&[("PAYONCE_RATE_SUBJECT", "600/m"), ("PAYONCE_RATE_ADDRESS", "off")]);
        assert_eq!(given.rate_subject, Some(RateLimit { count: 600, per: MINUTE }));
        assert_eq!(given.rate_address, None);
    }

    #[test]
    fn proxies_are_networks_or_addresses() {
        let given = from(&[("PAYONCE_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7,fd00::/8")]).unwrap();
        let shown: Vec<String> = given.access.trusted_proxies.iter().map(IpNet::to_string).collect();
        assert_eq!(shown, ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"]);
    }

    #[test]
    fn a_wrong_value_names_its_variable_and_what_would_be_right() {
        for (variable, value, hint) in [
            ("PAYONCE_RATE_SUBJECT", "20", "20/s"),
            ("PAYONCE_RATE_SUBJECT", "0/s", "20/s"),
            ("PAYONCE_RATE_ADDRESS", "20/h", "600/m"),
            ("PAYONCE_RATE_ADDRESS", "-1/s", "600/m"),
            ("PAYONCE_TRUSTED_PROXIES", "10.0.0.0/33", "10.0.0.0/8"),
            ("PAYONCE_TRUSTED_PROXIES", "proxy.example.com", "10.0.0.0/8"),
            ("PAYONCE_TRUSTED_DOCUMENTS", "/nowhere/documents", "/nowhere/documents"),
            ("PAYONCE_CORS_ORIGINS", "*", "https://shop.example.com"),
            ("PAYONCE_CORS_ORIGINS", "https://shop.example.com/", "without a path"),
            ("PAYONCE_CORS_ORIGINS", "shop.example.com", "https://"),
            ("PAYONCE_JWKS_URL", "ftp://x/jwks", "https://login.example.com"),
            ("PAYONCE_JWKS_URL", "https://me:secret@x/jwks", "without user"),
        ] {
            let line = from(&[(variable, value)]).unwrap_err().to_string();
            assert!(line.starts_with(variable) && line.contains(hint) && !line.contains('\n'), "{line}");
            assert!(!line.contains("secret"), "{line}");
        }
    }

    #[test]
    fn a_folder_without_documents_stops_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let given = folder.path().to_str().unwrap();
        let line = from(&[("PAYONCE_TRUSTED_DOCUMENTS", given)]).unwrap_err().to_string();
        assert!(line.contains(given) && line.contains("no .graphql"), "{line}");
        std::fs::write(folder.path().join("broken.graphql"), [0xff, 0xfe]).unwrap();
        let line = from(&[("PAYONCE_TRUSTED_DOCUMENTS", given)]).unwrap_err().to_string();
        assert!(line.contains("broken.graphql"), "{line}");
    }

    #[test]
    fn keys_come_from_one_place() {
        let secret = ("PAYONCE_JWT_HS256_SECRET", "0123456789abcdef0123456789abcdef");
        let line = from(&[("PAYONCE_JWKS_URL", "https://x/jwks"), secret]).unwrap_err().to_string();
        assert!(line.starts_with("PAYONCE_JWKS_URL") && line.contains("one of them"), "{line}");
        let plain = [("PAYONCE_PROFILE", "production"), ("PAYONCE_JWKS_URL", "http://x/jwks")];
        let line = from(&plain).unwrap_err().to_string();
        assert!(line.starts_with("PAYONCE_JWKS_URL") && line.contains("https://"), "{line}");
    }
}
