//! Door in: the schema, its views of the domain, and who may ask.

mod arguments;
mod codes;
mod connection;
mod enums;
mod error;
mod feed;
mod mutations;
mod order;
mod payment;
mod product;
mod queries;
mod refund;
mod scalars;
mod subscriptions;
mod validation;

use codes::complete_errors;
pub use error::{ApiError, code};
pub use feed::{Asking, Feed, as_json, complete, is_request_error};

use async_graphql::{Context, Schema, SchemaBuilder, ValidationMode};

use crate::payments::{Caller, PaymentError, Payments};
use mutations::Mutation;
use queries::Query;
use subscriptions::Subscription;

/// The whole schema.
pub type PayonceSchema = Schema<Query, Mutation, Subscription>;

/// The `Idempotency-Key` header of the request, which must equal the argument when it is sent.
#[derive(Clone, Debug)]
pub struct KeyHeader(pub String);

/// Where the request comes from. In no fingerprint: the same intent may be sent again from elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub std::net::IpAddr);

/// The schema as it is served.
pub fn schema(payments: Payments) -> PayonceSchema {
    limited(payments).limit_depth(10).finish()
}

/// The same for documents that introspect: the standard ones nest deeper.
pub fn introspected_schema(payments: Payments) -> PayonceSchema {
    limited(payments).limit_depth(20).finish()
}

/// The schema's text, for `schema.graphql`.
pub fn sdl() -> String {
    let options = async_graphql::SDLExportOptions::new().sorted_fields().sorted_enum_items().sorted_arguments();
    builder().finish().sdl_with_options(options)
}

fn limited(payments: Payments) -> SchemaBuilder<Query, Mutation, Subscription> {
    // The rules are those of `validation`.
    let builder = builder().validation_mode(ValidationMode::Fast);
    builder.data(payments).limit_complexity(5_000).limit_directives(2).extension(codes::Codes)
}

fn builder() -> SchemaBuilder<Query, Mutation, Subscription> {
    Schema::build(Query::all(), Mutation::all(), Subscription).disable_suggestions()
}

/// What resolvers ask of the request.
trait Asked {
    /// The workflows.
    fn payments(&self) -> Result<&Payments, ApiError>;
    /// The verified caller, or `UNAUTHENTICATED`.
    fn caller(&self) -> Result<&Caller, ApiError>;
}

impl Asked for Context<'_> {
    fn payments(&self) -> Result<&Payments, ApiError> {
        self.data_opt::<Payments>()
            .ok_or_else(|| PaymentError::Internal("the schema has no workflows".to_owned()).into())
    }

    fn caller(&self) -> Result<&Caller, ApiError> {
        self.data_opt::<Caller>().ok_or_else(ApiError::unauthenticated)
    }
}
