//! How often: a level for each name that rises by one with each request and runs off at the rate.
//!
//! A request asks this process alone, without waiting. What was let in is told to the other processes in the
//! background, ten times a second, and theirs is heard. So N processes let in, over any time t, at most
//! rate × t and one burst each; what they let in too much at first is made up for afterwards. Without Redis each
//! process goes on by itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::payments::Payments;
use crate::payments::ports::{Clock, Coordination, Counted, Rate};

/// Names of one generation; two generations are kept. Beyond that, what is oldest is forgotten: whoever has more
/// addresses than this has no limit by address.
const NAMES: usize = 100_000;
/// Names that are told to others at a time.
const TOLD: usize = 1_024;
const TELL_EVERY: Duration = Duration::from_millis(100);

/// What levels are off by for being sums of fractions.
const ROUNDING: f64 = 1e-6;

/// Who counts as one: an address, or the hash of a subject.
pub(super) type Name = u128;

/// Limits how often each name comes.
pub(super) struct Limiter {
    /// What is limited, in names that others see.
    kind: &'static str,
    rate: Rate,
    clock: Arc<dyn Clock>,
    levels: Mutex<Levels>,
}

#[derive(Clone, Copy, Default)]
struct Level {
    height: f64,
    /// Microseconds.
    at: i64,
    /// Let in and not told yet.
    untold: u32,
}

/// Who has not come for a generation has run off, and is forgotten without anybody looking for them.
#[derive(Default)]
struct Levels {
    young: HashMap<Name, Level>,
    old: HashMap<Name, Level>,
    since: i64,
    untold: Vec<Name>,
}

impl Limiter {
    pub fn new(kind: &'static str, rate: Rate, clock: Arc<dyn Clock>) -> Self {
        Self { kind, rate, clock, levels: Mutex::default() }
    }

    /// Lets one in, or says after how many milliseconds to come again.
    pub fn take(&self, name: Name) -> Result<(), u64> {
        let mut levels = self.levels();
        let level = levels.of(name, &self.rate, self.now());
        let over = level.height + 1.0 - f64::from(self.rate.count);
        if over > ROUNDING {
            let wait = over * self.rate.per.as_secs_f64() * 1_000.0 / f64::from(self.rate.count);
            return Err(((wait - ROUNDING).ceil() as u64).max(1));
        }
        level.height += 1.0;
        level.untold += 1;
        if level.untold == 1 && levels.untold.len() < TOLD {
            levels.untold.push(name);
        }
        Ok(())
    }

    /// What was let in and not told yet.
    fn untold(&self) -> (Vec<Name>, Vec<Counted>) {
        let now = self.now();
        let mut levels = self.levels();
        let names = std::mem::take(&mut levels.untold);
        let counted = names.iter().map(|name| Counted {
            name: format!("{}:{name:x}", self.kind),
            count: std::mem::take(&mut levels.of(*name, &self.rate, now).untold),
            rate: self.rate,
        });
        let counted = counted.collect();
        (names, counted)
    }

    /// What all processes have let in. Less than is known here says only that somebody forgot.
    fn hear(&self, name: Name, height: f64) {
        let now = self.now();
        let mut levels = self.levels();
        let level = levels.of(name, &self.rate, now);
        let height = (height + f64::from(level.untold)).min(2.0 * f64::from(self.rate.count));
        level.height = level.height.max(height);
    }

    /// Tells the others and hears from them.
    async fn share(&self, coordination: &dyn Coordination) {
        let (names, counted) = self.untold();
        if counted.is_empty() {
            return;
        }
        for (name, height) in names.into_iter().zip(coordination.count(&counted).await) {
            if let Some(height) = height {
                self.hear(name, height);
            }
        }
    }

    fn now(&self) -> i64 {
        self.clock.now().timestamp_micros()
    }

    /// No code panics while it holds this lock, and none waits.
    fn levels(&self) -> MutexGuard<'_, Levels> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Levels {
    /// The level of a name, as it is now.
    fn of(&mut self, name: Name, rate: &Rate, now: i64) -> &mut Level {
        // Nothing is higher than twice the count, so it has run off after two periods.
        let generation = 2 * i64::try_from(rate.per.as_micros()).unwrap_or(i64::MAX / 2);
        if self.young.len() >= NAMES || now.saturating_sub(self.since) >= generation {
            self.old = std::mem::take(&mut self.young);
            self.since = now;
        }
        let old = &mut self.old;
        let level = self.young.entry(name).or_insert_with(|| old.remove(&name).unwrap_or_default());
        // A clock that was set back lets nothing run off.
        let passed = now.saturating_sub(level.at).max(0) as f64;
        let run_off = passed * f64::from(rate.count) / rate.per.as_micros() as f64;
        level.height = (level.height - run_off).max(0.0);
        level.at = now;
        level
    }
}

/// Counts together with the other processes until the workflows stop.
pub(super) async fn share(limiters: Vec<Arc<Limiter>>, coordination: Arc<dyn Coordination>, payments: Payments) {
    let mut stopping = std::pin::pin!(payments.stopping());
    loop {
        tokio::select! {
            () = &mut stopping => return,
            () = tokio::time::sleep(TELL_EVERY) => {}
        }
        for limiter in &limiters {
            limiter.share(coordination.as_ref()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use domain::Timestamp;

    use super::*;
    use crate::payments::ports::BoxFuture;

    #[derive(Default)]
    struct Hands(AtomicI64);

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::from_timestamp_millis(self.0.load(Ordering::Relaxed)).unwrap()
        }
        fn sleep_until(&self, _: Timestamp) -> BoxFuture<'_, ()> {
            Box::pin(std::future::pending())
        }
    }

    fn limiter(count: u32) -> (Limiter, Arc<Hands>) {
        let clock = Arc::new(Hands(AtomicI64::new(1_790_000_000_000)));
        let rate = Rate { count, per: Duration::from_secs(1) };
        (Limiter::new("test", rate, clock.clone()), clock)
    }

    #[test]
    fn as_many_come_in_at_once_as_the_rate_says_and_then_as_fast_as_it_says() {
        let (limiter, clock) = limiter(10);
        assert_eq!((0..12).filter(|_| limiter.take(1).is_ok()).count(), 10);
        assert_eq!(limiter.take(1), Err(100));
        assert_eq!(limiter.take(2), Ok(()));
        clock.0.fetch_add(99, Ordering::Relaxed);
        assert_eq!(limiter.take(1), Err(1));
        clock.0.fetch_add(1, Ordering::Relaxed);
        assert_eq!((limiter.take(1), limiter.take(1)), (Ok(()), Err(100)));
        let in_ten_seconds = (0..10_000).filter(|_| {
            clock.0.fetch_add(1, Ordering::Relaxed);
            limiter.take(1).is_ok()
        });
        assert_eq!(in_ten_seconds.count(), 100);
    }

    #[test]
    fn a_clock_that_is_set_back_lets_nobody_in_and_keeps_nobody_out_for_long() {
        let (limiter, clock) = limiter(1);
        assert_eq!(limiter.take(1), Ok(()));
        clock.0.fetch_sub(3_600_000, Ordering::Relaxed);
        assert_eq!(limiter.take(1), Err(1_000));
        clock.0.fetch_add(1_000, Ordering::Relaxed);
        assert_eq!(limiter.take(1), Ok(()));
    }

    #[test]
    fn a_flood_of_addresses_takes_bounded_memory() {
        let (limiter, clock) = limiter(2);
        for name in 0..300_000 {
            limiter.take(name).unwrap();
        }
        let levels = limiter.levels();
        assert!(levels.young.len() <= NAMES && levels.old.len() <= NAMES && levels.untold.len() <= TOLD);
        drop(levels);
        // Whoever came last is still known, and who stays away is forgotten.
        assert_eq!((limiter.take(299_999), limiter.take(299_999)), (Ok(()), Err(500)));
        for _ in 0..2 {
            clock.0.fetch_add(2_000, Ordering::Relaxed);
            limiter.take(1).unwrap();
        }
        let levels = limiter.levels();
        assert_eq!(levels.young.len() + levels.old.len(), 1);
    }

    #[test]
    fn what_others_let_in_counts_here_and_what_they_forgot_changes_nothing() {
        let (limiter, _) = limiter(10);
        limiter.take(7).unwrap();
        let (names, counted) = limiter.untold();
        assert_eq!((names.as_slice(), counted[0].count, counted[0].name.as_str()), (&[7][..], 1, "test:7"));
        assert!(limiter.untold().1.is_empty());
        limiter.take(7).unwrap();
        limiter.hear(7, 8.0);
        assert_eq!((limiter.take(7), limiter.take(7)), (Ok(()), Err(100)));
        limiter.hear(7, 0.0);
        assert_eq!(limiter.take(7), Err(100));
        // However much is claimed, it has run off soon.
        limiter.hear(7, 1e9);
        assert_eq!(limiter.take(7), Err(1_100));
    }
}
