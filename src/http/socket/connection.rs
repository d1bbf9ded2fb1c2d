//! One socket, from its first message to its last.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::Error;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::stream::{AbortHandle, BoxStream, SelectAll, abortable};
use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::frames::{self, Heard};
use super::{MESSAGE, Place, Sockets};
use crate::graphql::{ApiError, code};
use crate::http::document::Kind;
use crate::http::operation::{Operation, Said};
use crate::http::token::{NOT_BEARER, TokenError, Verified, bearer_token};
use crate::payments::ports::BoxFuture;

/// Operations at a time on one socket.
const OPERATIONS: usize = 10;
/// Frames that are written together.
const AT_ONCE: usize = 16;
/// A client has this long to take note of the end.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(1);

/// Why a socket ends.
enum End {
    /// With a code and words.
    Close(u16, String),
    /// The client is gone, or does not read.
    Gone,
}

fn close<T>(code: u16, reason: impl Into<String>) -> Result<T, End> {
    Err(End::Close(code, reason.into()))
}

/// Serves a socket until it ends.
pub(super) async fn serve(
    sockets: Arc<Sockets>,
    socket: WebSocket,
    (verified, address): (Option<Box<Verified>>, IpAddr),
    place: Place,
) {
    let mut connection = Connection {
        operations: Arc::new(Semaphore::new(OPERATIONS)),
        running: SelectAll::new(),
        handles: HashMap::new(),
        acknowledged: false,
        sockets,
        socket,
        verified,
        address,
        place,
    };
    let Err(end) = connection.talk().await;
    let Connection { mut socket, running, place, .. } = connection;
    drop(running);
    if let End::Close(code, reason) = end {
        Box::pin(farewell(&mut socket, code, reason)).await;
    }
    drop(place);
}

/// Closes a socket with words.
async fn farewell(socket: &mut WebSocket, code: u16, reason: String) {
    let reason = reason.chars().take(100).collect::<String>();
    let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    if timeout(FAREWELL, socket.send(frame)).await.is_ok_and(|sent| sent.is_ok()) {
        // What is closed with words unread is reset, and the client may never see the code.
        let drained = async { while let Some(Ok(_)) = socket.recv().await {} };
        if timeout(FAREWELL, drained).await.is_ok() && code == TOO_BIG {
            sleep(FAREWELL).await;
        }
    }
}

const TOO_BIG: u16 = 1009;

struct Connection {
    sockets: Arc<Sockets>,
    socket: WebSocket,
    verified: Option<Box<Verified>>,
    address: IpAddr,
    place: Place,
    acknowledged: bool,
    /// Each ends when its handle says so, when its stream does, or with the socket.
    running: SelectAll<BoxStream<'static, (String, Said)>>,
    handles: HashMap<String, AbortHandle>,
    /// A query that nobody waits for any more still holds its place until it ends.
    operations: Arc<Semaphore>,
}

impl Connection {
    async fn talk(&mut self) -> Result<std::convert::Infallible, End> {
        let patience = self.sockets.patience;
        let clock = self.sockets.access.tokens.clock();
        let stopping = self.sockets.payments.stopping();
        tokio::pin!(stopping);
        let init_until = Instant::now() + patience.init;
        let mut ping_at = Instant::now() + patience.ping;
        let mut pong_until: Option<Instant> = None;
        let mut expiry: Option<BoxFuture<'_, ()>> = None;
        let mut revoked: Option<BoxFuture<'_, ()>> = None;
        // One timer for all that a socket waits for: thousands of sockets that wake at once set none anew.
        let alarm = sleep_until(init_until.min(ping_at));
        tokio::pin!(alarm);
        loop {
            let next = pong_until.unwrap_or(ping_at);
            let due = if self.acknowledged { next } else { next.min(init_until) };
            if alarm.deadline() != due {
                alarm.as_mut().reset(due);
            }
            if self.acknowledged
                && expiry.is_none()
                && let Some(verified) = self.verified.clone()
            {
                expiry = Some(clock.sleep_until(verified.caller.expires_at));
                let access = self.sockets.access.clone();
                revoked = Some(Box::pin(async move { access.until_revoked(&verified).await }));
            }
            tokio::select! {
                () = &mut stopping => return close(1001, "Going away"),
                () = or_never(expiry.as_mut()) => return close(4403, "Token expired"),
                () = or_never(revoked.as_mut()) => return close(4403, "Token revoked"),
                () = &mut alarm => {
                    if !self.acknowledged && Instant::now() >= init_until {
                        return close(4408, "Connection initialisation timeout");
                    }
                    if pong_until.is_some() {
                        return Err(End::Gone);
                    }
                    self.send(Message::Ping(Default::default())).await?;
                    pong_until = Some(Instant::now() + patience.pong);
                    ping_at = Instant::now() + patience.ping;
                }
                Some((id, said)) = self.running.next() => self.tell(id, said).await?,
                message = self.socket.recv() => match message {
                    // Rare, and much to hold: not within what every idle socket is.
                    Some(Ok(Message::Text(text))) => Box::pin(self.hear(&text)).await?,
                    Some(Ok(Message::Binary(_))) => return close(4400, "Only text is understood"),
                    Some(Ok(Message::Pong(_))) => pong_until = None,
                    Some(Ok(Message::Ping(_))) => {}
                    Some(Ok(Message::Close(_))) | None => return Err(End::Gone),
                    Some(Err(e)) => return Err(broken(&e)),
                },
            }
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        self.send_all([message]).await
    }

    /// In one writing. There is nearly always room for it: only then is no timer needed.
    async fn send_all(&mut self, messages: impl IntoIterator<Item = Message>) -> Result<(), End> {
        let mut sending = pin!(async {
            for message in messages {
                self.socket.feed(message).await?;
            }
            self.socket.flush().await
        });
        let at_once = poll_fn(|context| Poll::Ready(sending.as_mut().poll(context))).await;
        let sent = match at_once {
            Poll::Ready(sent) => Ok(sent),
            Poll::Pending => timeout(self.sockets.patience.send, sending).await,
        };
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => {
                tracing::debug!("a socket's client does not read");
                Err(End::Gone)
            }
        }
    }

    async fn say(&mut self, frame: String) -> Result<(), End> {
        self.send(Message::Text(frame.into())).await
    }

    async fn hear(&mut self, text: &str) -> Result<(), End> {
        if text.len() > MESSAGE {
            return close(TOO_BIG, "At most 32 KiB a message");
        }
        match frames::read(text) {
            None => close(4400, "Invalid message"),
            Some(Heard::Pong) => Ok(()),
            Some(Heard::Ping(payload)) => self.say(frames::pong(payload)).await,
            Some(Heard::Init(_)) if self.acknowledged => close(4429, "Too many initialisation requests"),
            Some(Heard::Init(payload)) => self.init(&payload).await,
            Some(Heard::Subscribe { .. }) if !self.acknowledged => close(4401, "Unauthorized"),
            Some(Heard::Subscribe { id, .. }) if self.handles.contains_key(&id) => {
                close(4409, "Subscriber for this id exists")
            }
            Some(Heard::Subscribe { id, operation }) => self.subscribe(id, operation).await,
            Some(Heard::Complete { id }) => {
                if let Some(handle) = self.handles.remove(&id) {
                    handle.abort();
                }
                Ok(())
            }
        }
    }

    async fn init(&mut self, payload: &Map<String, Value>) -> Result<(), End> {
        let verified = match credentials(payload) {
            Ok(None) => Ok(None),
            Ok(Some(token)) => self.sockets.access.verify(token).await.map(Some),
            Err(e) => Err(e),
        };
        match verified {
            Ok(None) => {}
            Ok(Some(verified)) => self.verified = Some(Box::new(verified)),
            Err(TokenError::Expired) => return close(4403, "Token expired"),
            Err(TokenError::Invalid(_)) => return close(4403, "Forbidden"),
            Err(TokenError::Unchecked) => return close(1013, "Tokens cannot be checked right now"),
        }
        if let Some(caller) = self.verified.as_ref().map(|verified| &verified.caller) {
            if self.sockets.access.one_of(&caller.subject).is_err() {
                return close(1013, "Too many requests of yours");
            }
            if !self.place.belongs_to(&caller.subject, self.sockets.settings.per_subject) {
                return close(1013, "Too many sockets of yours");
            }
        }
        self.acknowledged = true;
        self.say(frames::ack()).await
    }

    async fn subscribe(&mut self, id: String, operation: Operation) -> Result<(), End> {
        match self.begin(operation) {
            Ok(stream) => {
                let tagged = id.clone();
                let (stream, handle) = abortable(stream.map(move |said| (tagged.clone(), said)));
                self.running.push(stream.boxed());
                self.handles.insert(id, handle);
                Ok(())
            }
            Err(e) => self.say(frames::error(&id, &e.into_response().errors)).await,
        }
    }

    /// Guards an operation and starts it.
    fn begin(&self, operation: Operation) -> Result<BoxStream<'static, Said>, ApiError> {
        let access = &self.sockets.access;
        access.one_from(self.address)?;
        let caller = self.verified.as_ref().map(|verified| verified.caller.clone());
        if let Some(caller) = &caller {
            access.one_of(&caller.subject)?;
        }
        let guarded = self.sockets.executor.guard(operation, caller)?;
        if guarded.kind == Some(Kind::Mutation) {
            return Err(ApiError::new(code::METHOD_NOT_ALLOWED, "A mutation is sent by POST, not over a socket."));
        }
        let permit = self.operations.clone().try_acquire_owned().map_err(|_| {
            let words = format!("A socket runs {OPERATIONS} operations at a time. Complete one first.");
            ApiError::new(code::LIMIT_EXCEEDED, words)
        })?;
        Ok(guarded.begin(self.sockets.patience.query, permit))
    }

    /// Passes on what is said, and what else is ready to be said with it: an order's last state and its end.
    async fn tell(&mut self, id: String, said: Said) -> Result<(), End> {
        let mut frames = vec![self.frame(&id, said)];
        while frames.len() < AT_ONCE
            && let Some(Some((id, said))) = self.running.next().now_or_never()
        {
            frames.push(self.frame(&id, said));
        }
        self.send_all(frames.into_iter().map(|frame| Message::Text(frame.into()))).await
    }

    fn frame(&mut self, id: &str, said: Said) -> String {
        match said {
            Said::Next(response) => frames::next(id, &response),
            Said::Refused(errors) => {
                self.forget(id);
                frames::error(id, &errors)
            }
            Said::Done => {
                self.forget(id);
                frames::complete(id)
            }
        }
    }

    fn forget(&mut self, id: &str) {
        if let Some(handle) = self.handles.remove(id) {
            handle.abort();
        }
    }
}

/// The token in `{"authorization": "Bearer …"}`, however the name is written.
fn credentials(payload: &Map<String, Value>) -> Result<Option<&str>, TokenError> {
    let mut given =
        payload.iter().filter(|(name, value)| name.eq_ignore_ascii_case("authorization") && !value.is_null());
    match (given.next(), given.next()) {
        (None, _) => Ok(None),
        (Some((_, Value::String(text))), None) => bearer_token(text).map(Some).ok_or(NOT_BEARER),
        _ => Err(NOT_BEARER),
    }
}

/// The library tells what is too long from what is cut off only in words.
fn broken(e: &Error) -> End {
    if e.to_string().contains("Space limit exceeded") {
        End::Close(TOO_BIG, "At most 32 KiB a message".to_owned())
    } else {
        End::Gone
    }
}

async fn or_never(future: Option<&mut BoxFuture<'_, ()>>) {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
