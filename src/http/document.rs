//! The guard before async-graphql sees any text: it counts what a document would cost.
//!
//! One pass over the text with a stack of its own. async-graphql 7.2.1 aborts the process on some
//! thousand nested brackets, and each level of fragment spreads multiplies its work, whatever its own
//! limits say.

mod lexer;
mod scan;
mod spread;
#[cfg(test)]
mod tests;
mod variables;

pub(super) use variables::check_variables;

use std::ops::Range;

use crate::graphql::{ApiError, code};

/// What a request may hold.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub document_bytes: usize,
    pub variables_bytes: usize,
    /// Brackets of every kind within each other, in the document and in the variables; and selections
    /// once fragments are spread.
    pub nesting: usize,
    pub tokens: usize,
    pub operations: usize,
    pub fragments: usize,
    pub spreads: usize,
    pub aliases: usize,
    pub root_fields: usize,
    pub mutation_root_fields: usize,
    pub subscription_root_fields: usize,
    pub directives: usize,
    pub directives_per_place: usize,
    /// Of one operation.
    pub variables: usize,
    pub list_length: usize,
    /// Characters of a string.
    pub string: usize,
    /// Characters of a string that has the shape of a signed token.
    pub token_string: usize,
    /// Fields of an operation once fragments are spread.
    pub spread_fields: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document_bytes: 16 * 1024,
            variables_bytes: 32 * 1024,
            nesting: 32,
            tokens: 2_000,
            operations: 4,
            fragments: 16,
            spreads: 20,
            aliases: 20,
            root_fields: 10,
            mutation_root_fields: 1,
            subscription_root_fields: 1,
            directives: 10,
            directives_per_place: 2,
            variables: 30,
            list_length: 50,
            string: 1_024,
            token_string: 4_096,
            spread_fields: 5_000,
        }
    }
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Query,
    Mutation,
    Subscription,
}

/// What a document within the limits holds.
#[derive(Debug)]
pub(super) struct Counted {
    operations: Vec<(Kind, Option<Range<usize>>)>,
    /// It asks for `__schema` or `__type` somewhere.
    pub introspection: bool,
}

impl Counted {
    /// The kind of the operation that this name selects. `None`: it selects none, and none will run.
    pub fn kind(&self, document: &str, operation_name: Option<&str>) -> Option<Kind> {
        match (operation_name, self.operations.as_slice()) {
            (None, [(kind, _)]) => Some(*kind),
            (None, _) => None,
            (Some(wanted), all) => {
                let named = |name: &Option<Range<usize>>| name.clone().and_then(|at| document.get(at)) == Some(wanted);
                all.iter().find(|(_, name)| named(name)).map(|(kind, _)| *kind)
            }
        }
    }
}

/// Counts a document, and refuses it at the first limit it passes or the first thing that is not GraphQL.
pub(super) fn check(document: &str, limits: &Limits) -> Result<Counted, ApiError> {
    if document.len() > limits.document_bytes {
        let found = document.len();
        return Err(too_large(format!("The document has {found} bytes; {} are allowed.", limits.document_bytes)));
    }
    scan::scan(document, limits)
}

/// Whether a request's document and variables come through the guard: for the bench and the fuzzers.
pub fn guard(document: &str, variables: &serde_json::Value) -> Result<(), ApiError> {
    let limits = Limits::default();
    check(document, &limits)?;
    check_variables(variables, &limits)
}

fn too_large(message: String) -> ApiError {
    ApiError::new(code::QUERY_TOO_LARGE, message)
}

fn too_deep(where_: &str, limit: usize) -> ApiError {
    ApiError::new(code::QUERY_TOO_DEEP, format!("{where_} nest more than {limit} deep; {limit} are allowed."))
}

fn too_complex(what: &str, found: usize, limit: usize) -> ApiError {
    ApiError::new(code::QUERY_TOO_COMPLEX, format!("At least {found} {what}; {limit} are allowed."))
}

/// One more, unless that is too many.
fn count(counter: &mut usize, limit: usize, what: &str) -> Result<(), ApiError> {
    *counter += 1;
    if *counter > limit { Err(too_complex(what, *counter, limit)) } else { Ok(()) }
}
