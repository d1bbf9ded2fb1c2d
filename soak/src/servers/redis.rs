//! Redis alone, holding everything in memory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;

use super::program;
use crate::Result;
use crate::process::{Process, free_port};

/// A server of our own.
pub struct Redis {
    dir: PathBuf,
    /// Where it listens.
    pub port: u16,
    process: Mutex<Process>,
}

impl Redis {
    /// Starts it, empty.
    pub async fn start(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let port = free_port();
        let server = Self { dir: dir.to_owned(), port, process: Mutex::new(launch(dir, port)?) };
        server.up().await?;
        Ok(server)
    }

    /// Where it is, past every proxy.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sends one command, given as in `redis-cli`.
    pub async fn command(&self, words: &str) -> Result<redis::Value> {
        let mut words = words.split_whitespace();
        let mut command = redis::cmd(words.next().unwrap_or_default());
        words.for_each(|word| _ = command.arg(word));
        Ok(command.query_async(&mut self.connection().await?).await?)
    }

    /// A connection with patience.
    pub async fn connection(&self) -> Result<MultiplexedConnection> {
        let patience = Some(Duration::from_secs(2));
        let config =
            redis::AsyncConnectionConfig::new().set_connection_timeout(patience).set_response_timeout(patience);
        Ok(redis::Client::open(self.url())?.get_multiplexed_async_connection_with_config(&config).await?)
    }

    /// Kills it: connections break, new ones are refused.
    pub async fn kill(&self) {
        self.process.lock().await.kill();
    }

    /// Starts it again, empty, where it was.
    pub async fn start_again(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        process.kill();
        *process = launch(&self.dir, self.port)?;
        drop(process);
        self.up().await
    }

    /// It holds its connections and answers nothing.
    pub async fn freeze(&self, time: Duration) {
        let mut process = self.process.lock().await;
        process.signal("STOP");
        tokio::time::sleep(time).await;
        process.signal("CONT");
    }

    /// Whether it runs.
    pub async fn is_running(&self) -> bool {
        self.process.lock().await.is_running()
    }

    async fn up(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        process.until(async || self.command("PING").await.is_ok()).await
    }
}

fn launch(dir: &Path, port: u16) -> Result<Process> {
    let mut command = Command::new(program("redis-server"));
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.arg("--dir").arg(dir);
    Process::start("Redis", command, &dir.join("redis.log"))
}
