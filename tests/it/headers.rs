//! What every answer says about itself, who may read it, and what is never compressed.

use crate::support::{Backend, Shop};
use serde_json::json;

const SHOP: &str = "https://shop.example.com";

#[tokio::test]
async fn every_answer_says_how_it_may_be_used() {
    let shop = Shop::open(Backend::Sqlite).await;
    for path in ["/graphql", "/healthz", "/metrics", "/nowhere", "/admin/", "/notify/wechat_pay"] {
        let answer = shop.http().get(shop.url(path)).send().await.unwrap();
        let header = |name: &str| answer.headers().get(name).map_or("", |v| v.to_str().unwrap());
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(header(name), value, "{path} {name}");
        }
        assert!(header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert!(header("cache-control").starts_with("no-"), "{path}");
        assert_eq!(header("access-control-allow-origin"), "", "{path}");
    }
}

#[tokio::test]
async fn browsers_may_call_from_the_listed_origins_and_no_others() {
    let shop = Shop::open_with(Backend::Sqlite, &[("PAYONCE_CORS_ORIGINS", SHOP)]).await;
    let allowed = async |preflight: bool, origin: &str| {
        let request = match preflight {
            true => shop
                .http()
                .request(reqwest::Method::OPTIONS, shop.url("/graphql"))
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "authorization,content-type,idempotency-key"),
            false => shop
                .http()
                .post(shop.url("/graphql"))
                .header("content-type", "application/json")
                .body(json!({"query": "{ __typename }"}).to_string()),
        };
        request.header("origin", origin).send().await.unwrap()
    };
    for preflight in [true, false] {
        let answer = allowed(preflight, SHOP).await;
        assert_eq!(answer.headers()["access-control-allow-origin"], SHOP);
        assert!(answer.headers()["vary"].to_str().unwrap().to_ascii_lowercase().contains("origin"));
        // Tokens travel in a header: no cookie of anybody's means anything here.
        assert!(!answer.headers().contains_key("access-control-allow-credentials"));
        for other in
            ["https://evil.example.com", "null", "http://shop.example.com", "https://shop.example.com.evil.com"]
        {
            let answer = allowed(preflight, other).await;
            assert!(!answer.headers().contains_key("access-control-allow-origin"), "{other}");
        }
    }
    let answer = allowed(true, SHOP).await;
    let methods = answer.headers()["access-control-allow-methods"].to_str().unwrap();
    assert_eq!(methods, "GET,POST");
    let answer = allowed(false, SHOP).await;
    assert_eq!(answer.headers()["access-control-expose-headers"], "retry-after");
}

#[tokio::test]
async fn pages_are_compressed_and_answers_that_may_hold_a_secret_never_are() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, _) = shop.open_order("TEA").await;
    let encoding = |answer: &reqwest::Response| answer.headers().get("content-encoding").cloned();
    let page = shop.http().get(shop.url("/shop/")).header("accept-encoding", "gzip, br").send().await.unwrap();
    assert_eq!(encoding(&page).unwrap(), "gzip");
    assert!(page.headers()["vary"].to_str().unwrap().contains("accept-encoding"));
    let plain = shop.http().get(shop.url("/shop/")).send().await.unwrap();
    assert_eq!(encoding(&plain), None);
    let body = json!({"query": "query($id: ID!) { order(id: $id) { note payments { action { __typename } } } }", "variables": {"id": order}});
    for accept in ["application/json", "application/graphql-response+json", "text/event-stream"] {
        let request = shop.http().post(shop.url("/graphql")).header("content-type", "application/json");
        let request = request.header("accept", accept).header("accept-encoding", "gzip, deflate, br, zstd");
        let request = request.header("authorization", format!("Bearer {}", shop.token("alice", "customer")));
        let answer = request.body(body.to_string()).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), encoding(&answer)), (200, None), "{accept}");
    }
    for path in ["/metrics", "/readyz"] {
        let answer = shop.http().get(shop.url(path)).header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!(encoding(&answer), None, "{path}");
    }
}
