//! A TCP proxy that can be slow, cut a request or an answer short, and lose the answer to a COMMIT.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::Result;
use crate::random::Random;

/// What goes wrong on its connections; all zero is an honest proxy.
#[derive(Default)]
pub struct Rules {
    /// Each piece is late by up to so many milliseconds, both ways.
    pub late_ms: AtomicU64,
    /// So many of a hundred COMMITs go through, and their answer does not.
    pub lost_commits: AtomicU64,
    /// So many of a hundred pieces of a request are cut in half, and the connection with them.
    pub cut_requests: AtomicU64,
    /// The same for answers.
    pub cut_answers: AtomicU64,
    /// How often it did any of the last three.
    pub cuts: AtomicU64,
    draws: AtomicU64,
}

impl Rules {
    /// Honest again.
    pub fn clear(&self) {
        for rule in [&self.late_ms, &self.lost_commits, &self.cut_requests, &self.cut_answers] {
            rule.store(0, Relaxed);
        }
    }

    fn draw(&self) -> Random {
        Random::new(self.draws.fetch_add(0x5851_f42d_4c95_7f2d, Relaxed))
    }

    fn happens(&self, percent: &AtomicU64) -> bool {
        let percent = percent.load(Relaxed);
        percent > 0 && self.draw().chance(percent)
    }

    async fn be_late(&self) {
        let late = self.late_ms.load(Relaxed);
        if late > 0 {
            tokio::time::sleep(self.draw().millis(0, late)).await;
        }
    }
}

/// Listens until it is dropped; then its connections end, too.
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    /// What goes wrong.
    pub rules: Arc<Rules>,
    work: JoinHandle<()>,
}

impl Proxy {
    /// Passes each connection on to the next of `targets` that takes it.
    pub async fn start(targets: Vec<u16>, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let rules = Arc::new(Rules { draws: AtomicU64::new(seed), ..Rules::default() });
        let turn = AtomicUsize::new(0);
        let shared = rules.clone();
        let work = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                while connections.try_join_next().is_some() {}
                let Ok((visitor, _)) = listener.accept().await else { continue };
                let first = turn.fetch_add(1, Relaxed);
                let targets = targets.clone();
                let rules = shared.clone();
                connections.spawn(async move {
                    for n in 0..targets.len() {
                        let at = SocketAddr::from(([127, 0, 0, 1], targets[(first + n) % targets.len()]));
                        if let Ok(Ok(target)) =
                            tokio::time::timeout(Duration::from_secs(2), TcpStream::connect(at)).await
                        {
                            return pass_on(visitor, target, &rules).await;
                        }
                    }
                });
            }
        });
        Ok(Self { port, rules, work })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.work.abort();
    }
}

async fn pass_on(visitor: TcpStream, target: TcpStream, rules: &Rules) {
    visitor.set_nodelay(true).ok();
    target.set_nodelay(true).ok();
    let (from_visitor, to_visitor) = visitor.into_split();
    let (from_target, to_target) = target.into_split();
    let lose_answer = AtomicBool::new(false);
    // The first that ends ends both.
    tokio::select! {
        () = requests(from_visitor, to_target, rules, &lose_answer) => {}
        () = answers(from_target, to_visitor, rules, &lose_answer) => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, rules: &Rules, lose_answer: &AtomicBool) {
    let mut piece = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        rules.be_late().await;
        if rules.happens(&rules.cut_requests) {
            rules.cuts.fetch_add(1, Relaxed);
            to.write_all(&piece[..length / 2]).await.ok();
            return;
        }
        if is_commit(&piece[..length]) && rules.happens(&rules.lost_commits) {
            rules.cuts.fetch_add(1, Relaxed);
            lose_answer.store(true, Relaxed);
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, rules: &Rules, lose_answer: &AtomicBool) {
    let mut piece = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        rules.be_late().await;
        if lose_answer.load(Relaxed) {
            return;
        }
        if rules.happens(&rules.cut_answers) {
            rules.cuts.fetch_add(1, Relaxed);
            to.write_all(&piece[..length / 2]).await.ok();
            return;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

/// The last words of a piece, as PostgreSQL's simple query and as MariaDB's COM_QUERY.
fn is_commit(piece: &[u8]) -> bool {
    piece.ends_with(b"COMMIT\0") || piece.ends_with(b"\x03COMMIT")
}
