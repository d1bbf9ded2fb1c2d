//! Scalars: 64-bit integers, idempotency keys, currencies.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};

use super::error::code;

/// A 64-bit integer, sent as a string; also accepted as an integer literal.
pub struct BigInt(pub i64);

#[Scalar(name = "BigInt")]
impl ScalarType for BigInt {
    fn parse(value: Value) -> InputValueResult<Self> {
        let number = match &value {
            Value::String(text) => text.parse().ok().filter(|n: &i64| n.to_string() == *text),
            Value::Number(number) => number.as_i64(),
            _ => None,
        };
        number.map(BigInt).ok_or_else(|| {
            InputValueError::custom("a whole number within 64 bits, as a string of digits or a literal")
                .with_extension("code", code::AMOUNT_OUT_OF_RANGE)
        })
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// The client's name for one intent: 16 to 64 characters of `A-Z a-z 0-9 _ -`, beginning with a letter or
/// digit. Make one per intent (a UUID will do), store it before sending, and send the same one again until
/// an answer without error comes: the intent takes effect at most once.
pub struct IdempotencyKey(pub domain::IdempotencyKey);

#[Scalar(
    name = "IdempotencyKey",
    specified_by_url = "https://www.ietf.org/archive/id/draft-ietf-httpapi-idempotency-key-header-07.html"
)]
impl ScalarType for IdempotencyKey {
    fn parse(value: Value) -> InputValueResult<Self> {
        let parsed = match &value {
            Value::String(text) => domain::IdempotencyKey::parse(text),
            _ => Err(domain::KeyError),
        };
        parsed.map(IdempotencyKey).map_err(|e| {
            InputValueError::custom(e)
                .with_extension("code", code::IDEMPOTENCY_KEY_INVALID)
                .with_extension("retrySameKey", false)
        })
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.as_str().to_owned())
    }
}

/// An ISO 4217 currency code, three capital letters.
pub struct Currency(pub domain::Currency);

#[Scalar(name = "Currency", specified_by_url = "https://www.iso.org/iso-4217-currency-codes.html")]
impl ScalarType for Currency {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        domain::Currency::parse(text).map(Currency).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.code().to_owned())
    }
}
