//! The two Redis commands that are needed, in RESP.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Result, setting};

/// Where the floor hears of events.
pub const FLOOR: &str = "payment-status:floor";
/// Where the peer does, of the order with the number `peer`.
pub const PEER: &str = "payment-status:peer";

/// A connection.
pub struct Bus(TcpStream);

impl Bus {
    /// To the server that `scripts/servers` has started.
    pub async fn connect() -> Result<Self> {
        let url = setting("PAYONCE_TEST_REDIS_URL", "");
        let stream = TcpStream::connect(url.trim_start_matches("redis://")).await?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    async fn send(&mut self, words: &[&str]) -> Result<()> {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command += &format!("${}\r\n{word}\r\n", word.len());
        }
        Ok(self.0.write_all(command.as_bytes()).await?)
    }

    /// Waits for the next reply or message, whose content is of no interest here.
    pub async fn receive(&mut self) -> Result<()> {
        let mut reply = [0; 4096];
        if self.0.read(&mut reply).await? == 0 {
            return Err("Redis hung up".into());
        }
        Ok(())
    }

    /// Tells all who listen.
    pub async fn publish(&mut self, channel: &str, message: &str) -> Result<()> {
        self.send(&["PUBLISH", channel, message]).await?;
        self.receive().await
    }

    /// From now on messages are received.
    pub async fn subscribe(&mut self, channel: &str) -> Result<()> {
        self.send(&["SUBSCRIBE", channel]).await?;
        self.receive().await
    }
}
