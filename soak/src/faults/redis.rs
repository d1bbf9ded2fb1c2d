//! Redis forgets, goes away, stands still, hangs up and lies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::Result;
use crate::random::Random;
use crate::site::Site;

/// FLUSHALL every 40 ms.
pub async fn flush(site: &Arc<Site>, until: Instant) -> Result<u64> {
    every_40_ms(site, "FLUSHALL", until).await
}

/// Everybody's connection is closed, every 40 ms.
pub async fn kick(site: &Arc<Site>, until: Instant) -> Result<u64> {
    every_40_ms(site, "CLIENT KILL TYPE normal", until).await
}

async fn every_40_ms(site: &Arc<Site>, command: &str, until: Instant) -> Result<u64> {
    let Some(redis) = site.redis() else { return Ok(0) };
    let mut times = 0;
    while Instant::now() < until {
        times += u64::from(redis.command(command).await.is_ok());
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    Ok(times)
}

/// It is killed, is away for a while and starts empty.
pub async fn restart(site: &Arc<Site>, random: &mut Random, until: Instant) -> Result<u64> {
    let Some(redis) = site.redis() else { return Ok(0) };
    let mut restarts = 0;
    while Instant::now() < until {
        tokio::time::sleep(random.millis(100, 1_000)).await;
        redis.kill().await;
        tokio::time::sleep(random.millis(0, 1_000)).await;
        redis.start_again().await?;
        restarts += 1;
    }
    Ok(restarts)
}

/// It holds its connections and says nothing.
pub async fn freeze(site: &Arc<Site>, random: &mut Random, until: Instant) -> Result<u64> {
    let Some(redis) = site.redis() else { return Ok(0) };
    let mut freezes = 0;
    while Instant::now() < until {
        tokio::time::sleep(random.millis(100, 800)).await;
        redis.freeze(random.millis(20, 2_000)).await;
        freezes += 1;
    }
    Ok(freezes)
}

/// Every process is started anew beside something that gives everybody every lock.
pub async fn lies(site: &Arc<Site>, until: Instant) -> Result<u64> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let liar = tokio::spawn(async move {
        let mut visitors = tokio::task::JoinSet::new();
        while let Ok((visitor, _)) = listener.accept().await {
            visitors.spawn(lie(visitor));
        }
    });
    let honest = site.redis_at(port);
    for n in 0..site.ports.len() {
        site.kill(n).await;
        site.start(n, "").await?;
    }
    tokio::time::sleep_until(until.into()).await;
    site.redis_at(honest);
    for n in 0..site.ports.len() {
        site.kill(n).await;
        site.start(n, "").await?;
    }
    liar.abort();
    Ok(1)
}

/// OK to SET, whatever NX says; nothing to GET; done to every script.
async fn lie(visitor: TcpStream) -> Option<()> {
    let (from, mut to) = visitor.into_split();
    let mut from = BufReader::new(from);
    loop {
        let words = command(&mut from).await?;
        let said = match words.first()?.to_ascii_uppercase().as_str() {
            "PING" => words.get(1).map_or("+PONG\r\n".to_owned(), |w| format!("${}\r\n{w}\r\n", w.len())),
            "GET" => "$-1\r\n".to_owned(),
            "EVALSHA" | "EVAL" | "PUBLISH" | "DEL" => ":1\r\n".to_owned(),
            "HELLO" => "-ERR unknown command 'HELLO'\r\n".to_owned(),
            verb @ ("SUBSCRIBE" | "PSUBSCRIBE") => {
                let topic = words.get(1).cloned().unwrap_or_default();
                let verb = verb.to_ascii_lowercase();
                format!("*3\r\n${}\r\n{verb}\r\n${}\r\n{topic}\r\n:1\r\n", verb.len(), topic.len())
            }
            _ => "+OK\r\n".to_owned(),
        };
        to.write_all(said.as_bytes()).await.ok()?;
    }
}

/// One command as clients send it: an array of texts.
async fn command(from: &mut (impl AsyncBufReadExt + Unpin)) -> Option<Vec<String>> {
    let mut line = String::new();
    from.read_line(&mut line).await.ok()?;
    let count: usize = line.strip_prefix('*')?.trim().parse().ok()?;
    let mut words = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        line.clear();
        from.read_line(&mut line).await.ok()?;
        let length: usize = line.strip_prefix('$')?.trim().parse().ok()?;
        let mut word = vec![0; length + 2];
        from.read_exact(&mut word).await.ok()?;
        word.truncate(length);
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Some(words)
}
