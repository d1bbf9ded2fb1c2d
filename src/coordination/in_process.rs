//! Coordination for one process, without anything outside.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::{BACKLOG, millis, new_token};
use crate::payments::ports::{Announcement, Begun, Coordination, Counted, Lock, LockToken, Memory, OrderChanged};

/// Coordinates the tasks of this process and of no other: it never fails, never has a gap, and knows
/// nothing of a second process. Two processes without Redis still take no money twice (the store
/// judges), but they wait longer and notice double clicks only in one of them.
pub struct InProcessCoordination {
    locks: Mutex<Expiring>,
    remembered: Mutex<Expiring>,
    told: broadcast::Sender<Announcement>,
}

impl InProcessCoordination {
    /// Starts with nothing held and nothing remembered, and says in the log that it serves one process.
    #[expect(clippy::new_without_default, reason = "it logs; a default should be silent")]
    pub fn new() -> Self {
        tracing::info!("no Redis configured: locks and announcements work within this one process only");
        Self { locks: Mutex::default(), remembered: Mutex::default(), told: broadcast::channel(BACKLOG).0 }
    }
}

#[async_trait]
impl Coordination for InProcessCoordination {
    async fn begin(&self, owner: &str, name: &str, ttl: Duration, memory: Option<&Memory>) -> Begun {
        let now = Instant::now();
        let remembered =
            memory.and_then(|m| open(&self.remembered).set_new(key(owner, &m.name), &m.value, m.window, now));
        let Some(token) = new_token() else { return Begun { lock: Lock::Unavailable, remembered } };
        let lock = match open(&self.locks).set_new(key(owner, name), &token, ttl, now) {
            None => Lock::Held(LockToken { owner: owner.to_owned(), name: name.to_owned(), token }),
            Some(_) => Lock::Busy,
        };
        Begun { lock, remembered }
    }

    fn end(&self, held: Option<LockToken>, change: Option<&OrderChanged>) {
        if let Some(LockToken { owner, name, token }) = held {
            open(&self.locks).remove_if(&(owner, name), &token);
        }
        if let Some(change) = change {
            // An error only says that nobody listens.
            let _ = self.told.send(Announcement::Changed(change.clone()));
        }
    }

    fn announcements(&self) -> broadcast::Receiver<Announcement> {
        self.told.subscribe()
    }

    /// Nobody else counts.
    async fn count(&self, counted: &[Counted]) -> Vec<Option<f64>> {
        vec![None; counted.len()]
    }

    async fn healthy(&self) -> bool {
        true
    }
}

/// An owner, and a name of theirs.
type Key = (String, String);

fn key(owner: &str, name: &str) -> Key {
    (owner.to_owned(), name.to_owned())
}

/// Values that end by themselves, by a clock that never runs backwards.
#[derive(Default)]
struct Expiring {
    values: HashMap<Key, (String, Instant)>,
    /// The size at which the ended ones are thrown out: twice what was alive the last time, so the
    /// map stays within twice the living and an insert costs a constant on average.
    purge_at: usize,
}

impl Expiring {
    /// Sets `name` unless it lives; then returns what it holds, and nothing changes.
    fn set_new(&mut self, name: Key, value: &str, ttl: Duration, now: Instant) -> Option<String> {
        if let Some((held, until)) = self.values.get(&name)
            && *until > now
        {
            return Some(held.clone());
        }
        if self.values.len() >= self.purge_at {
            self.values.retain(|_, (_, until)| *until > now);
            self.purge_at = (2 * self.values.len()).max(64);
        }
        self.values.insert(name, (value.to_owned(), now + Duration::from_millis(millis(ttl))));
        None
    }

    fn remove_if(&mut self, name: &Key, value: &str) {
        if self.values.get(name).is_some_and(|(held, _)| held == value) {
            self.values.remove(name);
        }
    }
}

/// No code panics while it holds these locks, and none waits.
fn open(shared: &Mutex<Expiring>) -> MutexGuard<'_, Expiring> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn what_has_ended_does_not_pile_up() {
        let (mut values, start) = (Expiring::default(), Instant::now());
        for n in 0..10_000 {
            values.set_new(key("a", &n.to_string()), "x", 10 * MILLISECOND, start + n * MILLISECOND);
        }
        assert!(values.values.len() <= 64);
    }

    #[test]
    fn a_value_lives_to_its_last_millisecond_and_no_longer() {
        let (mut values, start) = (Expiring::default(), Instant::now());
        let first = Some("first".to_owned());
        assert_eq!(values.set_new(key("a", "a"), "first", 5 * MILLISECOND, start), None);
        assert_eq!(values.set_new(key("a", "a"), "second", 5 * MILLISECOND, start + 4 * MILLISECOND), first);
        assert_eq!(values.set_new(key("a", "a"), "third", 5 * MILLISECOND, start + 5 * MILLISECOND), None);
    }

    #[test]
    fn extreme_times_to_live_are_taken_as_the_nearest_possible() {
        let (mut values, start) = (Expiring::default(), Instant::now());
        assert_eq!(values.set_new(key("a", "long"), "x", Duration::MAX, start), None);
        assert_eq!(values.set_new(key("a", "short"), "x", Duration::ZERO, start), None);
        assert!(values.set_new(key("a", "long"), "y", Duration::MAX, start + MILLISECOND).is_some());
        assert!(values.set_new(key("a", "short"), "y", Duration::ZERO, start + MILLISECOND).is_none());
    }
}
