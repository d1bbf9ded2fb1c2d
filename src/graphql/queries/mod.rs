//! One file per subject of queries.

mod dead_letters;
mod orders;
mod products;
mod refunds;

use async_graphql::MergedObject;

pub use orders::OrderFilter;

/// Everything that can be asked.
#[derive(MergedObject)]
#[graphql(name = "Query")]
pub struct Query(
    orders::OrderQueries,
    refunds::RefundQueries,
    products::ProductQueries,
    dead_letters::DeadLetterQueries,
);

impl Query {
    /// All of them.
    pub fn all() -> Self {
        Self(orders::OrderQueries, refunds::RefundQueries, products::ProductQueries, dead_letters::DeadLetterQueries)
    }
}
