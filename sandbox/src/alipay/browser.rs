//! What the payer's browser sees of the gateway: an error page, and the way back to the shop.

use axum::{
    http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};

use super::{
    Keys,
    amount::yuan,
    answer::Refusal,
    notification::signed_form,
    order::Product,
    parameters::TIME,
    signature::Seal,
    trade::{Status, Trade},
};
use crate::{
    cashier::{Bill, BillState},
    clock::beijing,
    state::State,
};

/// A page that says GBK and holds ASCII only, which is the same in every charset. The message is
/// left out: it can hold what the browser sent.
pub(super) fn error_page(refusal: &Refusal) -> Response {
    let headers = [(CONTENT_TYPE, "text/html;charset=GBK"), (CONTENT_SECURITY_POLICY, "default-src 'none'")];
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><title>Alipay sandbox</title></head>\
         <body><h1>This payment cannot be opened</h1><p>{} {}</p></body></html>\n",
        refusal.code, refusal.sub_code
    );
    (headers, page).into_response()
}

/// What the cashier shows of an order.
pub(crate) fn bill(state: &State, keys: &Keys, number: &str, now: DateTime<Utc>) -> Option<Bill> {
    let trade = state.alipay.seen_by_payer(number)?;
    let status = trade.status(now);
    let bill_state = match status {
        Status::Waiting if trade.declined => BillState::Declined,
        Status::Waiting => BillState::Open,
        Status::Success { .. } | Status::Refunded { .. } | Status::Finished { .. } => BillState::Paid,
        Status::Closed => BillState::Closed,
        Status::Expired => BillState::Expired,
    };
    Some(Bill {
        number: number.to_owned(),
        gateway: "Alipay",
        description: trade.order.subject.clone(),
        minor: trade.order.total,
        expires_at: trade.until(),
        state: bill_state,
        return_url: if bill_state == BillState::Paid { return_url(trade, keys, now) } else { None },
    })
}

/// The shop's address with the signed return parameters, which name no status and prove nothing.
/// The shop's own parameters stay and are not signed.
fn return_url(trade: &Trade, keys: &Keys, now: DateTime<Utc>) -> Option<String> {
    let method = match trade.order.product {
        Product::Page => "alipay.trade.page.pay.return",
        Product::Wap => "alipay.trade.wap.pay.return",
        Product::QrCode | Product::App => return None,
    };
    let fields = [
        ("app_id", keys.merchant.app_id.clone()),
        ("auth_app_id", keys.merchant.app_id.clone()),
        ("charset", "utf-8".to_owned()),
        ("method", method.to_owned()),
        ("out_trade_no", trade.order.number.clone()),
        ("seller_id", keys.merchant.seller_id.clone()),
        ("timestamp", beijing(now, TIME)),
        ("total_amount", yuan(trade.order.total)),
        ("trade_no", trade.trade_no.clone()?),
        ("version", "1.0".to_owned()),
    ];
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let signed = signed_form(fields, keys, Seal::Good).ok()?;
    let mut url = reqwest::Url::parse(trade.order.return_url.as_deref()?).ok()?;
    let query = match url.query().filter(|own| !own.is_empty()) {
        Some(own) => format!("{own}&{signed}"),
        None => signed,
    };
    url.set_query(Some(&query));
    Some(url.into())
}
