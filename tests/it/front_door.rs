//! What is refused at the door, and how.

use crate::support::{Backend, Shop};
use serde_json::{Value, json};

#[tokio::test]
async fn every_refusal_is_json_with_a_code() {
    let shop = Shop::open(Backend::Sqlite).await;
    let post = |content_type: &str, body: String| {
        shop.http().post(shop.url("/graphql")).header("content-type", content_type).body(body)
    };
    let get = |query: &str| shop.http().get(shop.url(&format!("/graphql?{query}")));
    let json_type = "application/json";
    let cases = [
        (post("text/plain", "{}".into()), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (post("multipart/form-data; boundary=x", "--x--".into()), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (post(json_type, "".into()), 400, "GRAPHQL_PARSE_FAILED"),
        (post(json_type, "{}".into()), 400, "GRAPHQL_PARSE_FAILED"),
        (post(json_type, "[{\"query\":\"{__typename}\"}]".into()), 400, "BATCHING_DISABLED"),
        (post(json_type, json!({"query": "{"}).to_string()), 400, "GRAPHQL_PARSE_FAILED"),
        (post(json_type, json!({"query": "{".repeat(5_000)}).to_string()), 400, "QUERY_TOO_DEEP"),
        (
            post(json_type, json!({"query": format!("{{ product(sku: {}) }}", "[".repeat(3_000))}).to_string()),
            400,
            "QUERY_TOO_DEEP",
        ),
        (post(json_type, " ".repeat(70_000)), 413, "QUERY_TOO_LARGE"),
        (get("query=mutation%7BsyncOrder(orderId:%22x%22)%7Bid%7D%7D"), 405, "METHOD_NOT_ALLOWED"),
        (get(""), 400, "GRAPHQL_PARSE_FAILED"),
        (shop.http().put(shop.url("/graphql")), 405, "METHOD_NOT_ALLOWED"),
        (
            post(json_type, json!({"query": "{ __typename }"}).to_string()).header("authorization", "Bearer nonsense"),
            401,
            "UNAUTHENTICATED",
        ),
        (
            post(json_type, json!({"query": "{ __typename }"}).to_string()).header("authorization", "Basic x"),
            401,
            "UNAUTHENTICATED",
        ),
    ];
    for (request, status, code) in cases {
        let response = request.send().await.unwrap();
        let got = response.status().as_u16();
        let text = response.text().await.unwrap();
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"));
        assert_eq!(body["errors"][0]["extensions"]["code"], code, "{body}");
        if status != 400 {
            assert_eq!(got, status, "{body}");
        }
        assert!(body.get("data").is_none(), "{body}");
    }
    assert_eq!(shop.ask("", "{ __typename }", json!({})).await.at("/__typename"), "Query");
}

#[tokio::test]
async fn a_token_that_has_run_out_says_so() {
    let shop = Shop::open(Backend::Sqlite).await;
    let token = shop.token("alice", "customer");
    shop.clock.turn(domain::Duration::days(31));
    let answer = shop.ask(&token, "{ __typename }", json!({})).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "TOKEN_EXPIRED"));
}

#[tokio::test]
async fn a_customer_sees_only_their_own() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, payment) = shop.open_order("TEA").await;
    let mallory = shop.token("mallory", "customer");
    for document in [
        "query($id: ID!) { order(id: $id) { id } }",
        "query($id: ID!) { payment(id: $id) { id } }",
        "query($id: ID!) { refund(id: $id) { id } }",
    ] {
        for id in [&order, &payment, "", "ord_nonsense"] {
            let answer = shop.ask(&mallory, document, json!({"id": id})).await;
            assert_eq!(answer.code(), "NOT_FOUND", "{}", answer.body);
            let data = answer.body["data"].as_object().unwrap_or_else(|| panic!("{}", answer.body));
            assert!(data.values().all(Value::is_null));
        }
    }
    let none = shop.ask(&mallory, "{ orders { nodes { id } } }", json!({})).await;
    assert_eq!(none.at("/orders/nodes"), json!([]));
    let foreign = shop.ask(&mallory, "{ orders(filter: {customerId: \"alice\"}) { nodes { id } } }", json!({})).await;
    assert_eq!(foreign.code(), "FORBIDDEN");
    assert_eq!(shop.ask(&mallory, "{ refunds { nodes { id } } }", json!({})).await.code(), "FORBIDDEN");
    let staff = shop
        .ask(
            &shop.token("sam", "support"),
            "{ orders(filter: {customerId: \"alice\"}) { nodes { id customerId } } }",
            json!({}),
        )
        .await;
    assert_eq!(staff.at("/orders/nodes/0"), json!({"id": order, "customerId": "alice"}));
}

#[tokio::test]
async fn pages_go_forward_and_backward_without_gaps() {
    let shop = Shop::open(Backend::Sqlite).await;
    let mut placed = Vec::new();
    for _ in 0..5 {
        placed.insert(0, shop.create("alice", &Shop::key(), "PIN", 1, false).await.text("/createOrder/order/id"));
    }
    let token = shop.token("alice", "customer");
    let page = |arguments: String| {
        let (shop, token) = (&shop, &token);
        async move {
            let document = format!(
                "{{ orders({arguments}) {{ nodes {{ id }} edges {{ cursor }} pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
            );
            shop.ask(token, &document, json!({})).await
        }
    };
    let ids = |answer: &crate::support::Answer| -> Vec<String> {
        answer.at("/orders/nodes").as_array().unwrap().iter().map(|n| n["id"].as_str().unwrap().to_owned()).collect()
    };
    let first = page("first: 2".into()).await;
    assert_eq!(ids(&first), placed[..2]);
    assert_eq!(
        (first.at("/orders/pageInfo/hasNextPage"), first.at("/orders/pageInfo/hasPreviousPage")),
        (json!(true), json!(false))
    );
    let second = page(format!("first: 2, after: {}", first.at("/orders/pageInfo/endCursor"))).await;
    assert_eq!(ids(&second), placed[2..4]);
    let last = page(format!("first: 2, after: {}", second.at("/orders/pageInfo/endCursor"))).await;
    assert_eq!((ids(&last), last.at("/orders/pageInfo/hasNextPage")), (placed[4..].to_vec(), json!(false)));
    let from_the_end = page("last: 2".into()).await;
    assert_eq!(ids(&from_the_end), placed[3..]);
    let before = page(format!("last: 2, before: {}", from_the_end.at("/orders/pageInfo/startCursor"))).await;
    assert_eq!(ids(&before), placed[1..3]);
    for wrong in ["first: 0", "first: 51", "last: -1", "first: 2, before: \"x\""] {
        assert_eq!(page(wrong.into()).await.code(), "BAD_USER_INPUT", "{wrong}");
    }
}

#[tokio::test]
async fn the_header_and_the_argument_must_agree() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, _) = shop.open_order("TEA").await;
    let key = Shop::key();
    let send = |header: String| {
        let body = json!({"query": format!("mutation {{ cancelOrder(idempotencyKey: \"{key}\", input: {{orderId: \"{order}\"}}) {{ replayed }} }}")});
        let token = shop.token("alice", "customer");
        shop.http()
            .post(shop.url("/graphql"))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"))
            .header("idempotency-key", header)
            .body(body.to_string())
            .send()
    };
    let other: Value = serde_json::from_str(&send(Shop::key()).await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(other["errors"][0]["extensions"]["code"], "IDEMPOTENCY_KEY_INVALID");
    let same: Value = serde_json::from_str(&send(key.clone()).await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(same["data"]["cancelOrder"]["replayed"], false, "{same}");
}

#[tokio::test]
async fn health_and_metrics_answer() {
    let shop = Shop::open(Backend::Sqlite).await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(shop.http().get(shop.url(path)).send().await.unwrap().status(), 200, "{path}");
    }
    shop.create("alice", &Shop::key(), "TEA", 1, false).await.at("/createOrder");
    let shown = shop.http().get(shop.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(shown.contains("payonce_operations_total{operation=\"createOrder\",outcome=\"new\"}"), "{shown}");
}

#[tokio::test]
async fn a_nul_is_refused_before_any_database_sees_it() {
    for backend in [Backend::Sqlite, Backend::PostgresAndRedis] {
        let shop = Shop::open(backend).await;
        for (document, variables) in [
            ("query($sku: String!) { product(sku: $sku) { name } }", json!({"sku": "T\u{0}"})),
            ("{ product(sku: \"T\\u0000\") { name } }", json!({})),
            ("query($sku: String!) { products(after: $sku) { nodes { name } } }", json!({"sku": "\u{0}"})),
        ] {
            let answer = shop.ask("", document, variables).await;
            assert_eq!(answer.code(), "BAD_USER_INPUT", "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn graphiql_and_code_generators_can_introspect() {
    let shop = Shop::open(Backend::Sqlite).await;
    let standard = include_str!("../../src/http/document/introspection.graphql");
    let answer = shop.ask("", standard, json!({})).await;
    assert!(answer.at("/__schema/types").as_array().unwrap().len() > 30);
}

#[tokio::test]
async fn the_pages_come_with_a_policy_that_names_no_other_origin() {
    let shop = Shop::open(Backend::Sqlite).await;
    for path in ["/admin/", "/shop/"] {
        let page = shop.http().get(shop.url(path)).send().await.unwrap();
        assert_eq!(page.status(), 200, "{path}: is the web bundle built?");
        let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("http") && !policy.contains("unsafe-eval"),
            "{policy}"
        );
        assert!(page.text().await.unwrap().contains("<script"));
    }
}

#[tokio::test]
async fn a_variable_that_is_missing_is_the_clients_mistake() {
    let shop = Shop::open(Backend::Sqlite).await;
    let token = shop.token("alice", "customer");
    for document in [
        "query($id: ID!) { order(id: $id) { id } }",
        "mutation($k: IdempotencyKey!, $i: CreateOrderInput!) { createOrder(idempotencyKey: $k, input: $i) { replayed } }",
    ] {
        assert_eq!(shop.ask(&token, document, json!({})).await.code(), "GRAPHQL_VALIDATION_FAILED", "{document}");
    }
}

#[tokio::test]
async fn a_name_that_stands_twice_in_the_variables_is_refused() {
    let shop = Shop::open(Backend::Sqlite).await;
    let input = r#"{"lines":[{"sku":"TEA","quantity":1,"quantity":100}]}"#;
    let document =
        "mutation($i: CreateOrderInput!) { createOrder(idempotencyKey: \"0123456789abcdef\", input: $i) { replayed } }";
    let body = format!(r#"{{"query":{},"variables":{{"i":{input}}}}}"#, json!(document));
    let token = shop.token("alice", "customer");
    let sent = shop.http().post(shop.url("/graphql")).header("content-type", "application/json");
    let response = sent.header("authorization", format!("Bearer {token}")).body(body).send().await.unwrap();
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(body["errors"][0]["extensions"]["code"], "GRAPHQL_PARSE_FAILED", "{body}");
}

#[tokio::test]
async fn the_admin_has_a_listener_of_its_own_where_one_is_named() {
    let shop = Shop::open_with(Backend::Sqlite, &[("PAYONCE_ADMIN_LISTEN", "127.0.0.1:0")]).await;
    let admin = |path: &str| format!("http://{}{path}", shop.app.admin_address);
    assert_ne!(shop.app.admin_address, shop.app.address);
    for path in ["/admin/", "/metrics", "/healthz"] {
        assert_eq!(shop.http().get(admin(path)).send().await.unwrap().status(), 200, "{path}");
        assert_eq!(shop.http().get(shop.url(path)).send().await.unwrap().status(), 404, "{path} in public");
    }
    // The console asks its own origin; gateways have no business there.
    let body = json!({"query": "{ __typename }"}).to_string();
    let asked = shop.http().post(admin("/graphql")).header("content-type", "application/json").body(body);
    assert_eq!(asked.send().await.unwrap().status(), 200);
    assert_eq!(shop.http().post(admin("/notify/wechat_pay")).send().await.unwrap().status(), 404);
}
