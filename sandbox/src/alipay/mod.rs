//! Alipay's `gateway.do`, in public key mode or, for whoever names a certificate, in certificate mode: the
//! gateway's side of the wire.
//!
//! `exchange` is what stands around every call (parameters, signature, faults), `book` holds the
//! rules, this file says which method does what. Not here: encrypted content, requests in GBK.

mod amount;
mod answer;
mod bills;
mod book;
mod browser;
mod certificates;
mod exchange;
mod form;
mod keys;
mod method;
mod notification;
mod numbers;
mod order;
mod parameters;
mod signature;
mod trade;
mod zip;

use std::sync::Arc;

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    response::Response,
    routing::get,
};
use serde_json::json;

pub(crate) use book::Book;
pub(crate) use browser::bill;
pub use certificates::AlipayCertificates;
pub use keys::AlipayMerchant;
pub(crate) use keys::Keys;
pub(crate) use notification::{Event, PAUSES_S, is_taken, request as notification};

use self::{
    amount::yuan,
    answer::{Fields, Refusal},
    book::{Reference, RefundRequest},
    exchange::{Asked, Reply},
    method::Method,
    order::{Content, Order, Product},
};
use crate::{cashier, connection::Connection, faults::FaultKind, world::World};

/// The one path.
pub(crate) const PATH: &str = "/gateway.do";

pub(crate) fn routes() -> Router<Arc<World>> {
    Router::new().route(PATH, get(gateway).post(gateway)).route(bills::PATH, get(bills::download))
}

async fn gateway(
    State(world): State<Arc<World>>,
    ConnectInfo(via): ConnectInfo<Connection>,
    request: Request,
) -> Response {
    exchange::answer(world, via, request, act).await
}

fn act(world: &World, asked: &Asked) -> Result<Reply, Refusal> {
    match asked.method {
        Method::Open(product) => open(world, asked, product),
        Method::Query => query(world, asked),
        Method::Close | Method::Cancel => close(world, asked),
        Method::Refund => refund(world, asked),
        Method::BillUrl => world.change(|state, now| {
            let merchant = &world.keys.alipay().merchant;
            bills::ask(&mut state.alipay, &asked.content, merchant, &asked.host, now).map(Reply::Fields)
        }),
        Method::RefundQuery => world.change(|state, _| state.alipay.find_refund(&asked.content)).map(Reply::Fields),
    }
}

fn open(world: &World, asked: &Asked, product: Product) -> Result<Reply, Refusal> {
    let seller_id = &world.keys.alipay().merchant.seller_id;
    world.change(|state, now| {
        let order = Order::read(product, &asked.parameters, &asked.content, seller_id, now)?;
        let trade = state.alipay.open(order, now)?;
        let link = cashier::link(&world.public_url, &trade.order.number);
        Ok(match product {
            Product::QrCode => {
                let fields = [("out_trade_no", json!(trade.order.number)), ("qr_code", json!(link))];
                Reply::Fields(Fields::from(fields))
            }
            Product::Page | Product::Wap | Product::App => Reply::Cashier(link),
        })
    })
}

fn query(world: &World, asked: &Asked) -> Result<Reply, Refusal> {
    let reference = Reference::read(&Content::of(&asked.content)?)?;
    world.look(|state, now| match state.alipay.trade(&reference) {
        Ok(trade) => Ok(Reply::Fields(trade.answer(now))),
        Err(refusal) => {
            let amounts = ["buyer_pay_amount", "invoice_amount", "point_amount", "receipt_amount"];
            let zeros = amounts.map(|name| (name, json!(yuan(0))));
            Err(refusal.with(reference.names()).with(Fields::from(zeros)))
        }
    })
}

fn close(world: &World, asked: &Asked) -> Result<Reply, Refusal> {
    let reference = Reference::read(&Content::of(&asked.content)?)?;
    world.change(|state, now| {
        let book = &mut state.alipay;
        let number = asked.method.number(&asked.content, book);
        if asked.fault == Some(FaultKind::PayDuringClose)
            && let Some(number) = number
            && let Err(error) = book.pay(&number, None, now, &mut state.journal)
        {
            tracing::debug!(number, %error, "nobody could pay during the close");
        }
        match asked.method {
            Method::Cancel => book.cancel(&reference, now, &mut state.journal),
            _ => book.close(&reference, now),
        }
        .map(Reply::Fields)
    })
}

/// Refunds are final at once, so those that would end badly later do so in the call.
fn refund(world: &World, asked: &Asked) -> Result<Reply, Refusal> {
    let mut request = RefundRequest::read(&asked.content)?;
    request.minor += match asked.fault {
        Some(FaultKind::OneMore) => 1,
        Some(FaultKind::OneLess) => -1,
        _ => 0,
    };
    let moves = match asked.fault {
        Some(FaultKind::NotEnough) => {
            return Err(Refusal::business("ACQ.SELLER_BALANCE_NOT_ENOUGH", "卖家余额不足"));
        }
        Some(FaultKind::RefundAbnormal) => {
            return Err(Refusal::business("ACQ.TRADE_NOT_ALLOW_REFUND", "当前交易不允许退款"));
        }
        fault => fault != Some(FaultKind::RefundClosed),
    };
    world.change(|state, now| state.alipay.refund(request, moves, now, &mut state.journal)).map(Reply::Fields)
}
