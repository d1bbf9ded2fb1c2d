//! Ids that are derived, not drawn: the same intent always gets the same numbers.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::{EventType, Gateway, Operation};

/// Crockford's base 32: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters after the prefix: 130 bits.
const LENGTH: usize = 26;

/// The secret that all ids derive from. Never rotated: with another one, a retry after the store has
/// lost its last commits would get another number, and the gateway could not tell it is the same.
#[derive(Clone)]
pub struct NumberKey(Hmac<Sha256>);

impl fmt::Debug for NumberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NumberKey(…)")
    }
}

/// What is wrong with an id or the secret they derive from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not the prefix and 26 Crockford characters.
    #[error("not an id of this kind")]
    Malformed,
    /// The number key is shorter than 32 bytes.
    #[error("the number key needs at least 32 bytes")]
    ShortKey,
}

impl NumberKey {
    /// Takes the secret: at least 32 bytes.
    pub fn new(secret: &[u8]) -> Result<Self, IdError> {
        if secret.len() < 32 {
            return Err(IdError::ShortKey);
        }
        Hmac::new_from_slice(secret).map(Self).map_err(|_| IdError::ShortKey)
    }

    /// The id of the order that this operation makes.
    pub fn order(&self, operation: &Operation) -> OrderId {
        OrderId(self.derive_for(OrderId::PREFIX, operation, "", 0))
    }

    /// The number of the `n`-th payment that this operation opens at `gateway`.
    pub fn payment(&self, operation: &Operation, gateway: Gateway, n: u32) -> PaymentId {
        PaymentId(self.derive_for(PaymentId::PREFIX, operation, gateway.name(), n))
    }

    /// The number of the refund that this operation asks `gateway` for.
    pub fn refund(&self, operation: &Operation, gateway: Gateway, n: u32) -> RefundId {
        RefundId(self.derive_for(RefundId::PREFIX, operation, gateway.name(), n))
    }

    /// The number of the `n`-th refund that Payonce itself starts for a payment (a surplus).
    pub fn own_refund(&self, payment: &PaymentId, n: u32) -> RefundId {
        let n = n.to_string();
        RefundId(self.derive(RefundId::PREFIX, &["payment", payment.as_str(), &n]))
    }

    /// The number that takes over from a refund which the gateway has closed without moving money.
    pub fn next_refund(&self, closed: &RefundId) -> RefundId {
        RefundId(self.derive(RefundId::PREFIX, &["refund", closed.as_str()]))
    }

    /// The id under which we keep a refund of a payment that was made outside, under a number that is no id
    /// of ours.
    pub fn outside_refund(&self, payment: &PaymentId, number: &str) -> RefundId {
        RefundId(self.derive(RefundId::PREFIX, &["outside", payment.as_str(), number]))
    }

    fn derive_for(&self, prefix: &str, operation: &Operation, gateway: &str, n: u32) -> String {
        let n = n.to_string();
        self.derive(prefix, &[&operation.subject, operation.name.as_str(), operation.key.as_str(), gateway, &n])
    }

    fn derive(&self, prefix: &str, parts: &[&str]) -> String {
        let mut mac = self.0.clone();
        mac.update(prefix.as_bytes());
        for part in parts {
            // Lengths first, so that no two lists of parts read the same.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        written(prefix, &mac.finalize().into_bytes())
    }
}

/// The prefix and the first 130 bits of a digest.
fn written(prefix: &str, digest: &[u8]) -> String {
    let mut id = String::with_capacity(prefix.len() + LENGTH);
    id.push_str(prefix);
    for i in 0..LENGTH {
        let bit = i * 5;
        let pair = u16::from_be_bytes([digest[bit / 8], digest[bit / 8 + 1]]);
        let index = (pair >> (11 - bit % 8)) & 31;
        id.push(char::from(ALPHABET[usize::from(index)]));
    }
    id
}

macro_rules! prefixed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// What every id of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// Reads an id, byte for byte; anything but the prefix and 26 Crockford capitals is refused.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                match text.strip_prefix(Self::PREFIX) {
                    Some(rest) if rest.len() == LENGTH && rest.bytes().all(|b| ALPHABET.contains(&b)) => {
                        Ok(Self(text.to_owned()))
                    }
                    _ => Err(IdError::Malformed),
                }
            }

            /// The id as text: 30 characters of `[0-9A-Za-z_]`.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

prefixed_id!(
    /// An order: `ord_` and 26 characters.
    OrderId,
    "ord_"
);
prefixed_id!(
    /// A payment, one attempt at paying an order: `pay_` and 26 characters. It is the gateway's
    /// `out_trade_no` too, and so its idempotency key there.
    PaymentId,
    "pay_"
);
prefixed_id!(
    /// A refund: `rfd_` and 26 characters; the gateway's `out_refund_no`.
    RefundId,
    "rfd_"
);
prefixed_id!(
    /// An event, as it is told outside: `evt_` and 26 characters. However often an event is told, its id is the same.
    EventId,
    "evt_"
);

impl EventId {
    /// The id of the event that gave `order` this version. `about` is the payment or refund that it names, or
    /// nothing: a store that lost its last commits numbers anew, and what happens then may be something else.
    pub fn of(order: &OrderId, version: i64, kind: EventType, about: &str) -> Self {
        let told = format!("{order} {version} {} {about}", kind.name());
        Self(written(Self::PREFIX, &Sha256::digest(told)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fingerprint, IdempotencyKey, OperationName};

    fn key() -> NumberKey {
        NumberKey::new(&[7; 32]).unwrap()
    }

    fn operation(subject: &str, name: OperationName, text: &str) -> Operation {
        let key = IdempotencyKey::parse(text).unwrap();
        let fingerprint = Fingerprint::of(subject, name, &serde_json::json!({}));
        Operation { subject: subject.to_owned(), name, key, fingerprint }
    }

    #[test]
    fn the_same_intent_gets_the_same_numbers_and_any_other_gets_others() {
        let a = operation("alice", OperationName::CreateOrder, "intent-0000000001");
        assert_eq!(key().order(&a), key().order(&a));
        let others = [
            operation("alicf", OperationName::CreateOrder, "intent-0000000001"),
            operation("alice", OperationName::RepayOrder, "intent-0000000001"),
            operation("alice", OperationName::CreateOrder, "intent-0000000002"),
        ];
        for other in others {
            assert_ne!(key().order(&a), key().order(&other));
        }
        let first = key().payment(&a, Gateway::WechatPay, 0);
        assert_ne!(first, key().payment(&a, Gateway::WechatPay, 1));
        assert_ne!(first, key().payment(&a, Gateway::Alipay, 0));
        assert_ne!(key().own_refund(&first, 0), key().own_refund(&first, 1));
        assert_ne!(NumberKey::new(&[8; 32]).unwrap().order(&a), key().order(&a));
    }

    #[test]
    fn ids_fit_the_gateways_alphabet_and_read_back() {
        let id = key().payment(&operation("s", OperationName::CreateOrder, "intent-0000000001"), Gateway::Alipay, 0);
        assert_eq!(id.as_str().len(), 30);
        assert_eq!(PaymentId::parse(id.as_str()), Ok(id.clone()));
        for wrong in ["", "pay_", "ord_00000000000000000000000000", &id.as_str().to_lowercase(), &format!("{id}0")] {
            assert_eq!(PaymentId::parse(wrong), Err(IdError::Malformed), "{wrong}");
        }
    }

    #[test]
    fn a_short_key_is_refused() {
        assert!(NumberKey::new(&[0; 31]).is_err());
    }

    #[test]
    fn the_derivation_never_changes() {
        // A change here would give every retry after an upgrade a new number: a second charge.
        let a = operation("alice", OperationName::CreateOrder, "intent-0000000001");
        assert_eq!(key().order(&a).as_str(), PINNED_ORDER);
    }

    #[test]
    fn an_event_keeps_its_id_and_another_has_another() {
        let order = OrderId::parse(PINNED_ORDER).unwrap();
        let id = EventId::of(&order, 3, EventType::PaymentPending, "pay_1");
        assert_eq!(id.as_str(), "evt_H3R8PW5X74GKKK8G8E6BTZXQ19");
        assert_ne!(id, EventId::of(&order, 2, EventType::PaymentPending, "pay_1"));
        assert_ne!(id, EventId::of(&order, 3, EventType::PaymentUnknown, "pay_1"));
        assert_ne!(id, EventId::of(&order, 3, EventType::PaymentPending, "pay_2"));
    }
    const PINNED_ORDER: &str = "ord_TTE3WBKH4EVNKWQ3EFSGSDZ12Z";
}
