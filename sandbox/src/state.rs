//! All that the gateways know, under one lock, and where it is kept.

use std::{
    fs, io,
    path::PathBuf,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{alipay, ledger::Ledger, outbox::Outbox, wechat_pay};

const FILE: &str = "state.json";

/// Every gateway's book, and what they have in common.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) journal: Journal,
    pub(crate) wechat_pay: wechat_pay::Book,
    /// Not in what was kept before there was Alipay.
    #[serde(default)]
    pub(crate) alipay: alipay::Book,
}

/// What follows from a change in a gateway's book.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Journal {
    pub(crate) ledger: Ledger,
    pub(crate) outbox: Outbox,
}

impl State {
    /// Does what has become due by `now`: refunds reach their payers.
    pub(crate) fn catch_up(&mut self, now: DateTime<Utc>) -> bool {
        self.wechat_pay.complete_refunds(now, &mut self.journal)
    }

    /// When there is something to do next, if nobody calls before.
    pub(crate) fn next_due(&self) -> Option<DateTime<Utc>> {
        let refund = self.wechat_pay.next_refund_due();
        let letter = self.journal.outbox.next_due();
        [refund, letter].into_iter().flatten().min()
    }
}

/// Why what was kept cannot be used.
#[derive(Debug, Error)]
#[error("{path}: {reason}")]
pub struct StateError {
    path: PathBuf,
    reason: String,
}

/// The state and its keeper.
#[derive(Debug)]
pub(crate) struct Store {
    state: Mutex<State>,
    file: Option<PathBuf>,
    /// The state changed: somebody may have to do something, or to save it.
    pub(crate) changed: Notify,
    unsaved: Notify,
    /// For those who wait until everything due is done.
    progress: Notify,
}

impl Store {
    pub(crate) fn open(home: Option<PathBuf>) -> Result<Self, StateError> {
        let file = home.map(|home| home.join(FILE));
        let mut state = match &file {
            Some(path) => read(path).map_err(|reason| StateError { path: path.clone(), reason })?,
            None => State::default(),
        };
        state.journal.outbox.restore();
        Ok(Self {
            state: Mutex::new(state),
            file,
            changed: Notify::new(),
            unsaved: Notify::new(),
            progress: Notify::new(),
        })
    }

    /// Looks at the state as it is at `now` and changes it; nothing else happens meanwhile.
    pub(crate) fn change<T>(&self, now: DateTime<Utc>, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        state.catch_up(now);
        let outcome = act(&mut state);
        drop(state);
        self.tell();
        outcome
    }

    /// Looks at the state as it is at `now`.
    pub(crate) fn look<T>(&self, now: DateTime<Utc>, look: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        if state.catch_up(now) {
            self.tell();
        }
        look(&mut state)
    }

    fn tell(&self) {
        self.unsaved.notify_one();
        self.changed.notify_one();
        self.progress.notify_waiters();
    }

    /// Returns once `is_settled` holds after some change, or at once.
    pub(crate) async fn wait_until(&self, is_settled: impl Fn(&Self) -> bool) {
        loop {
            let mut progress = pin!(self.progress.notified());
            progress.as_mut().enable(); // before looking, so that no change is missed
            if is_settled(self) {
                return;
            }
            progress.await;
        }
    }

    /// Saves after each change until stopped, and once more then. Many changes may share one
    /// save, and the larger the state, the longer the pause: a kill loses at most that.
    pub(crate) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        if self.file.is_none() {
            return;
        }
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.unsaved.notified() => {}
            }
            let started = Instant::now();
            self.clone().save_aside().await;
            let pause = Duration::from_millis(20).max(started.elapsed() * 5);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.save_aside().await;
    }

    async fn save_aside(self: Arc<Self>) {
        let saved = tokio::task::spawn_blocking(move || self.save()).await;
        match saved {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the sandbox's state was not saved"),
            Err(error) => tracing::error!(%error, "the sandbox's state was not saved"),
        }
    }

    fn save(&self) -> io::Result<()> {
        let Some(path) = &self.file else {
            return Ok(());
        };
        let text = serde_json::to_vec(&*self.lock())?;
        let draft = path.with_extension(format!("json.{}", std::process::id()));
        fs::write(&draft, text)?;
        fs::rename(&draft, path)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &PathBuf) -> Result<State, String> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| error.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(State::default()),
        Err(error) => Err(error.to_string()),
    }
}
