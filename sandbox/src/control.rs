//! What only a sandbox has: fault knobs, the choice of WeChat Pay's keys, the ledger, the list of calls, and a clock
//! that can be turned.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{calls::ReceivedCall, faults::Fault, ledger::Ledger, wechat_pay::KeyMode, world::World};

pub(crate) fn routes() -> Router<Arc<World>> {
    Router::new()
        .route("/__sandbox/faults", get(waiting_faults).post(add_fault).delete(clear_faults))
        .route("/__sandbox/key_mode", post(set_key_mode))
        .route("/__sandbox/clock", get(clock).post(turn_clock))
        .route("/__sandbox/ledger", get(ledger))
        .route("/__sandbox/calls", get(calls))
}

async fn add_fault(State(world): State<Arc<World>>, body: Bytes) -> Response {
    match Fault::from_json(&body) {
        Ok(fault) => {
            world.faults.add(fault);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(unknown) => refused(StatusCode::BAD_REQUEST, &unknown.to_string()),
    }
}

fn refused(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

async fn waiting_faults(State(world): State<Arc<World>>) -> Json<Vec<Value>> {
    let waiting = world.faults.waiting();
    Json(waiting.iter().map(Fault::to_json).collect())
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

async fn clock(State(world): State<Arc<World>>) -> Json<Value> {
    Json(json!({ "now": world.clock.now() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Turn {
    /// At most ten years.
    forward_s: u32,
}

async fn turn_clock(State(world): State<Arc<World>>, body: Bytes) -> Response {
    let asked = serde_json::from_slice(&body).ok().filter(|Turn { forward_s }| *forward_s <= 315_360_000);
    let Some(Turn { forward_s }) = asked else {
        return refused(StatusCode::BAD_REQUEST, r#"right is like {"forward_s": 3600}, at most ten years"#);
    };
    match world.turn(TimeDelta::seconds(forward_s.into())).await {
        Some(now) => Json(json!({ "now": now })).into_response(),
        None => {
            let why = "this clock is shared with others and cannot be turned; `payonce sandbox` has one of its own";
            refused(StatusCode::CONFLICT, why)
        }
    }
}

async fn ledger(State(world): State<Arc<World>>) -> Json<Ledger> {
    Json(world.ledger())
}

async fn calls(State(world): State<Arc<World>>) -> Json<Vec<ReceivedCall>> {
    Json(world.calls.all())
}
