use async_graphql::connection::Connection;
use async_graphql::{Context, ID, Object};
use domain::Timestamp;

use crate::graphql::Asked;
use crate::graphql::connection::{connection, page};
use crate::graphql::error::ApiError;
use crate::payments::DeadLetter;

/// An event that the webhook did not take for a day.
pub struct DeadLetterView(DeadLetter);

#[Object(name = "DeadLetter")]
impl DeadLetterView {
    /// `evt_…`: what consumers know the event by.
    async fn event_id(&self) -> ID {
        ID(self.0.id.to_string())
    }
    /// Whose event it is.
    async fn order_id(&self) -> ID {
        ID(self.0.event.order.to_string())
    }
    /// The order's version that it made.
    async fn version(&self) -> i32 {
        i32::try_from(self.0.event.version).unwrap_or(i32::MAX)
    }
    /// `order.created`, `order.paid`, `refund.succeeded`, ….
    #[graphql(name = "type")]
    async fn kind(&self) -> &'static str {
        self.0.event.kind.name()
    }
    /// When it happened.
    async fn at(&self) -> Timestamp {
        self.0.event.at
    }
    /// Why it was not taken the last time: the status that was answered, or what broke.
    async fn reason(&self) -> &str {
        &self.0.reason
    }
    /// Since when events of this order were not taken.
    async fn failing_since(&self) -> Timestamp {
        self.0.failing_since
    }
    /// When it was told the last time.
    async fn tried_at(&self) -> Timestamp {
        self.0.tried_at
    }
    /// It is to be told once more, and that has not happened yet.
    async fn resending(&self) -> bool {
        self.0.resending
    }
}

pub struct DeadLetterQueries;

#[Object]
impl DeadLetterQueries {
    /// Events that the webhook did not take for a day, oldest first. What is taken when it is resent leaves the
    /// list. For admins.
    #[graphql(complexity = "first.unwrap_or(20).clamp(1, 50) as usize * child_complexity")]
    async fn dead_letters(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(20)", desc = "1 to 50.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which to go on.")] after: Option<String>,
    ) -> Result<Connection<String, DeadLetterView>, ApiError> {
        let caller = ctx.caller()?;
        let page = page(first, after, None, None)?;
        let found = ctx.payments()?.dead_letters(caller, page.size, page.cursor.as_deref()).await?;
        Ok(connection(found, |letter| (letter.id.to_string(), DeadLetterView(letter))))
    }
}
