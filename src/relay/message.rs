//! What is told: `docs/events.md` is this in words, `docs/events.schema.json` for machines.

use domain::{
    CloseReason, EventId, EventType, Gateway, Money, PaymentId, PaymentProduct, RefundId, RefundReason, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::store::ToTell;

/// An event as it goes out: the same bytes however often and wherever it is told.
#[derive(Clone, Debug)]
pub struct Message {
    /// What it is known by: duplicates have the same.
    pub id: EventId,
    /// What happened.
    pub kind: EventType,
    /// When.
    pub at: Timestamp,
    /// JSON.
    pub body: Vec<u8>,
}

/// A row says something that no event of its type says.
#[derive(Debug, thiserror::Error)]
#[error("version {version} of order {order} does not say what events of its type say: {why}")]
pub struct Unreadable {
    order: String,
    version: i64,
    why: String,
}

/// What an event's row notes. What is not named here does not leave the house: a customer's words do not.
#[derive(Deserialize)]
struct Noted {
    payment: Option<PaymentId>,
    refund: Option<RefundId>,
    gateway: Option<Gateway>,
    product: Option<PaymentProduct>,
    total: Option<Money>,
    amount: Option<Money>,
    late: Option<bool>,
    reason: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    id: &'a EventId,
    #[serde(rename = "type")]
    kind: &'static str,
    order_id: &'a str,
    version: i64,
    at: String,
    facts: Facts,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_id: Option<PaymentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refund_id: Option<RefundId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    late: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Minor units as text, as everywhere outside: they may not fit a reader's numbers.
#[derive(Serialize)]
struct Amount {
    minor: String,
    currency: String,
}

impl Message {
    /// The event as it goes out.
    pub fn of(event: &ToTell) -> Result<Self, Unreadable> {
        let unreadable = |why: String| Unreadable { order: event.order.to_string(), version: event.version, why };
        let noted: Noted = serde_json::from_value(event.facts.clone()).map_err(|e| unreadable(e.to_string()))?;
        let about = noted.refund.as_ref().map(RefundId::as_str).or(noted.payment.as_ref().map(PaymentId::as_str));
        let id = EventId::of(&event.order, event.version, event.kind, about.unwrap_or_default());
        let body = Body {
            id: &id,
            kind: event.kind.name(),
            order_id: event.order.as_str(),
            version: event.version,
            at: event.at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
            facts: Facts {
                gateway: noted.gateway.map(|gateway| gateway.name().to_ascii_uppercase()),
                product: noted.product.map(|product| product.name().to_ascii_uppercase()),
                total: noted.total.map(amount),
                amount: noted.amount.map(amount),
                late: noted.late,
                reason: noted.reason.filter(|reason| is_known(reason)),
                payment_id: noted.payment,
                refund_id: noted.refund,
            },
        };
        let body = serde_json::to_vec(&body).map_err(|e| unreadable(e.to_string()))?;
        Ok(Self { id, kind: event.kind, at: event.at, body })
    }
}

fn amount(money: Money) -> Amount {
    Amount { minor: money.minor.to_string(), currency: money.currency.code().to_owned() }
}

/// A word of ours, not of people.
fn is_known(reason: &str) -> bool {
    CloseReason::from_name(reason).is_some() || RefundReason::from_name(reason).is_some()
}
