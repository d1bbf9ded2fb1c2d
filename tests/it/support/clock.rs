//! A clock whose hands tests turn.

use domain::{Duration, Timestamp};
use payonce::app::SystemClock;
use payonce::payments::ports::{BoxFuture, Clock};
use tokio::sync::watch;

pub struct TurnedClock(watch::Sender<Timestamp>);

impl TurnedClock {
    pub fn at_now() -> Self {
        Self(watch::Sender::new(SystemClock.now()))
    }

    pub fn turn(&self, by: Duration) -> Timestamp {
        self.0.send_modify(|now| *now += by);
        self.now()
    }
}

impl Clock for TurnedClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        let mut hands = self.0.subscribe();
        Box::pin(async move {
            let _ = hands.wait_for(|now| *now >= at).await;
        })
    }
}
