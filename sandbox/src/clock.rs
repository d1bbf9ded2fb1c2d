//! Where the simulator takes its time from, so that a test can move a day in no time.

use std::{future::Future, pin::Pin, time::Duration};

use chrono::{DateTime, FixedOffset, SecondsFormat, TimeDelta, Utc};
use tokio::sync::watch;

/// The time, and a way to wait for it. Everything the gateways do "later" waits here: refunds that
/// complete, notifications that are sent again, orders that expire.
pub trait Clock: Send + Sync + 'static {
    /// The time now; it may jump, in tests it does.
    fn now(&self) -> DateTime<Utc>;
    /// Returns once `now()` is at or past `at`, at once if it already is. Dropping it is safe.
    fn sleep_until<'a>(&'a self, at: DateTime<Utc>) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
    /// The time that signatures bear and are judged by. It is `now()`, unless the two sides do not share
    /// this clock: then it is the time of the world outside.
    fn signed_at(&self) -> DateTime<Utc> {
        self.now()
    }
    /// Turns it forward to `at`, if it is one that can be turned; says whether it is.
    fn turn_to(&self, _at: DateTime<Utc>) -> bool {
        false
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everyone else asks")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn sleep_until<'a>(&'a self, at: DateTime<Utc>) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            // In slices, because the wall clock may be set while we wait.
            while let Ok(left) = (at - self.now()).to_std() {
                if left.is_zero() {
                    break;
                }
                tokio::time::sleep(left.min(Duration::from_secs(60))).await;
            }
        })
    }
}

/// The machine's clock, and how much it was turned forward. Merchants do not see that it was: signatures bear
/// the machine's time.
#[derive(Debug)]
pub struct ForwardClock(watch::Sender<TimeDelta>);

impl Default for ForwardClock {
    fn default() -> Self {
        Self(watch::Sender::new(TimeDelta::zero()))
    }
}

impl Clock for ForwardClock {
    fn now(&self) -> DateTime<Utc> {
        self.signed_at() + *self.0.borrow()
    }

    fn sleep_until<'a>(&'a self, at: DateTime<Utc>) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let mut turned = self.0.subscribe();
            while self.now() < at {
                let forward = *turned.borrow_and_update();
                tokio::select! {
                    () = SystemClock.sleep_until(at - forward) => {}
                    _ = turned.changed() => {}
                }
            }
        })
    }

    fn signed_at(&self) -> DateTime<Utc> {
        SystemClock.now()
    }

    fn turn_to(&self, at: DateTime<Utc>) -> bool {
        self.0.send_modify(|forward| *forward = (at - self.signed_at()).max(*forward));
        true
    }
}

/// A time as the Chinese gateways write it: RFC 3339, whole seconds, `+08:00`.
pub(crate) fn beijing_time(at: DateTime<Utc>) -> String {
    match FixedOffset::east_opt(8 * 3600) {
        Some(zone) => at.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, false),
        None => at.to_rfc3339_opts(SecondsFormat::Secs, true),
    }
}

/// A time as it is in Beijing, in a format of one's own.
pub(crate) fn beijing(at: DateTime<Utc>, format: &str) -> String {
    match FixedOffset::east_opt(8 * 3600) {
        Some(zone) => at.with_timezone(&zone).format(format).to_string(),
        None => at.format(format).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_clock_that_is_turned_wakes_who_waits_and_never_goes_back() {
        let clock = ForwardClock::default();
        let tomorrow = clock.now() + TimeDelta::days(1);
        let turned = async {
            assert!(clock.turn_to(tomorrow));
            assert!(clock.turn_to(tomorrow - TimeDelta::hours(1)), "forward only");
        };
        tokio::join!(clock.sleep_until(tomorrow), turned);
        assert!(clock.now() >= tomorrow);
        assert!(clock.signed_at() < tomorrow - TimeDelta::hours(23), "signatures bear the machine's time");
    }

    #[test]
    fn times_are_written_in_beijing_time_without_fractions() {
        let at = DateTime::from_timestamp_millis(1_767_225_600_987).expect("in range");
        assert_eq!(beijing_time(at), "2026-01-01T08:00:00+08:00");
    }
}
