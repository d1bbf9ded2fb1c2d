//! A Redis Cluster of the test's own.

use super::redis_server::{RedisServer, in_memory};
use super::shop::eventually;

/// How many masters share the slots.
const MASTERS: usize = 3;

pub struct RedisCluster {
    /// `redis+cluster://…`
    pub url: String,
    pub masters: Vec<RedisServer>,
    /// One for each master, or none.
    _replicas: Vec<RedisServer>,
}

impl RedisCluster {
    pub async fn start() -> Self {
        Self::start_with(0, 5_000).await
    }

    /// With a replica for each master, that takes over soon.
    pub async fn start_with_replicas() -> Self {
        Self::start_with(MASTERS, 1_000).await
    }

    /// Returns when every node says that all is well.
    async fn start_with(replicas: usize, node_timeout: u32) -> Self {
        let node_timeout = node_timeout.to_string();
        let more =
            ["--cluster-enabled", "yes", "--cluster-node-timeout", &node_timeout, "--repl-diskless-sync-delay", "0"];
        let mut nodes = Vec::new();
        for _ in 0..MASTERS + replicas {
            nodes.push(RedisServer::start_with(|port, folder| in_memory(port, folder, &more)).await);
        }
        for (n, node) in nodes.iter().enumerate() {
            node.command(&format!("CLUSTER SET-CONFIG-EPOCH {}", n + 1)).await;
            if n < MASTERS {
                let (first, next) = (n * 16_384 / MASTERS, (n + 1) * 16_384 / MASTERS);
                node.command(&format!("CLUSTER ADDSLOTSRANGE {first} {}", next - 1)).await;
            }
            for other in &nodes[..n] {
                node.command(&format!("CLUSTER MEET 127.0.0.1 {}", other.port)).await;
            }
        }
        let known = format!("cluster_known_nodes:{}\r", nodes.len());
        all(&nodes, "CLUSTER INFO", &["cluster_state:ok", &known]).await;
        let replicas = nodes.split_off(MASTERS);
        for (replica, master) in replicas.iter().zip(&nodes) {
            let id = master.text("CLUSTER MYID").await;
            replica.command(&format!("CLUSTER REPLICATE {id}")).await;
        }
        all(&replicas, "INFO replication", &["master_link_status:up"]).await;
        let seeds: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        Self { url: format!("redis+cluster://{}", seeds.join(",")), masters: nodes, _replicas: replicas }
    }
}

async fn all(nodes: &[RedisServer], question: &str, words: &[&str]) {
    eventually(&format!("{question} says {words:?}"), async || {
        for node in nodes {
            let said = node.text(question).await;
            if !words.iter().all(|word| said.contains(word)) {
                return false;
            }
        }
        true
    })
    .await;
}
