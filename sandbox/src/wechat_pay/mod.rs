//! WeChat Pay API v3, direct merchants: the gateway's side of the wire.
//!
//! `exchange` is what stands around every call (authorisation, faults, signature), `book` holds the
//! rules, this file says which path is which call.

mod authorization;
mod bill;
mod bill_file;
mod book;
pub(crate) mod certificates;
mod exchange;
mod fields;
mod h5_page;
mod notification;
mod numbers;
mod order;
mod refund;
mod refusal;
mod signature;

use std::sync::Arc;

use axum::{
    Router,
    extract::{ConnectInfo, Path, Request, State},
    response::Response,
    routing::{get, post},
};
use chrono::TimeDelta;
use serde_json::{Value, json};

pub(crate) use bill_file::BillFiles;
pub(crate) use book::Book;
pub use certificates::KeyMode;
pub(crate) use notification::{Event, PAUSES_S, request as notification};

use self::{
    exchange::{Asked, Exchange, Number, Reply},
    fields::{Fields, is_order_number, is_refund_number},
    order::{Prepay, TradeType},
    refund::{Ending, RefundRequest},
    refusal::Refusal,
};
use crate::{calls::Call, cashier, connection::Connection, faults::FaultKind, keys::Merchant, world::World};

type Shared = State<Arc<World>>;
type Via = ConnectInfo<Connection>;

pub(crate) fn routes() -> Router<Arc<World>> {
    let by_number = "/v3/pay/transactions/out-trade-no/{number}";
    Router::new()
        .route("/v3/pay/transactions/native", post(native))
        .route("/v3/pay/transactions/jsapi", post(jsapi))
        .route("/v3/pay/transactions/h5", post(h5))
        .route("/v3/pay/transactions/app", post(app))
        .route(by_number, get(find))
        .route(&format!("{by_number}/close"), post(close))
        .route("/v3/pay/transactions/id/{id}", get(find_by_transaction))
        .route("/v3/refund/domestic/refunds", post(refund))
        .route("/v3/refund/domestic/refunds/{number}", get(find_refund))
        .route("/v3/certificates", get(list_certificates))
        .route("/v3/bill/tradebill", get(trade_bill))
        .route("/v3/bill/fundflowbill", get(fund_flow_bill))
        .route(bill_file::PATH, get(download_bill))
        .route(h5_page::PATH, get(h5_page::show))
}

async fn native(state: Shared, via: Via, request: Request) -> Response {
    prepay(state, via, request, TradeType::Native).await
}

async fn jsapi(state: Shared, via: Via, request: Request) -> Response {
    prepay(state, via, request, TradeType::Jsapi).await
}

async fn h5(state: Shared, via: Via, request: Request) -> Response {
    prepay(state, via, request, TradeType::H5).await
}

async fn app(state: Shared, via: Via, request: Request) -> Response {
    prepay(state, via, request, TradeType::App).await
}

async fn prepay(State(world): Shared, ConnectInfo(via): Via, request: Request, trade_type: TradeType) -> Response {
    Exchange::new(world, via, Call::Open, Number::InBody("out_trade_no"))
        .answer(request, move |world, asked| open(world, asked, trade_type))
        .await
}

fn open(world: &World, asked: &Asked, trade_type: TradeType) -> Result<Reply, Refusal> {
    let prepay = Prepay::read(trade_type, &asked.body)?;
    let merchant = world.keys.borrow_merchant();
    own_mchid(Some(&prepay.mchid), merchant, "body")?;
    if prepay.appid != merchant.appid {
        return Err(Refusal::new(400, "APPID_MCHID_NOT_MATCH", "AppID和mch_id不匹配"));
    }
    world.change(|state, now| {
        let order = state.wechat_pay.open(prepay, now)?;
        tracing::debug!(number = order.prepay.number, prepay_id = order.prepay_id, "order open");
        Ok(match order.prepay.trade_type {
            TradeType::Native => {
                let link = cashier::link(&world.public_url, &order.prepay.number);
                Reply::Json(json!({ "code_url": link }))
            }
            TradeType::Jsapi | TradeType::App => Reply::Json(json!({ "prepay_id": order.prepay_id })),
            TradeType::H5 => {
                let link = h5_page::link(&world.public_url, &order.prepay_id);
                Reply::Json(json!({ "h5_url": link }))
            }
        })
    })
}

async fn find(State(world): Shared, ConnectInfo(via): Via, Path(number): Path<String>, request: Request) -> Response {
    Exchange::new(world, via, Call::Find, Number::Is(number.clone()))
        .answer(request, move |world, asked| {
            own_mchid(asked.query("mchid"), world.keys.borrow_merchant(), "query")?;
            order_number_in_path(&number)?;
            order_json(world, &number)
        })
        .await
}

async fn find_by_transaction(
    State(world): Shared,
    ConnectInfo(via): Via,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let number = world.look(|state, _| {
        let known = state.wechat_pay.number_of_transaction(&id);
        known.map(str::to_owned)
    });
    let number = number.unwrap_or(id);
    Exchange::new(world, via, Call::Find, Number::Is(number.clone()))
        .answer(request, move |world, asked| {
            own_mchid(asked.query("mchid"), world.keys.borrow_merchant(), "query")?;
            order_json(world, &number)
        })
        .await
}

fn order_json(world: &World, number: &str) -> Result<Reply, Refusal> {
    world.look(|state, now| {
        let order = state.wechat_pay.order(number)?;
        Ok(Reply::Json(order.answer(now)))
    })
}

async fn close(State(world): Shared, ConnectInfo(via): Via, Path(number): Path<String>, request: Request) -> Response {
    Exchange::new(world, via, Call::Close, Number::Is(number.clone()))
        .answer(request, move |world, asked| {
            let fields = Fields::of(&asked.body)?;
            let mchid = fields.text("/mchid", 1..=32)?;
            own_mchid(Some(mchid), world.keys.borrow_merchant(), "body")?;
            order_number_in_path(&number)?;
            if asked.fault == Some(FaultKind::PayDuringClose)
                && let Err(error) = world.pay(&number)
            {
                tracing::debug!(number, %error, "nobody could pay during the close");
            }
            world.change(|state, now| state.wechat_pay.order(&number)?.close(now))?;
            Ok(Reply::NoContent)
        })
        .await
}

async fn refund(State(world): Shared, ConnectInfo(via): Via, request: Request) -> Response {
    Exchange::new(world, via, Call::Refund, Number::InBody("out_refund_no"))
        .answer(request, |world, asked| {
            let mut request = RefundRequest::read(&asked.body)?;
            let ending = match asked.fault {
                Some(FaultKind::NotEnough) => {
                    return Err(Refusal::new(403, "NOT_ENOUGH", "基本账户余额不足，请充值后重新发起"));
                }
                Some(FaultKind::RefundClosed) => Ending::Closed,
                Some(FaultKind::RefundAbnormal) => Ending::Abnormal,
                _ => Ending::Success,
            };
            let delay = match asked.fault {
                Some(FaultKind::NoticeFirst) => TimeDelta::zero(),
                _ => TimeDelta::from_std(world.refund_delay).unwrap_or(TimeDelta::MAX),
            };
            request.refund += match asked.fault {
                Some(FaultKind::OneMore) => 1,
                Some(FaultKind::OneLess) => -1,
                _ => 0,
            };
            world.change(|state, now| {
                let done_at = now.checked_add_signed(delay).unwrap_or(now);
                let refund = state.wechat_pay.refund(request, ending, now, done_at)?;
                Ok(Reply::Json(refund.to_json()))
            })
        })
        .await
}

async fn find_refund(
    State(world): Shared,
    ConnectInfo(via): Via,
    Path(number): Path<String>,
    request: Request,
) -> Response {
    Exchange::new(world, via, Call::FindRefund, Number::Is(number.clone()))
        .answer(request, move |world, _| {
            if !is_refund_number(&number) {
                return Err(wrong_in_path("/out_refund_no", &number));
            }
            world.look(|state, _| {
                let refund = state.wechat_pay.refund_numbered(&number)?;
                Ok(Reply::Json(refund.to_json()))
            })
        })
        .await
}

async fn list_certificates(State(world): Shared, ConnectInfo(via): Via, request: Request) -> Response {
    Exchange::new(world, via, Call::Certificates, Number::None)
        .answer(request, |world, _| match world.key_mode() {
            // Merchants of today have none.
            KeyMode::PublicKey => Err(Refusal::new(404, "RESOURCE_NOT_EXISTS", "无可用的平台证书，请使用微信支付公钥")),
            mode => Ok(Reply::Json(certificates::listed(&world.keys, mode)?)),
        })
        .await
}

async fn trade_bill(state: Shared, via: Via, request: Request) -> Response {
    bill(state, via, request, bill::BillKind::trade).await
}

async fn fund_flow_bill(state: Shared, via: Via, request: Request) -> Response {
    bill(state, via, request, bill::BillKind::fund_flow).await
}

async fn bill(
    State(world): Shared,
    ConnectInfo(via): Via,
    request: Request,
    kind: fn(&Asked) -> Result<bill::BillKind, Refusal>,
) -> Response {
    Exchange::new(world, via, Call::Bill, Number::None)
        .answer(request, move |world, asked| {
            let kind = kind(asked)?;
            world.look(|state, now| {
                let day = bill::day(asked.query("bill_date"), now)?;
                let file = bill::write(&state.wechat_pay, kind, day)?;
                let answer = world.bill_files.offer(file, asked.query("tar_type"), &world.public_url, now)?;
                Ok(Reply::Json(answer))
            })
        })
        .await
}

async fn download_bill(State(world): Shared, ConnectInfo(via): Via, request: Request) -> Response {
    Exchange::new(world, via, Call::Bill, Number::None)
        .answer(request, |world, asked| {
            let file = asked.query("token").and_then(|token| world.bill_files.take(token, world.clock.now()));
            file.map(Reply::File).ok_or_else(Refusal::no_such_resource)
        })
        .await
}

/// The merchant asks for itself only: what it names must be what it signed as.
fn own_mchid(named: Option<&str>, merchant: &Merchant, location: &str) -> Result<(), Refusal> {
    if named == Some(&merchant.mchid) {
        return Ok(());
    }
    let value = named.map_or(Value::Null, Value::from);
    Err(Refusal::parameter(location, "/mchid", &value, "与签名所用商户号不一致"))
}

fn order_number_in_path(number: &str) -> Result<(), Refusal> {
    if is_order_number(number) { Ok(()) } else { Err(wrong_in_path("/out_trade_no", number)) }
}

fn wrong_in_path(field: &str, number: &str) -> Refusal {
    Refusal::parameter("path", field, &Value::from(number), "不符合规则")
}
