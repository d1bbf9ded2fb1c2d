//! Door in: HTTP. Routes, limits, tokens, sockets, notifications, health, pages.

mod document;
mod health;
mod notify;
mod over_http;
mod pages;
mod socket;
mod strict_json;
mod token;

pub use health::record_metrics;
pub use socket::{SocketSettings, Sockets};
pub use token::{NewToken, TokenKeys, TokenVerifier, mint};

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::routing::{get, post};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;

use crate::graphql::{self, PayonceSchema};
use crate::payments::Payments;

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
}

/// What handlers share.
struct Shared {
    schema: PayonceSchema,
    /// The same without a limit of depth: introspection nests deeper than any query of ours.
    introspected: PayonceSchema,
    tokens: TokenVerifier,
    sockets: Arc<Sockets>,
    limits: document::Limits,
    dev: bool,
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
    let limits = document::Limits::default();
    let schema = graphql::schema(payments.clone());
    let introspected = graphql::introspected_schema(payments.clone());
    let sockets = Sockets::new(schema.clone(), tokens.clone(), payments.clone(), settings.sockets, limits.clone());
    let sockets = Arc::new(sockets.introspection(introspected.clone(), settings.dev));
    let shared = Arc::new(Shared { schema, introspected, tokens, sockets: sockets.clone(), limits, dev: settings.dev });
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(settings.cors_origins.iter().filter_map(|o| HeaderValue::from_str(o).ok())))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, HeaderName::from_static("idempotency-key")]);
    let graphql = Router::new()
        .route("/graphql", get(over_http::get).post(over_http::post).fallback(over_http::other_method))
        .layer(cors)
        .with_state(shared);
    let admin = admin_routes(payments.clone());
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

fn admin_routes(payments: Payments) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .with_state(payments)
        .merge(pages::console())
}

fn with_headers(router: Router) -> Router {
    let always = |name: &'static str, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    router
        .layer(always("x-content-type-options", "nosniff"))
        .layer(always("referrer-policy", "no-referrer"))
        .layer(always("x-frame-options", "DENY"))
        .layer(always("cache-control", "no-store"))
}
