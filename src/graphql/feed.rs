//! A subscription as transports serve it: executed once for each new state and selection, not once for each
//! subscriber.

use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::{Request, Response, Value, Variables};
use aws_lc_rs::digest::{Context as Digest, SHA256};
use futures_util::StreamExt;

use super::{ApiError, PayonceSchema, code, complete_errors};
use crate::payments::{Activity, Caller, PaymentError, Selection, Sight, Watch};

/// Errors of one response.
const ERRORS: usize = 5;

/// What is to be executed, and for whom.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The document.
    pub document: String,
    /// Which of its operations.
    pub operation_name: Option<String>,
    /// Its variables: an object.
    pub variables: serde_json::Value,
    /// The token's holder; `None`: nobody.
    pub caller: Option<Caller>,
    /// Whether introspection is answered.
    pub introspection: bool,
}

impl Asking {
    /// The request for async-graphql.
    pub fn request(&self) -> Request {
        let mut request = Request::new(self.document.clone()).variables(Variables::from_json(self.variables.clone()));
        request.operation_name.clone_from(&self.operation_name);
        if !self.introspection {
            request = request.disable_introspection();
        }
        match &self.caller {
            Some(caller) => request.data(caller.clone()),
            None => request,
        }
    }

    /// Equal for all who are shown the same: the same document, variables, person and roles.
    fn selection(&self) -> Selection {
        let mut digest = Digest::new(&SHA256);
        let mut part = |bytes: &[u8]| {
            digest.update(&(bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        };
        part(self.document.as_bytes());
        part(self.operation_name.as_deref().unwrap_or_default().as_bytes());
        part(self.variables.to_string().as_bytes());
        if let Some(caller) = &self.caller {
            part(caller.subject.as_bytes());
            part(format!("{:?}", caller.roles).as_bytes());
        }
        let mut selection = Selection::default();
        selection.copy_from_slice(digest.finish().as_ref());
        selection
    }
}

/// What a subscription's resolver has joined.
pub(super) enum Joined {
    Order(Box<Watch>),
    Every(Box<Activity>),
}

/// Where the resolver of a subscription leaves what it has joined, for the [`Feed`].
#[derive(Default)]
pub(super) struct Joining(Mutex<Option<Joined>>);

impl Joining {
    pub fn join(&self, joined: Joined) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(joined);
    }
}

/// What a resolver is to show this time, in place of joining.
pub(super) struct Shown(pub Arc<Sight>);

/// A subscription that has begun.
pub struct Feed {
    schema: PayonceSchema,
    asking: Arc<Asking>,
    selection: Selection,
    joined: Joined,
}

impl Feed {
    /// Joins what the subscription watches. A document, an argument or a caller that does not fit: the response
    /// that says so.
    pub async fn begin(schema: PayonceSchema, asking: Asking) -> Result<Self, Box<Response>> {
        let joining = Arc::new(Joining::default());
        let request = asking.request().data(joining.clone());
        let refused = schema.execute_stream(request).next().await;
        let joined = joining.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (refused, joined) {
            (None, Some(joined)) => {
                let selection = asking.selection();
                Ok(Self { schema, asking: Arc::new(asking), selection, joined })
            }
            (Some(response), _) => Err(Box::new(response)),
            // The library ends a subscription whose field stands in a fragment without a word, and "complete"
            // would be taken for the order's end.
            (None, None) => Err(Box::new(
                ApiError::new(
                    code::GRAPHQL_VALIDATION_FAILED,
                    "Write the subscription's field directly into the operation, not into a fragment.",
                )
                .into_response(),
            )),
        }
    }

    /// The next event: a response as JSON. `None`: it is complete.
    pub async fn next(&mut self) -> Option<Arc<str>> {
        let next = match &mut self.joined {
            Joined::Order(watch) => watch.next().await.map(Ok),
            Joined::Every(activity) => activity.next().await,
        };
        Some(match next? {
            Ok(sight) => {
                // Most are shown what is there already, and who waits is to hold little.
                let show = || Box::pin(show(&self.schema, &self.asking, &sight));
                let text = sight.shown(&self.selection, show).await;
                sight.told();
                text
            }
            Err(e) => as_json(ApiError::from(e).into_response()),
        })
    }
}

async fn show(schema: &PayonceSchema, asking: &Arc<Asking>, sight: &Arc<Sight>) -> Arc<str> {
    let (schema, request) = (schema.clone(), asking.request().data(Shown(sight.clone())));
    // In a task of its own: a client that leaves cuts no database future off.
    let shown = tokio::spawn(async move { schema.execute_stream(request).next().await }).await;
    let response = shown.ok().flatten().unwrap_or_else(|| {
        ApiError::from(PaymentError::Internal("a subscription's event could not be shown".to_owned())).into_response()
    });
    as_json(response)
}

/// A response as clients get it: few errors, each with its code.
pub fn complete(mut response: Response) -> Response {
    response.errors.truncate(ERRORS);
    complete_errors(&mut response);
    response
}

/// The same, written.
pub fn as_json(response: Response) -> Arc<str> {
    serde_json::to_string(&complete(response)).unwrap_or_default().into()
}

/// Nothing was executed: a request error, without data and without a path.
pub fn is_request_error(response: &Response) -> bool {
    response.is_err() && response.data == Value::Null && response.errors.iter().all(|e| e.path.is_empty())
}
