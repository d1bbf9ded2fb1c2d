mod hostile;
mod support;

use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use futures_util::{SinkExt, StreamExt};

use super::{PATIENCE, Patience};
use crate::payments::{Caller, Role};
use support::{server, server_with, token};

#[tokio::test]
async fn only_known_origins_and_the_one_protocol_get_in() {
    let server = server().await;
    let protocol = ("sec-websocket-protocol", "graphql-transport-ws");
    let own = format!("http://{}", server.address);
    for origin in ["https://shop.example", "https://pay.example", &own, "HTTPS://SHOP.EXAMPLE"] {
        assert!(server.dial(&[protocol, ("origin", origin)]).await.is_ok(), "{origin}");
    }
    for origin in [
        "https://evil.example",
        "null",
        "",
        "https://shop.example.evil.example",
        "https://shop.example:8443",
        "file://",
    ] {
        let (status, body) = server.dial(&[protocol, ("origin", origin)]).await.err().unwrap();
        assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (403, &json!("FORBIDDEN")), "{origin}");
    }
    assert_eq!(
        server
            .dial(&[protocol, ("origin", "https://shop.example"), ("origin", "https://pay.example")])
            .await
            .err()
            .unwrap()
            .0,
        403
    );
    for wrong in ["graphql-ws", "x", "GRAPHQL-TRANSPORT-WS"] {
        assert_eq!(server.dial(&[("sec-websocket-protocol", wrong)]).await.err().unwrap().0, 400, "{wrong}");
    }
    assert_eq!(server.dial(&[]).await.err().unwrap().0, 400);
    assert!(server.dial(&[("sec-websocket-protocol", "graphql-ws, graphql-transport-ws")]).await.is_ok());
    let (status, body) = server.dial(&[protocol, ("authorization", "Bearer a.b.c")]).await.err().unwrap();
    assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (401, &json!("UNAUTHENTICATED")));
    server.empty().await;
}

#[tokio::test]
async fn more_sockets_than_allowed_are_refused() {
    let server = server_with(PATIENCE, 2, Some(1)).await;
    let first = server.alice().await;
    let mut second = server.raw().await;
    let (status, body) = server.dial(&[("sec-websocket-protocol", "graphql-transport-ws")]).await.err().unwrap();
    assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (503, &json!("OVERLOADED")));
    let bearer = format!("Bearer {}", token(&server, "alice", 60));
    second.say(json!({"type": "connection_init", "payload": {"Authorization": bearer}})).await;
    assert_eq!(second.closed().await.0, 1013);
    drop((first, second));
    server.empty().await;
    server.alice().await;
}

#[tokio::test]
async fn the_protocol_is_kept_to_the_letter() {
    let server = server_with(Patience { init: Duration::from_millis(300), ..PATIENCE }, 100, None).await;
    assert_eq!(server.raw().await.closed().await, (4408, "Connection initialisation timeout".into()));

    let mut client = server.raw().await;
    client.subscribe("a", "{ __typename }").await;
    assert_eq!(client.closed().await, (4401, "Unauthorized".into()));

    let mut client = server.anonymous().await;
    client.say(json!({"type": "connection_init"})).await;
    assert_eq!(client.closed().await, (4429, "Too many initialisation requests".into()));

    let good = json!({"query": "{ __typename }"});
    let subscribe = |id: Value, payload: Value| json!({"type": "subscribe", "id": id, "payload": payload}).to_string();
    for garbage in [
        "",
        " ",
        "x",
        "[]",
        "1",
        "null",
        "{}",
        "{\"type\":1}",
        "{\"type\":\"start\"}",
        "[\"ping\"]",
        "{\"type\":\"ping\",\"payload\":1}",
        "{\"type\":\"pong\",\"payload\":[]}",
        "{\"type\":\"ping\",\"type\":\"ping\"}",
        "{\"type\":\"complete\"}",
        "{\"type\":\"connection_ack\"}",
        &"[".repeat(30_000),
        &format!("{{\"type\":\"ping\",\"payload\":{}", "{\"a\":".repeat(5_000)),
        &subscribe(json!(1), good.clone()),
        &subscribe(json!(""), good.clone()),
        &subscribe(json!(null), good.clone()),
        &subscribe(json!("x".repeat(129)), good.clone()),
        &subscribe(json!("a"), json!(null)),
        &subscribe(json!("a"), json!([])),
        &subscribe(json!("a"), json!({})),
        &subscribe(json!("a"), json!({"query": 1})),
        "{\"type\":\"subscribe\",\"id\":\"a\",\"payload\":[\"{ a }\"]}",
        "{\"type\":\"subscribe\",\"id\":\"a\",\"payload\":{\"query\":\"{ a }\",\"query\":\"{ b }\"}}",
        &subscribe(json!("a"), json!({"query": "{ a }", "variables": [1]})),
        &subscribe(json!("a"), json!({"query": "{ a }", "variables": "x"})),
        &subscribe(json!("a"), json!({"query": "{ a }", "operationName": 1})),
        &subscribe(json!("a"), json!({"query": "{ a }", "extensions": 1})),
    ] {
        let mut client = server.anonymous().await;
        client.send(Message::text(garbage)).await;
        assert_eq!(client.closed().await.0, 4400, "{}", &garbage[..garbage.len().min(80)]);
    }
    let mut client = server.raw().await;
    client.say(json!({"type": "connection_init", "payload": [1]})).await;
    assert_eq!(client.closed().await.0, 4400);
    let mut client = server.anonymous().await;
    client.send(Message::binary(b"{}".to_vec())).await;
    assert_eq!(client.closed().await.0, 4400);

    let mut client = server.raw().await;
    client.say(json!({"type": "ping", "payload": {"a": 1}})).await;
    assert_eq!(client.hear().await, json!({"type": "pong", "payload": {"a": 1}}));
    client.say(json!({"type": "pong"})).await;
    client.say(json!({"type": "complete", "id": "never seen"})).await;
    client.say(json!({"type": "ping"})).await;
    assert_eq!(client.hear().await, json!({"type": "pong"}));
    drop(client);
    server.empty().await;
}

#[tokio::test]
async fn messages_that_are_too_long_close_the_socket() {
    let server = server().await;
    for size in [33 * 1024, 63 * 1024, 15 * 1024 * 1024] {
        let mut client = server.anonymous().await;
        // A client may be cut off while it still sends.
        client.0.send(Message::text("x".repeat(size))).await.ok();
        assert_eq!(client.closed().await.0, 1009, "{size}");
    }
    server.empty().await;
}

#[tokio::test]
async fn tokens_are_judged_and_end_their_sockets() {
    let server = server().await;
    let old = token(&server, "alice", 60);
    server.clock.0.send_modify(|now| *now += domain::Duration::seconds(91));
    for (authorization, reason) in [
        (json!(format!("Bearer {old}")), "Token expired"),
        (json!("Bearer a.b.c"), "Forbidden"),
        (json!(old), "Forbidden"),
        (json!(""), "Forbidden"),
        (json!(["Bearer"]), "Forbidden"),
    ] {
        let mut client = server.raw().await;
        client.say(json!({"type": "connection_init", "payload": {"authorization": authorization}})).await;
        assert_eq!(client.closed().await, (4403, reason.into()), "{authorization}");
    }
    let id = server.order().await;
    let mut client = server.alice().await;
    client.subscribe("a", &format!("subscription {{ paymentStatus(orderId: \"{id}\") {{ version }} }}")).await;
    assert_eq!(client.hear().await["type"], "next");
    server.clock.0.send_modify(|now| *now += domain::Duration::seconds(3_601));
    let started = std::time::Instant::now();
    assert_eq!(client.closed().await, (4403, "Token expired".into()));
    assert!(started.elapsed() < Duration::from_secs(1));
    drop(client);
    server.empty().await;
}

#[tokio::test]
async fn queries_and_subscriptions_run_and_mutations_do_not() {
    let server = server().await;
    let mut client = server.anonymous().await;
    client.say(json!({"id": "q", "type": "subscribe", "payload": {
        "query": "query P($n: Int) { products(first: $n) { nodes { sku } } }", "variables": {"n": 1}, "operationName": "P", "extensions": {},
    }})).await;
    let answer = json!({"data": {"products": {"nodes": [{"sku": "TEA"}]}}});
    assert_eq!(client.hear().await, json!({"id": "q", "type": "next", "payload": answer}));
    assert_eq!(client.hear().await, json!({"id": "q", "type": "complete"}));

    for (query, code) in [
        ("mutation { syncOrder(orderId: \"x\") { id } }", "METHOD_NOT_ALLOWED"),
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("query A { __typename } query B { __typename }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ __schema { types { name } } }", "INTROSPECTION_DISABLED"),
        ("{ ...A } fragment A on Query { __type(name: \"Order\") { name } }", "INTROSPECTION_DISABLED"),
        ("subscription { paymentStatus(orderId: \"x\") { version } }", "UNAUTHENTICATED"),
        (&"{".repeat(1_350), "QUERY_TOO_DEEP"),
    ] {
        // The same id again: a refused operation never held it.
        assert_eq!(client.refusal("q", query).await, code, "{query}");
    }
    // A failed field has an answer, with its error.
    client.subscribe("q", "{ me: orders(first: 1) { nodes { id } } }").await;
    let heard = client.hear().await;
    assert_eq!(
        (&heard["type"], &heard["payload"]["errors"][0]["extensions"]["code"]),
        (&json!("next"), &json!("UNAUTHENTICATED"))
    );
    assert_eq!(client.hear().await["type"], "complete");
    drop(client);
    server.empty().await;
}

#[tokio::test]
async fn a_watched_order_tells_its_changes_until_it_is_closed() {
    let server = server().await;
    let id = server.order().await;
    let watch = |id: &str| format!("subscription {{ paymentStatus(orderId: \"{id}\") {{ orderStatus version }} }}");
    let mut client = server.alice().await;
    client.subscribe("w", &watch(&id)).await;
    let first = client.hear().await;
    assert_eq!(first["payload"]["data"]["paymentStatus"]["orderStatus"], "PENDING_PAYMENT", "{first}");
    assert_eq!(client.refusal("other", &watch("ord_00000000000000000000000000")).await, "NOT_FOUND");

    let cancel = format!(
        "mutation {{ cancelOrder(idempotencyKey: \"intent-0000000002\", input: {{orderId: \"{id}\"}}) {{ order {{ status }} }} }}"
    );
    let caller = Caller { subject: "alice".into(), roles: vec![Role::Customer], expires_at: server.payments.now() };
    let schema = crate::graphql::schema(server.payments.clone());
    let answer = schema.execute(async_graphql::Request::new(cancel).data(caller)).await;
    assert!(answer.errors.is_empty(), "{:?}", answer.errors);
    let last = client.hear().await;
    assert_eq!(last["payload"]["data"]["paymentStatus"]["orderStatus"], "CLOSED", "{last}");
    assert_eq!(client.hear().await, json!({"id": "w", "type": "complete"}));
    drop(client);
    server.empty().await;
}

#[tokio::test]
async fn ten_operations_run_and_a_completed_one_makes_room() {
    let server = server().await;
    let id = server.order().await;
    let query = format!("subscription {{ paymentStatus(orderId: \"{id}\") {{ version }} }}");
    let mut client = server.alice().await;
    for n in 0..10 {
        client.subscribe(&n.to_string(), &query).await;
        assert_eq!(client.hear().await["type"], "next");
    }
    for _ in 0..100 {
        assert_eq!(client.refusal("more", &query).await, "LIMIT_EXCEEDED");
    }
    client.say(json!({"type": "complete", "id": "3"})).await;
    let mut answer = json!(null);
    for _ in 0..50 {
        client.subscribe("more", &query).await;
        answer = client.hear().await;
        if answer["type"] == "next" {
            break;
        }
    }
    assert_eq!(answer["type"], "next");
    client.subscribe("more", &query).await;
    assert_eq!(client.closed().await.0, 4409);
    drop(client);
    server.empty().await;
}

#[tokio::test]
async fn silent_clients_and_clients_that_do_not_read_are_let_go() {
    let quick = Patience {
        ping: Duration::from_millis(50),
        pong: Duration::from_millis(100),
        send: Duration::from_millis(200),
        ..PATIENCE
    };
    let server = server_with(quick, 100, None).await;
    // Reading answers pings: it stays.
    let mut lively = server.anonymous().await;
    assert!(
        tokio::time::timeout(Duration::from_millis(500), lively.0.next())
            .await
            .is_ok_and(|m| matches!(m, Some(Ok(Message::Ping(_)))))
    );
    for _ in 0..6 {
        tokio::time::timeout(Duration::from_millis(100), lively.0.next()).await.ok();
    }
    lively.say(json!({"type": "ping"})).await;
    assert_eq!(lively.hear().await["type"], "pong");
    drop(lively);
    server.empty().await;
    // Not reading: no pong.
    let silent = server.anonymous().await;
    server.empty().await;
    drop(silent);

    let patient = Patience { send: Duration::from_millis(200), ..PATIENCE };
    let server = server_with(patient, 100, None).await;
    let mut deaf = server.anonymous().await;
    let long = "x".repeat(30_000);
    let flood = async {
        loop {
            // The server answers each with as much; nobody reads the answers.
            if deaf.0.send(Message::text(json!({"type": "ping", "payload": {"x": long}}).to_string())).await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(8), flood).await.expect("it was never closed");
    server.empty().await;
}

#[tokio::test]
async fn a_stopping_server_says_goodbye() {
    let server = server().await;
    let mut client = server.alice().await;
    server.payments.stop(Duration::from_secs(1)).await;
    assert_eq!(client.closed().await, (1001, "Going away".into()));
    drop(client);
    server.empty().await;
}
