//! A payer's WebSocket: graphql-transport-ws, as browsers speak it.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::Shop;

pub struct Watcher {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

const DOCUMENT: &str = "subscription($id: ID!) { paymentStatus(orderId: $id) { orderId version orderStatus order { id status paid { minor } refunded { minor } } payment { id status } refund { id status } } }";

impl Watcher {
    /// Connects without saying anything.
    pub async fn connect(shop: &Shop) -> Watcher {
        let mut request = format!("ws://{}/graphql", shop.app.address).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        let (socket, _) = connect_async(request).await.unwrap();
        Watcher { socket }
    }

    pub async fn join(shop: &Shop, sub: &str, order: &str) -> Watcher {
        let mut watcher = Self::connect(shop).await;
        let token = shop.token(sub, "customer");
        watcher.say(json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {token}")}})).await;
        assert_eq!(watcher.hear().await["type"], "connection_ack");
        watcher
            .say(json!({"id": "1", "type": "subscribe", "payload": {"query": DOCUMENT, "variables": {"id": order}}}))
            .await;
        watcher
    }

    pub async fn say(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    /// The next message of the protocol; a close is `{"closed": code}`.
    pub async fn hear(&mut self) -> Value {
        let heard = tokio::time::timeout(std::time::Duration::from_secs(10), self.listen()).await;
        heard.expect("nothing heard within ten seconds")
    }

    /// The same, however long it takes.
    pub async fn listen(&mut self) -> Value {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Close(frame))) => return json!({"closed": frame.map(|f| u16::from(f.code))}),
                Some(Ok(_)) => {}
                Some(Err(e)) => return json!({"broken": e.to_string()}),
                None => return json!({"closed": null}),
            }
        }
    }

    /// The next event of the subscription.
    pub async fn event(&mut self) -> Value {
        let message = self.hear().await;
        assert_eq!(message["type"], "next", "{message}");
        message["payload"]["data"]["paymentStatus"].clone()
    }

    /// Events until the order has this status; versions must rise.
    pub async fn until(&mut self, status: &str) -> Value {
        let mut version = 0;
        loop {
            let event = self.event().await;
            let next = event["version"].as_i64().unwrap();
            assert!(next > version, "{version} then {event}");
            version = next;
            if event["orderStatus"] == status {
                return event;
            }
        }
    }
}
