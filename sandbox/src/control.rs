//! What only a sandbox has: fault knobs, the choice of WeChat Pay's keys, the ledger, and the list of calls.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;

use crate::{calls::ReceivedCall, faults::Fault, ledger::Ledger, wechat_pay::KeyMode, world::World};

pub(crate) fn routes() -> Router<Arc<World>> {
    Router::new()
        .route("/__sandbox/faults", post(add_fault).delete(clear_faults))
        .route("/__sandbox/key_mode", post(set_key_mode))
        .route("/__sandbox/ledger", get(ledger))
        .route("/__sandbox/calls", get(calls))
}

async fn add_fault(State(world): State<Arc<World>>, body: Bytes) -> Response {
    match Fault::from_json(&body) {
        Ok(fault) => {
            world.faults.add(fault);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(unknown) => {
            let error = json!({ "error": unknown.to_string() });
            (StatusCode::BAD_REQUEST, Json(error)).into_response()
        }
    }
}

async fn clear_faults(State(world): State<Arc<World>>) -> StatusCode {
    world.faults.clear();
    StatusCode::NO_CONTENT
}

/// `{"mode": "public_key"}`, `first_certificate`, `second_announced` or `second_signs`.
async fn set_key_mode(State(world): State<Arc<World>>, body: Bytes) -> Response {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        mode: KeyMode,
    }
    match serde_json::from_slice::<Wanted>(&body) {
        Ok(wanted) => {
            world.set_key_mode(wanted.mode);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(wrong) => (StatusCode::BAD_REQUEST, Json(json!({ "error": wrong.to_string() }))).into_response(),
    }
}

async fn ledger(State(world): State<Arc<World>>) -> Json<Ledger> {
    Json(world.ledger())
}

async fn calls(State(world): State<Arc<World>>) -> Json<Vec<ReceivedCall>> {
    Json(world.calls.all())
}
