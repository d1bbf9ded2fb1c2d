//! The one connection to a master that all commands share, and the breaker around it.
//!
//! It comes out of the pool and stays out for as long as it works: a checkout costs a PING each time,
//! and commands multiplex. No connection means that the breaker is open. Every master of a cluster has its
//! own: one that is frozen costs the others nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_redis::Connection;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::server::{RESPONSE, Server, Trouble, ends_the_line, is_elsewhere};
use super::{FIRST_WAIT, LONGEST_WAIT};

/// A refusal is logged no more often than this.
const QUIET: Duration = Duration::from_secs(10);

/// The shared connection to one master, if there is one now.
pub(super) struct Link {
    pub(super) server: Server,
    line: Mutex<Line>,
    broken: Notify,
    bells: Arc<Bells>,
    refusal_logged: Mutex<Option<Instant>>,
}

/// What the links tell those who look after all of them.
#[derive(Default)]
pub(super) struct Bells {
    /// This one may no longer be the master.
    pub(super) doubt: Notify,
    /// There may be something to pay, or somebody to pay it to.
    pub(super) pay: Notify,
}

#[derive(Default)]
struct Line {
    /// Counts the connections, so that a late failure of an old one does not cut the new one.
    number: u64,
    connection: Option<Connection>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The breaker is open: nothing was sent.
    NotAsked,
    /// Nobody knows what was done.
    Lost,
}

impl Link {
    /// Starts with the breaker open; [`keep`] closes it.
    pub(super) fn new(server: Server, bells: Arc<Bells>) -> Self {
        Self { server, line: Mutex::default(), broken: Notify::new(), bells, refusal_logged: Mutex::default() }
    }

    /// Whether the breaker is closed.
    pub(super) fn is_up(&self) -> bool {
        open(&self.line).connection.is_some()
    }

    /// Sends some commands at once and waits 50 ms at most for all their answers; not at all while the breaker is
    /// open. The first answer that fails to come opens it. A command that is refused changed nothing.
    pub(super) async fn ask(&self, commands: &Pipeline) -> Result<Vec<RedisResult<Value>>, NoAnswer> {
        let (number, mut connection) = self.current().ok_or(NoAnswer::NotAsked)?;
        let count = commands.len();
        match timeout(RESPONSE, connection.send_packed_commands(commands, 0, count)).await {
            Ok(Ok(answers)) if answers.len() == count => {
                let answers: Vec<_> = answers.into_iter().map(Value::extract_error).collect();
                for refusal in answers.iter().filter_map(|answer| answer.as_ref().err()) {
                    if ends_the_line(refusal) {
                        self.hang_up(number, refusal.into());
                    } else {
                        self.log_refusal(refusal.into());
                    }
                    if is_elsewhere(refusal) {
                        self.bells.doubt.notify_one();
                    }
                }
                Ok(answers)
            }
            Ok(Ok(_)) => {
                self.hang_up(number, Trouble::NONSENSE);
                Err(NoAnswer::Lost)
            }
            Ok(Err(error)) => {
                self.hang_up(number, error.into());
                Err(NoAnswer::Lost)
            }
            Err(_) => {
                self.hang_up(number, Trouble::TIMEOUT);
                Err(NoAnswer::Lost)
            }
        }
    }

    /// Closes the breaker, if the server answers.
    pub(super) async fn mend(&self) -> Result<(), Trouble> {
        let connection = self.server.dial().await?;
        let mut line = open(&self.line);
        line.number += 1;
        line.connection = Some(connection);
        drop(line);
        tracing::info!(redis = %self.server.address, "Redis answers");
        self.bells.pay.notify_one();
        Ok(())
    }

    fn current(&self) -> Option<(u64, MultiplexedConnection)> {
        let line = open(&self.line);
        line.connection.as_ref().map(|connection| (line.number, MultiplexedConnection::clone(connection)))
    }

    /// Opens the breaker. The connection goes back to the pool, which tests it before its next use.
    fn hang_up(&self, number: u64, trouble: Trouble) {
        let mut line = open(&self.line);
        if line.number != number {
            return;
        }
        let Some(connection) = line.connection.take() else { return };
        drop(line);
        drop(connection);
        tracing::warn!(redis = %self.server.address, %trouble, "Redis does not answer; going on without it");
        self.broken.notify_one();
        self.bells.doubt.notify_one();
    }

    async fn until_broken(&self) {
        while self.is_up() {
            self.broken.notified().await;
        }
    }

    fn log_refusal(&self, trouble: Trouble) {
        let mut logged = open(&self.refusal_logged);
        if logged.is_none_or(|at| at.elapsed() >= QUIET) {
            *logged = Some(Instant::now());
            tracing::warn!(redis = %self.server.address, %trouble, "Redis refuses a command; going on without the answer");
        }
    }
}

/// Keeps the line up for as long as it runs: mends it at once when it had been good, and with growing
/// waits when it breaks again and again.
pub(super) async fn keep(link: Arc<Link>) {
    let mut wait = FIRST_WAIT;
    loop {
        while !link.is_up()
            && let Err(trouble) = link.mend().await
        {
            tracing::debug!(redis = %link.server.address, %trouble, "Redis still does not answer");
            link.bells.doubt.notify_one();
            pause(&mut wait).await;
        }
        let since = Instant::now();
        link.until_broken().await;
        if since.elapsed() >= LONGEST_WAIT {
            wait = FIRST_WAIT;
        } else {
            pause(&mut wait).await;
        }
    }
}

/// Waits, and longer the next time.
pub(super) async fn pause(wait: &mut Duration) {
    sleep(*wait).await;
    *wait = (*wait * 2).min(LONGEST_WAIT);
}

/// No code panics while it holds these locks, and none waits.
pub(super) fn open<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
