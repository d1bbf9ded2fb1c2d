//! The page behind an `h5_url`: in life it opens WeChat, here it leads to the cashier.

use std::collections::HashMap;

use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::Shared;
use crate::cashier;

/// The real one's path.
pub(super) const PATH: &str = "/cgi-bin/mmpayweb-bin/checkmweb";
/// The real one's other parameter is a number without a meaning for merchants.
const PACKAGE: &str = "1234567890";

/// Merchants append `&redirect_url=` to it.
pub(super) fn link(base: &str, prepay_id: &str) -> String {
    format!("{base}{PATH}?prepay_id={prepay_id}&package={PACKAGE}")
}

/// The cashier, while the link lives; nobody signs in here, for a browser comes. Where the payer wants to be
/// sent back to must be a web address, and is not followed: the cashier is left by hand.
pub(super) async fn show(State(world): Shared, Query(asked): Query<HashMap<String, String>>) -> Response {
    if asked.get("redirect_url").is_some_and(|url| reqwest::Url::parse(url).is_err()) {
        return (StatusCode::BAD_REQUEST, "redirect_url is not a web address").into_response();
    }
    let prepay_id = asked.get("prepay_id").map(String::as_str).unwrap_or_default();
    let found = world.look(|state, now| {
        let link = state.wechat_pay.h5_link(prepay_id, now);
        link.map(|(number, works)| (number.to_owned(), works))
    });
    match found {
        Some((number, true)) => (StatusCode::SEE_OTHER, [("location", cashier::link("", &number))]).into_response(),
        Some((_, false)) => {
            (StatusCode::GONE, "This link is too old. Go back to the shop and try again.").into_response()
        }
        None => (StatusCode::NOT_FOUND, "There is no such link. Go back to the shop and try again.").into_response(),
    }
}
