//! Which Redis there is, read from its URL: one server, one that sentinels watch over, or a cluster.

use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

/// What is wrong with a Redis URL, and what would be right. Never repeats the URL: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// None of the schemes.
    #[error("the Redis URL must begin with redis://, redis+sentinel:// or redis+cluster://; over TLS with rediss")]
    Scheme,
    /// Not a URL of one server.
    #[error("the Redis URL must look like redis://[user:password@]host[:port][/database], or rediss:// for TLS")]
    One,
    /// Several servers, and not how they belong together.
    #[error(
        "several Redis servers: say redis+cluster://host:port,host:port or redis+sentinel://host:port,host:port/service"
    )]
    Several,
    /// Not a URL of sentinels.
    #[error(
        "the Redis URL must look like redis+sentinel://[user:password@]host[:port],host[:port]/service[/database]: the sentinels, and the name under which they watch over the master"
    )]
    Sentinel,
    /// Not a URL of a cluster.
    #[error("the Redis URL must look like redis+cluster://[user:password@]host[:port],host[:port]: some of its nodes")]
    Cluster,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// How the servers belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is one.
    One,
    /// Sentinels know the master of this name.
    Sentinel { service: String },
    /// Each master serves some of the slots.
    Cluster,
}

/// One Redis, whatever it is made of.
pub(super) struct Place {
    pub(super) kind: Kind,
    /// The server, the sentinels, or some of the cluster's nodes.
    pub(super) seeds: Vec<Address>,
    /// How to greet a server that holds data: user, password, database, TLS.
    greeting: ConnectionInfo,
}

impl Place {
    /// Reads the URL; connects to nothing.
    pub(super) fn read(url: &str) -> Result<Self, ConfigError> {
        let (scheme, rest) = url.split_once("://").ok_or(ConfigError::Scheme)?;
        let scheme = scheme.to_ascii_lowercase();
        let (wire, kind) = scheme.split_once('+').unwrap_or((&scheme, ""));
        if !matches!(wire, "redis" | "rediss") {
            return Err(ConfigError::Scheme);
        }
        let at = rest.rfind('@').map_or(0, |at| at + 1);
        let (login, rest) = rest.split_at(at);
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (kind, database, port, wrong) = match kind {
            "" if hosts.contains(',') => return Err(ConfigError::Several),
            "" => (Kind::One, path, 6379, ConfigError::One),
            "sentinel" => {
                let (service, database) = path.split_once('/').unwrap_or((path, ""));
                let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
                if service.is_empty() || !service.chars().all(plain) {
                    return Err(ConfigError::Sentinel);
                }
                (Kind::Sentinel { service: service.to_owned() }, database, 26379, ConfigError::Sentinel)
            }
            "cluster" if matches!(path, "" | "0") => (Kind::Cluster, "", 6379, ConfigError::Cluster),
            "cluster" => return Err(ConfigError::Cluster),
            _ => return Err(ConfigError::Scheme),
        };
        let one = |host: &str| one_server(&format!("{wire}://{login}{}/{database}", with_port(host, port)));
        let servers: Option<Vec<_>> = hosts.split(',').map(one).collect();
        let servers = servers.ok_or(wrong)?;
        let greeting = servers.first().ok_or(wrong)?.1.clone();
        Ok(Self { kind, seeds: servers.into_iter().map(|(address, _)| address).collect(), greeting })
    }

    /// Whether connections are encrypted.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self.greeting.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// How to reach a server that holds data.
    pub(super) fn reach(&self, address: &Address) -> ConnectionInfo {
        self.greeting.clone().set_addr(self.addr(address))
    }

    /// How to reach a sentinel, with nobody's password or with that of the servers.
    pub(super) fn reach_sentinel(&self, address: &Address, with_password: bool) -> Option<ConnectionInfo> {
        if with_password {
            let login = self.greeting.redis_settings().clone().set_db(0);
            return Some(self.reach(address).set_redis_settings(login));
        }
        self.addr(address).into_connection_info().ok()
    }

    fn addr(&self, Address { host, port }: &Address) -> ConnectionAddr {
        let (host, port) = (host.clone(), *port);
        match self.is_tls() {
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(host, port),
        }
    }
}

impl fmt::Display for Place {
    /// The addresses, without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds: Vec<String> = self.seeds.iter().map(Address::to_string).collect();
        f.write_str(&seeds.join(","))
    }
}

fn with_port(host: &str, port: u16) -> String {
    let after_ipv6 = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
    if host.is_empty() || after_ipv6.contains([':', '?', '#']) { host.to_owned() } else { format!("{host}:{port}") }
}

/// A URL of one server, read by the Redis client itself. Certificates are always checked.
fn one_server(url: &str) -> Option<(Address, ConnectionInfo)> {
    let info = url.into_connection_info().ok()?;
    let address = match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, insecure: false, .. } => {
            Address { host: host.clone(), port: *port }
        }
        _ => return None,
    };
    Some((address, info))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Place {
        Place::read(url).unwrap_or_else(|e| panic!("{url}: {e}"))
    }

    #[test]
    fn one_server_is_read() {
        for (url, address) in [
            ("redis://localhost", "localhost:6379"),
            ("redis://:s3cret@[::1]:6380/2", "[::1]:6380"),
            ("redis://u:a,b@10.0.0.1/", "10.0.0.1:6379"),
            ("REDIS://h/?protocol=resp3", "h:6379"),
            ("rediss://user:s3cret@example.org:6380/2", "example.org:6380"),
        ] {
            let place = read(url);
            assert_eq!((&place.kind, place.to_string().as_str()), (&Kind::One, address), "{url}");
            assert_eq!(place.is_tls(), url.starts_with("rediss"), "{url}");
        }
        assert_eq!(read("redis://:p%40ss@h/3").greeting.redis_settings().db(), 3);
    }

    #[test]
    fn sentinels_are_read() {
        let place = read("redis+sentinel://user:s3cret@a,[::1]:5000,c:26380/my-master/1");
        assert_eq!(place.kind, Kind::Sentinel { service: "my-master".to_owned() });
        assert_eq!(place.to_string(), "a:26379,[::1]:5000,c:26380");
        let master = place.reach(&place.seeds[0]);
        assert_eq!((master.redis_settings().password(), master.redis_settings().db()), (Some("s3cret"), 1));
        let anonymous = place.reach_sentinel(&place.seeds[0], false).expect("an address");
        assert_eq!((anonymous.redis_settings().password(), anonymous.redis_settings().db()), (None, 0));
        assert!(read("rediss+sentinel://a/m").is_tls());
    }

    #[test]
    fn a_cluster_is_read() {
        let place = read("redis+cluster://:s3cret@a:7000,b");
        assert_eq!((&place.kind, place.to_string().as_str()), (&Kind::Cluster, "a:7000,b:6379"));
        assert_eq!(place.reach(&place.seeds[1]).redis_settings().password(), Some("s3cret"));
        assert!(read("rediss+cluster://a/").is_tls());
    }

    #[test]
    fn everything_else_is_refused_in_one_line_that_does_not_repeat_it() {
        use ConfigError::{Cluster, One, Scheme, Sentinel, Several};
        for (url, expected) in [
            ("", Scheme),
            ("localhost:6379", Scheme),
            ("http://s3cret@localhost", Scheme),
            ("unix:///s3cret", Scheme),
            ("redis-sentinel://:s3cret@a:26379/mymaster", Scheme),
            ("redis+ring://:s3cret@a", Scheme),
            ("redis://", One),
            ("redis://:s3cret@", One),
            ("redis://:s3cret@h:port", One),
            ("redis://:s3cret@h/first", One),
            ("redis://h/?protocol=s3cret", One),
            ("rediss://:s3cret@h/#insecure", One),
            ("redis://:s3cret@a:1,b:2", Several),
            ("redis+sentinel://:s3cret@a:1,b:2", Sentinel),
            ("redis+sentinel://:s3cret@a:1,,b:2/m", Sentinel),
            ("redis+sentinel:///m", Sentinel),
            ("redis+sentinel://a/two words", Sentinel),
            ("redis+sentinel://a/m/first", Sentinel),
            ("redis+cluster://", Cluster),
            ("redis+cluster://:s3cret@a,b:port", Cluster),
            ("redis+cluster://a/1", Cluster),
        ] {
            let Err(refused) = Place::read(url) else { panic!("{url} is taken") };
            assert_eq!(refused, expected, "{url}");
            let said = format!("{expected}");
            assert!(!format!("{said} {expected:?}").contains("s3cret") && !said.contains('\n'), "{said}");
        }
    }
}
