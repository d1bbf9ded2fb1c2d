//! Pages, as Relay's connections.

use async_graphql::OutputType;
use async_graphql::connection::{Connection, Edge};

use super::error::ApiError;
use crate::payments::{Page, PageRequest};

const LARGEST: i32 = 50;

/// Reads the four arguments of a connection. With `last`, the list is read from its end.
pub(super) fn page(
    first: Option<i32>,
    after: Option<String>,
    last: Option<i32>,
    before: Option<String>,
) -> Result<PageRequest, ApiError> {
    let backward = last.is_some();
    if (backward && after.is_some()) || (!backward && before.is_some()) {
        return Err(ApiError::bad_input("Send first with after, or last with before."));
    }
    let size = last.or(first).unwrap_or(20);
    if !(1..=LARGEST).contains(&size) {
        return Err(ApiError::bad_input(format!("A page has 1 to {LARGEST} items, not {size}.")));
    }
    Ok(PageRequest { size: u64::try_from(size).unwrap_or(20), backward, cursor: after.or(before) })
}

/// A page with its cursors.
pub(super) fn connection<T, N: OutputType>(page: Page<T>, each: impl Fn(T) -> (String, N)) -> Connection<String, N> {
    let mut connection = Connection::new(page.has_previous, page.has_next);
    connection.edges.extend(page.items.into_iter().map(|item| {
        let (cursor, node) = each(item);
        Edge::new(cursor, node)
    }));
    connection
}
