//! Clients that leave before the answer.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Result;
use crate::client;
use crate::journal::{Journal, Verb};
use crate::random::Random;
use crate::site::Site;

/// So many leave at the same time.
const AT_ONCE: usize = 6;

/// Clients send an order and leave: by a reset, by closing, by closing one half, or in the middle of the request.
/// Their keys are sent again at the end, like those of every client without an answer.
pub async fn run(site: &Arc<Site>, journal: &Arc<Journal>, random: &mut Random, until: Instant) -> Result<u64> {
    if let Some(proxy) = &site.to_database {
        proxy.rules.late_ms.store(4, Relaxed);
    }
    let clients = (0..AT_ONCE).map(|n| leave_again(site, journal, n, random.fork(), until));
    let left = futures_util::future::join_all(clients).await;
    if let Some(proxy) = &site.to_database {
        proxy.rules.late_ms.store(0, Relaxed);
    }
    Ok(left.into_iter().sum())
}

async fn leave_again(site: &Site, journal: &Journal, customer: usize, mut random: Random, until: Instant) -> u64 {
    let mut left = 0;
    while Instant::now() < until {
        let mut input = json!({"lines": [{"sku": "PIN", "quantity": 1}], "allowDuplicate": true});
        if random.chance(50) {
            input["payment"] = json!({"gateway": "WECHAT_PAY", "product": "NATIVE"});
        }
        let intent = journal.intend(customer, Verb::Create, input);
        let (token, body) = client::prepare(site, journal, intent);
        let request = format!(
            "POST /graphql HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\nauthorization: Bearer {token}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let port = *random.pick(&site.ports);
        if leave(port, request.as_bytes(), &mut random).await.is_ok() {
            left += 1;
        } else {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    left
}

async fn leave(port: u16, request: &[u8], random: &mut Random) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let sent = if random.chance(15) { random.below(request.len() as u64) as usize } else { request.len() };
    stream.write_all(&request[..sent]).await?;
    tokio::time::sleep(random.millis(0, 200)).await;
    match random.below(3) {
        // What is unread or unsent is thrown away: the other side sees a reset.
        0 => stream.set_zero_linger()?,
        1 => {
            stream.shutdown().await?;
            let mut answer = Vec::new();
            tokio::time::timeout(Duration::from_millis(200), stream.read_to_end(&mut answer)).await.ok();
        }
        _ => {}
    }
    Ok(())
}
