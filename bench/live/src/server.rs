//! A server that is measured: a process, what it uses, and its end.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Result, setting};

/// A running server; it ends with this value.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// The port of Payonce's sandbox.
    pub sandbox: u16,
    process: Running,
}

/// Ends with its server.
struct Running(Child);

impl Server {
    /// Starts it and waits until it takes connections, at most thirty seconds.
    pub async fn start(mut command: Command, port: u16) -> Result<Self> {
        let process = Running(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
        let mut server = Self { address: SocketAddr::from(([127, 0, 0, 1], port)), sandbox: 0, process };
        let until = Instant::now() + Duration::from_secs(30);
        while tokio::net::TcpStream::connect(server.address).await.is_err() {
            if server.process.0.try_wait()?.is_some() || Instant::now() > until {
                return Err(format!("{command:?} does not start").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }

    /// This program once more, as the floor.
    pub async fn floor() -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["floor", &port.to_string()]);
        Self::start(command, port).await
    }

    /// The Node.js peer.
    pub async fn peer(secret: &str) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new("node");
        command.arg(setting("BENCH_PEER", "bench/live/peer/server.mjs")).arg(port.to_string());
        command.env("JWT_SECRET", secret).env("NODE_ENV", "production");
        command.env("REDIS_URL", setting("PAYONCE_TEST_REDIS_URL", ""));
        Self::start(command, port).await
    }

    /// Memory in use, in KiB.
    pub fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Ok(line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).ok_or("no VmRSS")?)
    }

    /// CPU time used so far.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.0.id()))?;
        // utime and stime are the 14th and the 15th field; the name in brackets is the second.
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
        let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A port that is free now, below those that the system hands out by itself.
pub fn free_port() -> Result<u16> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..1_000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() * 37;
        let port = 20_000 + (step % 10_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no port is free".into())
}
