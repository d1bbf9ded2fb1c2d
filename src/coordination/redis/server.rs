//! Which Redis there is and how to reach it. Sentinel and Cluster belong here, beside the one server:
//! each has its own way to dial and to subscribe, the rest of the room need not know.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime};
use redis::aio::PubSub;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, ServerErrorKind, cmd};
use tokio::time::timeout;

/// How long an answer may take.
pub(super) const RESPONSE: Duration = Duration::from_millis(50);
/// How long a new connection may take, greeting included.
const CONNECT: Duration = Duration::from_millis(100);

/// What is wrong with a Redis URL. Never repeats the URL: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not a URL of one server.
    #[error("the Redis URL must look like redis://[user:password@]host[:port][/database], or rediss:// for TLS")]
    Malformed,
    /// Several servers, or a scheme of Sentinel or Cluster.
    #[error("Redis Sentinel and Redis Cluster are not supported yet: give the redis:// or rediss:// URL of one server")]
    SeveralServers,
    /// `rediss://`, but the program was built without TLS for Redis.
    #[error("this program was built without TLS for Redis: it cannot use a rediss:// URL")]
    NoTls,
}

/// One Redis server.
pub(super) struct Server {
    client: Client,
    pool: Pool,
}

impl Server {
    /// Reads the URL; connects to nothing yet.
    pub(super) fn open(url: &str) -> Result<Self, ConfigError> {
        let (scheme, rest) = url.split_once("://").ok_or(ConfigError::Malformed)?;
        let scheme = scheme.to_ascii_lowercase();
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
        if scheme.contains("sentinel") || scheme.contains("cluster") || hosts.contains(',') {
            return Err(ConfigError::SeveralServers);
        }
        if !matches!(scheme.as_str(), "redis" | "rediss") || hosts.is_empty() {
            return Err(ConfigError::Malformed);
        }
        let client = Client::open(url).map_err(|_| match Client::open(format!("redis://{rest}")) {
            Ok(_) if scheme == "rediss" => ConfigError::NoTls,
            _ => ConfigError::Malformed,
        })?;
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(RESPONSE))
            .set_connection_timeout(Some(CONNECT))
            .set_pipeline_buffer_size(1024);
        let manager = Manager::new_with_config(url, config).map_err(|_| ConfigError::Malformed)?;
        let pool = Pool::builder(manager)
            .max_size(2)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT))
            .create_timeout(Some(2 * CONNECT))
            .recycle_timeout(Some(2 * RESPONSE))
            .build()
            .map_err(|_| ConfigError::Malformed)?;
        Ok(Self { client, pool })
    }

    /// A connection for commands that answers now and takes writes. The pool greets a new one and pings
    /// a used one; a PING alone would also call a replica well, or a server that is still loading.
    pub(super) async fn dial(&self) -> Result<Connection, Trouble> {
        let mut connection = self.pool.get().await?;
        let trouble = match timeout(RESPONSE, probe().exec_async(&mut connection)).await {
            Ok(Ok(())) => return Ok(connection),
            // It refuses this command, as it may when its memory is full; it may well take others.
            Ok(Err(error)) if !ends_the_line(&error) => return Ok(connection),
            Ok(Err(error)) => error.into(),
            Err(_) => Trouble::TIMEOUT,
        };
        // Not given back: the next attempt must look where the name leads by then.
        drop(Connection::take(connection));
        Err(trouble)
    }

    /// A connection of its own that listens to `channel` from now on.
    pub(super) async fn subscribe(&self, channel: &str) -> Result<PubSub, Trouble> {
        let subscribed = timeout(CONNECT + RESPONSE, async {
            let mut listener = self.client.get_async_pubsub().await?;
            listener.subscribe(channel).await?;
            Ok::<_, RedisError>(listener)
        });
        Ok(subscribed.await.map_err(|_| Trouble::TIMEOUT)??)
    }
}

impl fmt::Display for Server {
    /// The address, without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.client.get_connection_info().addr().fmt(f)
    }
}

/// Writes something that nobody reads, to see whether Redis takes writes.
pub(super) fn probe() -> Cmd {
    let mut write = cmd("SET");
    write.arg("payonce:probe").arg(1).arg("PX").arg(1000);
    write
}

/// Whether the connection, or the server behind it, is of no use for now. Otherwise the server only
/// refused this one command (memory full, slot elsewhere, no permission) and serves on.
pub(super) fn ends_the_line(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly};
    match error.kind() {
        ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly) => true,
        ErrorKind::Server(_) | ErrorKind::UnexpectedReturnType => false,
        ErrorKind::Extension => error.code() == Some("NOAUTH"),
        _ => true,
    }
}

/// Why Redis is not to be reached, in words fit for a log: a server's own text may quote what it was
/// sent, a password included, so only its code is kept.
#[derive(Debug)]
pub(super) struct Trouble(Cow<'static, str>);

impl Trouble {
    pub(super) const TIMEOUT: Self = Self(Cow::Borrowed("no answer in time"));
    pub(super) const CLOSED: Self = Self(Cow::Borrowed("connection closed"));
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        Self(error.code().unwrap_or(error.category()).to_owned().into())
    }
}

impl From<PoolError> for Trouble {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(_) => Self::TIMEOUT,
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => Self::CLOSED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> Option<ConfigError> {
        Server::open(url).err()
    }

    #[test]
    fn a_url_of_one_server_is_accepted() {
        for url in
            ["redis://localhost", "redis://:s3cret@[::1]:6380/2", "redis://u:a,b@10.0.0.1/", "REDIS://h?protocol=resp3"]
        {
            assert_eq!(refused(url), None, "{url}");
        }
    }

    #[test]
    fn everything_else_is_refused_in_words_that_do_not_repeat_it() {
        use ConfigError::{Malformed, SeveralServers};
        for (url, expected) in [
            ("", Malformed),
            ("localhost:6379", Malformed),
            ("http://s3cret@localhost", Malformed),
            ("unix:///s3cret", Malformed),
            ("redis://", Malformed),
            ("redis://:s3cret@", Malformed),
            ("redis://:s3cret@h:port", Malformed),
            ("redis://:s3cret@h/first", Malformed),
            ("redis://h?protocol=s3cret", Malformed),
            ("redis://:s3cret@a:1,b:2", SeveralServers),
            ("redis-sentinel://:s3cret@a:26379/mymaster", SeveralServers),
            ("redis+cluster://a,b,c", SeveralServers),
        ] {
            assert_eq!(refused(url), Some(expected), "{url}");
            assert!(!format!("{expected} {expected:?}").contains("s3cret"));
        }
    }

    #[test]
    fn an_address_in_the_log_has_no_password() {
        let server = Server::open("redis://user:s3cret@example.org:6380/2");
        assert_eq!(server.map(|s| s.to_string()).unwrap_or_default(), "example.org:6380");
    }
}
