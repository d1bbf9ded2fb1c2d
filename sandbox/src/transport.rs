//! What goes wrong between gateway and merchant, alike at every gateway.

use std::time::Duration;

use axum::{
    body::Body,
    http::{
        HeaderValue, StatusCode, Uri,
        header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION},
    },
    response::{IntoResponse, Response},
};

use crate::{
    connection::{Connection, Ending},
    faults::FaultKind,
};

/// More than any answer of a gateway's.
const HUGE: usize = 300 * 1024;
/// Zeros, 10 MiB of them.
const BOMB: &[u8] = include_bytes!("zeros.gz");

/// What the merchant gets in the place of the effect and its answer.
pub(crate) fn instead(fault: Option<FaultKind>, address: &Uri, connection: &Connection) -> Option<Response> {
    match fault? {
        FaultKind::LoseRequest => Some(unanswered(connection, Ending::Cut)),
        FaultKind::ResetRequest => Some(unanswered(connection, Ending::Reset)),
        FaultKind::HttpError(status) => Some(page(status)),
        FaultKind::Redirect => {
            let same = address.path_and_query().map_or("/", |same| same.as_str()).to_owned();
            Some((StatusCode::TEMPORARY_REDIRECT, [(LOCATION, same)]).into_response())
        }
        _ => None,
    }
}

/// The body of an answer, before it is signed where the whole body is.
pub(crate) fn sized(body: String, fault: Option<FaultKind>) -> String {
    match fault {
        Some(FaultKind::Empty) => String::new(),
        Some(FaultKind::Huge) => body + &" ".repeat(HUGE),
        _ => body,
    }
}

/// What becomes of an answer on its way.
pub(crate) async fn carried(mut answer: Response, fault: Option<FaultKind>, connection: &Connection) -> Response {
    match fault {
        Some(FaultKind::LoseAnswer) => return unanswered(connection, Ending::Cut),
        Some(FaultKind::ResetAnswer) => return unanswered(connection, Ending::Reset),
        Some(FaultKind::HttpErrorAfter(status)) => return page(status),
        Some(FaultKind::ResetMidBody) => connection.end(Ending::ResetMidBody),
        Some(FaultKind::SlowDrip) => connection.end(Ending::Drip),
        Some(FaultKind::DelayMs(ms)) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Some(FaultKind::GzipBomb) => {
            answer.headers_mut().remove(CONTENT_LENGTH);
            answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            *answer.body_mut() = Body::from(BOMB);
        }
        _ => {}
    }
    answer
}

/// Ends the connection; the response is never written.
fn unanswered(connection: &Connection, ending: Ending) -> Response {
    connection.end(ending);
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}

/// A proxy's, not the gateway's.
fn page(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let kind = [(CONTENT_TYPE, "text/html")];
    (status, kind, format!("<html><body><h1>{status}</h1></body></html>")).into_response()
}
