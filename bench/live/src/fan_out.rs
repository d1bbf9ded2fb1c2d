//! One event to all the subscribers of one order.

use std::time::Duration;

use tokio::time::sleep;

use crate::Result;
use crate::bus::{Bus, FLOOR, PEER};
use crate::report::{Report, median};
use crate::server::Server;
use crate::shop::Shop;
use crate::subscriber::{Ears, Subscriber, now};

const SUBSCRIBERS: usize = 2_000;
/// Of each server, in turns: what the machine does besides disturbs all of them alike.
const ROUNDS: usize = 15;
/// Between two events: what the last one began is over.
const PAUSE: Duration = Duration::from_millis(200);

struct Crowd {
    ears: Ears,
    sockets: Vec<Subscriber>,
    /// KiB each.
    memory: f64,
    cpu: Duration,
    /// Until the last one heard, in milliseconds.
    last: Vec<f64>,
}

impl Crowd {
    async fn gather(server: &Server, token: &str) -> Result<Self> {
        let (ears, mut sockets) = (Ears::new(), Vec::new());
        for who in 0..SUBSCRIBERS {
            sockets.push(Subscriber::open(server.address, token, who, &ears).await?);
        }
        Ok(Self { ears, sockets, memory: 0.0, cpu: Duration::ZERO, last: Vec::new() })
    }

    async fn subscribe(&mut self, id: &str, payload: &str) -> Result<()> {
        for socket in &mut self.sockets {
            socket.subscribe(id, payload).await?;
        }
        Ok(())
    }

    /// How long after `since` the last one heard that.
    async fn last(&mut self, since: i64) -> Result<f64> {
        let heard = self.ears.all(SUBSCRIBERS, true).await?;
        let last = heard.iter().map(|heard| heard.at).max().unwrap_or_default();
        Ok((last - since) as f64 / 1e3)
    }

    /// CPU of the server for one delivery, in microseconds.
    fn cpu(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / (SUBSCRIBERS * ROUNDS) as f64
    }
}

/// Measures the floor, the peer and Payonce, event by event in turns.
pub async fn measure(shop: &Shop, floor: &Server, peer: &Server, payonce: &Server, report: &mut Report) -> Result<()> {
    let mut bus = Bus::connect().await?;
    let payload = r#"{"query":"subscription Status($no: ID!) { paymentStatus(orderNo: $no) { orderNo status at } }","variables":{"no":"peer"}}"#;
    let event = r#"{"orderNo":"peer","status":"PAID","at":"2026-01-01T00:00:00.000Z"}"#;
    let mut told = Vec::new();
    for (server, channel) in [(floor, FLOOR), (peer, PEER)] {
        let before = server.memory()?;
        let mut crowd = Crowd::gather(server, &shop.token).await?;
        crowd.subscribe("1", payload).await?;
        // The protocol does not acknowledge a subscription: told until everybody hears it.
        loop {
            bus.publish(channel, event).await?;
            sleep(Duration::from_secs(1)).await;
            if crowd.ears.forget() == SUBSCRIBERS {
                break;
            }
        }
        crowd.memory = (server.memory()?.saturating_sub(before)) as f64 / SUBSCRIBERS as f64;
        told.push((server, channel, crowd));
    }
    let before = payonce.memory()?;
    let mut own = Crowd::gather(payonce, &shop.token).await?;
    let (mut asked, mut ids) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for (server, channel, crowd) in &mut told {
            let (since, cpu) = (now(), server.cpu()?);
            bus.publish(channel, event).await?;
            let last = crowd.last(since).await?;
            crowd.last.push(last);
            sleep(PAUSE).await;
            crowd.cpu += server.cpu()? - cpu;
        }
        let (order, payment) = shop.create_paying(payonce, round).await?;
        own.subscribe(&round.to_string(), &shop.following(&order)).await?;
        own.ears.all(SUBSCRIBERS, false).await?;
        sleep(PAUSE).await;
        if round == 0 {
            own.memory = (payonce.memory()?.saturating_sub(before)) as f64 / SUBSCRIBERS as f64;
        }
        let (since, cpu) = (now(), payonce.cpu()?);
        let (done, last) = tokio::join!(shop.pay(payonce, &payment), own.last(since));
        done?;
        asked.push(last?);
        ids.push((order, since));
        sleep(PAUSE).await;
        own.cpu += payonce.cpu()? - cpu;
    }
    let committed = shop.committed().await?;
    for ((order, since), asked) in ids.iter().zip(&asked) {
        let commit = committed.get(order).copied().ok_or("an order is not in the database")?;
        own.last.push(asked - (commit - since) as f64 / 1e3);
    }
    let [(.., floor), (.., peer)] = &told[..] else { return Err("two are told".into()) };
    report.fan_out(SUBSCRIBERS, [floor, peer, &own].map(|c| (median(&c.last), c.cpu(), c.memory)), median(&asked));
    Ok(())
}
