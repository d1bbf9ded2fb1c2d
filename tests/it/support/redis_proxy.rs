//! A Redis that lies: a proxy in front of an honest one, RESP2 and RESP3.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// What the proxy does to whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It passes everything on.
    None,
    /// OK to every `SET NX`, nil to every `GET`: every lock is free, nothing is remembered. Nothing is done.
    EverybodyWins,
    /// Nil to every `SET NX`: every lock is taken. Nothing is done.
    NobodyWins,
    /// What the same kind of command was told the last time, before the lie. Nothing is done.
    Stale,
    /// Deletes are answered, and not done: what was released lives on.
    Resurrected,
    /// Everything is done, and its answer comes two seconds late.
    Late,
    /// A number to every command.
    Nonsense,
    /// Everything is done, nothing is answered.
    Silent,
}

impl Lie {
    pub const ALL: [Lie; 7] =
        [Lie::EverybodyWins, Lie::NobodyWins, Lie::Stale, Lie::Resurrected, Lie::Late, Lie::Nonsense, Lie::Silent];
}

/// Ends with the runtime that it was started in.
pub struct RedisProxy {
    /// `redis://…`
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    lie: Mutex<Lie>,
    /// The last honest answer to each kind of command.
    remembered: Mutex<HashMap<String, Vec<u8>>>,
    exchanges: AtomicUsize,
}

enum Answer {
    Made(Vec<u8>),
    /// Whatever the server says to this kind of command, at the earliest then; or nothing.
    Theirs {
        kind: String,
        not_before: Option<Instant>,
        shown: bool,
    },
    /// From now on the server speaks by itself.
    Subscribed,
}

impl RedisProxy {
    /// In front of the server of this `redis://` URL, which has no password.
    pub async fn start(url: &str) -> Self {
        let server = url.trim_start_matches("redis://").split('/').next().expect("an address").to_owned();
        let door = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("redis://{}", door.local_addr().expect("a local address"));
        let shared = Arc::new(Shared {
            lie: Mutex::new(Lie::None),
            remembered: Mutex::default(),
            exchanges: AtomicUsize::new(0),
        });
        let proxy = Self { url, shared: shared.clone() };
        tokio::spawn(async move {
            while let Ok((client, _)) = door.accept().await {
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                client.set_nodelay(true).expect("TCP_NODELAY");
                server.set_nodelay(true).expect("TCP_NODELAY");
                tokio::spawn(serve(client, server, shared.clone()));
            }
        });
        proxy
    }

    /// From now on.
    pub fn lie(&self, lie: Lie) {
        *self.shared.lie.lock().unwrap() = lie;
    }

    /// How often commands have come in; those that came together count once, subscribers do not.
    pub fn exchanges(&self) -> usize {
        self.shared.exchanges.load(Ordering::SeqCst)
    }
}

async fn serve(client: TcpStream, server: TcpStream, shared: Arc<Shared>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (answers, queue) = mpsc::unbounded_channel();
    // Who hangs up on one side, hangs up on the other.
    tokio::select! {
        _ = requests(BufReader::new(from_client), to_server, answers, &shared) => {}
        _ = replies(BufReader::new(from_server), to_client, queue, &shared) => {}
    }
}

async fn requests(
    mut client: BufReader<OwnedReadHalf>,
    mut server: OwnedWriteHalf,
    answers: mpsc::UnboundedSender<Answer>,
    shared: &Shared,
) -> std::io::Result<()> {
    loop {
        let waited = client.buffer().is_empty();
        let frame = frame(&mut client).await?;
        let words = words(&frame);
        let has = |word: &str| words.iter().any(|w| w.eq_ignore_ascii_case(word));
        let kind = match words.first() {
            Some(name) => format!("{} {} {}", name.to_uppercase(), has("NX"), has("GET")),
            None => String::new(),
        };
        if kind.starts_with("SUBSCRIBE") {
            server.write_all(&frame).await?;
            let _ = answers.send(Answer::Subscribed);
            tokio::io::copy_buf(&mut client, &mut server).await?;
            return Ok(());
        }
        let greeting = ["CLIENT", "HELLO", "AUTH", "SELECT", "PING", "UNWATCH"].iter().any(|g| kind.starts_with(g));
        if waited && !greeting {
            shared.exchanges.fetch_add(1, Ordering::SeqCst);
        }
        let theirs = |not_before, shown| Answer::Theirs { kind: kind.clone(), not_before, shown };
        let lie = *shared.lie.lock().unwrap();
        let answer = match lie {
            _ if greeting => theirs(None, true),
            Lie::None => theirs(None, true),
            Lie::EverybodyWins if kind == "SET true false" => Answer::Made(b"+OK\r\n".to_vec()),
            Lie::EverybodyWins if kind == "SET true true" || kind.starts_with("GET") => {
                Answer::Made(b"$-1\r\n".to_vec())
            }
            Lie::NobodyWins if kind == "SET true false" => Answer::Made(b"$-1\r\n".to_vec()),
            Lie::Resurrected if ["DEL", "EVAL"].iter().any(|d| kind.starts_with(d)) => Answer::Made(b":1\r\n".to_vec()),
            Lie::Stale => match shared.remembered.lock().unwrap().get(&kind) {
                Some(stale) => Answer::Made(stale.clone()),
                None => theirs(None, true),
            },
            Lie::Nonsense => Answer::Made(b":7\r\n".to_vec()),
            Lie::Late => theirs(Some(Instant::now() + Duration::from_secs(2)), true),
            Lie::Silent => theirs(None, false),
            Lie::EverybodyWins | Lie::NobodyWins | Lie::Resurrected => theirs(None, true),
        };
        if matches!(answer, Answer::Theirs { .. }) {
            server.write_all(&frame).await?;
        }
        let _ = answers.send(answer);
    }
}

async fn replies(
    mut server: BufReader<OwnedReadHalf>,
    mut client: OwnedWriteHalf,
    mut queue: mpsc::UnboundedReceiver<Answer>,
    shared: &Shared,
) -> std::io::Result<()> {
    while let Some(answer) = queue.recv().await {
        match answer {
            Answer::Made(answer) => client.write_all(&answer).await?,
            Answer::Theirs { kind, not_before, shown } => {
                let mut answer = frame(&mut server).await?;
                while answer.starts_with(b">") {
                    client.write_all(&answer).await?;
                    answer = frame(&mut server).await?;
                }
                if *shared.lie.lock().unwrap() == Lie::None {
                    shared.remembered.lock().unwrap().insert(kind, answer.clone());
                }
                if let Some(at) = not_before {
                    sleep_until(at).await;
                }
                if shown {
                    client.write_all(&answer).await?;
                }
            }
            Answer::Subscribed => {
                tokio::io::copy_buf(&mut server, &mut client).await?;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The next value as it came, with all that is in it.
async fn frame<R: AsyncRead + Unpin>(from: &mut BufReader<R>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut missing = 1;
    while missing > 0 {
        missing -= 1;
        let start = bytes.len();
        if from.read_until(b'\n', &mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&bytes[start..]).trim_end().to_owned();
        let count = || line[1..].parse::<usize>().unwrap_or(0);
        match line.as_bytes().first() {
            Some(b'$' | b'=' | b'!') if line != "$-1" => {
                let start = bytes.len();
                bytes.resize(start + count() + 2, 0);
                from.read_exact(&mut bytes[start..]).await?;
            }
            Some(b'*' | b'~' | b'>') => missing += count(),
            Some(b'%') => missing += 2 * count(),
            Some(b'|') => missing += 1 + 2 * count(),
            _ => {}
        }
    }
    Ok(bytes)
}

/// The words of a command.
fn words(frame: &[u8]) -> Vec<String> {
    // An array of bulk strings: every second line is a length. Our commands have no line break in them.
    String::from_utf8_lossy(frame).split("\r\n").skip(2).step_by(2).map(str::to_owned).collect()
}
