//! Clients that mean harm, or are broken: what they cost is bounded, and nobody else notices.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt, future::join_all};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::super::PATIENCE;
use super::support::{Client, Server, server, server_with, token};

const PROTOCOL: (&str, &str) = ("sec-websocket-protocol", "graphql-transport-ws");

fn watch(order: &str) -> String {
    format!("subscription {{ paymentStatus(orderId: \"{order}\") {{ version }} }}")
}

/// What a task is made of is held for as long as its socket is open.
#[test]
fn an_idle_socket_is_small() {
    fn size<A, B, C, D, F>(_: impl FnOnce(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }
    let size = size(super::super::connection::serve);
    assert!(size < 2_048, "{size} bytes");
}

/// What this process holds in memory, both sides of every socket, in MiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

async fn introduced(server: &Server, sub: &str, headers: &[(&'static str, &str)]) -> Client {
    let mut client = server.dial(headers).await.unwrap_or_else(|e| panic!("{e:?}"));
    let bearer = format!("Bearer {}", token(server, sub, 3_600));
    client.say(json!({"type": "connection_init", "payload": {"Authorization": bearer}})).await;
    assert_eq!(client.hear().await, json!({"type": "connection_ack"}));
    client
}

#[tokio::test]
async fn nobody_sees_what_is_anothers() {
    let server = server().await;
    let order = server.order().await;
    let mut mallory = introduced(&server, "mallory", &[PROTOCOL]).await;
    assert_eq!(mallory.refusal("1", &watch(&order)).await, "NOT_FOUND");
    // Of two tokens the one in the first message holds.
    let alices = format!("Bearer {}", token(&server, "alice", 3_600));
    let mut both = introduced(&server, "mallory", &[PROTOCOL, ("authorization", &alices)]).await;
    assert_eq!(both.refusal("1", &watch(&order)).await, "NOT_FOUND");
    // And the number of a payment is no order.
    let payment = order.replacen("ord_", "pay_", 1);
    for (client, id) in [(&mut mallory, &payment), (&mut both, &payment)] {
        assert_eq!(client.refusal("1", &watch(id)).await, "NOT_FOUND", "{id}");
    }
    // Without a first token nobody is anybody, whoever the second one is.
    let mut nobody = server.anonymous().await;
    assert_eq!(nobody.refusal("1", &watch(&order)).await, "UNAUTHENTICATED");
    let bearer = format!("Bearer {}", token(&server, "alice", 3_600));
    nobody.say(json!({"type": "connection_init", "payload": {"authorization": bearer}})).await;
    assert_eq!(nobody.closed().await.0, 4429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_thousand_subscriptions_ten_run() {
    const ALL: usize = 20_000;
    let server = server().await;
    let order = server.order().await;
    let (mut write, mut read) = introduced(&server, "alice", &[PROTOCOL]).await.0.split();
    let query = watch(&order);
    let asking = async {
        for n in 0..ALL {
            let message = json!({"id": n.to_string(), "type": "subscribe", "payload": {"query": query}});
            write.send(Message::text(message.to_string())).await.unwrap();
        }
    };
    let hearing = async {
        let (mut running, mut refused) = (0, 0);
        while running + refused < ALL {
            let heard = tokio::time::timeout(Duration::from_secs(10), read.next()).await.expect("nothing came");
            let Some(Ok(Message::Text(text))) = heard else { continue };
            let heard: Value = serde_json::from_str(&text).unwrap();
            match heard["type"].as_str() {
                Some("next") => running += 1,
                _ => {
                    assert_eq!(heard["payload"][0]["extensions"]["code"], "LIMIT_EXCEEDED", "{heard}");
                    refused += 1;
                }
            }
        }
        (running, refused)
    };
    let ((), counted) = tokio::join!(asking, hearing);
    assert_eq!(counted, (10, ALL - 10));
    drop((write, read));
    server.empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_megabytes_in_fragments_are_not_collected() {
    let server = server().await;
    let before = memory();
    let mut client = server.anonymous().await;
    let part = vec![b'x'; 16 * 1024];
    let mut sent = 0;
    for n in 0..(60 << 20) / part.len() {
        let kind = OpCode::Data(if n == 0 { Data::Text } else { Data::Continue });
        // A client may be cut off while it still sends.
        if client.0.send(Message::Frame(Frame::message(part.clone(), kind, false))).await.is_err() {
            break;
        }
        sent += part.len();
    }
    assert_eq!(client.closed().await.0, 1009, "after {sent} bytes");
    let grown = memory().saturating_sub(before);
    assert!(grown < 32, "{grown} MiB more");
    server.empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pings_is_answered_and_disturbs_nobody() {
    const PINGS: usize = 20_000;
    let server = server().await;
    let (mut write, mut read) = server.anonymous().await.0.split();
    let asking = async move {
        for n in 0..PINGS {
            // Of the protocol, and of WebSockets.
            let ping = if n % 2 == 0 { Message::text("{\"type\":\"ping\"}") } else { Message::Ping("x".into()) };
            write.feed(ping).await.unwrap();
        }
        write.flush().await.unwrap();
        write
    };
    let hearing = async move {
        let mut pongs = 0;
        while pongs < PINGS / 2 {
            let heard = tokio::time::timeout(Duration::from_secs(10), read.next()).await.expect("nothing came");
            pongs += usize::from(matches!(heard, Some(Ok(Message::Text(_)))));
        }
    };
    let flood = tokio::spawn(async { tokio::join!(asking, hearing) });
    let mut other = server.anonymous().await;
    let mut asked = 0;
    while !flood.is_finished() || asked == 0 {
        let since = Instant::now();
        other.say(json!({"type": "ping"})).await;
        assert_eq!(other.hear().await["type"], "pong");
        assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
        asked += 1;
    }
    drop(flood.await.unwrap());
}

/// Ten clients ask and never read; each is let go in time, and what waits for them stays small.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_is_let_go_within_ten_seconds_and_costs_little() {
    let server = server_with(PATIENCE, 100, None).await;
    let long = json!({"type": "ping", "payload": {"x": "x".repeat(30_000)}}).to_string();
    let mut deaf = Vec::new();
    for _ in 0..10 {
        deaf.push(server.anonymous().await);
    }
    let before = memory();
    let floods = deaf.into_iter().map(|mut client| {
        let long = long.clone();
        // Until nothing is taken any more; how long it was let wait then, before the socket was closed.
        tokio::spawn(async move {
            loop {
                let since = Instant::now();
                if client.0.send(Message::text(long.clone())).await.is_err() {
                    return since.elapsed();
                }
            }
        })
    });
    let (mut floods, mut most) = (join_all(floods), 0);
    let waits = loop {
        match tokio::time::timeout(Duration::from_millis(100), &mut floods).await {
            Ok(waits) => break waits,
            Err(_) => most = most.max(memory().saturating_sub(before)),
        }
    };
    for wait in waits {
        let wait = wait.unwrap();
        assert!(wait < Duration::from_secs(10), "{wait:?}");
    }
    // Half a mebibyte may wait to be written to each.
    assert!(most < 48, "{most} MiB more");
    server.empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_that_hang_up_leave_nothing() {
    const ALL: usize = 10_000;
    const AT_ONCE: usize = 50;
    let server = server_with(PATIENCE, ALL, None).await;
    let order = server.order().await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let bearer = format!("Bearer {}", token(&server, "alice", 3_600));
    let init = json!({"type": "connection_init", "payload": {"authorization": bearer}});
    let subscribe = json!({"id": "1", "type": "subscribe", "payload": {"query": watch(&order)}});
    let words = [upgrade(), frame(&init.to_string()), frame(&subscribe.to_string())].concat();
    let clients = (0..AT_ONCE).map(|client| {
        let (address, words) = (server.address, words.clone());
        async move {
            for n in 0..ALL / AT_ONCE {
                let mut socket = TcpStream::connect(address).await.unwrap();
                // What is sent last is a reset, not a goodbye.
                socket.set_zero_linger().unwrap();
                // Some leave in the middle of it, some at once, some when they have heard something.
                let some = if (n + client) % 4 == 0 { words.len() * 2 / 3 } else { words.len() };
                socket.write_all(&words[..some]).await.unwrap();
                if (n + client) % 4 > 1 {
                    let mut heard = Vec::with_capacity(2_048);
                    socket.read_buf(&mut heard).await.ok();
                }
            }
        }
    });
    join_all(clients).await;
    server.empty().await;
    let until = Instant::now() + Duration::from_secs(5);
    while tasks() > before && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(tasks() <= before, "{} tasks, {before} before", tasks());
}

fn upgrade() -> Vec<u8> {
    b"GET /graphql HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
      sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: graphql-transport-ws\r\n\r\n"
        .to_vec()
}

/// A text in one frame, masked with zeros.
fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    assert!(length > 125);
    [&[0x81, 0xfe], &length.to_be_bytes()[..], &[0; 4], text.as_bytes()].concat()
}
