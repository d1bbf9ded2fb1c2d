//! MariaDB, with its own defaults for what a crash may cost: nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sea_orm::{ConnectionTrait, Database, DbBackend, Statement};
use tokio::sync::Mutex;

use super::program;
use crate::Result;
use crate::process::{Process, as_user, free_port, give_to};

/// A server of our own.
pub struct MariaDb {
    dir: PathBuf,
    /// Where it listens.
    pub port: u16,
    process: Mutex<Process>,
}

impl MariaDb {
    /// Makes its tables in `dir` and starts it.
    pub async fn start(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let sql =
            "CREATE USER payonce@'127.0.0.1' IDENTIFIED BY 'payonce';\nGRANT ALL ON *.* TO payonce@'127.0.0.1';\n";
        std::fs::write(dir.join("init.sql"), sql)?;
        give_to("mysql", dir)?;
        let mut install = as_user("mysql", &program("mariadb-install-db"));
        install.current_dir(dir).args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        install.arg(format!("--datadir={}", dir.join("data").display()));
        let made = install.output().map_err(|e| format!("mariadb-install-db: {e}; is MariaDB installed?"))?;
        if !made.status.success() {
            return Err(format!("mariadb-install-db: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        let port = free_port();
        let process = launch(dir, port, Some("init.sql"))?;
        let server = Self { dir: dir.to_owned(), port, process: Mutex::new(process) };
        server.up().await?;
        Ok(server)
    }

    /// The URL of one of its databases, past every proxy.
    pub fn url(&self, database: &str) -> String {
        url(self.port, database)
    }

    /// Does something as the owner of everything.
    pub async fn command(&self, sql: &str) -> Result<()> {
        let connection = Database::connect(self.url("")).await?;
        let done = connection.execute_unprepared(sql).await;
        connection.close().await?;
        done?;
        Ok(())
    }

    /// The numbers of the sessions on one of its databases.
    pub async fn sessions(&self, database: &str) -> Result<Vec<i64>> {
        let connection = Database::connect(self.url("")).await?;
        let sql =
            format!("SELECT CAST(id AS SIGNED) AS id FROM information_schema.processlist WHERE db = '{database}'");
        let rows = connection.query_all_raw(Statement::from_string(DbBackend::MySql, sql)).await;
        connection.close().await?;
        rows?.iter().map(|row| Ok(row.try_get("", "id")?)).collect()
    }

    /// Kills it and starts it again: it recovers.
    pub async fn crash(&self, down: Duration) -> Result<()> {
        let mut process = self.process.lock().await;
        process.kill();
        tokio::time::sleep(down).await;
        *process = launch(&self.dir, self.port, None)?;
        drop(process);
        self.up().await
    }

    /// The server stands still.
    pub async fn freeze(&self, time: Duration) {
        let mut process = self.process.lock().await;
        process.signal("STOP");
        tokio::time::sleep(time).await;
        process.signal("CONT");
    }

    async fn up(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        process.until(async || self.command("SELECT 1").await.is_ok()).await
    }
}

/// The URL of a database of a MariaDB on this port, which may be a proxy's.
pub fn url(port: u16, database: &str) -> String {
    format!("mysql://payonce:payonce@127.0.0.1:{port}/{database}")
}

fn launch(dir: &Path, port: u16, init: Option<&str>) -> Result<Process> {
    let mut command = as_user("mysql", &program("mariadbd"));
    let file = |name: &str| dir.join(name).display().to_string();
    command.current_dir(dir).args([
        "--no-defaults",
        "--bind-address=127.0.0.1",
        "--skip-log-bin",
        "--skip-name-resolve",
    ]);
    command.args(["--max-connections=300", "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M"]);
    command.args([format!("--datadir={}", file("data")), format!("--socket={}", file("socket"))]);
    command.args([format!("--pid-file={}", file("pid")), format!("--port={port}")]);
    command.args(init.map(|name| format!("--init-file={}", file(name))));
    Process::start("MariaDB", command, &dir.with_extension("log"))
}
