//! The one connection that all commands share, and the breaker around it.
//!
//! It comes out of the pool and stays out for as long as it works: a checkout costs a PING each time,
//! and commands multiplex. No connection means that the breaker is open.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_redis::Connection;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::server::{RESPONSE, Server, Trouble, ends_the_line};
use super::{FIRST_WAIT, LONGEST_WAIT, release};

/// Releases owed at most; more than that is left to the locks' own end.
const MOST_DEBTS: usize = 1024;
/// A release that found nothing is tried once more after this time: the SET may come in later, on the
/// connection that was given up.
const SECOND_TRY: Duration = Duration::from_secs(1);
/// No lock is meant to live longer; an older debt is forgotten.
const DEBT_ENDS: Duration = Duration::from_secs(60);
/// A refusal is logged no more often than this.
const QUIET: Duration = Duration::from_secs(10);

/// The shared connection to Redis, if there is one now.
pub(super) struct Link {
    server: Arc<Server>,
    line: Mutex<Line>,
    debts: Mutex<Vec<Debt>>,
    /// The line broke, or something is owed: the keeper has work.
    work: Notify,
    refusal_logged: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Line {
    /// Counts the connections, so that a late failure of an old one does not cut the new one.
    number: u64,
    connection: Option<Connection>,
}

/// A lock that may be ours without our knowing, or that we could not give back.
struct Debt {
    key: String,
    token: String,
    since: Instant,
    tried: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The breaker is open: nothing was sent.
    NotAsked,
    /// Redis said no: nothing was done.
    Refused,
    /// Nobody knows whether it was done.
    Lost,
}

impl Link {
    /// Tries to connect, once. Without success it starts as broken.
    pub(super) async fn open(server: Arc<Server>) -> Self {
        let link = Self {
            server,
            line: Mutex::default(),
            debts: Mutex::default(),
            work: Notify::new(),
            refusal_logged: Mutex::default(),
        };
        if let Err(trouble) = link.mend().await {
            tracing::warn!(redis = %link.server, %trouble, "Redis does not answer; starting without it");
        }
        link
    }

    /// Puts one question, once, and waits 50 ms at most; not at all while the breaker is open. The first
    /// answer that fails to come opens it.
    pub(super) async fn ask<T, F>(&self, question: impl FnOnce(MultiplexedConnection) -> F) -> Result<T, NoAnswer>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let (number, connection) = self.current().ok_or(NoAnswer::NotAsked)?;
        // Around the library's own timeout, which starts anew when a script must be loaded first.
        match timeout(RESPONSE, question(connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let said_no = error.code().is_some();
                if ends_the_line(&error) {
                    self.hang_up(number, error.into());
                } else {
                    self.log_refusal(error.into());
                }
                Err(if said_no { NoAnswer::Refused } else { NoAnswer::Lost })
            }
            Err(_) => {
                self.hang_up(number, Trouble::TIMEOUT);
                Err(NoAnswer::Lost)
            }
        }
    }

    /// Owes the release of a lock from now on, unless the promise is settled: also when the caller is
    /// cancelled.
    pub(super) fn owe_unless_settled(&self, key: &str, token: &str) -> Promise<'_> {
        let debt = Debt { key: key.to_owned(), token: token.to_owned(), since: Instant::now(), tried: false };
        Promise { link: self, debt: Some(debt) }
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
        tracing::warn!(redis = %self.server, %trouble, "Redis does not answer; going on without it");
        self.work.notify_one();
    }

    /// Closes the breaker, if Redis answers.
    async fn mend(&self) -> Result<(), Trouble> {
        let connection = self.server.dial().await?;
        let mut line = open(&self.line);
        line.number += 1;
        line.connection = Some(connection);
        drop(line);
        tracing::info!(redis = %self.server, "Redis answers");
        Ok(())
    }

    /// Serves the debts until the line breaks.
    async fn until_broken(&self) {
        while self.current().is_some() {
            self.pay().await;
            let owing = !open(&self.debts).is_empty();
            tokio::select! {
                () = self.work.notified() => {}
                () = sleep(SECOND_TRY), if owing => {}
            }
        }
    }

    /// Releases what is owed. What was there is done with; what was not may still come, once.
    async fn pay(&self) {
        let debts = mem::take(&mut *open(&self.debts));
        for mut debt in debts.into_iter().filter(|debt| debt.since.elapsed() < DEBT_ENDS) {
            let released = self.ask(|redis| release(redis, &debt.key, &debt.token)).await;
            match released {
                Ok(true) => {}
                Ok(false) if debt.tried => {}
                Ok(false) => {
                    debt.tried = true;
                    self.owe(debt);
                }
                Err(_) => self.owe(debt),
            }
        }
    }

    fn owe(&self, debt: Debt) {
        let mut debts = open(&self.debts);
        if debts.len() < MOST_DEBTS {
            debts.push(debt);
        }
    }

    fn log_refusal(&self, trouble: Trouble) {
        let mut logged = open(&self.refusal_logged);
        if logged.is_none_or(|at| at.elapsed() >= QUIET) {
            *logged = Some(Instant::now());
            tracing::warn!(redis = %self.server, %trouble, "Redis refuses a command; going on without the answer");
        }
    }
}

/// Keeps the line up for as long as it runs: mends it at once when it had been good, and with growing
/// waits when it breaks again and again.
pub(super) async fn keep(link: Arc<Link>) {
    let mut wait = FIRST_WAIT;
    loop {
        let since = Instant::now();
        link.until_broken().await;
        if since.elapsed() >= LONGEST_WAIT {
            wait = FIRST_WAIT;
        } else {
            pause(&mut wait).await;
        }
        while let Err(trouble) = link.mend().await {
            tracing::debug!(redis = %link.server, %trouble, "Redis still does not answer");
            pause(&mut wait).await;
        }
    }
}

/// Waits, and longer the next time.
pub(super) async fn pause(wait: &mut Duration) {
    sleep(*wait).await;
    *wait = (*wait * 2).min(LONGEST_WAIT);
}

/// See [`Link::owe_unless_settled`].
#[must_use]
pub(super) struct Promise<'a> {
    link: &'a Link,
    debt: Option<Debt>,
}

impl Promise<'_> {
    /// Redis has answered: nothing is owed.
    pub(super) fn settle(mut self) {
        self.debt = None;
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        if let Some(debt) = self.debt.take() {
            self.link.owe(debt);
            self.link.work.notify_one();
        }
    }
}

/// No code panics while it holds these locks, and none waits.
fn open<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
