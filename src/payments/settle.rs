//! Notifications: a verified one is applied once, in one transaction with its row in the inbox.

use domain::{Duration, Gateway, NumberKey, Order, OrderId, PaymentId, RefundId, Timestamp};
use http::HeaderMap;

use super::change::retried;
use super::ports::{GatewayRefund, GatewayRefundState, News, Notification, NotificationError};
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
        if let News::Other { what } = &notification.news {
            tracing::info!(gateway = gateway.name(), what, "a notification that we do not act on");
            self.keep(gateway, notification.id, None, notification.facts, InboxOutcome::Ignored).await?;
            return Ok(Taken::Yes);
        }
        retried(|| self.apply_once(gateway, &notification)).await?;
        Ok(Taken::Yes)
    }

    async fn apply_once(&self, gateway: Gateway, notification: &Notification) -> Result<(), PaymentError> {
        let now = self.now();
        let news = &notification.news;
        let order = self.order_of(news).await?;
        let tx = self.0.store.begin().await?;
        let mut held = match &order {
            Some(id) => Some(tx.hold_order(id).await?.ok_or(PaymentError::NotFound("order"))?),
            None => None,
        };
        let applied = match &mut held {
            Some(held) => self.apply_news(&mut held.order, gateway, news, now)?,
            None => Applied::NotYet,
        };
        let outcome = match applied {
            Applied::Yes => InboxOutcome::Applied,
            Applied::NotYet => InboxOutcome::UnknownNumber,
            Applied::ForPeople(_) => InboxOutcome::ForPeople,
        };
        let waits = applied == Applied::NotYet;
        let kept = NewNotification {
            gateway,
            id: notification.id.clone(),
            number: news.number().map(str::to_owned),
            facts: notification.facts.clone(),
            news: serde_json::to_value(news).ok().filter(|_| waits),
            outcome,
            received_at: now,
            next_at: waits.then(|| now + super::kept::pause(Duration::zero())),
        };
        if !tx.keep(kept).await? {
            return Ok(());
        }
        match applied {
            Applied::Yes => {}
            Applied::NotYet => {
                tracing::error!(
                    gateway = gateway.name(),
                    number = news.number(),
                    "a genuine notification about a number that we do not know: it waits for its order"
                );
                return Ok(tx.commit().await?);
            }
            Applied::ForPeople(why) => {
                tracing::error!(
                    gateway = gateway.name(),
                    number = news.number(),
                    why,
                    "a genuine notification that only people can decide about"
                );
                return Ok(tx.commit().await?);
            }
        }
        if let Some(held) = &mut held {
            tx.save(held, now).await?;
        }
        crash_point!("notification_uncommitted");
        tx.commit().await?;
        crash_point!("notification_unacknowledged");
        if let Some(held) = &held {
            self.tell(&held.order);
        }
        Ok(())
    }

    /// The order that news is about: that of its number, or of the payment that a refund gives back.
    pub(super) async fn order_of(&self, news: &News) -> Result<Option<OrderId>, PaymentError> {
        let store = &self.0.store;
        Ok(match news {
            News::Paid { number, order, .. } => match (store.order_of_payment(number).await?, order) {
                (Some(order), _) => Some(order),
                (None, Some(order)) => store.order(order).await?.map(|order| order.id),
                (None, None) => None,
            },
            News::Refund { number, payment, .. } => match store.order_of_refund(number).await? {
                Some(order) => Some(order),
                None => store.order_of_payment(payment).await?,
            },
            News::Other { .. } => None,
        })
    }

    /// Changes an order by verified news about it.
    pub(super) fn apply_news(
        &self,
        order: &mut Order,
        gateway: Gateway,
        news: &News,
        now: Timestamp,
    ) -> Result<Applied, PaymentError> {
        let keys = &self.0.number_key;
        match news {
            News::Paid { number, evidence, order: of } => {
                if of.as_ref() == Some(&order.id)
                    && let Ok(number) = PaymentId::parse(number)
                {
                    // The store has lost it with its last commits: what the gateway did is not.
                    order.recall_attempt(self.lost_request(order, gateway, number), now);
                }
                let Some(payment) = ours(order, gateway, number)? else { return Ok(Applied::NotYet) };
                order.settle(&payment, evidence.clone(), keys, now)?;
                order.finish_close(now, "payonce");
            }
            News::Refund { number, payment, refund } => {
                return refund_told(order, gateway, (number, payment, refund), keys, now);
            }
            News::Other { .. } => {}
        }
        Ok(Applied::Yes)
    }

    async fn keep(
        &self,
        gateway: Gateway,
        id: String,
        number: Option<String>,
        facts: serde_json::Value,
        outcome: InboxOutcome,
    ) -> Result<(), PaymentError> {
        let now = self.now();
        let new = NewNotification { gateway, id, number, facts, news: None, outcome, received_at: now, next_at: None };
        let tx = self.0.store.begin().await?;
        tx.keep(new).await?;
        Ok(tx.commit().await?)
    }
}

/// What became of news about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// The order says what it says, now or before.
    Yes,
    /// It is about something that has not appeared here yet.
    NotYet,
    /// It does not fit; why.
    ForPeople(&'static str),
}

fn refund_told(
    order: &mut Order,
    gateway: Gateway,
    (number, payment, found): (&str, &str, &GatewayRefund),
    keys: &NumberKey,
    now: Timestamp,
) -> Result<Applied, PaymentError> {
    let Some(payment) = ours(order, gateway, payment)? else { return Ok(Applied::NotYet) };
    let id = RefundId::parse(number).unwrap_or_else(|_| keys.outside_refund(&payment, number));
    if order.refund(&id).is_some() {
        heard(order, &id, found, keys, now)?;
        return Ok(Applied::Yes);
    }
    // Made in the gateway's console, or here before the store lost its last commits.
    if order.payment(&payment).is_none_or(|p| p.evidence().is_none()) {
        return Ok(Applied::NotYet);
    }
    match found.state {
        GatewayRefundState::Succeeded { at } => {
            let at = domain::to_stored(at);
            if !order.refund_made_outside(&payment, id, number, found.amount, at, now) {
                return Ok(Applied::ForPeople("a refund made outside is more than is left of its payment"));
            }
        }
        GatewayRefundState::Abnormal => {
            return Ok(Applied::ForPeople("the payer's bank refused a refund made outside"));
        }
        // No money has moved.
        GatewayRefundState::Processing | GatewayRefundState::Closed => {}
    }
    Ok(Applied::Yes)
}

/// The payment of this number, if the order has it at this gateway.
fn ours(order: &Order, gateway: Gateway, number: &str) -> Result<Option<PaymentId>, PaymentError> {
    let Some(payment) = PaymentId::parse(number).ok().and_then(|id| order.payment(&id)) else { return Ok(None) };
    if payment.gateway() != gateway {
        return Err(PaymentError::Internal("a payment of another gateway".to_owned()));
    }
    Ok(Some(payment.id.clone()))
}
