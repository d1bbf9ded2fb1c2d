//! How long operations whose holder died wait for somebody to go on with them.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::judge;
use crate::site::Site;

/// Looks into the store four times a second, past every proxy.
pub struct Watch {
    slowest: Arc<Mutex<Duration>>,
    work: JoinHandle<()>,
}

impl Watch {
    /// Starts looking.
    pub fn start(site: &Arc<Site>) -> Self {
        let slowest = Arc::new(Mutex::new(Duration::ZERO));
        let work = tokio::spawn(look_on(site.clone(), slowest.clone()));
        Self { slowest, work }
    }

    /// The longest time that one was seen waiting, not counting times at which the store did not answer.
    pub fn stop(self) -> Duration {
        self.work.abort();
        *self.slowest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn look_on(site: Arc<Site>, slowest: Arc<Mutex<Duration>>) {
    let mut waiting: HashMap<i64, Duration> = HashMap::new();
    let mut starts = 0;
    loop {
        let Ok(look) = site.look().await else {
            tokio::time::sleep(Duration::from_millis(250)).await;
            continue;
        };
        let mut last = Instant::now();
        // A store that is frozen or gone answers late or not at all: such a look starts the count anew.
        while let Ok(orphans) = judge::orphans(&look).await {
            // A process that is alone goes on with nothing while it is dead: the count begins when it is started.
            let started = site.starts.load(Relaxed);
            if site.ports.len() == 1 && started != starts {
                waiting.clear();
                starts = started;
            }
            let step = last.elapsed();
            last = Instant::now();
            if step < Duration::from_secs(1) {
                waiting.retain(|seq, _| orphans.contains(seq));
                for seq in orphans {
                    let waited = waiting.entry(seq).or_default();
                    *waited += step;
                    let mut slowest = slowest.lock().unwrap_or_else(PoisonError::into_inner);
                    *slowest = (*slowest).max(*waited);
                }
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        look.close().await.ok();
    }
}
