//! A server with nothing behind it but an empty database, and clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{State, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::routing::get;
use domain::{Currency, Money, NumberKey, Timestamp};
use futures_util::{SinkExt, StreamExt};
use migration::MigratorTrait;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::super::{PATIENCE, Patience, SocketSettings, Sockets, upgrade};
use crate::coordination::InProcessCoordination;
use crate::http::document::Limits;
use crate::http::operation::Executor;
use crate::http::token::{NewToken, TokenKeys, TokenVerifier, mint};
use crate::payments::ports::{BoxFuture, Clock};
use crate::payments::{Caller, Payments, Role, Settings};
use crate::store::{Product, Store, StoreOptions};

const SECRET: &str = "a-secret-of-enough-bytes-for-HS256";

pub(super) struct Hands(pub watch::Sender<Timestamp>);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        let mut hands = self.0.subscribe();
        Box::pin(async move {
            hands.wait_for(|now| *now >= at).await.ok();
        })
    }
}

pub(super) struct Server {
    pub address: SocketAddr,
    sockets: Arc<Sockets>,
    pub payments: Payments,
    pub clock: Arc<Hands>,
    file: std::path::PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        for part in ["db", "db-wal", "db-shm"] {
            std::fs::remove_file(self.file.with_extension(part)).ok();
        }
    }
}

pub(super) async fn server_with(patience: Patience, per_process: usize, per_subject: Option<usize>) -> Server {
    let mut id = [0; 8];
    aws_lc_rs::rand::fill(&mut id).unwrap();
    let file = std::env::temp_dir().join(format!("payonce-socket-{}.db", hex::encode(id)));
    let url = format!("sqlite://{}?mode=rwc", file.display());
    let store = Store::connect(&StoreOptions { url, max_connections: 4 }).await.unwrap();
    migration::Migrator::up(store.for_migrations(), None).await.unwrap();
    let tea =
        Product { sku: "TEA".into(), name: "Tea".into(), price: Money::new(1_280, Currency::parse("CNY").unwrap()) };
    let tx = store.begin().await.unwrap();
    tx.put_products(&[tea]).await.unwrap();
    tx.commit().await.unwrap();
    let clock = Arc::new(Hands(watch::Sender::new(Timestamp::from_timestamp(1_790_000_000, 0).unwrap())));
    let settings = Settings {
        key_retention: Duration::from_secs(30 * 86_400),
        max_operations: 1_024,
        order_ttl: Duration::from_secs(1_800),
        repay_margin: Duration::from_secs(60),
        lease: Duration::from_secs(15),
        duplicate_window: Duration::from_secs(5),
        deadline: Duration::from_secs(10),
        public_url: "http://127.0.0.1".into(),
    };
    let key = NumberKey::new(&[7; 32]).unwrap();
    let payments =
        Payments::new(store, Default::default(), Arc::new(InProcessCoordination::new()), clock.clone(), key, settings);
    payments.start();
    let tokens =
        TokenVerifier::new(TokenKeys::Hs256(SECRET.into()), "us".into(), "payonce".into(), clock.clone()).unwrap();
    let settings = SocketSettings {
        per_process,
        per_subject,
        allowed_origins: vec!["https://shop.example".into()],
        public_origin: Some("https://pay.example/".into()),
    };
    let schema = crate::graphql::schema(payments.clone());
    let executor = Arc::new(Executor::new(schema.clone(), schema, Limits::default(), false));
    let sockets = Sockets::new(executor, tokens, payments.clone(), settings);
    let sockets = Arc::new(Sockets { patience, ..sockets });
    let open = |State(sockets): State<Arc<Sockets>>, headers: HeaderMap, ws: WebSocketUpgrade| async move {
        upgrade(sockets, &headers, ws).await
    };
    let router = Router::new().route("/graphql", get(open)).with_state(sockets.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Server { address, sockets, payments, clock, file }
}

pub(super) async fn server() -> Server {
    server_with(PATIENCE, 100, None).await
}

pub(super) fn token(server: &Server, sub: &str, ttl: u64) -> String {
    let roles = ["customer".to_owned()];
    let new = NewToken {
        sub,
        roles: &roles,
        issuer: "us",
        audience: "payonce",
        ttl: Duration::from_secs(ttl),
        now: server.clock.now(),
    };
    mint(&SECRET.into(), new).unwrap()
}

pub(super) struct Client(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

pub(super) type Refused = (u16, Value);

impl Server {
    pub async fn dial(&self, headers: &[(&'static str, &str)]) -> Result<Client, Refused> {
        let mut request = format!("ws://{}/graphql", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((stream, _)) => Ok(Client(stream)),
            Err(tungstenite::Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                Err((response.status().as_u16(), serde_json::from_slice(&body).unwrap_or_default()))
            }
            Err(e) => panic!("{e}"),
        }
    }

    pub async fn raw(&self) -> Client {
        self.dial(&[("sec-websocket-protocol", "graphql-transport-ws")]).await.unwrap_or_else(|e| panic!("{e:?}"))
    }

    pub async fn anonymous(&self) -> Client {
        let mut client = self.raw().await;
        client.say(json!({"type": "connection_init"})).await;
        assert_eq!(client.hear().await, json!({"type": "connection_ack"}));
        client
    }

    pub async fn alice(&self) -> Client {
        let mut client = self.raw().await;
        let bearer = format!("Bearer {}", token(self, "alice", 3_600));
        client.say(json!({"type": "connection_init", "payload": {"authorization": bearer}})).await;
        assert_eq!(client.hear().await, json!({"type": "connection_ack"}));
        client
    }

    pub async fn order(&self) -> String {
        let caller = Caller {
            subject: "alice".into(),
            roles: vec![Role::Customer],
            expires_at: self.clock.now() + domain::Duration::hours(1),
        };
        let mutation = "mutation { createOrder(idempotencyKey: \"intent-0000000001\", input: {lines: [{sku: \"TEA\", quantity: 1}]}) { order { id } } }";
        let schema = crate::graphql::schema(self.payments.clone());
        let answer = schema.execute(async_graphql::Request::new(mutation).data(caller)).await;
        let data = answer.data.into_json().unwrap();
        data["createOrder"]["order"]["id"].as_str().unwrap_or_else(|| panic!("{:?}", answer.errors)).to_owned()
    }

    /// Every socket's place and stream is given back.
    pub async fn empty(&self) {
        for _ in 0..300 {
            if self.sockets.open() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} sockets are still open", self.sockets.open());
    }
}

impl Client {
    pub async fn send(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    pub async fn say(&mut self, message: Value) {
        self.send(Message::text(message.to_string())).await;
    }

    pub async fn subscribe(&mut self, id: &str, query: &str) {
        self.say(json!({"id": id, "type": "subscribe", "payload": {"query": query}})).await;
    }

    pub async fn next(&mut self) -> Option<Message> {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(4), self.0.next()).await.expect("nothing came");
            match next {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return Some(message),
                Some(Err(_)) | None => return None,
            }
        }
    }

    pub async fn hear(&mut self) -> Value {
        match self.next().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The code and reason that it is closed with.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next().await {
                Some(Message::Close(Some(frame))) => return (frame.code.into(), frame.reason.to_string()),
                Some(Message::Text(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub async fn refusal(&mut self, id: &str, query: &str) -> String {
        self.subscribe(id, query).await;
        let heard = self.hear().await;
        assert_eq!((&heard["type"], &heard["id"]), (&json!("error"), &json!(id)), "{heard}");
        assert!(heard["payload"].as_array().is_some_and(|errors| !errors.is_empty() && errors.len() <= 5));
        heard["payload"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned()
    }
}
