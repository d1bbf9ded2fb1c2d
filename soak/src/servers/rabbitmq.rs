//! RabbitMQ alone, with a port mapper of its own; what it has confirmed is on its disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lapin::{Connection, ConnectionProperties};
use tokio::sync::Mutex;

use super::program;
use crate::Result;
use crate::process::{Process, free_port};

/// Started by its own script, past the system's service.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// It boots slowly, and more so beside others that are busy.
const PATIENCE: Duration = Duration::from_secs(180);

/// A server of our own.
pub struct RabbitMq {
    dir: PathBuf,
    /// Its own, that of its nodes, and the port mapper's.
    ports: [u16; 3],
    process: Mutex<Process>,
    _mapper: Process,
}

impl RabbitMq {
    /// Begins to start it, empty: it takes its time, and [`RabbitMq::up`] waits for it.
    pub fn start(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let ports = [free_port(), free_port(), free_port()];
        std::fs::write(dir.join("rabbitmq.conf"), format!("listeners.tcp.1 = 127.0.0.1:{}\n", ports[0]))?;
        let mut mapper = Command::new(program("epmd"));
        mapper.args(["-port", &ports[2].to_string(), "-address", "127.0.0.1"]);
        let mapper = Process::start("epmd", mapper, &dir.join("epmd.log"))?;
        let process = Mutex::new(launch(dir, ports)?);
        Ok(Self { dir: dir.to_owned(), ports, process, _mapper: mapper })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.ports[0])
    }

    /// Waits until it answers.
    pub async fn up(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        let until = Instant::now() + PATIENCE;
        while Connection::connect(&self.url(), ConnectionProperties::default()).await.is_err() {
            if !process.is_running() || Instant::now() > until {
                return Err(format!("RabbitMQ does not come up: see {}", self.dir.display()).into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Kills it: connections break, new ones are refused.
    pub async fn kill(&self) {
        self.process.lock().await.kill();
    }

    /// Starts it again where it was, if it does not run.
    pub async fn start_again(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        if !process.is_running() {
            *process = launch(&self.dir, self.ports)?;
        }
        drop(process);
        self.up().await
    }

    /// It holds its connections and confirms nothing.
    pub async fn freeze(&self, time: Duration) {
        let mut process = self.process.lock().await;
        process.signal("STOP");
        tokio::time::sleep(time).await;
        process.signal("CONT");
    }
}

fn launch(dir: &Path, [port, nodes, mapper]: [u16; 3]) -> Result<Process> {
    let mut command = Command::new(SERVER);
    command
        // Else the script stays beside the server, and is what would be killed.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .env("HOME", dir)
        .env("ERL_EPMD_PORT", mapper.to_string())
        .env("RABBITMQ_NODENAME", format!("soak{port}@localhost"))
        .env("RABBITMQ_DIST_PORT", nodes.to_string())
        .env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq.conf"))
        .env("RABBITMQ_MNESIA_BASE", dir.join("data"))
        .env("RABBITMQ_LOG_BASE", dir.join("log"))
        .env("RABBITMQ_PID_FILE", dir.join("pid"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("plugins"))
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1:1");
    Process::start("RabbitMQ", command, &dir.join("rabbitmq.log"))
}
