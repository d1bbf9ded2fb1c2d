//! Notifications: a verified one is applied once, in one transaction with its row in the inbox.

use domain::{Gateway, OrderId, PaymentId, RefundId};
use http::HeaderMap;

use super::change::retried;
use super::ports::{News, Notification, NotificationError};
use super::refund::heard;
use super::{PaymentError, Payments};
use crate::store::{InboxOutcome, NewNotification};

/// What the gateway is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Kept and, where it says anything, applied, now or before: acknowledge.
    Yes,
    /// Not from the gateway: refuse.
    Invalid,
}

impl Payments {
    /// Takes a notification in. `StoreUnavailable`: do not acknowledge, so that it comes again.
    pub async fn take_notification(
        &self,
        gateway: Gateway,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Taken, PaymentError> {
        let taken = self.take(gateway, headers, body).await;
        let outcome = match &taken {
            Ok(Taken::Yes) => "taken",
            Ok(Taken::Invalid) => "invalid",
            Err(_) => "broken",
        };
        metrics::counter!("payonce_notifications_total", "gateway" => gateway.name(), "outcome" => outcome)
            .increment(1);
        taken
    }

    async fn take(&self, gateway: Gateway, headers: &HeaderMap, body: &[u8]) -> Result<Taken, PaymentError> {
        let connector = self.gateway(gateway)?;
        let read = connector.read_notification(headers, body, self.now());
        if let Err(NotificationError::Invalid(why)) = read {
            tracing::warn!(gateway = gateway.name(), why, "refused a notification");
            return Ok(Taken::Invalid);
        }
        let this = self.clone();
        let applied = self.0.tasks.spawn(async move {
            match read {
                Ok(notification) => this.apply(gateway, notification).await,
                Err(NotificationError::NotOurs { what, id, facts }) => {
                    tracing::error!(gateway = gateway.name(), what, id, "a genuine notification for somebody else");
                    this.keep(gateway, id, None, *facts, InboxOutcome::NotOurs).await?;
                    Ok(Taken::Yes)
                }
                Err(NotificationError::Invalid(_)) => Ok(Taken::Invalid),
            }
        });
        applied
            .await
            .unwrap_or_else(|panic| Err(PaymentError::Internal(format!("the notification broke off: {panic}"))))
    }

    async fn apply(&self, gateway: Gateway, notification: Notification) -> Result<Taken, PaymentError> {
        let (number, order) = match &notification.news {
            News::Paid { number, .. } => (number, self.0.store.order_of_payment(number).await?),
            News::Refund { number, .. } => (number, self.0.store.order_of_refund(number).await?),
            News::Other { what } => {
                tracing::info!(gateway = gateway.name(), what, "a notification that we do not act on");
                self.keep(gateway, notification.id, None, notification.facts, InboxOutcome::Ignored).await?;
                return Ok(Taken::Yes);
            }
        };
        let Some(order) = order else {
            tracing::error!(
                gateway = gateway.name(),
                number,
                "a genuine notification about a number that we do not know"
            );
            self.keep(gateway, notification.id, Some(number.clone()), notification.facts, InboxOutcome::UnknownNumber)
                .await?;
            return Ok(Taken::Yes);
        };
        retried(|| self.apply_once(gateway, &notification, &order)).await?;
        Ok(Taken::Yes)
    }

    async fn apply_once(
        &self,
        gateway: Gateway,
        notification: &Notification,
        id: &OrderId,
    ) -> Result<(), PaymentError> {
        let now = self.now();
        let keys = &self.0.number_key;
        let tx = self.0.store.begin().await?;
        let number = match &notification.news {
            News::Paid { number, .. } | News::Refund { number, .. } => Some(number.clone()),
            News::Other { .. } => None,
        };
        let kept = NewNotification {
            gateway,
            id: notification.id.clone(),
            number,
            facts: notification.facts.clone(),
            outcome: InboxOutcome::Applied,
            received_at: now,
        };
        if !tx.keep(kept).await? {
            return Ok(());
        }
        let mut held = tx.hold_order(id).await?.ok_or(PaymentError::NotFound("order"))?;
        let order = &mut held.order;
        match &notification.news {
            News::Paid { number, evidence } => {
                let payment = PaymentId::parse(number).map_err(|_| PaymentError::NotFound("payment"))?;
                if order.payment(&payment).is_none_or(|p| p.gateway() != gateway) {
                    return Err(PaymentError::Internal("a payment of another gateway".to_owned()));
                }
                order.settle(&payment, evidence.clone(), keys, now)?;
                order.finish_close(now, "payonce");
            }
            News::Refund { number, refund: found, .. } => {
                let refund = RefundId::parse(number).map_err(|_| PaymentError::NotFound("refund"))?;
                heard(order, &refund, found, keys, now)?;
            }
            News::Other { .. } => {}
        }
        tx.save(&mut held, now).await?;
        crash_point!("notification_uncommitted");
        tx.commit().await?;
        crash_point!("notification_unacknowledged");
        self.tell(&held.order).await;
        Ok(())
    }

    async fn keep(
        &self,
        gateway: Gateway,
        id: String,
        number: Option<String>,
        facts: serde_json::Value,
        outcome: InboxOutcome,
    ) -> Result<(), PaymentError> {
        let new = NewNotification { gateway, id, number, facts, outcome, received_at: self.now() };
        let tx = self.0.store.begin().await?;
        tx.keep(new).await?;
        Ok(tx.commit().await?)
    }
}
