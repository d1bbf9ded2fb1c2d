//! Where the simulator takes its time from, so that a test can move a day in no time.

use std::{future::Future, pin::Pin, time::Duration};

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};

/// The time, and a way to wait for it. Everything the gateways do "later" waits here: refunds that
/// complete, notifications that are sent again, orders that expire.
pub trait Clock: Send + Sync + 'static {
    /// The time now; it may jump, in tests it does.
    fn now(&self) -> DateTime<Utc>;
    /// Returns once `now()` is at or past `at`, at once if it already is. Dropping it is safe.
    fn sleep_until<'a>(&'a self, at: DateTime<Utc>) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
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

    #[test]
    fn times_are_written_in_beijing_time_without_fractions() {
        let at = DateTime::from_timestamp_millis(1_767_225_600_987).expect("in range");
        assert_eq!(beijing_time(at), "2026-01-01T08:00:00+08:00");
    }
}
