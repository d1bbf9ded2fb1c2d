//! What a client wants executed, whichever way it came: read, guarded, begun.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Request, ServerError};
use futures_util::stream::{BoxStream, once, unfold};
use futures_util::{FutureExt, StreamExt};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::document::{self, Kind, Limits};
use super::strict_json;
use super::trusted::TrustedDocuments;
use crate::graphql::{ApiError, Asking, Feed, PayonceSchema, as_json, code, complete, is_request_error};
use crate::payments::Caller;

/// What a client sends: the same over HTTP, sockets and event streams.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Sent")]
pub(super) struct Operation {
    document: Document,
    pub operation_name: Option<String>,
    pub variables: Option<Map<String, Value>>,
}

/// Which document is meant.
#[derive(Debug)]
enum Document {
    /// This one. An id beside it says nothing more.
    Text(String),
    /// One that is known here.
    Id(String),
}

/// The members of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sent {
    #[serde(default)]
    pub query: Option<String>,
    /// Of the appendix of GraphQL over HTTP.
    #[serde(default)]
    pub document_id: Option<String>,
    #[serde(default)]
    pub operation_name: Option<String>,
    #[serde(default, deserialize_with = "strict_json::object")]
    pub variables: Option<Map<String, Value>>,
    /// Apollo's `persistedQuery.sha256Hash`; anything else in it means nothing here.
    #[serde(default, deserialize_with = "strict_json::object")]
    pub extensions: Option<Map<String, Value>>,
}

impl TryFrom<Sent> for Operation {
    type Error = &'static str;

    fn try_from(sent: Sent) -> Result<Self, Self::Error> {
        let persisted = || {
            let hash = sent.extensions.as_ref()?.get("persistedQuery")?.get("sha256Hash")?;
            hash.as_str().map(str::to_owned)
        };
        let document = match (sent.query, sent.document_id.or_else(persisted)) {
            (Some(text), _) => Document::Text(text),
            (None, Some(id)) => Document::Id(id),
            (None, None) => return Err("neither a query nor the id of one"),
        };
        Ok(Self { document, operation_name: sent.operation_name, variables: sent.variables })
    }
}

/// Subscriptions that begin at a time: each executes its document and reads the store, and when thousands come back at
/// once, those that wait hold nothing but their words.
const BEGINNINGS: usize = 32;

/// What executes operations, and who may introspect.
pub(super) struct Executor {
    schema: PayonceSchema,
    /// The same without a limit of depth: introspection nests deeper than any query of ours.
    introspected: PayonceSchema,
    limits: Limits,
    /// Everybody may introspect; else only staff.
    introspection: bool,
    /// What everybody but staff must choose from; `None`: every document is taken.
    trusted: Option<TrustedDocuments>,
    beginnings: Arc<Semaphore>,
}

/// An operation within all limits, not yet begun.
pub(super) struct Guarded {
    /// `None`: its name selects none, and none will run.
    pub kind: Option<Kind>,
    schema: PayonceSchema,
    asking: Asking,
    beginnings: Arc<Semaphore>,
}

/// What an operation that has begun says.
pub(super) enum Said {
    /// A response, as JSON.
    Next(Arc<str>),
    /// It has not begun after all.
    Refused(Vec<ServerError>),
    /// There will be no more.
    Done,
}

impl Executor {
    pub fn new(schema: PayonceSchema, introspected: PayonceSchema, limits: Limits, introspection: bool) -> Self {
        let beginnings = Arc::new(Semaphore::new(BEGINNINGS));
        Self { schema, introspected, limits, introspection, trusted: None, beginnings }
    }

    /// Takes these documents only, but from staff.
    pub fn trusting(self, trusted: Option<TrustedDocuments>) -> Self {
        Self { trusted, ..self }
    }

    fn document(&self, document: Document, caller: Option<&Caller>) -> Result<String, ApiError> {
        let is_staff = caller.is_some_and(Caller::is_staff);
        match (document, &self.trusted) {
            (Document::Text(text), None) => Ok(text),
            (Document::Text(text), Some(trusted)) if is_staff || trusted.contains(&text) => Ok(text),
            (Document::Text(_), Some(_)) => {
                let words = "Only documents that are known here are taken, character for character.";
                Err(ApiError::new(code::DOCUMENT_NOT_TRUSTED, words))
            }
            (Document::Id(id), trusted) => {
                let known = trusted.as_ref().and_then(|trusted| trusted.get(&id)).map(str::to_owned);
                known.ok_or_else(|| ApiError::new(code::DOCUMENT_NOT_TRUSTED, "No document is known here by this id."))
            }
        }
    }

    /// Counts what the operation would cost, and refuses it at the first limit it passes.
    pub fn guard(&self, operation: Operation, caller: Option<Caller>) -> Result<Guarded, ApiError> {
        let Operation { document, operation_name, variables } = operation;
        let document = self.document(document, caller.as_ref())?;
        let counted = document::check(&document, &self.limits)?;
        let variables = Value::Object(variables.unwrap_or_default());
        document::check_variables(&variables, &self.limits)?;
        let kind = counted.kind(&document, operation_name.as_deref());
        let introspection = self.introspection || caller.as_ref().is_some_and(Caller::is_staff);
        if counted.introspection && !introspection {
            return Err(ApiError::new(code::INTROSPECTION_DISABLED, "Introspection is for staff here."));
        }
        let schema = if counted.introspection { &self.introspected } else { &self.schema }.clone();
        let asking = Asking { document, operation_name, variables, caller, introspection };
        Ok(Guarded { kind, schema, asking, beginnings: self.beginnings.clone() })
    }
}

impl Guarded {
    /// The request, and what executes it.
    pub fn request(&self) -> (PayonceSchema, Request) {
        (self.schema.clone(), self.asking.request())
    }

    /// Begins a query or a subscription; `held` is let go when it ends. A query has `within` to answer.
    pub fn begin(self, within: Duration, held: impl Send + 'static) -> BoxStream<'static, Said> {
        if self.kind == Some(Kind::Subscription) { self.subscribe(held) } else { self.query(within, held) }
    }

    fn subscribe(self, held: impl Send + 'static) -> BoxStream<'static, Said> {
        enum At {
            Begin(Guarded),
            Running(Box<Feed>),
            End,
        }
        // In a task of its own: the feed's beginning reads the store.
        let begin = async |Guarded { schema, asking, beginnings, .. }| {
            let place = beginnings.acquire_owned().await;
            let begun = tokio::spawn(async move {
                let _place = place;
                Feed::begin(schema, asking).await
            });
            begun.await.unwrap_or_else(|panic| {
                tracing::error!(%panic, "a subscription broke off");
                let words = "Something broke on our side. Subscribe again.";
                Err(Box::new(ApiError::new(code::INTERNAL, words).into_response()))
            })
        };
        let start = (At::Begin(self), held);
        unfold(start, move |(mut at, held)| async move {
            if let At::Begin(guarded) = at {
                match Box::pin(begin(guarded)).await {
                    Ok(feed) => at = At::Running(Box::new(feed)),
                    Err(response) => return Some((Said::Refused(complete(*response).errors), (At::End, held))),
                }
            }
            let At::Running(mut feed) = at else { return None };
            Some(match feed.next().await {
                Some(text) => (Said::Next(text), (At::Running(feed), held)),
                None => (Said::Done, (At::End, held)),
            })
        })
        .boxed()
    }

    fn query(self, within: Duration, held: impl Send + 'static) -> BoxStream<'static, Said> {
        let (schema, request) = self.request();
        // In a task of its own: a client that leaves cuts no database future off, and a query that nobody waits
        // for any more still holds its place.
        let executed = tokio::spawn(async move {
            let _held = held;
            schema.execute(request).await
        });
        let answer = tokio::time::timeout(within, executed).map(|executed| match executed {
            Ok(Ok(response)) if is_request_error(&response) => vec![Said::Refused(complete(response).errors)],
            Ok(Ok(response)) => vec![Said::Next(as_json(response)), Said::Done],
            Ok(Err(panic)) => {
                tracing::error!(%panic, "a request broke off");
                refused(code::INTERNAL, "Something broke on our side. Ask again.")
            }
            Err(_) => refused(code::STORE_UNAVAILABLE, "No answer in time. Ask again."),
        });
        once(answer).flat_map(futures_util::stream::iter).boxed()
    }
}

fn refused(code: &'static str, words: &str) -> Vec<Said> {
    vec![Said::Refused(ApiError::new(code, words).into_response().errors)]
}
