//! The idempotency key and the fingerprint of what it was sent with.

use std::fmt;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The client's name for one intent: `^[A-Za-z0-9][A-Za-z0-9_-]{15,63}$`, compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// Not an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key is 16 to 64 characters of A-Z, a-z, 0-9, _ and -, and begins with a letter or digit")]
pub struct KeyError;

impl IdempotencyKey {
    /// Reads a key; nothing is trimmed, folded or normalised.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let fits = (16..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
            && text.as_bytes()[0].is_ascii_alphanumeric();
        if fits { Ok(Self(text.to_owned())) } else { Err(KeyError) }
    }

    /// The key as it was sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The guarded mutations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationName {
    /// Makes an order, with or without a first payment.
    CreateOrder,
    /// Opens another payment of an order.
    RepayOrder,
    /// Closes an unpaid order.
    CancelOrder,
    /// Gives money back.
    RefundOrder,
    /// Lets a refund go that waits for approval.
    ApproveRefund,
    /// Says no to a refund that waits for approval.
    RejectRefund,
}

impl OperationName {
    const ALL: [OperationName; 6] = [
        Self::CreateOrder,
        Self::RepayOrder,
        Self::CancelOrder,
        Self::RefundOrder,
        Self::ApproveRefund,
        Self::RejectRefund,
    ];

    /// The mutation's name in the schema, in columns and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CreateOrder => "createOrder",
            Self::RepayOrder => "repayOrder",
            Self::CancelOrder => "cancelOrder",
            Self::RefundOrder => "refundOrder",
            Self::ApproveRefund => "approveRefund",
            Self::RejectRefund => "rejectRefund",
        }
    }

    /// Reads [`OperationName::as_str`] back.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.as_str() == name)
    }
}

/// One guarded mutation: who, what, under which key, with which content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The token's `sub`. Keys of different subjects never meet.
    pub subject: String,
    /// Which mutation.
    pub name: OperationName,
    /// The client's key.
    pub key: IdempotencyKey,
    /// What it was sent with.
    pub fingerprint: Fingerprint,
}

/// The version of the fingerprint's recipe, stored beside it.
pub const FINGERPRINT_VERSION: i32 = 1;

/// SHA-256 of the canonical JSON (RFC 8785) of `{v, subject, operation, arguments}`.
///
/// Arguments count as the client gave them after variables were put in; absent and null are the same.
/// One deviation from RFC 8785: whole numbers beyond 2^53 are written with all their digits, where the
/// RFC would round them to a double and two amounts could read the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of one call. The idempotency key itself must not be among the arguments.
    pub fn of(subject: &str, operation: OperationName, arguments: &Value) -> Self {
        let mut whole = Map::new();
        whole.insert("v".into(), FINGERPRINT_VERSION.into());
        whole.insert("subject".into(), subject.into());
        whole.insert("operation".into(), operation.as_str().into());
        whole.insert("arguments".into(), arguments.clone());
        Self(Sha256::digest(canonical(&Value::Object(whole))).into())
    }

    /// Reads [`Fingerprint::to_hex`] back.
    pub fn from_hex(digits: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// 64 lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The fingerprint of the arguments alone: for the double-click window, whose key is not known.
    pub fn content(arguments: &Value) -> String {
        hex::encode(Sha256::digest(canonical(arguments)))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// RFC 8785: members sorted by UTF-16 code units, no blanks, shortest escapes. Null members are left out.
fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().filter(|(_, v)| !v.is_null()).collect();
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            write_list(out, '{', '}', members, |(name, value), out| {
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write(value, out);
            });
        }
        Value::Array(items) => write_list(out, '[', ']', items, write),
        // serde_json escapes strings as RFC 8785 asks: \b \t \n \f \r \" \\ and \u00xx only. No argument
        // of ours is a float; one would be written in its shortest form.
        leaf => out.push_str(&leaf.to_string()),
    }
}

fn write_list<T>(
    out: &mut String,
    open: char,
    close: char,
    items: impl IntoIterator<Item = T>,
    one: impl Fn(T, &mut String),
) {
    out.push(open);
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        one(item, out);
    }
    out.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_taken_as_they_are_or_refused() {
        for good in ["0123456789abcdef", "A-_aaaaaaaaaaaaa", &"x".repeat(64)] {
            assert_eq!(IdempotencyKey::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "0123456789abcde",
            "-123456789abcdef",
            "_123456789abcdef",
            "0123456789abcde ",
            "0123456789abcdé",
            &"x".repeat(65),
            "0123456789abcdef\n",
        ] {
            assert!(IdempotencyKey::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn canonical_json_is_that_of_rfc_8785() {
        // The RFC's own example of sorting (section 3.2.3), without its floats.
        let value = json!({"\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew", "1": "One",
            "\u{1f600}": "Emoji", "\u{80}": "Control", "\u{f6}": "Latin"});
        assert_eq!(
            canonical(&value),
            "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"\u{f6}\":\"Latin\",\"\u{20ac}\":\"Euro Sign\",\"\u{1f600}\":\"Emoji\",\"\u{fb33}\":\"Hebrew\"}"
        );
        assert_eq!(
            canonical(&json!({"b": [1, null, {"z": null}], "a": "\u{1}\"\\/"})),
            r#"{"a":"\u0001\"\\/","b":[1,null,{}]}"#
        );
    }

    #[test]
    fn the_fingerprint_ignores_order_and_nulls_and_sees_everything_else() {
        let of = |arguments: Value| Fingerprint::of("alice", OperationName::CreateOrder, &arguments);
        let base = of(json!({"input": {"lines": [{"sku": "TEA", "quantity": 1}]}}));
        assert_eq!(base, of(json!({"input": {"note": null, "lines": [{"quantity": 1, "sku": "TEA"}]}})));
        assert_ne!(base, of(json!({"input": {"lines": [{"sku": "TEA", "quantity": 2}]}})));
        assert_ne!(base, of(json!({"input": {"lines": [{"sku": "TEA", "quantity": 1}], "note": ""}})));
        assert_ne!(of(json!(9_007_199_254_740_993_i64)), of(json!(9_007_199_254_740_992_i64)));
        assert_ne!(
            base,
            Fingerprint::of(
                "bob",
                OperationName::CreateOrder,
                &json!({"input": {"lines": [{"sku": "TEA", "quantity": 1}]}})
            )
        );
    }
}
