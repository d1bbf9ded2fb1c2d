//! One subscriber: graphql-transport-ws, and when it heard what.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::{Result, Wrong};

/// Sockets from one address of this machine; each address has some 28,000 ports.
const PER_ADDRESS: usize = 2_000;
/// How long an event is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Thousands of sockets with the library's 128 KiB each would spoil the cache.
pub fn small_buffers() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(1_024).write_buffer_size(0)
}

/// The time of day in microseconds: the database's clock is the same machine's.
pub fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// An event has arrived.
pub struct Heard {
    /// The number of the subscriber.
    pub who: usize,
    /// When, in microseconds of the day's clock.
    pub at: i64,
    /// It says that the order is paid or closed: the change that is measured, and not the state at first.
    pub changed: bool,
}

/// What all subscribers of a measurement have heard.
pub struct Ears {
    tell: UnboundedSender<Result<Heard>>,
    heard: UnboundedReceiver<Result<Heard>>,
}

impl Ears {
    /// New ones.
    pub fn new() -> Self {
        let (tell, heard) = unbounded_channel();
        Self { tell, heard }
    }

    /// The next that anybody hears; an error when nobody does for long.
    pub async fn next(&mut self) -> Result<Heard> {
        timeout(PATIENCE, self.heard.recv()).await.map_err(|_| "an event did not arrive")?.ok_or("nobody listens")?
    }

    /// Waits until so many have heard of the change, or of the state before it; who and when.
    pub async fn all(&mut self, count: usize, changed: bool) -> Result<Vec<Heard>> {
        let mut all = Vec::with_capacity(count);
        while all.len() < count {
            let heard = self.next().await.map_err(|e| Wrong::from(format!("{e}: {} of {count} did", all.len())))?;
            if heard.changed == changed {
                all.push(heard);
            }
        }
        Ok(all)
    }

    /// Forgets what was heard until now; how much it was.
    pub fn forget(&mut self) -> usize {
        let mut count = 0;
        while self.heard.try_recv().is_ok() {
            count += 1;
        }
        count
    }
}

/// A socket whose handshake is done.
pub struct Subscriber {
    write: SplitSink<WebSocketStream<TcpStream>, Message>,
    reader: JoinHandle<()>,
}

impl Subscriber {
    /// Opens a socket and says who we are.
    pub async fn open(server: SocketAddr, token: &str, who: usize, ears: &Ears) -> Result<Self> {
        let from = TcpSocket::new_v4()?;
        from.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2 + (who / PER_ADDRESS) as u8), 0)))?;
        let stream = from.connect(server).await?;
        stream.set_nodelay(true)?;
        let mut request = format!("ws://{server}/graphql").into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse()?);
        let (mut socket, _) = client_async_with_config(request, stream, Some(small_buffers())).await?;
        let init = format!(r#"{{"type":"connection_init","payload":{{"authorization":"Bearer {token}"}}}}"#);
        socket.send(Message::text(init)).await?;
        let ack = socket.next().await.ok_or("closed before the acknowledgement")??;
        if !ack.to_text()?.contains("connection_ack") {
            return Err(format!("not acknowledged: {ack}").into());
        }
        let (write, mut read) = socket.split();
        let tell = ears.tell.clone();
        let reader = tokio::spawn(async move {
            while let Some(Ok(message)) = read.next().await {
                let at = now();
                let text = message.to_text().unwrap_or_default();
                if text.contains(r#""next""#) && !text.contains(r#""errors""#) {
                    let changed = text.contains(r#""PAID""#) || text.contains(r#""CLOSED""#);
                    tell.send(Ok(Heard { who, at, changed })).ok();
                } else if message.is_text() && !text.contains(r#""complete""#) {
                    tell.send(Err(format!("not expected: {text}").into())).ok();
                }
            }
        });
        Ok(Self { write, reader })
    }

    /// Subscribes with this payload.
    pub async fn subscribe(&mut self, id: &str, payload: &str) -> Result<()> {
        let message = format!(r#"{{"id":"{id}","type":"subscribe","payload":{payload}}}"#);
        Ok(self.write.send(Message::text(message)).await?)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
