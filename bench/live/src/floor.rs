//! The least that a server can do: no GraphQL and no JSON, one ready-made frame written to every socket.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use crate::Result;
use crate::bus::{Bus, FLOOR};
use crate::subscriber::small_buffers;

const NEXT: &str = r#"{"id":"1","type":"next","payload":{"data":{"paymentStatus":{"orderNo":"00000000-0000-0000-0000-000000000000","status":"PAID","at":"2026-01-01T00:00:00.000Z"}}}}"#;

type Sockets = Arc<Mutex<Vec<TcpStream>>>;

/// Serves until it is killed.
pub async fn run(port: &str) -> Result<()> {
    let sockets = Sockets::default();
    tokio::spawn(broadcast(Bus::connect().await?, sockets.clone()));
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve(stream, sockets.clone()));
    }
}

async fn serve(stream: TcpStream, sockets: Sockets) {
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let same_protocol = |request: &Request, mut response: Response| {
        if let Some(protocol) = request.headers().get("sec-websocket-protocol") {
            response.headers_mut().insert("sec-websocket-protocol", protocol.clone());
        }
        Ok(response)
    };
    let accepted = accept_hdr_async_with_config(stream, same_protocol, Some(small_buffers())).await;
    let Ok(mut socket) = accepted else { return };
    let _init = socket.next().await;
    let _ = socket.send(Message::text(r#"{"type":"connection_ack"}"#)).await;
    let _subscribe = socket.next().await;
    sockets.lock().unwrap_or_else(PoisonError::into_inner).push(socket.into_inner());
}

async fn broadcast(mut bus: Bus, sockets: Sockets) -> Result<()> {
    bus.subscribe(FLOOR).await?;
    let length = u16::try_from(NEXT.len())?;
    let frame = [&[0x81, 126], &length.to_be_bytes()[..], NEXT.as_bytes()].concat();
    loop {
        bus.receive().await?;
        // A socket that cannot take a small frame at once has gone away.
        let deliver = |socket: &mut TcpStream| socket.try_write(&frame).is_ok_and(|n| n == frame.len());
        sockets.lock().unwrap_or_else(PoisonError::into_inner).retain_mut(deliver);
    }
}
