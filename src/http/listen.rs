//! A listener: connections with a bounded patience, each served until it ends or the server does.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::access::Peer;

/// What a listener puts up with.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the head of a request, and between two requests of one connection.
    pub head: Duration,
    /// Connections at a time; the next ones are closed at once.
    pub connections: usize,
}

/// Bytes of a request's head; what is longer is answered with 431.
const HEAD: usize = 16 * 1024;
/// After an accept that failed, the system has no room: a moment later it may.
const NO_ROOM: Duration = Duration::from_millis(50);

/// Serves until `stop`; then takes no more connections, and returns when those there are have ended: each after the
/// request it is in the middle of.
pub async fn listen(listener: TcpListener, router: Router, patience: Patience, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(patience.connections));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                tracing::warn!(error = %e, "a connection was not accepted");
                tokio::time::sleep(NO_ROOM).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            metrics::counter!("payonce_connections_refused_total").increment(1);
            continue;
        };
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            serve(stream, Peer(peer.ip()), router, patience.head, stop).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn serve(stream: TcpStream, peer: Peer, router: Router, head: Duration, stop: CancellationToken) {
    stream.set_nodelay(true).ok();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let router = router.clone();
        request.extensions_mut().insert(peer);
        async move { router.oneshot(request.map(Body::new)).await.map_err(|e: Infallible| e) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        // Clients that leave, or never say anything.
        tracing::debug!(error = %e, "a connection broke off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn start(patience: Patience) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let slow = || async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "done"
        };
        let router = Router::new().route("/", get(|| async { "here" })).route("/slow", get(slow));
        (address, stop.clone(), tokio::spawn(listen(listener, router, patience, stop)))
    }

    /// Everything that comes back until the server closes, within ten seconds.
    async fn say(address: SocketAddr, words: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(words.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut heard)).await.expect("still open").ok();
        String::from_utf8_lossy(&heard).into_owned()
    }

    #[tokio::test]
    async fn who_does_not_finish_a_head_is_let_go() {
        let (address, ..) = start(Patience { head: Duration::from_millis(200), connections: 10 }).await;
        assert!(!say(address, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.contains("here"));
        assert!(say(address, "").await.is_empty());
        // Between two requests as well.
        assert!(say(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.ends_with("here"));
    }

    #[tokio::test]
    async fn a_head_that_is_too_long_is_refused() {
        let (address, ..) = start(Patience { head: Duration::from_secs(5), connections: 10 }).await;
        let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(2 * HEAD));
        assert!(say(address, &long).await.starts_with("HTTP/1.1 431"));
    }

    #[tokio::test]
    async fn connections_beyond_the_places_are_closed_at_once() {
        let (address, ..) = start(Patience { head: Duration::from_secs(5), connections: 1 }).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut heard = [0; 12];
        first.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"HTTP/1.1 200");
        assert_eq!(say(address, "").await, "");
    }

    #[tokio::test]
    async fn what_is_under_way_is_finished_before_the_end() {
        let (address, stop, ended) = start(Patience { head: Duration::from_secs(5), connections: 10 }).await;
        let asked = tokio::spawn(async move { say(address, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        stop.cancel();
        assert!(asked.await.unwrap().ends_with("done"));
        tokio::time::timeout(Duration::from_secs(5), ended).await.expect("still listening").unwrap();
    }
}
