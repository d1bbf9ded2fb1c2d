//! How often: by subject and by address, over every way in, before anything else costs.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::event_stream::EventStream;
use crate::support::shop::eventually;
use crate::support::watcher::Watcher;
use crate::support::{Backend, Shop};

const ORDERS: &str = "{ orders { nodes { id } } }";
const GRAPHQL: &str = "application/graphql-response+json";

/// A request with headers of its own.
async fn send(shop: &Shop, token: &str, headers: &[(&str, &str)]) -> (u16, Option<String>, Value) {
    let mut request = shop.http().post(shop.url("/graphql")).header("content-type", "application/json");
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.body(json!({"query": "{ __typename }"}).to_string()).send().await.unwrap();
    let after = response.headers().get("retry-after").map(|v| v.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    (status, after, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

fn is_limited(body: &Value) -> bool {
    let code = &body["errors"][0]["extensions"]["code"];
    assert!(code.is_null() || code == "RATE_LIMITED", "{body}");
    !code.is_null()
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let shop = Shop::open_with(Backend::Sqlite, &[("PAYONCE_RATE_SUBJECT", "3/m")]).await;
    let (alice, bob) = (shop.token("alice", "customer"), shop.token("bob", "customer"));
    for _ in 0..3 {
        assert!(!is_limited(&send(&shop, &alice, &[]).await.2));
    }
    let (status, after, body) = send(&shop, &alice, &[("accept", GRAPHQL)]).await;
    assert_eq!((status, after.as_deref()), (429, Some("20")), "{body}");
    let extensions = &body["errors"][0]["extensions"];
    assert_eq!(
        extensions,
        &json!({"code": "RATE_LIMITED", "retryable": true, "retrySameKey": true, "retryAfterMs": 20_000})
    );
    assert!(body.get("data").is_none());
    let (status, after, body) = send(&shop, &alice, &[]).await;
    assert!(status == 200 && after.as_deref() == Some("20") && is_limited(&body), "plain JSON: {status} {body}");
    assert!(!is_limited(&send(&shop, &bob, &[]).await.2), "nobody else is held up");
    assert!(!is_limited(&send(&shop, "", &[]).await.2));

    // A mutation that is refused has not begun: the same key goes through later.
    let key = Shop::key();
    let refused = shop.create("alice", &key, "TEA", 1, false).await;
    assert_eq!(refused.code(), "RATE_LIMITED");
    shop.clock.turn(domain::Duration::seconds(20));
    assert_eq!(shop.create("alice", &key, "TEA", 1, false).await.at("/createOrder/replayed"), json!(false));
    assert_eq!(shop.create("alice", &key, "TEA", 1, false).await.code(), "RATE_LIMITED", "a replay counts, too");
}

#[tokio::test]
async fn sockets_and_streams_count_like_requests() {
    let shop = Shop::open_with(Backend::Sqlite, &[("PAYONCE_RATE_SUBJECT", "4/m")]).await;
    let alice = shop.token("alice", "customer");
    let mut socket = Watcher::connect(&shop).await;
    socket.say(json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {alice}")}})).await;
    assert_eq!(socket.hear().await["type"], "connection_ack");
    for id in ["1", "2"] {
        socket.say(json!({"id": id, "type": "subscribe", "payload": {"query": ORDERS}})).await;
        assert_eq!(
            (socket.hear().await["type"].clone(), socket.hear().await["type"].clone()),
            (json!("next"), json!("complete"))
        );
    }
    assert_eq!(EventStream::open(&shop, &alice, ORDERS, json!({})).await.status(), 200);
    socket.say(json!({"id": "3", "type": "subscribe", "payload": {"query": ORDERS}})).await;
    let refused = socket.hear().await;
    assert_eq!(
        (&refused["type"], &refused["payload"][0]["extensions"]["code"]),
        (&json!("error"), &json!("RATE_LIMITED"))
    );
    assert!(refused["payload"][0]["extensions"]["retryAfterMs"].is_u64());
    let stream = EventStream::open(&shop, &alice, ORDERS, json!({})).await;
    assert_eq!((stream.status(), stream.header("retry-after")), (429, "15"));
    let mut again = Watcher::connect(&shop).await;
    again.say(json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {alice}")}})).await;
    assert_eq!(again.hear().await, json!({"closed": 1013}));
}

#[tokio::test]
async fn an_address_is_refused_before_its_body_is_read_or_its_token_checked() {
    let shop = Shop::open_with(Backend::Sqlite, &[("PAYONCE_RATE_ADDRESS", "2/m")]).await;
    let say = async |words: &str| {
        let mut stream = TcpStream::connect(shop.app.address).await.unwrap();
        stream.write_all(words.as_bytes()).await.unwrap();
        let mut heard = [0; 12];
        stream.read_exact(&mut heard).await.unwrap();
        String::from_utf8(heard.to_vec()).unwrap()
    };
    let without_body = format!(
        "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAccept: {GRAPHQL}\r\n\
         Authorization: Bearer nonsense\r\nContent-Length: 1000\r\n\r\n"
    );
    for _ in 0..2 {
        assert_eq!(say(&without_body).await, "HTTP/1.1 401", "bad tokens count");
    }
    assert_eq!(say(&without_body).await, "HTTP/1.1 429");
    assert_eq!(EventStream::open(&shop, "", ORDERS, json!({})).await.status(), 429);
    let upgrade = "GET /graphql HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n";
    assert_eq!(say(upgrade).await, "HTTP/1.1 429");
    // Money's news comes in whatever else does.
    assert_eq!(shop.http().post(shop.url("/notify/wechat_pay")).send().await.unwrap().status(), 401);
    assert_eq!(shop.http().get(shop.url("/healthz")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn behind_a_proxy_of_ours_each_client_is_its_own_address() {
    let settings = [("PAYONCE_RATE_ADDRESS", "1/m"), ("PAYONCE_TRUSTED_PROXIES", "127.0.0.0/8,10.0.0.0/8")];
    let shop = Shop::open_with(Backend::Sqlite, &settings).await;
    let limited = async |forwarded: &str| is_limited(&send(&shop, "", &[("x-forwarded-for", forwarded)]).await.2);
    assert!(!limited("203.0.113.1").await && limited("203.0.113.1").await);
    assert!(!limited("203.0.113.2").await);
    assert!(limited("198.51.100.1, 203.0.113.1").await, "what the client says of itself changes nothing");
    assert!(limited("203.0.113.1, 10.0.0.7").await);
    assert!(!limited("2001:db8::1").await && limited("2001:db8::2").await, "a /64 is one");
    assert!(!limited("nonsense").await && limited("more nonsense").await, "garbage is the proxy's address");

    let nobodys = Shop::open_with(Backend::Sqlite, &settings[..1]).await;
    assert!(!is_limited(&send(&nobodys, "", &[("x-forwarded-for", "203.0.113.1")]).await.2));
    assert!(is_limited(&send(&nobodys, "", &[("x-forwarded-for", "203.0.113.2")]).await.2), "nobody is believed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_count_together_through_redis() {
    let backend = Backend::PostgresAndRedis;
    let settings = [("PAYONCE_RATE_SUBJECT", "100/m")];
    let one = Shop::open_with(backend, &settings).await;
    let two = Shop::open_on(backend, one.database_url.clone(), one.clock.clone(), &settings).await;
    let token = one.token(&format!("alice of {}", Shop::key()), "customer");
    for n in 0..100 {
        assert!(!is_limited(&send(&one, &token, &[]).await.2), "{n}");
    }
    assert!(is_limited(&send(&one, &token, &[]).await.2));
    let mut let_in = 0;
    eventually("the other process to hear of it", async || {
        let limited = is_limited(&send(&two, &token, &[]).await.2);
        let_in += usize::from(!limited);
        limited
    })
    .await;
    // By itself it would have let in a hundred.
    assert!((1..90).contains(&let_in), "{let_in}");
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn without_redis_each_process_keeps_its_own_limit() {
    let settings = [("PAYONCE_RATE_SUBJECT", "3/m"), ("PAYONCE_REDIS_URL", "redis://127.0.0.1:1")];
    let shop = Shop::open_with(Backend::Sqlite, &settings).await;
    let token = shop.token("alice", "customer");
    for _ in 0..3 {
        assert!(!is_limited(&send(&shop, &token, &[]).await.2));
    }
    assert!(is_limited(&send(&shop, &token, &[]).await.2));
    shop.clock.turn(domain::Duration::seconds(20));
    assert!(!is_limited(&send(&shop, &token, &[]).await.2));
}

#[tokio::test]
async fn the_payers_address_reaches_the_gateway_and_no_fingerprint() {
    let shop = Shop::open_with(Backend::Sqlite, &[("PAYONCE_TRUSTED_PROXIES", "127.0.0.1")]).await;
    let token = shop.token("alice", "customer");
    let send = async |document: &str, variables: Value, from: &str| {
        let request = shop.http().post(shop.url("/graphql")).header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {token}")).header("x-forwarded-for", from);
        let body = json!({"query": document, "variables": variables}).to_string();
        let text = request.body(body).send().await.unwrap().text().await.unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let payment = json!({"gateway": "WECHAT_PAY", "product": "H5"});
    let create = "mutation($key: IdempotencyKey!, $input: CreateOrderInput!) { createOrder(idempotencyKey: $key, input: $input) { replayed order { id } payment { id } } }";
    let variables =
        json!({"key": Shop::key(), "input": {"lines": [{"sku": "TEA", "quantity": 1}], "payment": payment}});
    let made = send(create, variables.clone(), "203.0.113.1").await["data"]["createOrder"].clone();
    assert_eq!(made["replayed"], false, "{made}");
    let again = send(create, variables, "203.0.113.2").await["data"]["createOrder"].clone();
    assert_eq!((&again["replayed"], &again["payment"]), (&json!(true), &made["payment"]), "from elsewhere");

    let repay = "mutation($key: IdempotencyKey!, $input: RepayOrderInput!) { repayOrder(idempotencyKey: $key, input: $input) { replayed payment { id } } }";
    let input = json!({"orderId": made["order"]["id"], "payment": payment});
    let same = send(repay, json!({"key": Shop::key(), "input": input}), "203.0.113.1").await;
    assert_eq!(same["data"]["repayOrder"]["payment"], made["payment"], "{same}");
    let moved = send(repay, json!({"key": Shop::key(), "input": input}), "203.0.113.3").await;
    assert_ne!(moved["data"]["repayOrder"]["payment"], made["payment"], "its page would turn them away: {moved}");

    let id = domain::OrderId::parse(made["order"]["id"].as_str().unwrap()).unwrap();
    let staff = payonce::payments::Caller {
        subject: "sam".into(),
        roles: vec![payonce::payments::Role::Support],
        expires_at: shop.app.payments.now(),
    };
    let order = shop.app.payments.order(&staff, &id).await.unwrap();
    let addresses: Vec<String> =
        order.payments.iter().map(|p| p.request.payer_address.map(|a| a.to_string()).unwrap_or_default()).collect();
    assert_eq!(addresses, ["203.0.113.1", "203.0.113.3"]);
}
