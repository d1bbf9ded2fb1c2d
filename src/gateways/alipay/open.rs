//! Opening a payment: the trade by product, and what the frontend does to get it paid.
//!
//! Only a precreated code takes a call. Page, WAP and app payments are signed here and opened by the payer:
//! until then the gateway has never heard of them.

use domain::{ClientAction, Duration, OpenPayment, PaymentProduct, Timestamp};

use super::request::{Requests, Urls};
use super::wire;
use super::yuan::Yuan;
use super::{beijing, form};
use crate::payments::ports::{GatewayError, Opened, Refusal};
use reqwest::Url;

/// How long a precreated code works, says the provider.
const CODE_LIFETIME: Duration = Duration::hours(2);

/// The trade. The same request gives the same content: the provider refuses one number with two.
pub(super) fn trade(request: &OpenPayment) -> Result<wire::Trade<'_>, GatewayError> {
    let product_code = match request.product {
        PaymentProduct::Precreate => None,
        PaymentProduct::Page => Some("FAST_INSTANT_TRADE_PAY"),
        PaymentProduct::Wap => Some("QUICK_WAP_WAY"),
        PaymentProduct::App => Some("QUICK_MSECURITY_PAY"),
        PaymentProduct::Native | PaymentProduct::Jsapi | PaymentProduct::H5 => {
            let message = format!("the product {} is not offered at Alipay", request.product.name());
            return Err(GatewayError::Refused(Refusal { code: "UNSUPPORTED_PRODUCT".to_owned(), message }));
        }
    };
    let quit_url = request.return_url.as_deref().filter(|_| request.product == PaymentProduct::Wap);
    Ok(wire::Trade {
        out_trade_no: request.number.as_str(),
        total_amount: Yuan::of(request.amount)?,
        subject: subject(&request.description),
        product_code,
        time_expire: beijing::write(request.expires_at),
        passback_params: form::escape(request.order.as_str()),
        quit_url,
    })
}

/// Alipay asks to leave out `/`, `=` and `&`.
fn subject(description: &str) -> String {
    description.replace(['/', '=', '&'], " ")
}

/// What the payer's side does; nobody is called. `None`: this product takes a call.
pub(super) fn without_a_call(
    requests: &Requests,
    gateway: &Url,
    request: &OpenPayment,
) -> Result<Option<Opened>, GatewayError> {
    let trade = trade(request)?;
    let urls = Urls { notify: Some(&request.notify_url), back: request.return_url.as_deref() };
    let action = match request.product {
        PaymentProduct::Page => {
            ClientAction::HtmlForm { html: requests.sign("alipay.trade.page.pay", urls, &trade)?.html(gateway) }
        }
        PaymentProduct::Wap => {
            ClientAction::Redirect { url: requests.sign("alipay.trade.wap.pay", urls, &trade)?.address(gateway) }
        }
        PaymentProduct::App => {
            let urls = Urls { back: None, ..urls };
            ClientAction::AppInvocation { parameters: requests.sign("alipay.trade.app.pay", urls, &trade)?.line() }
        }
        _ => return Ok(None),
    };
    Ok(Some(Opened { action, until: request.expires_at }))
}

/// Reads a verified answer to a precreate.
pub(super) fn precreated(answer: &str, request: &OpenPayment, now: Timestamp) -> Result<Opened, &'static str> {
    let answer: wire::Precreated = serde_json::from_str(answer).map_err(|_| "the answer has no code")?;
    if answer.out_trade_no != request.number.as_str() {
        return Err("the answer is about another payment");
    }
    if answer.qr_code.is_empty() {
        return Err("the answer has no code");
    }
    let until = request.expires_at.min(now + CODE_LIFETIME);
    Ok(Opened { action: ClientAction::QrCode { url: answer.qr_code }, until })
}
