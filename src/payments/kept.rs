//! Notifications about numbers that no order has yet: they wait, and are applied when one appears; else people get
//! them.

use domain::{Duration, Gateway};

use super::change::retried;
use super::ports::News;
use super::settle::Applied;
use super::{PaymentError, Payments};
use crate::store::{InboxOutcome, Kept};

/// So long a notification waits for its order.
const PATIENCE: Duration = Duration::hours(1);

/// The pause before the next look, by age.
pub(super) fn pause(age: Duration) -> Duration {
    if age < Duration::minutes(1) { Duration::seconds(10) } else { Duration::minutes(5) }
}

impl Payments {
    /// The time of a notification that waits has come. Errors are logged, it is due again by itself.
    pub(super) async fn apply_kept(&self, kept: Kept) {
        if let Err(e) = self.try_kept(&kept).await {
            tracing::warn!(notification = kept.seq, error = %e, "not applied; due again in a moment");
        }
    }

    async fn try_kept(&self, kept: &Kept) -> Result<(), PaymentError> {
        let Ok(news) = serde_json::from_value::<News>(kept.news.clone()) else {
            return self.hand_over(kept, "it cannot be read any more").await;
        };
        match retried(|| self.apply_kept_once(kept, &news)).await? {
            Applied::Yes => Ok(()),
            Applied::ForPeople(why) => self.hand_over(kept, why).await,
            Applied::NotYet => {
                let age = self.now() - kept.received_at;
                if age >= PATIENCE {
                    return self.hand_over(kept, "no order has its number").await;
                }
                Ok(self.0.store.look_again(kept.seq, self.now() + pause(age)).await?)
            }
        }
    }

    async fn apply_kept_once(&self, kept: &Kept, news: &News) -> Result<Applied, PaymentError> {
        let Some(id) = self.order_of(news).await? else { return Ok(Applied::NotYet) };
        let now = self.now();
        let tx = self.0.store.begin().await?;
        let mut held = tx.hold_order(&id).await?.ok_or(PaymentError::NotFound("order"))?;
        let applied = self.apply_news(&mut held.order, kept.gateway, news, now)?;
        if applied != Applied::Yes || !tx.settle_kept(kept.seq, InboxOutcome::Applied).await? {
            return Ok(applied);
        }
        tx.save(&mut held, now).await?;
        tx.commit().await?;
        self.tell(&held.order);
        Ok(Applied::Yes)
    }

    async fn hand_over(&self, kept: &Kept, why: &str) -> Result<(), PaymentError> {
        let tx = self.0.store.begin().await?;
        if tx.settle_kept(kept.seq, InboxOutcome::ForPeople).await? {
            tx.commit().await?;
            needs_people(kept.gateway, kept.seq, why);
        }
        Ok(())
    }
}

fn needs_people(gateway: Gateway, notification: i64, why: &str) {
    tracing::error!(
        gateway = gateway.name(),
        notification,
        why,
        "a genuine notification that only people can decide about"
    );
}
