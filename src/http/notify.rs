//! Notifications: raw bytes to the workflows, an acknowledgement in the gateway's own words.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::Gateway;

use crate::payments::{PaymentError, Payments, Taken};

const BODY: usize = 64 * 1024;
/// A gateway that takes longer comes again.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// `POST /notify/{gateway}`. Acknowledged only after commit: 204, to Alipay `success`. Not from the gateway:
/// 401. The store is away: 503, so that it comes again.
pub(super) async fn take(
    State(payments): State<Payments>,
    Path(gateway): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Some(gateway) = Gateway::from_name(&gateway) else { return StatusCode::NOT_FOUND.into_response() };
    let Ok(Ok(body)) = tokio::time::timeout(BODY_WITHIN, to_bytes(body, BODY)).await else {
        return refuse(gateway, StatusCode::PAYLOAD_TOO_LARGE, "too large");
    };
    match payments.take_notification(gateway, &headers, &body).await {
        Ok(Taken::Yes) => match gateway {
            Gateway::WechatPay => StatusCode::NO_CONTENT.into_response(),
            Gateway::Alipay => "success".into_response(),
        },
        Ok(Taken::Invalid) => refuse(gateway, StatusCode::UNAUTHORIZED, "not a valid notification"),
        Err(PaymentError::GatewayNotConfigured(_)) => StatusCode::NOT_FOUND.into_response(),
        Err(e) => {
            tracing::error!(gateway = gateway.name(), error = %e, "a notification could not be taken; it comes again");
            refuse(gateway, StatusCode::SERVICE_UNAVAILABLE, "try again")
        }
    }
}

/// What the gateway expects beside the status.
fn refuse(gateway: Gateway, status: StatusCode, message: &'static str) -> Response {
    if gateway == Gateway::Alipay {
        return (status, "fail").into_response();
    }
    let body = serde_json::json!({"code": "FAIL", "message": message}).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
