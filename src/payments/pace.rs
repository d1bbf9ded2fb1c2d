//! The pace of the scheduler's questions: when much falls due at once, a gateway is not flooded, and those whose
//! payers wait are not turned away with it. What a payer waits for is not paced.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Calls in a second, for each gateway and process: 5,000 closes, of two calls each, take half a minute.
const PER_SECOND: u32 = 300;
/// What may come at once after a pause.
const AT_ONCE: u32 = 50;

tokio::task_local! {
    static PACED: ();
}

/// Work whose calls keep the pace of their gateways.
pub(super) fn paced<F: Future>(work: F) -> impl Future<Output = F::Output> {
    PACED.scope((), work)
}

/// The pace of one gateway.
#[derive(Default)]
pub(super) struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// Waits for the turn of a call of the scheduler's; nobody else waits. It is a network's time, not a rule's: no
    /// clock is asked.
    pub(super) async fn turn(&self) {
        if PACED.try_with(|()| ()).is_ok() {
            tokio::time::sleep_until(self.take(Instant::now())).await;
        }
    }

    /// When the next call may be made.
    fn take(&self, now: Instant) -> Instant {
        let step = Duration::from_secs(1) / PER_SECOND;
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rested = now.checked_sub(step * (AT_ONCE - 1)).unwrap_or(now);
        let turn = next.map_or(rested, |next| next.max(rested));
        *next = Some(turn + step);
        turn.max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(pace: &Pace, now: Instant, calls: u32) -> Vec<Duration> {
        (0..calls).map(|_| pace.take(now) - now).collect()
    }

    #[test]
    fn a_few_go_at_once_and_the_rest_one_after_the_other() {
        let (pace, now) = (Pace::default(), Instant::now());
        let waits = waits(&pace, now, AT_ONCE + PER_SECOND);
        assert_eq!(waits[AT_ONCE as usize - 1], Duration::ZERO);
        assert!(waits[AT_ONCE as usize] > Duration::ZERO);
        let last = waits[(AT_ONCE + PER_SECOND) as usize - 1];
        assert!((last.as_secs_f64() - 1.0).abs() < 0.01, "{last:?}");
    }

    #[test]
    fn a_pause_is_not_saved_up() {
        let (pace, now) = (Pace::default(), Instant::now());
        waits(&pace, now, AT_ONCE);
        let later = now + Duration::from_secs(3_600);
        let waits = waits(&pace, later, AT_ONCE + 1);
        assert_eq!(waits.iter().filter(|w| w.is_zero()).count(), AT_ONCE as usize);
    }

    #[tokio::test]
    async fn who_is_not_of_the_scheduler_does_not_wait() {
        let pace = Pace::default();
        waits(&pace, Instant::now(), 10_000);
        pace.turn().await;
        let waiting = tokio::time::timeout(Duration::from_millis(50), paced(pace.turn()));
        assert!(waiting.await.is_err(), "the scheduler waits");
    }
}
