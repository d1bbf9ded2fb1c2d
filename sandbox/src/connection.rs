//! TCP connections that a handler can break, or hold up, while it is answered.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::Sleep,
};

/// Between two bytes of an answer that drips.
const DRIP: Duration = Duration::from_millis(250);

/// How a connection comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Ending {
    #[default]
    InPeace,
    /// Nothing more is written.
    Cut,
    /// Nothing more is written, and the peer is told so by a reset.
    Reset,
    /// The answer's head and half of its body are written, then it is reset.
    ResetMidBody,
    /// The answer's head is written, and then its body byte by byte.
    Drip,
}

/// A handler's hold on the connection its request came by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connection(Arc<Mutex<Ending>>);

impl Connection {
    /// From now on, whatever the handler returns.
    pub(crate) fn end(&self, ending: Ending) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = ending;
    }

    /// Whether nothing is written any more.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.ending(), Ending::Cut | Ending::Reset)
    }

    fn ending(&self) -> Ending {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connected<IncomingStream<'_, CuttableListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, CuttableListener>) -> Self {
        stream.io().connection.clone()
    }
}

/// Accepts connections that can be cut.
pub(crate) struct CuttableListener(pub(crate) TcpListener);

impl Listener for CuttableListener {
    type Io = CuttableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (tcp, address) = Listener::accept(&mut self.0).await;
        let stream = CuttableStream { tcp, connection: Connection::default(), pause: None };
        (stream, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

pub(crate) struct CuttableStream {
    tcp: TcpStream,
    connection: Connection,
    /// Until the next drop.
    pause: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for CuttableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let broken = || Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        let part = match self.connection.ending() {
            Ending::InPeace => bytes,
            Ending::Cut => return broken(),
            Ending::Reset => {
                // Closing discards what is unsent and resets.
                self.tcp.set_zero_linger()?;
                return broken();
            }
            Ending::ResetMidBody => {
                let head = head_of(bytes);
                let part = &bytes[..head + (bytes.len() - head) / 2];
                let written = ready!(Pin::new(&mut self.tcp).poll_write(context, part))?;
                self.connection.end(Ending::Reset);
                return Poll::Ready(Ok(written));
            }
            Ending::Drip => match head_of(bytes) {
                0 => {
                    let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(DRIP)));
                    ready!(pause.as_mut().poll(context));
                    self.pause = None;
                    &bytes[..bytes.len().min(1)]
                }
                head => &bytes[..head],
            },
        };
        Pin::new(&mut self.tcp).poll_write(context, part)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

/// How long the head of an answer is; 0 where there is none.
fn head_of(bytes: &[u8]) -> usize {
    let end = b"\r\n\r\n";
    bytes.windows(end.len()).position(|window| window == end).map_or(0, |at| at + end.len())
}
