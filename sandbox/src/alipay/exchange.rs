//! What stands around every call: it is read, written down, checked, made to go wrong if so asked,
//! carried out, and answered under the gateway's signature, always with HTTP 200.

use std::sync::Arc;

use axum::{
    body::to_bytes,
    extract::Request,
    http::{
        StatusCode, Uri,
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
use crate::{
    calls::{Call, CallId},
    connection::Connection,
    faults::{FaultKind, Gateway},
    transport,
    world::World,
};

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
    let answered = tokio::spawn(carry_out(world, connection, parts.uri, parameters, host, act)).await;
    answered.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

async fn carry_out(
    world: Arc<World>,
    connection: Connection,
    address: Uri,
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
    let sent = |response| sent(&world, call, &connection, response);
    if let Err(refusal) = checked {
        return sent(signatory.refused(method, refusal, None));
    }
    let number = number.as_deref();
    let fault = world.faults.take(Gateway::Alipay, method.call(), number);
    if let Some(response) = transport::instead(fault, &address, &connection) {
        return sent(response);
    }
    let asked = Asked { method, parameters, content, fault, host };
    let answer = match fault {
        Some(FaultKind::Error500) => Err(Refusal::system_error()),
        Some(FaultKind::RateLimited) => Err(Refusal::too_often()),
        _ if world.faults.hides(method.call(), number, world.clock.now()) => match method.call() {
            Call::FindRefund => Ok(Reply::Fields(Fields::new())),
            _ => Err(Refusal::no_such_trade()),
        },
        _ => act(&world, &asked),
    };
    if let (Ok(_), Some(number)) = (&answer, number) {
        world.follow_up(method.call(), fault, number).await;
    }
    let response = match answer {
        _ if fault == Some(FaultKind::Error500After) => signatory.refused(method, Refusal::system_error(), None),
        Ok(Reply::Cashier(link)) => (StatusCode::FOUND, [(LOCATION, link)]).into_response(),
        Ok(Reply::Fields(fields)) => signatory.node(&method.node(), Ok(fields), fault),
        Err(refusal) => signatory.refused(method, refusal, fault),
    };
    sent(transport::carried(response, fault, &connection).await)
}

fn sent(world: &World, call: CallId, connection: &Connection, response: Response) -> Response {
    if !connection.is_over() {
        world.calls.answered(call, response.status().as_u16());
    }
    response
}

/// Who answers, and in which mode.
struct Signatory<'a> {
    keys: &'a Keys,
    in_certificate_mode: bool,
}

impl Signatory<'_> {
    /// Servers are refused in JSON, browsers with a page.
    fn refused(&self, method: Method, refusal: Refusal, fault: Option<FaultKind>) -> Response {
        if method.is_for_browsers() {
            return browser::error_page(&refusal);
        }
        self.node(&method.node(), Err(refusal), fault)
    }

    /// One node and its signature.
    fn node(&self, name: &str, answer: Result<Fields, Refusal>, fault: Option<FaultKind>) -> Response {
        let (text, seal) = match answer {
            Ok(mut fields) => {
                bend(&mut fields, fault);
                (success(&fields), Seal::of(fault))
            }
            Err(refusal) => (refusal.text(), if refusal.signed { Seal::of(fault) } else { Seal::Missing }),
        };
        let cert_sn = self.keys.merchant.certificates.alipay_cert_sn.as_str();
        let cert_sn = self.in_certificate_mode.then_some(cert_sn);
        let body = envelope(name, &text, self.keys.alipay_key(), cert_sn, seal).map(|body| match fault {
            Some(FaultKind::EscapedSlashes) => body.replace('/', r"\/"),
            Some(FaultKind::DuplicateNode) => with_another_node(&body, name),
            _ => transport::sized(body, fault),
        });
        match body {
            Ok(body) => ([(CONTENT_TYPE, "text/html;charset=utf-8")], body).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// Some clients verify the first node of that name and read the last.
fn with_another_node(body: &str, name: &str) -> String {
    let first = body.strip_suffix('}').unwrap_or(body);
    let other = r#"{"code":"10000","msg":"Success","out_trade_no":"0","trade_status":"TRADE_SUCCESS"}"#;
    format!(r#"{first},"{name}":{other}}}"#)
}

/// What a fault makes of a good answer before it is signed. Another trade's numbers differ in the last character.
fn bend(fields: &mut Fields, fault: Option<FaultKind>) {
    let names: &[&str] = match fault {
        Some(FaultKind::OtherAnswer) => &["out_trade_no", "trade_no", "out_request_no", "qr_code"],
        Some(FaultKind::WrongNumber) if fields.contains_key("out_request_no") => &["out_request_no"],
        Some(FaultKind::WrongNumber) => &["out_trade_no"],
        _ => &[],
    };
    for name in names {
        if let Some(Value::String(number)) = fields.get_mut(name) {
            let last = number.pop();
            number.push(if last == Some('0') { '1' } else { '0' });
        }
    }
}
