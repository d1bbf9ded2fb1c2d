//! A definite no, in WeChat Pay's words.

use axum::{
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// An error answer: `{code, message, detail?}`, never signed. Codes and statuses are those of the
/// gateway's tables; callers branch on the code, never on the message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) detail: Option<Value>,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), detail: None }
    }

    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401, "SIGN_ERROR", message)
    }

    pub(super) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(400, "INVALID_REQUEST", message)
    }

    /// `field` is a JSON pointer below `location`.
    pub(super) fn parameter(location: &str, field: &str, value: &Value, issue: &str) -> Self {
        let field = format!("/{location}{field}");
        Self {
            detail: Some(json!({
                "location": location, "field": field, "value": value, "issue": issue,
            })),
            ..Self::new(400, "PARAM_ERROR", format!("参数错误：{field} {issue}"))
        }
    }

    pub(super) fn no_such_order() -> Self {
        Self::new(404, "ORDER_NOT_EXIST", "订单不存在")
    }

    pub(super) fn order_paid() -> Self {
        Self::new(400, "ORDERPAID", "该订单已支付")
    }

    pub(super) fn no_such_resource() -> Self {
        Self::new(404, "RESOURCE_NOT_EXISTS", "查询的资源不存在")
    }

    pub(super) fn too_often() -> Self {
        Self::new(429, "FREQUENCY_LIMITED", "频率限制，请稍后重试")
    }

    pub(super) fn system_error() -> Self {
        Self::new(500, "SYSTEM_ERROR", "系统错误，请用相同参数重新调用")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = json!({ "code": self.code, "message": self.message });
        if let Some(detail) = self.detail {
            body["detail"] = detail;
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        (status, [(CONTENT_TYPE, "application/json; charset=utf-8")], body.to_string()).into_response()
    }
}
