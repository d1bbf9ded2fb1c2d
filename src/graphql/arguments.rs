//! From arguments to the guarded operation: key, header and fingerprint.

use async_graphql::{Context, ID};
use domain::{Fingerprint, Operation, OperationName, OrderId, RefundId};
use serde_json::{Map, Value};

use super::error::{ApiError, code};
use super::scalars::IdempotencyKey;
use super::{Asked, ClientAddress, KeyHeader};

/// What a guarded mutation is fingerprinted by.
pub(super) struct Called {
    pub operation: Operation,
    /// SHA-256 of the arguments without the key.
    pub content: String,
}

/// Reads the operation off the mutation that is being resolved: the arguments as the client gave them.
pub(super) fn called(ctx: &Context<'_>, name: OperationName, key: IdempotencyKey) -> Result<Called, ApiError> {
    let subject = ctx.caller()?.subject.clone();
    if let Some(KeyHeader(header)) = ctx.data_opt::<KeyHeader>()
        && header != key.0.as_str()
    {
        let words = "The header Idempotency-Key and the argument idempotencyKey differ. Send one, or both alike.";
        return Err(ApiError::new(code::IDEMPOTENCY_KEY_INVALID, words));
    }
    let given = ctx.field().arguments().map_err(|_| ApiError::bad_input("The arguments cannot be read."))?;
    let mut arguments = Map::new();
    for (name, value) in given {
        if name != "idempotencyKey" {
            let value = value.into_json().map_err(|_| ApiError::bad_input("The arguments cannot be read."))?;
            arguments.insert(name.to_string(), value);
        }
    }
    let arguments = Value::Object(arguments);
    let fingerprint = Fingerprint::of(&subject, name, &arguments);
    let content = Fingerprint::content(&arguments);
    Ok(Called { operation: Operation { subject, name, key: key.0, fingerprint }, content })
}

/// Where the client is, if that is known. No argument: it is in no fingerprint.
pub(super) fn client_address(ctx: &Context<'_>) -> Option<std::net::IpAddr> {
    ctx.data_opt::<ClientAddress>().map(|address| address.0)
}

/// An order's id; anything else is no order.
pub(super) fn order_id(id: &ID) -> Result<OrderId, ApiError> {
    OrderId::parse(id).map_err(|_| ApiError::new(code::NOT_FOUND, "There is no such order that you may see."))
}

/// A refund's id; anything else is no refund.
pub(super) fn refund_id(id: &ID) -> Result<RefundId, ApiError> {
    RefundId::parse(id).map_err(|_| ApiError::new(code::NOT_FOUND, "There is no such refund that you may see."))
}

/// Text for people: no NUL and not too long.
pub(super) fn short_text(name: &str, text: Option<String>) -> Result<Option<String>, ApiError> {
    match text {
        Some(t) if t.contains('\0') || t.chars().count() > 500 => {
            Err(ApiError::bad_input(format!("{name} has at most 500 characters and no NUL.")))
        }
        text => Ok(text),
    }
}
