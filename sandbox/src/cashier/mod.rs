//! The payer's side: a page to pay or to decline on, for the orders of all gateways.

mod page;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header::REFRESH},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::world::World;

/// Why a payer cannot pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PayError {
    /// No gateway has such an order.
    #[error("there is no such order")]
    Unknown,
    /// It was paid before; nothing was charged now.
    #[error("the order is already paid")]
    AlreadyPaid,
    /// The merchant closed it.
    #[error("the order was closed by the merchant")]
    Closed,
    /// Its time is over.
    #[error("the order has expired")]
    Expired,
}

/// What a payer sees of an order. Amounts are in fen.
pub(crate) struct Bill {
    pub(crate) number: String,
    pub(crate) gateway: &'static str,
    pub(crate) description: String,
    pub(crate) minor: i64,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) state: BillState,
    /// Where a payer who has paid goes back to the shop.
    pub(crate) return_url: Option<String>,
}

/// Where an order stands, for the payer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BillState {
    Open,
    /// The last attempt was declined; it can be paid still.
    Declined,
    Paid,
    Closed,
    Expired,
}

pub(crate) fn routes() -> Router<Arc<World>> {
    Router::new()
        .route("/cashier/{number}", get(show))
        .route("/cashier/{number}/pay", post(pay))
        .route("/cashier/{number}/decline", post(decline))
}

/// The page of an order. Of the characters a number may have, only `|` is none of a URL's.
pub(crate) fn link(base: &str, number: &str) -> String {
    format!("{base}{}", path(number))
}

fn path(number: &str) -> String {
    let mut path = "/cashier/".to_owned();
    for byte in number.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_*.".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path += &format!("%{byte:02X}");
        }
    }
    path
}

async fn show(State(world): State<Arc<World>>, Path(number): Path<String>) -> Response {
    page_of(&world, &number, StatusCode::OK)
}

async fn pay(State(world): State<Arc<World>>, Path(number): Path<String>) -> Response {
    let paid = world.pay(&number);
    after(&world, &number, paid)
}

async fn decline(State(world): State<Arc<World>>, Path(number): Path<String>) -> Response {
    let declined = world.decline(&number);
    after(&world, &number, declined)
}

/// Back to the page, which shows how it stands. A second click on Pay is no refusal: it is paid.
fn after(world: &World, number: &str, done: Result<(), PayError>) -> Response {
    match done {
        Ok(()) | Err(PayError::AlreadyPaid) => (StatusCode::SEE_OTHER, [("location", path(number))]).into_response(),
        Err(PayError::Unknown | PayError::Closed | PayError::Expired) => page_of(world, number, StatusCode::CONFLICT),
    }
}

fn page_of(world: &World, number: &str, status: StatusCode) -> Response {
    match world.bill(number) {
        Some((bill, now)) => {
            let mut page = (status, page::bill(&bill, now)).into_response();
            // The browser goes back to the shop by itself, as from the real cashier; the page links there too.
            let back = bill.return_url.and_then(|url| HeaderValue::from_str(&format!("3; url={url}")).ok());
            page.headers_mut().extend(back.map(|back| (REFRESH, back)));
            page
        }
        None => (StatusCode::NOT_FOUND, page::unknown()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_urls_whatever_an_order_number_may_contain() {
        let link = link("http://127.0.0.1:8090", "A|B*C-D_01");
        assert_eq!(link, "http://127.0.0.1:8090/cashier/A%7CB*C-D_01");
    }
}
