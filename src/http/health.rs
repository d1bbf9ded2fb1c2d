//! Liveness, readiness, metrics.

use std::sync::OnceLock;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::token::TokenVerifier;
use crate::payments::Payments;

/// The process answers.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Requests can be served: the store answers and has every migration, and there are keys to check tokens with.
/// Redis is not asked: without it everything is slower and still right.
pub(super) async fn readyz(State((payments, tokens)): State<(Payments, TokenVerifier)>) -> Response {
    if !tokens.is_ready() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the issuer's keys cannot be read\n").into_response();
    }
    match payments.ready().await {
        Ok(()) => "ready\n".into_response(),
        Err(e) => {
            tracing::warn!(error = %e, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer, or lacks a migration\n").into_response()
        }
    }
}

/// Prometheus' text format.
pub(super) async fn metrics() -> Response {
    match recorder() {
        Some(recorder) => recorder.render().into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "no recorder\n").into_response(),
    }
}

/// Begins to record what `/metrics` shows; once a process, however often it is called.
pub fn record_metrics() {
    recorder();
}

fn recorder() -> Option<&'static PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    RECORDER.get_or_init(|| PrometheusBuilder::new().install_recorder().ok()).as_ref()
}
