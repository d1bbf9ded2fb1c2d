//! The protocol's messages, as they are on the wire.

use async_graphql::{Name, Response, ServerError, Value as GraphqlValue, indexmap::IndexMap};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::graphql::ApiError;

/// An operation's name on its socket; longer ones are not taken.
const ID: usize = 128;

/// What a client says.
#[derive(Debug)]
pub(super) enum Said {
    Init(Map<String, Value>),
    Ping(Option<Value>),
    Pong,
    Subscribe { id: String, operation: Operation },
    Complete { id: String },
}

/// What is to be executed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Operation {
    pub query: String,
    #[serde(default)]
    pub operation_name: Option<String>,
    #[serde(default, deserialize_with = "crate::http::strict_json::object")]
    variables: Option<Map<String, Value>>,
    #[serde(default)]
    #[expect(dead_code, reason = "must be an object when it is there, and means nothing here")]
    extensions: Option<Map<String, Value>>,
}

impl Operation {
    pub fn take_variables(&mut self) -> Value {
        Value::Object(self.variables.take().unwrap_or_default())
    }
}

/// A message, read; `None` when it is none of the protocol's.
pub(super) fn read(text: &str) -> Option<Said> {
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
        "connection_init" => Said::Init(object(payload)?.unwrap_or_default()),
        "ping" => Said::Ping(object(payload)?.map(Value::Object)),
        "pong" => object(payload).map(|_| Said::Pong)?,
        "subscribe" => {
            payload.filter(Value::is_object)?;
            // From the text once more: a `Value` forgets that a name stood twice.
            let Asked { payload: operation } = serde_json::from_str(text).ok()?;
            Said::Subscribe { id: id?, operation }
        }
        "complete" => Said::Complete { id: id? },
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
    Next {
        id: &'a str,
        payload: &'a Response,
    },
    Error {
        id: &'a str,
        payload: &'a [Value],
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

pub(super) fn next(id: &str, response: &Response) -> String {
    write(&Frame::Next { id, payload: response })
}

pub(super) fn complete(id: &str) -> String {
    write(&Frame::Complete { id })
}

/// An operation that never began.
pub(super) fn refusal(id: &str, error: &ApiError) -> String {
    write(&Frame::Error { id, payload: &[shown(error)] })
}

/// An operation that the schema refused.
pub(super) fn errors(id: &str, errors: &[ServerError]) -> String {
    let shown: Vec<Value> = errors.iter().filter_map(|e| serde_json::to_value(e).ok()).collect();
    write(&Frame::Error { id, payload: &shown })
}

/// An error as GraphQL writes it.
pub(super) fn shown(error: &ApiError) -> Value {
    let extensions: IndexMap<Name, GraphqlValue> =
        error.extensions().into_iter().map(|(name, value)| (Name::new(name), value)).collect();
    serde_json::json!({ "message": error.message(), "extensions": extensions })
}
