//! GraphQL over HTTP: who, which document, in which media type; everything else is refused as JSON.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::Response as Answer;
use async_graphql_axum::GraphQLResponse;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, Query, State, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Response};

use super::document::Kind;
use super::operation::{Operation, Sent};
use super::token::Verified;
use super::{Shared, socket, sse, strict_json, token};
use crate::graphql::{ApiError, ClientAddress, KeyHeader, code, is_request_error};

const BODY: usize = 64 * 1024;
/// A body that takes longer is not waited for.
const BODY_WITHIN: Duration = Duration::from_secs(10);
const QUERY_WITHIN: Duration = Duration::from_secs(5);
/// The guard answers after its own deadline; this is for what hangs beside it.
const MUTATION_WITHIN: Duration = Duration::from_secs(12);

/// A request that is refused before it is executed.
struct Refusal {
    status: StatusCode,
    error: ApiError,
    /// The request may be well formed (its document is not, or it comes too soon): a 200 under plain JSON, as GraphQL
    /// over HTTP says.
    well_formed: bool,
}

fn refuse(status: StatusCode, code: &'static str, message: &str) -> Refusal {
    Refusal { status, error: ApiError::new(code, message), well_formed: false }
}

/// A failure of ours, after which the same may be sent again.
fn again_later(status: StatusCode, code: &'static str, message: &str) -> Refusal {
    Refusal { status, error: ApiError::new(code, message).again_after(1_000), well_formed: false }
}

/// How the answer is to be written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Media {
    Json,
    GraphqlResponse,
}

impl Media {
    fn name(self) -> &'static str {
        match self {
            Media::Json => "application/json; charset=utf-8",
            Media::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
        }
    }

    /// The first of the two that the client names; JSON when it names none or anything.
    fn accepted(headers: &HeaderMap) -> Media {
        let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let named = accept.split(',').map(|part| part.split(';').next().unwrap_or_default().trim());
        for name in named {
            match name {
                "application/graphql-response+json" => return Media::GraphqlResponse,
                "application/json" | "*/*" | "application/*" => return Media::Json,
                _ => {}
            }
        }
        Media::Json
    }
}

/// Who asks, and from where.
struct Asker {
    verified: Option<Verified>,
    address: IpAddr,
}

/// `POST /graphql`
pub(super) async fn post(State(shared): State<Arc<Shared>>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let media = Media::accepted(&parts.headers);
    let asked = async {
        let asker = asker(&shared, &parts).await?;
        is_json(&parts.headers)?;
        Ok((asker, parse(&read(&parts.headers, body).await?)?))
    };
    if sse::is_wanted(&parts.headers) {
        return stream(&shared, asked.await, media).await;
    }
    let answered = async {
        let (asker, operation) = asked.await?;
        run(&shared, asker, &parts.headers, operation, false).await
    };
    match answered.await {
        Ok(answer) => respond(answer, media),
        Err(refusal) => refused(&refusal, media),
    }
}

/// `GET /graphql`: a WebSocket, or a query in the URL.
pub(super) async fn get(State(shared): State<Arc<Shared>>, request: axum::extract::Request) -> Response {
    let (mut parts, _) = request.into_parts();
    if parts.headers.contains_key(header::UPGRADE) {
        let address = shared.access.address(&parts.extensions, &parts.headers);
        if let Err(e) = shared.access.one_from(address) {
            return socket::refused(StatusCode::TOO_MANY_REQUESTS, &e);
        }
        return match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
            Ok(upgrade) => socket::upgrade(shared.sockets.clone(), &parts.headers, address, upgrade).await,
            Err(refusal) => refusal.into_response(),
        };
    }
    let media = Media::accepted(&parts.headers);
    let asked = match asker(&shared, &parts).await {
        Ok(asker) => parse_url(&parts).map(|operation| (asker, operation)),
        Err(refusal) => Err(refusal),
    };
    if sse::is_wanted(&parts.headers) {
        return stream(&shared, asked, media).await;
    }
    let answered = async {
        let (asker, operation) = asked?;
        run(&shared, asker, &parts.headers, operation, true).await
    };
    match answered.await {
        Ok(answer) => respond(answer, media),
        Err(refusal) => refused(&refusal, media),
    }
}

/// Answers with a stream of events, over which errors of the document travel too.
async fn stream(shared: &Shared, asked: Result<(Asker, Operation), Refusal>, media: Media) -> Response {
    let (Asker { verified, .. }, operation) = match asked {
        Ok(asked) => asked,
        // Nobody reads JSON from what is no stream.
        Err(refusal) => return refused(&Refusal { well_formed: false, ..refusal }, media),
    };
    let guarded = shared.executor.guard(operation, verified.as_ref().map(|v| v.caller.clone()));
    if guarded.as_ref().is_ok_and(|g| g.kind == Some(Kind::Mutation)) {
        let words = "A mutation is sent by POST and answered as JSON, not as a stream.";
        return refused(&refuse(StatusCode::METHOD_NOT_ALLOWED, code::METHOD_NOT_ALLOWED, words), media);
    }
    sse::stream(&shared.sockets, verified, guarded)
}

/// Any other method.
pub(super) async fn other_method(headers: HeaderMap) -> Response {
    let refusal = refuse(StatusCode::METHOD_NOT_ALLOWED, code::METHOD_NOT_ALLOWED, "Use POST, or GET for queries.");
    refused(&refusal, Media::accepted(&headers))
}

/// Who asks: no token is nobody, a bad one is refused, and so is who comes too often. Nothing of the body has been
/// read.
async fn asker(shared: &Shared, parts: &Parts) -> Result<Asker, Refusal> {
    let access = &shared.access;
    let too_often = |error| Refusal { status: StatusCode::TOO_MANY_REQUESTS, error, well_formed: true };
    let address = access.address(&parts.extensions, &parts.headers);
    access.one_from(address).map_err(too_often)?;
    let verified = match token::bearer(&parts.headers) {
        Ok(None) => return Ok(Asker { verified: None, address }),
        Ok(Some(token)) => access.verify(token).await,
        Err(e) => Err(e),
    };
    let verified = verified.map_err(|e| Refusal { status: e.status(), error: e.into(), well_formed: false })?;
    access.one_of(&verified.caller.subject).map_err(too_often)?;
    Ok(Asker { verified: Some(verified), address })
}

fn is_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut parts = given.split(';').map(str::trim);
    let json = parts.next().is_some_and(|t| t.eq_ignore_ascii_case("application/json"));
    let utf8 = parts.all(|p| {
        p.split_once('=').is_none_or(|(name, value)| {
            !name.trim().eq_ignore_ascii_case("charset") || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
    });
    if json && utf8 {
        Ok(())
    } else {
        let words = "Send the request as Content-Type: application/json, in UTF-8.";
        Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, code::UNSUPPORTED_MEDIA_TYPE, words))
    }
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    let too_large = || refuse(StatusCode::PAYLOAD_TOO_LARGE, code::QUERY_TOO_LARGE, "A request has at most 64 KiB.");
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    if declared.is_some_and(|n| n > BODY) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_WITHIN, to_bytes(body, BODY)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(refuse(
            StatusCode::REQUEST_TIMEOUT,
            code::QUERY_TOO_LARGE,
            "The request did not arrive within 10 seconds.",
        )),
    }
}

fn parse(body: &[u8]) -> Result<Operation, Refusal> {
    if body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[') {
        return Err(refuse(
            StatusCode::BAD_REQUEST,
            code::BATCHING_DISABLED,
            "Send one operation a request, not a list.",
        ));
    }
    serde_json::from_slice(body).map_err(|_| {
        let words =
            "The body is a JSON object with query (text) or documentId and, optionally, operationName, variables and extensions.";
        refuse(StatusCode::BAD_REQUEST, code::GRAPHQL_PARSE_FAILED, words)
    })
}

fn parse_url(parts: &Parts) -> Result<Operation, Refusal> {
    let wrong = || {
        refuse(
            StatusCode::BAD_REQUEST,
            code::GRAPHQL_PARSE_FAILED,
            "The URL needs query=… or documentId=…, and optionally operationName and variables as JSON.",
        )
    };
    if parts.uri.query().is_some_and(|q| q.len() > BODY) {
        return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, code::QUERY_TOO_LARGE, "A request has at most 64 KiB."));
    }
    let Query(mut given) =
        Query::<std::collections::HashMap<String, String>>::try_from_uri(&parts.uri).map_err(|_| wrong())?;
    let object = |text: Option<String>| match text.filter(|t| !t.is_empty()) {
        None => Ok(None),
        Some(text) => strict_json::object(&mut serde_json::Deserializer::from_str(&text)).map_err(|_| wrong()),
    };
    let sent = Sent {
        extensions: object(given.remove("extensions"))?,
        query: given.remove("query"),
        document_id: given.remove("documentId"),
        operation_name: given.remove("operationName").filter(|n| !n.is_empty()),
        variables: object(given.remove("variables"))?,
    };
    Operation::try_from(sent).map_err(|_| wrong())
}

/// What the guard refused.
fn bad(error: ApiError) -> Refusal {
    match error.code() {
        code::QUERY_TOO_LARGE => Refusal { status: StatusCode::PAYLOAD_TOO_LARGE, error, well_formed: false },
        code::GRAPHQL_PARSE_FAILED | code::GRAPHQL_VALIDATION_FAILED => {
            Refusal { status: StatusCode::BAD_REQUEST, error, well_formed: true }
        }
        _ => Refusal { status: StatusCode::BAD_REQUEST, error, well_formed: false },
    }
}

/// Guards the document, then executes it in a task of its own: a client that hangs up cuts no database
/// future off.
async fn run(
    shared: &Shared,
    Asker { verified, address }: Asker,
    headers: &HeaderMap,
    operation: Operation,
    by_get: bool,
) -> Result<Answer, Refusal> {
    let guarded = shared.executor.guard(operation, verified.map(|v| v.caller)).map_err(bad)?;
    let kind = guarded.kind;
    match kind {
        Some(Kind::Mutation) if by_get => {
            return Err(refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                code::METHOD_NOT_ALLOWED,
                "A mutation is sent by POST.",
            ));
        }
        Some(Kind::Subscription) => {
            let words = "A subscription needs a WebSocket (graphql-transport-ws), or Accept: text/event-stream.";
            return Err(refuse(StatusCode::METHOD_NOT_ALLOWED, code::METHOD_NOT_ALLOWED, words));
        }
        _ => {}
    }
    let (schema, request) = guarded.request();
    let mut request = request.data(ClientAddress(address));
    if let Some(key) = headers.get("idempotency-key").map(|v| String::from_utf8_lossy(v.as_bytes())) {
        request = request.data(KeyHeader(key.into_owned()));
    }
    let within = if kind == Some(Kind::Mutation) { MUTATION_WITHIN } else { QUERY_WITHIN };
    let executed = tokio::spawn(async move { schema.execute(request).await });
    match tokio::time::timeout(within, executed).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(panic)) => {
            tracing::error!(%panic, "a request broke off");
            let words = "Something broke on our side. Send the same request again, a mutation with the same key.";
            Err(again_later(StatusCode::INTERNAL_SERVER_ERROR, code::INTERNAL, words))
        }
        Err(_) if kind == Some(Kind::Mutation) => {
            let words = "The mutation is still under way. Send it again with the same key.";
            Err(again_later(StatusCode::SERVICE_UNAVAILABLE, code::IDEMPOTENCY_IN_PROGRESS, words))
        }
        Err(_) => {
            let words = "No answer in time. Send the same request again.";
            Err(again_later(StatusCode::SERVICE_UNAVAILABLE, code::STORE_UNAVAILABLE, words))
        }
    }
}

/// A request error has no `data` at all and is a 400 under GraphQL's own media type.
fn respond(answer: Answer, media: Media) -> Response {
    let mut response = if is_request_error(&answer) {
        let body = serde_json::json!({ "errors": answer.errors });
        let status = if media == Media::Json { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        (status, body.to_string()).into_response()
    } else {
        GraphQLResponse::from(answer).into_response()
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media.name()));
    response
}

fn refused(refusal: &Refusal, media: Media) -> Response {
    let body = serde_json::json!({ "errors": refusal.error.clone().into_response().errors });
    let status = if refusal.well_formed && media == Media::Json { StatusCode::OK } else { refusal.status };
    let mut response = (status, body.to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media.name()));
    retry_after(headers, &refusal.error);
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    response
}

/// In whole seconds, as HTTP has it.
pub(super) fn retry_after(headers: &mut HeaderMap, error: &ApiError) {
    if let Some(ms) = error.retry_after_ms() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
    }
}
