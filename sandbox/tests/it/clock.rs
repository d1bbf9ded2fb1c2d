//! A clock that only moves when told.

use std::{future::Future, pin::Pin};

use chrono::{DateTime, TimeDelta, Utc};
use sandbox::Clock;
use tokio::sync::watch;

pub struct ManualClock(pub watch::Sender<DateTime<Utc>>);

impl ManualClock {
    pub fn advance(&self, by: TimeDelta) {
        self.0.send_modify(|now| *now += by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.borrow()
    }

    fn sleep_until<'a>(&'a self, at: DateTime<Utc>) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let mut time = self.0.subscribe();
            time.wait_for(|now| *now >= at).await.expect("the clock lives");
        })
    }
}
