//! Door in: HTTP. Routes, limits, tokens, sockets, notifications, health, pages.

mod access;
mod document;
mod health;
mod listen;
mod notify;
mod operation;
mod over_http;
mod pages;
mod socket;
mod sse;
mod strict_json;
mod token;
mod trusted;

pub use access::AccessSettings;
pub use document::guard;
pub use health::record_metrics;
pub use listen::{Patience, listen};
pub use socket::{SocketSettings, Sockets};
pub use token::{NewToken, QuoteVerifier, TokenKeys, TokenVerifier, Verified, mint};
pub use trusted::TrustedDocuments;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::routing::{get, post};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;

use crate::graphql;
use crate::payments::Payments;
use access::Access;
use operation::Executor;

/// What the listeners are told by configuration.
pub struct HttpSettings {
    /// The dev profile: introspection for all, the demo shop.
    pub dev: bool,
    /// Origins that browsers may call from.
    pub cors_origins: Vec<String>,
    /// WebSocket limits.
    pub sockets: SocketSettings,
    /// Admin console, metrics and health on this router too.
    pub with_admin: bool,
    /// Who may come in, and how often.
    pub access: AccessSettings,
    /// What everybody but staff must choose from; `None`: every document is taken.
    pub documents: Option<TrustedDocuments>,
}

/// What handlers share.
struct Shared {
    executor: Arc<Executor>,
    access: Arc<Access>,
    sockets: Arc<Sockets>,
}

/// What is served where.
pub struct Doors {
    /// GraphQL, subscriptions, gateway notifications; the admin's too when it has no listener of its own.
    pub public: Router,
    /// Console, metrics, health, and GraphQL for the console.
    pub admin: Router,
    /// The live connections of both.
    pub sockets: Arc<Sockets>,
}

/// Opens the doors to the workflows.
pub fn doors(payments: Payments, tokens: TokenVerifier, settings: HttpSettings) -> Doors {
    let (schema, introspected) = (graphql::schema(payments.clone()), graphql::introspected_schema(payments.clone()));
    let executor = Executor::new(schema, introspected, document::Limits::default(), settings.dev);
    let executor = Arc::new(executor.trusting(settings.documents));
    let access = Arc::new(Access::new(tokens.clone(), &payments, settings.access));
    let sockets = Arc::new(Sockets::new(executor.clone(), access.clone(), payments.clone(), settings.sockets));
    let shared = Arc::new(Shared { executor, access, sockets: sockets.clone() });
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(settings.cors_origins.iter().filter_map(|o| HeaderValue::from_str(o).ok())))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, HeaderName::from_static("idempotency-key")])
        .expose_headers([header::RETRY_AFTER]);
    let graphql = Router::new()
        .route("/graphql", get(over_http::get).post(over_http::post).fallback(over_http::other_method))
        .layer(cors)
        .with_state(shared);
    let admin = admin_routes(payments.clone(), tokens);
    let mut public =
        graphql.clone().merge(Router::new().route("/notify/{gateway}", post(notify::take)).with_state(payments));
    if settings.dev {
        public = public.merge(pages::shop());
    }
    if settings.with_admin {
        public = public.merge(admin.clone());
    }
    Doors { public: with_headers(public), admin: with_headers(admin.merge(graphql)), sockets }
}

fn admin_routes(payments: Payments, tokens: TokenVerifier) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .with_state((payments, tokens))
        .merge(pages::console())
}

fn with_headers(router: Router) -> Router {
    let always = |name: &'static str, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    router
        // Pages bring a policy of their own.
        .layer(always("content-security-policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"))
        .layer(always("cross-origin-resource-policy", "same-origin"))
        .layer(always("x-content-type-options", "nosniff"))
        .layer(always("referrer-policy", "no-referrer"))
        .layer(always("x-frame-options", "DENY"))
        .layer(always("cache-control", "no-store"))
}
