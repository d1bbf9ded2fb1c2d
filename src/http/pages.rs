//! The pages that the binary brings along: the admin console and the demo shop.

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use rust_embed::{EmbeddedFile, RustEmbed};
use tower_http::compression::CompressionLayer;

#[derive(RustEmbed)]
#[folder = "web/dist/"]
#[allow_missing = true]
struct Files;

/// Monaco, the console's editor, sets styles inline; nothing else needs more than its own origin.
const CONSOLE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'; object-src 'none'";
const SHOP_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

/// `/admin/`: GraphiQL.
pub(super) fn console() -> Router {
    pages("admin", CONSOLE_POLICY)
}

/// `/shop/`: the demo checkout.
pub(super) fn shop() -> Router {
    pages("shop", SHOP_POLICY)
}

fn pages(folder: &'static str, policy: &'static str) -> Router {
    Router::new()
        .route(&format!("/{folder}"), get(move || async move { Redirect::permanent(&format!("/{folder}/")) }))
        .route(&format!("/{folder}/"), get(move || page(folder, policy, "index.html".to_owned())))
        .route(&format!("/{folder}/{{*path}}"), get(move |Path(path): Path<String>| page(folder, policy, path)))
        // The same bytes for everybody, without a secret. Answers that mix secrets with what a caller chose are
        // never compressed: their length would tell.
        .layer(CompressionLayer::new().gzip(true))
}

async fn page(folder: &'static str, policy: &'static str, path: String) -> Response {
    let Some(EmbeddedFile { data, metadata, .. }) = Files::get(&format!("{folder}/{path}")) else {
        return (StatusCode::NOT_FOUND, "there is no such page\n").into_response();
    };
    // Everything in assets/ carries its content's hash in its name.
    let cache = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [
        (header::CONTENT_TYPE, metadata.mimetype()),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, cache),
    ];
    (headers, data).into_response()
}
