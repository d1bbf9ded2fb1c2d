//! The protocol's messages, as they are on the wire.

use async_graphql::ServerError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::http::operation::Operation;

/// An operation's name on its socket; longer ones are not taken.
const ID: usize = 128;

/// What a client says.
#[derive(Debug)]
pub(super) enum Heard {
    Init(Map<String, Value>),
    Ping(Option<Value>),
    Pong,
    Subscribe { id: String, operation: Operation },
    Complete { id: String },
}

/// A message, read; `None` when it is none of the protocol's.
pub(super) fn read(text: &str) -> Option<Heard> {
    #[derive(Deserialize)]
    struct Message {
        r#type: String,
        #[serde(default)]
        id: Option<String>,
        #[serde(default)]
        payload: Option<Value>,
    }
    #[derive(Deserialize)]
    struct Asked {
        payload: Operation,
    }
    // serde's derived reader takes an array for a struct; the protocol does not.
    if !text.trim_ascii_start().starts_with('{') {
        return None;
    }
    let Message { r#type, id, payload } = serde_json::from_str(text).ok()?;
    let id = id.filter(|id| (1..=ID).contains(&id.len()));
    let object = |payload: Option<Value>| match payload {
        None => Some(None),
        Some(Value::Object(members)) => Some(Some(members)),
        Some(_) => None,
    };
    Some(match r#type.as_str() {
        "connection_init" => Heard::Init(object(payload)?.unwrap_or_default()),
        "ping" => Heard::Ping(object(payload)?.map(Value::Object)),
        "pong" => object(payload).map(|_| Heard::Pong)?,
        "subscribe" => {
            payload.filter(Value::is_object)?;
            // From the text once more: a `Value` forgets that a name stood twice.
            let Asked { payload: operation } = serde_json::from_str(text).ok()?;
            Heard::Subscribe { id: id?, operation }
        }
        "complete" => Heard::Complete { id: id? },
        _ => return None,
    })
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Frame<'a> {
    ConnectionAck,
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<Value>,
    },
    Error {
        id: &'a str,
        payload: &'a [ServerError],
    },
    Complete {
        id: &'a str,
    },
}

fn write(frame: &Frame<'_>) -> String {
    serde_json::to_string(frame).unwrap_or_default()
}

pub(super) fn ack() -> String {
    write(&Frame::ConnectionAck)
}

pub(super) fn pong(payload: Option<Value>) -> String {
    write(&Frame::Pong { payload })
}

/// `response` is JSON already, written once for many.
pub(super) fn next(id: &str, response: &str) -> String {
    let id = serde_json::to_string(id).unwrap_or_default();
    format!(r#"{{"type":"next","id":{id},"payload":{response}}}"#)
}

pub(super) fn complete(id: &str) -> String {
    write(&Frame::Complete { id })
}

/// An operation that never began.
pub(super) fn error(id: &str, errors: &[ServerError]) -> String {
    write(&Frame::Error { id, payload: errors })
}
