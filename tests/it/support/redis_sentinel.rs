//! A Redis of the test's own that three sentinels watch over: a master and a replica.

use std::path::Path;

use super::redis_server::{RedisServer, in_memory};
use super::shop::eventually;

pub struct RedisSentinel {
    /// `redis+sentinel://…`
    pub url: String,
    /// Master at first.
    pub first: RedisServer,
    /// Its replica at first.
    _second: RedisServer,
    _sentinels: Vec<RedisServer>,
}

impl RedisSentinel {
    /// Returns when a failover is possible.
    pub async fn start() -> Self {
        let first = RedisServer::start().await;
        let master = first.port;
        let replica_of = format!("127.0.0.1 {master}");
        let replica = ["--replicaof", &replica_of, "--repl-diskless-sync-delay", "0"];
        let second = RedisServer::start_with(|port, folder| in_memory(port, folder, &replica)).await;
        first.command("CONFIG SET repl-diskless-sync-delay 0").await;
        eventually("the replica follows", async || {
            second.text("INFO replication").await.contains("master_link_status:up")
        })
        .await;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(RedisServer::start_with(|port, folder| sentinel(port, folder, master)).await);
        }
        eventually("the sentinels know each other and the replica", async || {
            let mut ready = true;
            for sentinel in &sentinels {
                let known = sentinel.text("INFO sentinel").await;
                ready &= known.contains("status=ok") && known.contains("slaves=1,sentinels=3");
            }
            ready
        })
        .await;
        let seeds: Vec<String> = sentinels.iter().map(|s| format!("127.0.0.1:{}", s.port)).collect();
        let url = format!("redis+sentinel://{}/payonce", seeds.join(","));
        Self { url, first, _second: second, _sentinels: sentinels }
    }
}

fn sentinel(port: u16, folder: &Path, master: u16) -> Vec<String> {
    let file = folder.join("sentinel.conf");
    let text = format!(
        "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor payonce 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds payonce 1000\nsentinel failover-timeout payonce 3000\n",
        folder.display()
    );
    std::fs::write(&file, text).expect("sentinel.conf");
    vec![file.display().to_string(), "--sentinel".to_owned()]
}
