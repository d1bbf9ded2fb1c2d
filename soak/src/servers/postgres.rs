//! PostgreSQL, as safe as it is in production: every commit is on the disk before it is answered.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sea_orm::{ConnectionTrait, Database};
use tokio::sync::Mutex;

use super::program;
use crate::Result;
use crate::process::{Process, as_user, free_port, give_to};

/// A cluster of our own.
pub struct Postgres {
    dir: PathBuf,
    /// Where it listens.
    pub port: u16,
    process: Mutex<Process>,
}

impl Postgres {
    /// Makes a cluster in `dir` and starts it.
    pub async fn start(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        give_to("postgres", dir)?;
        let mut init = as_user("postgres", &newest("initdb"));
        init.current_dir(dir).args(["-D", ".", "-U", "payonce", "-A", "trust", "-E", "UTF8", "--locale=C"]);
        let made = init.output().map_err(|e| format!("initdb: {e}; is PostgreSQL installed?"))?;
        if !made.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        let port = free_port();
        let server = Self { dir: dir.to_owned(), port, process: Mutex::new(launch(dir, port)?) };
        server.up().await?;
        Ok(server)
    }

    /// The URL of one of its databases, past every proxy.
    pub fn url(&self, database: &str) -> String {
        url(self.port, database)
    }

    /// Does something as the owner of everything.
    pub async fn command(&self, sql: &str) -> Result<()> {
        let connection = Database::connect(self.url("postgres")).await?;
        let done = connection.execute_unprepared(sql).await;
        connection.close().await?;
        done?;
        Ok(())
    }

    /// Stops it as `pg_ctl stop -m immediate` does, which is a crash, and starts it again: it recovers.
    pub async fn crash(&self, down: Duration) -> Result<()> {
        let mut process = self.process.lock().await;
        process.signal("QUIT");
        if !process.ends_within(Duration::from_secs(10)).await {
            process.kill();
        }
        tokio::time::sleep(down).await;
        *process = launch(&self.dir, self.port)?;
        drop(process);
        self.up().await
    }

    /// The server and all its sessions stand still.
    pub async fn freeze(&self, time: Duration) {
        let mut process = self.process.lock().await;
        process.signal_family("STOP");
        tokio::time::sleep(time).await;
        process.signal_family("CONT");
    }

    async fn up(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        process.until(async || self.command("SELECT 1").await.is_ok()).await
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let process = self.process.get_mut();
        // Its sessions are in groups of their own: it tells them itself.
        process.signal_family("CONT");
        process.signal("QUIT");
        for _ in 0..500 {
            if !process.is_running() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The URL of a database of a PostgreSQL on this port, which may be a proxy's.
pub fn url(port: u16, database: &str) -> String {
    format!("postgres://payonce@127.0.0.1:{port}/{database}")
}

fn launch(dir: &Path, port: u16) -> Result<Process> {
    let mut command = as_user("postgres", &newest("postgres"));
    command.current_dir(dir).args(["-D", ".", "-k", ".", "-p", &port.to_string()]);
    for setting in ["listen_addresses=127.0.0.1", "max_connections=300", "shared_buffers=64MB", "fsync=on"] {
        command.args(["-c", setting]);
    }
    // The log is ours, its directory theirs.
    Process::start("PostgreSQL", command, &dir.with_extension("log"))
}

/// The newest version's program.
fn newest(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.filter_map(|v| v.file_name().to_str()?.parse::<u32>().ok()).max();
    let packaged = newest.map(|v| PathBuf::from(format!("/usr/lib/postgresql/{v}/bin/{name}")));
    packaged.filter(|file| file.is_file()).unwrap_or_else(|| program(name))
}
