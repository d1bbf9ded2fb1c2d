//! Who serves what: the one server, the master that sentinels name, the masters of a cluster.

use std::collections::HashMap;

use futures_util::future::join_all;
use redis::{Client, Cmd, ConnectionInfo, FromRedisValue, RedisError, Value, cmd};

use super::place::{Address, Kind, Place};
use super::server::{patience, quickly};

/// A key's place in a cluster; without one, every slot is the one server's.
pub(super) const SLOTS: u16 = 16_384;

/// The slots from `first` to `last` are served by this master.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Share {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) master: Address,
}

fn everything(master: Address) -> Vec<Share> {
    vec![Share { first: 0, last: SLOTS - 1, master }]
}

impl Place {
    /// Asks everybody at once and believes what most of them say: a sentinel or a node that is cut off from the
    /// others does not know what they decided. `None`: nobody knows. Takes 300 ms at most.
    pub(super) async fn look(&self, known: &[Address]) -> Option<Vec<Share>> {
        let said: Vec<Vec<Share>> = match &self.kind {
            Kind::One => return self.seeds.first().cloned().map(everything),
            Kind::Sentinel { service } => {
                let asked = self.seeds.iter().map(|sentinel| self.ask_sentinel(sentinel, service));
                join_all(asked).await.into_iter().flatten().collect()
            }
            Kind::Cluster => {
                let unknown = self.seeds.iter().filter(|seed| !known.contains(seed));
                let asked = known.iter().chain(unknown).map(|node| self.ask_node(node));
                join_all(asked).await.into_iter().flatten().collect()
            }
        };
        let mut votes: HashMap<&Vec<Share>, usize> = HashMap::new();
        for shares in &said {
            *votes.entry(shares).or_default() += 1;
        }
        votes.into_iter().max_by_key(|(_, count)| *count).map(|(shares, _)| shares.clone())
    }

    async fn ask_sentinel(&self, sentinel: &Address, service: &str) -> Option<Vec<Share>> {
        let mut question = cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(service);
        // Most sentinels have no password; those that have one mostly have that of the servers.
        for with_password in [false, true] {
            match ask::<Option<(String, u16)>>(self.reach_sentinel(sentinel, with_password)?, &question).await {
                Some(Ok(master)) => return master.map(|(host, port)| everything(Address { host, port })),
                Some(Err(error)) if error.code() == Some("NOAUTH") => {}
                _ => return None,
            }
        }
        None
    }

    async fn ask_node(&self, node: &Address) -> Option<Vec<Share>> {
        let mut question = cmd("CLUSTER");
        question.arg("SLOTS");
        let ranges: Vec<Vec<Value>> = ask(self.reach(node), &question).await?.ok()?;
        let mut shares: Vec<Share> = ranges.iter().filter_map(|range| read(range, node)).collect();
        shares.sort_unstable_by_key(|share| share.first);
        (!shares.is_empty()).then_some(shares)
    }
}

/// `None`: no answer in time.
async fn ask<T: FromRedisValue>(whom: ConnectionInfo, question: &Cmd) -> Option<Result<T, RedisError>> {
    quickly(async {
        let mut connection = Client::open(whom)?.get_multiplexed_async_connection_with_config(&patience()).await?;
        question.query_async(&mut connection).await
    })
    .await
}

/// First slot, last slot, master, replicas: the master as host, port and more.
fn read(range: &[Value], asked: &Address) -> Option<Share> {
    let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = range else { return None };
    let [host, Value::Int(port), ..] = master.as_slice() else { return None };
    let host = match host {
        Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
        Value::SimpleString(host) => host.clone(),
        _ => String::new(),
    };
    // A node that does not know its own name means: as you came here.
    let host = if host.is_empty() || host == "?" { asked.host.clone() } else { host };
    let port = u16::try_from(*port).ok()?;
    let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
    (first <= last && last < SLOTS).then_some(Share { first, last, master: Address { host, port } })
}

/// The slot of a hash tag: CRC-16/XMODEM, as the cluster specification says.
pub(super) fn slot_of(tag: &str) -> u16 {
    let crc = tag.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 })
    });
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // CRC-16/XMODEM's check value, and two of `CLUSTER KEYSLOT`'s.
        assert_eq!(slot_of("123456789"), 0x31C3 % SLOTS);
        assert_eq!((slot_of("foo"), slot_of("somekey")), (12182, 11058));
    }

    #[test]
    fn odd_ranges_are_left_out() {
        let asked = Address { host: "asked".to_owned(), port: 1 };
        let node = |host: Value, port: i64| Value::Array(vec![host, Value::Int(port)]);
        let named = |host: &str| Value::BulkString(host.as_bytes().to_vec());
        let share = |first, last, host: &str| Share { first, last, master: Address { host: host.to_owned(), port: 7 } };
        let range = |first, last, node| [Value::Int(first), Value::Int(last), node];
        assert_eq!(read(&range(0, 5, node(named("h"), 7)), &asked), Some(share(0, 5, "h")));
        for nameless in [Value::Nil, named(""), named("?")] {
            assert_eq!(read(&range(3, 16_383, node(nameless, 7)), &asked), Some(share(3, 16_383, "asked")));
        }
        assert_eq!(read(&range(0, 16_384, node(named("h"), 7)), &asked), None);
        assert_eq!(read(&range(6, 5, node(named("h"), 7)), &asked), None);
        assert_eq!(read(&range(-1, 5, node(named("h"), 7)), &asked), None);
        assert_eq!(read(&range(0, 5, node(named("h"), 70_000)), &asked), None);
        assert_eq!(read(&[Value::Int(0)], &asked), None);
    }
}
