//! What stands around every call: it is read, written down, checked, made to go wrong if so asked,
//! carried out, and answered under the gateway's signature, always with HTTP 200.

use std::{sync::Arc, time::Duration};

use axum::{
    body::to_bytes,
    extract::Request,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, HOST, LOCATION},
    },
    response::{IntoResponse, Response},
};
use serde_json::Value;

use super::{
    Keys,
    answer::{Fields, Refusal, envelope, success},
    browser,
    method::Method,
    parameters::Parameters,
    signature::Seal,
};
use crate::{connection::Connection, faults::FaultKind, world::World};

const LARGEST_BODY: usize = 64 * 1024;
const NO_METHOD: &str = "error_response";

/// A call that was let in.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) parameters: Parameters,
    /// `biz_content`; `null` if there was none, or none that can be read.
    pub(super) content: Value,
    pub(super) fault: Option<FaultKind>,
    /// Where the caller found the gateway.
    pub(super) host: String,
}

/// A good answer.
pub(super) enum Reply {
    Fields(Fields),
    /// Sends the payer's browser to the cashier.
    Cashier(String),
}

/// Answers with what `act` does. It runs to its end even if the caller hangs up meanwhile.
pub(super) async fn answer(
    world: Arc<World>,
    connection: Connection,
    request: Request,
    act: fn(&World, &Asked) -> Result<Reply, Refusal>,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let parameters = Parameters::read(parts.uri.query().unwrap_or_default(), &body);
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let answered = tokio::spawn(carry_out(world, connection, parameters, host, act)).await;
    answered.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

async fn carry_out(
    world: Arc<World>,
    connection: Connection,
    parameters: Parameters,
    host: String,
    act: fn(&World, &Asked) -> Result<Reply, Refusal>,
) -> Response {
    let keys = world.keys.alipay();
    let signatory = Signatory { keys, in_certificate_mode: parameters.names_certificate() };
    let checked = parameters.check(keys);
    let Some(method) = parameters.get("method").and_then(Method::named) else {
        let unknown = Refusal::invalid("isv.invalid-method", "不存在的方法名");
        return signatory.node(NO_METHOD, Err(checked.err().unwrap_or(unknown)), None);
    };
    let content: Value =
        parameters.get("biz_content").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let number = world.look(|state, _| method.number(&content, &state.alipay));
    let call = world.calls.received(method.call(), number.clone(), world.clock.now());
    if let Err(refusal) = checked {
        let response = signatory.refused(method, refusal);
        world.calls.answered(call, response.status().as_u16());
        return response;
    }
    let fault = world.faults.take(method.call(), number.as_deref());
    let asked = Asked { method, parameters, content, fault, host };
    let answer = match fault {
        Some(FaultKind::LoseRequest) => return lost(&connection),
        Some(FaultKind::Error500) => Err(Refusal::system_error()),
        Some(FaultKind::RateLimited) => Err(Refusal::too_often()),
        _ => act(&world, &asked),
    };
    match fault {
        Some(FaultKind::LoseAnswer) => return lost(&connection),
        Some(FaultKind::DelayMs(ms)) => tokio::time::sleep(Duration::from_millis(ms)).await,
        _ => {}
    }
    let response = match answer {
        _ if fault == Some(FaultKind::Error500After) => signatory.refused(method, Refusal::system_error()),
        Ok(Reply::Cashier(link)) => (StatusCode::FOUND, [(LOCATION, link)]).into_response(),
        Ok(Reply::Fields(fields)) => signatory.node(&method.node(), Ok(fields), fault),
        Err(refusal) => signatory.refused(method, refusal),
    };
    world.calls.answered(call, response.status().as_u16());
    response
}

/// Who answers, and in which mode.
struct Signatory<'a> {
    keys: &'a Keys,
    in_certificate_mode: bool,
}

impl Signatory<'_> {
    /// Servers are refused in JSON, browsers with a page.
    fn refused(&self, method: Method, refusal: Refusal) -> Response {
        if method.is_for_browsers() {
            return browser::error_page(&refusal);
        }
        self.node(&method.node(), Err(refusal), None)
    }

    /// One node and its signature. A fault of the signature takes a good answer only.
    fn node(&self, name: &str, answer: Result<Fields, Refusal>, fault: Option<FaultKind>) -> Response {
        let (text, seal) = match answer {
            Ok(mut fields) => {
                if fault == Some(FaultKind::OtherAnswer) {
                    make_another(&mut fields);
                }
                (success(&fields), Seal::of(fault))
            }
            Err(refusal) => (refusal.text(), if refusal.signed { Seal::Good } else { Seal::Missing }),
        };
        let cert_sn = self.keys.merchant.certificates.alipay_cert_sn.as_str();
        let cert_sn = self.in_certificate_mode.then_some(cert_sn);
        match envelope(name, &text, self.keys.alipay_key(), cert_sn, seal) {
            Ok(body) => ([(CONTENT_TYPE, "text/html;charset=utf-8")], body).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// Ends the connection; the response is never written.
fn lost(connection: &Connection) -> Response {
    connection.cut();
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}

/// Turns an answer into that of a trade which differs in the last character of its numbers.
fn make_another(fields: &mut Fields) {
    for name in ["out_trade_no", "trade_no", "out_request_no", "qr_code"] {
        if let Some(Value::String(number)) = fields.get_mut(name) {
            let last = number.pop();
            number.push(if last == Some('0') { '1' } else { '0' });
        }
    }
}
