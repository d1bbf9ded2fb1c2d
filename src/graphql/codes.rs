//! A code for every error that the framework makes itself, and the rules that it leaves out.

use std::sync::Arc;

use async_graphql::extensions::{
    Extension, ExtensionContext, ExtensionFactory, NextParseQuery, NextPrepareRequest, NextRequest, NextValidation,
};
use async_graphql::parser::types::ExecutableDocument;
use async_graphql::{Request, Response, ServerError, ServerResult, ValidationResult, Variables};

use super::error::{code, opaque_id};
use super::validation::validate;

/// Gives codes to errors that have none: a document that does not parse or validate, input that is not
/// of its type. What is left is ours, and is masked.
pub struct Codes;

impl ExtensionFactory for Codes {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Codes)
    }
}

/// The operation that is asked for by name.
struct Wanted(String);

#[async_trait::async_trait]
impl Extension for Codes {
    async fn prepare_request(
        &self,
        ctx: &ExtensionContext<'_>,
        request: Request,
        next: NextPrepareRequest<'_>,
    ) -> ServerResult<Request> {
        let request = next.run(ctx, request).await?;
        Ok(match request.operation_name.clone() {
            Some(name) => request.data(Wanted(name)),
            None => request,
        })
    }

    async fn parse_query(
        &self,
        ctx: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        let document = next.run(ctx, query, variables).await.map_err(|mut e| {
            e.message = match e.locations.first() {
                Some(at) => format!("The document is not GraphQL: line {}, column {}.", at.line, at.column),
                None => "The document is not GraphQL.".to_owned(),
            };
            with_code(e, code::GRAPHQL_PARSE_FAILED)
        })?;
        let wanted = ctx.data_opt::<Wanted>().map(|wanted| wanted.0.as_str());
        match validate(&ctx.schema_env.registry, &document, wanted, variables) {
            Ok(()) => Ok(document),
            Err(e) => Err(with_code(ServerError::new(e.message, Some(e.at)), code::GRAPHQL_VALIDATION_FAILED)),
        }
    }

    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        next.run(ctx).await.map_err(|errors| {
            errors
                .into_iter()
                .take(5)
                .map(|e| {
                    let code = match e.message.as_str() {
                        "Query is nested too deep." => code::QUERY_TOO_DEEP,
                        "Query is too complex." => code::QUERY_TOO_COMPLEX,
                        _ => code::GRAPHQL_VALIDATION_FAILED,
                    };
                    with_code(e, code)
                })
                .collect()
        })
    }

    async fn request(&self, ctx: &ExtensionContext<'_>, next: NextRequest<'_>) -> Response {
        let mut response = next.run(ctx).await;
        complete_errors(&mut response);
        response
    }
}

/// Gives every error of a response its code, its `retryable` and a bounded message.
pub fn complete_errors(response: &mut Response) {
    response.errors.iter_mut().for_each(finish);
}

fn finish(e: &mut ServerError) {
    let coded = e.extensions.as_ref().is_some_and(|x| x.get("code").is_some());
    if !coded {
        let code = match () {
            () if e.path.is_empty() || e.message.starts_with("Variable ") => code::GRAPHQL_VALIDATION_FAILED,
            () if e.message.starts_with("Failed to parse") || e.message.starts_with("Expected input type") => {
                code::BAD_USER_INPUT
            }
            () if e.message.starts_with("Invalid value for argument") => code::BAD_USER_INPUT,
            () if e.message.starts_with("Invalid ") => code::BAD_USER_INPUT,
            () => {
                let id = opaque_id();
                tracing::error!(id, message = e.message, "an error without a code");
                e.message = format!("Something broke on our side ({id}).");
                code::INTERNAL
            }
        };
        e.extensions.get_or_insert_with(Default::default).set("code", code);
    }
    let extensions = e.extensions.get_or_insert_with(Default::default);
    if extensions.get("retryable").is_none() {
        extensions.set("retryable", false);
    }
    if e.message.chars().count() > 256 {
        e.message = e.message.chars().take(255).chain(['…']).collect();
    }
}

fn with_code(mut e: ServerError, code: &'static str) -> ServerError {
    e.extensions.get_or_insert_with(Default::default).set("code", code);
    finish(&mut e);
    e
}
