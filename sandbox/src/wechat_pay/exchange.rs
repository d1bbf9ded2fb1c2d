//! What stands around every call: it is written down, checked, made to go wrong if so asked,
//! carried out, and answered under the gateway's signature.

use std::sync::Arc;

use aws_lc_rs::error::Unspecified;
use axum::{
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::{
        HeaderValue, Method, StatusCode,
        header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use serde_json::Value;

use super::{
    authorization::{self, KnownMerchant, RawRequest},
    certificates::Signer,
    refusal::Refusal,
    signature::{self, Seal},
};
use crate::{
    calls::{Call, CallId},
    connection::Connection,
    faults::{FaultKind, Gateway},
    keys::random_hex,
    transport,
    world::World,
};

const LARGEST_BODY: usize = 64 * 1024;
const PAYMENTS: &str = "/v3/pay/transactions/";

/// Where a call says which payment or refund it is about.
pub(super) enum Number {
    Is(String),
    /// In this field of its body.
    InBody(&'static str),
    /// It is about none.
    None,
}

/// A call that was let in.
pub(super) struct Asked {
    /// `null` if there was none, or none that can be read.
    pub(super) body: Value,
    query: String,
    pub(super) fault: Option<FaultKind>,
}

impl Asked {
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// A good answer.
pub(super) enum Reply {
    Json(Value),
    NoContent,
    /// A file; files are not signed.
    File(Vec<u8>),
}

/// One call and its answer.
pub(super) struct Exchange {
    world: Arc<World>,
    connection: Connection,
    call: Call,
    number: Number,
}

impl Exchange {
    pub(super) fn new(world: Arc<World>, connection: Connection, call: Call, number: Number) -> Self {
        Self { world, connection, call, number }
    }

    /// Answers with what `act` does. It runs to its end even if the caller hangs up meanwhile.
    pub(super) async fn answer(
        self,
        request: Request,
        act: impl FnOnce(&World, &Asked) -> Result<Reply, Refusal> + Send + 'static,
    ) -> Response {
        let (parts, body) = request.into_parts();
        let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
            return Refusal::invalid_request("请求体过大或不完整").into_response();
        };
        let answered = tokio::spawn(self.carry_out(parts, body, act)).await;
        answered.unwrap_or_else(|_| Refusal::system_error().into_response())
    }

    async fn carry_out(
        self,
        parts: Parts,
        body: Bytes,
        act: impl FnOnce(&World, &Asked) -> Result<Reply, Refusal>,
    ) -> Response {
        let json: Value = serde_json::from_slice(&body).unwrap_or_default();
        let number = match &self.number {
            Number::Is(number) => Some(number.clone()),
            Number::InBody(field) => json[*field].as_str().map(str::to_owned),
            Number::None => None,
        };
        let number = number.as_deref();
        let call = (self.world.calls).received(self.call, number.map(str::to_owned), self.world.clock.now());
        if let Err(refusal) = self.let_in(&parts, &body) {
            return self.sent(call, self.label(&parts, refusal.into_response()));
        }
        let fault = self.world.faults.take(Gateway::WechatPay, self.call, number);
        if let Some(response) = transport::instead(fault, &parts.uri, &self.connection) {
            return self.sent(call, response);
        }
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let asked = Asked { body: json, query, fault };
        let answer = match fault {
            Some(FaultKind::Error500) => Err(Refusal::system_error()),
            Some(FaultKind::RateLimited) => Err(Refusal::too_often()),
            _ if self.world.faults.hides(self.call, number, self.world.clock.now()) => match self.call {
                Call::FindRefund => Err(Refusal::no_such_resource()),
                _ => Err(Refusal::no_such_order()),
            },
            _ => act(&self.world, &asked),
        };
        if let (Ok(_), Some(number)) = (&answer, number) {
            self.world.follow_up(self.call, fault, number).await;
        }
        let answer = match fault {
            Some(FaultKind::Error500After) => Err(Refusal::system_error()),
            _ => answer,
        };
        let wanted = parts.headers.get("wechatpay-serial").and_then(|serial| serial.to_str().ok());
        let response = answer.and_then(|reply| self.sign(reply, fault, wanted).map_err(Refusal::from));
        let response = self.label(&parts, response.into_response());
        self.sent(call, transport::carried(response, fault, &self.connection).await)
    }

    /// In the order of the real one: headers (not for payments), then who asks.
    fn let_in(&self, parts: &Parts, body: &[u8]) -> Result<(), Refusal> {
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let accepts =
            header(ACCEPT).is_some_and(|accept| ["application/json", "*/*"].iter().any(|t| accept.contains(t)));
        let is_named = header(USER_AGENT).is_some_and(|agent| !agent.trim().is_empty());
        let is_payment = parts.uri.path().starts_with(PAYMENTS);
        let is_complete = accepts && is_named;
        if !is_payment && !is_complete {
            return Err(Refusal::invalid_request("Http头缺少Accept或User-Agent"));
        }
        let target = parts.uri.path_and_query();
        let merchant = self.world.keys.borrow_merchant();
        authorization::check(
            &RawRequest {
                method: parts.method.as_str(),
                target: target.map_or("/", |target| target.as_str()),
                authorization: header(AUTHORIZATION),
                body,
            },
            &KnownMerchant {
                mchid: &merchant.mchid,
                serial_no: &merchant.serial_no,
                public_key: self.world.keys.merchant_public_key(),
            },
            self.world.clock.signed_at(),
        )?;
        let is_json = header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"));
        if parts.method == Method::POST && !is_json {
            return Err(Refusal::invalid_request("Http头Content-Type应为application/json"));
        }
        Ok(())
    }

    fn sign(&self, reply: Reply, fault: Option<FaultKind>, wanted: Option<&str>) -> Result<Response, Unspecified> {
        let seal = match fault {
            Some(FaultKind::Unsigned) => Seal::Missing,
            Some(FaultKind::WronglySigned) => Seal::Wrong,
            Some(FaultKind::Signtest) => Seal::Probe,
            _ => Seal::Good,
        };
        let (status, body) = match reply {
            Reply::Json(mut json) => {
                bend(&mut json, fault);
                (StatusCode::OK, transport::sized(json.to_string(), fault))
            }
            Reply::NoContent => (StatusCode::NO_CONTENT, String::new()),
            Reply::File(bytes) => return Ok(([(CONTENT_TYPE, "application/octet-stream")], bytes).into_response()),
        };
        let now = self.world.clock.signed_at();
        let signer = Signer::of(&self.world.keys, self.world.key_mode(), wanted)?;
        let headers = signature::headers(&signer, now, body.as_bytes(), seal)?;
        let kind = HeaderValue::from_static("application/json; charset=utf-8");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        if status == StatusCode::OK {
            response.headers_mut().insert(CONTENT_TYPE, kind);
        }
        Ok(response)
    }

    /// Adds the trace id, which refused payment calls lack.
    fn label(&self, parts: &Parts, mut response: Response) -> Response {
        let is_bare = response.status() == StatusCode::UNAUTHORIZED && parts.uri.path().starts_with(PAYMENTS);
        let id = random_hex(16).map(|id| HeaderValue::from_str(&id));
        if let (false, Ok(Ok(id))) = (is_bare, id) {
            response.headers_mut().insert("request-id", id);
        }
        response
    }

    fn sent(&self, call: CallId, response: Response) -> Response {
        if !self.connection.is_over() {
            self.world.calls.answered(call, response.status().as_u16());
        }
        response
    }
}

impl From<Unspecified> for Refusal {
    fn from(_: Unspecified) -> Self {
        Self::system_error()
    }
}

/// What a fault makes of a good answer before it is signed. Another order's numbers differ in the last character.
fn bend(answer: &mut Value, fault: Option<FaultKind>) {
    let names: &[&str] = match fault {
        Some(FaultKind::OtherAnswer) => {
            &["code_url", "prepay_id", "h5_url", "out_trade_no", "transaction_id", "out_refund_no", "refund_id"]
        }
        Some(FaultKind::WrongNumber) if answer.get("out_refund_no").is_some() => &["out_refund_no"],
        Some(FaultKind::WrongNumber) => &["out_trade_no"],
        Some(FaultKind::UserPaying) if answer["trade_state"] == "NOTPAY" => {
            answer["trade_state"] = "USERPAYING".into();
            &[]
        }
        Some(FaultKind::Accept) if answer["trade_state"] == "NOTPAY" => {
            answer["trade_state"] = "ACCEPT".into();
            &[]
        }
        _ => &[],
    };
    for name in names {
        if let Some(Value::String(number)) = answer.get_mut(*name) {
            let last = number.pop();
            number.push(if last == Some('0') { '1' } else { '0' });
        }
    }
}
