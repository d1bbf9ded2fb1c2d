//! One server that holds data: how to dial it, how to listen to it, and what its refusals mean.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime};
use redis::aio::PubSub;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, RedisError, ServerErrorKind, cmd};
use tokio::time::timeout;

use super::place::Address;
use super::slots::{Share, slot_of};

/// How long an answer may take.
pub(super) const RESPONSE: Duration = Duration::from_millis(50);
/// How long a new connection may take, greeting included.
const CONNECT: Duration = Duration::from_millis(100);

/// How long any connection waits.
pub(super) fn patience() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_response_timeout(Some(RESPONSE))
        .set_connection_timeout(Some(CONNECT))
        .set_pipeline_buffer_size(1024)
}

/// A connection and one answer, or `None` after the time that both may take.
pub(super) async fn quickly<T>(work: impl Future<Output = T>) -> Option<T> {
    timeout(CONNECT + RESPONSE, work).await.ok()
}

/// One server.
pub(super) struct Server {
    pub(super) address: Address,
    client: Client,
    pool: Pool,
    /// A key in a slot of its own.
    probed: String,
}

impl Server {
    /// `None` if the client library takes no such address. Connects to nothing yet.
    pub(super) fn open(share: &Share, info: ConnectionInfo) -> Option<Self> {
        let client = Client::open(info.clone()).ok()?;
        let pool = Pool::builder(Manager::new_with_config(info, patience()).ok()?)
            .max_size(2)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT))
            .create_timeout(Some(2 * CONNECT))
            .recycle_timeout(Some(2 * RESPONSE))
            .build()
            .ok()?;
        let own = |key: &String| (share.first..=share.last).contains(&slot_of(key));
        let probed = (0..1_000_000).map(|n| format!("payonce:probe:{n}")).find(own)?;
        Some(Self { address: share.master.clone(), client, pool, probed })
    }

    /// A connection for commands that answers now and takes writes. The pool greets a new one and pings
    /// a used one; a PING alone would also call a replica well, or a server that is still loading.
    pub(super) async fn dial(&self) -> Result<Connection, Trouble> {
        let mut connection = self.pool.get().await?;
        let trouble = match timeout(RESPONSE, self.probe().exec_async(&mut connection)).await {
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
        let subscribed = quickly(async {
            let mut listener = self.client.get_async_pubsub().await?;
            listener.subscribe(channel).await?;
            Ok::<_, RedisError>(listener)
        });
        Ok(subscribed.await.ok_or(Trouble::TIMEOUT)??)
    }

    /// Writes something that nobody reads, to see whether the server takes writes.
    pub(super) fn probe(&self) -> Cmd {
        let mut write = cmd("SET");
        write.arg(&self.probed).arg(1).arg("PX").arg(1000);
        write
    }
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

/// Whether the server says that the key belongs to another one.
pub(super) fn is_elsewhere(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask))
}

/// Why Redis is not to be reached, in words fit for a log: a server's own text may quote what it was
/// sent, a password included, so only its code is kept.
#[derive(Debug)]
pub(super) struct Trouble(Cow<'static, str>);

impl Trouble {
    pub(super) const TIMEOUT: Self = Self(Cow::Borrowed("no answer in time"));
    pub(super) const CLOSED: Self = Self(Cow::Borrowed("connection closed"));
    pub(super) const NONSENSE: Self = Self(Cow::Borrowed("answers that fit no question"));
    pub(super) const NO_MASTER: Self = Self(Cow::Borrowed("no longer a master"));
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&RedisError> for Trouble {
    fn from(error: &RedisError) -> Self {
        match error.code() {
            Some("MOVED") => Self(Cow::Borrowed("MOVED: one node of a cluster; its URL begins with redis+cluster://")),
            code => Self(code.unwrap_or(error.category()).to_owned().into()),
        }
    }
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        Self::from(&error)
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
