//! Outages of gateways: noticed when one gives no answer to trust, over with its first good one. That one wakes
//! what is unknown there, so that it needs not wait for its own next question.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use domain::{Date, Duration, OpenPayment, PaymentId, RefundId, Timestamp};
use http::HeaderMap;
use tokio::sync::Notify;

use super::pace::Pace;
use super::ports::{
    BillStream, Closed, Gateway, GatewayError, GatewayPayment, GatewayRefund, Gateways, Notification,
    NotificationError, Opened, RefundRequest,
};
use super::resolve::ASK_PAUSE;
use super::{PaymentError, Payments};

/// How many unknowns of a gateway are asked about in a second.
const PER_SECOND: usize = 20;
/// What is younger is asked about soon by itself.
const LEAST_AGE: Duration = Duration::seconds(20);
/// A gateway that comes and goes wakes its unknowns this often at most.
const PAUSE: Duration = Duration::seconds(30);

/// Which gateways answer.
#[derive(Default)]
pub(super) struct Answers {
    heard: Mutex<Heard>,
    /// One has just come back.
    pub(super) back: Notify,
}

#[derive(Default)]
struct Heard {
    /// They have answered lately. Not so when we start: what is unknown then may be an outage's.
    answering: BTreeSet<domain::Gateway>,
    /// They came back, and nobody has woken their unknowns yet.
    came_back: BTreeSet<domain::Gateway>,
    woken_at: BTreeMap<domain::Gateway, Timestamp>,
}

impl Answers {
    fn note<T>(&self, gateway: domain::Gateway, answer: &Result<T, GatewayError>) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Err(GatewayError::Unknown(_) | GatewayError::NotSent(_)) => {
                heard.answering.remove(&gateway);
            }
            Ok(_) | Err(GatewayError::Refused(_) | GatewayError::Later(_)) => {
                if heard.answering.insert(gateway) {
                    heard.came_back.insert(gateway);
                    self.back.notify_one();
                }
            }
        }
    }

    /// The gateways whose unknowns are to be woken at `now`.
    fn take(&self, now: Timestamp) -> Vec<domain::Gateway> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let rested = |g: &&domain::Gateway| heard.woken_at.get(g).is_none_or(|at| *at + PAUSE <= now);
        let due: Vec<_> = heard.came_back.iter().filter(rested).copied().collect();
        for gateway in &due {
            heard.came_back.remove(gateway);
            heard.woken_at.insert(*gateway, now);
        }
        due
    }

    fn give_back(&self, gateway: domain::Gateway) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.woken_at.remove(&gateway);
        heard.came_back.insert(gateway);
    }
}

impl Payments {
    /// Wakes what is unknown at gateways that have come back.
    pub(super) async fn wake_unknown(&self) -> Result<(), PaymentError> {
        let now = self.now();
        let mut failed = None;
        for gateway in self.0.answers.take(now) {
            // Some were asked about a moment ago, in vain.
            let first = now + ASK_PAUSE;
            match self.0.store.wake_unknown(gateway, now, first, LEAST_AGE, PER_SECOND).await {
                Ok(0) => {}
                Ok(n) => tracing::info!(
                    gateway = gateway.name(),
                    n,
                    "the gateway answers again; its unknowns are asked about"
                ),
                Err(e) => {
                    self.0.answers.give_back(gateway);
                    failed = Some(e);
                }
            }
        }
        failed.map_or(Ok(()), |e| Err(e.into()))
    }
}

/// The same gateways, with every answer noted, and paced for the scheduler.
pub(super) fn noted(gateways: Gateways, answers: &Arc<Answers>) -> Gateways {
    let noted = |(gateway, inner)| {
        let noted: Arc<dyn Gateway> =
            Arc::new(Noted { gateway, inner, answers: answers.clone(), pace: Pace::default() });
        (gateway, noted)
    };
    gateways.into_iter().map(noted).collect()
}

struct Noted {
    gateway: domain::Gateway,
    inner: Arc<dyn Gateway>,
    answers: Arc<Answers>,
    pace: Pace,
}

impl Noted {
    fn note<T>(&self, answer: Result<T, GatewayError>) -> Result<T, GatewayError> {
        self.answers.note(self.gateway, &answer);
        answer
    }
}

#[async_trait]
impl Gateway for Noted {
    async fn open(&self, request: &OpenPayment) -> Result<Opened, GatewayError> {
        self.pace.turn().await;
        let opened = self.inner.open(request).await;
        if self.gateway.is_asked_to_open(request.product) { self.note(opened) } else { opened }
    }
    async fn find(&self, number: &PaymentId) -> Result<Option<GatewayPayment>, GatewayError> {
        self.pace.turn().await;
        self.note(self.inner.find(number).await)
    }
    async fn close(&self, number: &PaymentId) -> Result<Closed, GatewayError> {
        self.pace.turn().await;
        self.note(self.inner.close(number).await)
    }
    async fn refund(&self, request: &RefundRequest) -> Result<GatewayRefund, GatewayError> {
        self.pace.turn().await;
        self.note(self.inner.refund(request).await)
    }
    async fn find_refund(&self, number: &RefundId, payment: &PaymentId) -> Result<Option<GatewayRefund>, GatewayError> {
        self.pace.turn().await;
        self.note(self.inner.find_refund(number, payment).await)
    }
    fn read_notification(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Notification, NotificationError> {
        self.inner.read_notification(headers, body, now)
    }
    async fn bill(&self, day: Date) -> Result<BillStream, GatewayError> {
        self.inner.bill(day).await
    }
}
