//! One shop on trial: processes of Payonce, a sandbox, a database of its own, and proxies between them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use sea_orm::{Database, DatabaseConnection};
use tokio::sync::Mutex;

use crate::Result;
use crate::consumer::Consumer;
use crate::machines::{Backend, Machines};
use crate::process::{Process, free_port};
use crate::proxy::Proxy;
use crate::servers::{MariaDb, Postgres, RabbitMq, Redis, mariadb, postgres};

/// The lease of an operation here: short, so that takeovers are quick.
const LEASE: &str = "500ms";

/// Everything that belongs to one run.
pub struct Site {
    /// Which database it has.
    pub backend: Backend,
    /// What it stands on.
    pub machines: Arc<Machines>,
    /// Logs and files.
    pub dir: PathBuf,
    /// The database's name, or the file's.
    pub database: String,
    /// Between Payonce and its database; SQLite has none.
    pub to_database: Option<Proxy>,
    /// Between Payonce and the gateways.
    pub to_gateway: Proxy,
    /// The sandbox's own address.
    pub sandbox: String,
    /// Where each process of Payonce listens.
    pub ports: Vec<u16>,
    /// How often a process of Payonce was killed, or died as told.
    pub kills: AtomicU64,
    /// How often a process was started.
    pub starts: AtomicU64,
    /// Who is told what happens, where RabbitMQ is.
    pub consumer: Option<Consumer>,
    /// For the harness' own questions to the sandbox.
    pub http: reqwest::Client,
    processes: Vec<Mutex<Option<Process>>>,
    redis_port: AtomicU16,
    notified_at: Proxy,
    _sandbox: Process,
}

impl Site {
    /// Starts all of it, healthy.
    pub async fn open(machines: &Arc<Machines>, backend: Backend, name: &str, seed: u64) -> Result<Self> {
        let dir = machines.directory(name)?;
        let database = match backend {
            Backend::Sqlite => dir.join("payonce.db").display().to_string(),
            _ => name.replace('-', "_"),
        };
        let create = format!("CREATE DATABASE {database}");
        let to_database = match backend {
            Backend::Sqlite => None,
            Backend::Postgres => {
                let server = machines.postgres.as_ref().ok_or("no PostgreSQL runs")?;
                server.command(&create).await?;
                Some(Proxy::start(vec![server.port], seed).await?)
            }
            Backend::Mariadb => {
                let server = machines.mariadb.as_ref().ok_or("no MariaDB runs")?;
                server.command(&create).await?;
                Some(Proxy::start(vec![server.port], seed).await?)
            }
        };
        let keys = dir.join("gateways");
        copy(&machines.keys, &keys)?;
        let sandbox_port = free_port();
        let mut gateways = Command::new(&machines.payonce);
        gateways.args(["sandbox", "--listen", &format!("127.0.0.1:{sandbox_port}"), "--keys"]).arg(&keys);
        gateways.env("PAYONCE_LOG", "warn").env_remove("FAILPOINTS").current_dir(&dir);
        let mut sandbox = Process::start("the sandbox", gateways, &dir.join("sandbox.log"))?;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(15)).build()?;
        let url = format!("http://127.0.0.1:{sandbox_port}");
        sandbox.until(async || http.get(format!("{url}/__sandbox/ledger")).send().await.is_ok()).await?;
        let ports: Vec<u16> = (0..backend.processes()).map(|_| free_port()).collect();
        let mut site = Self {
            backend,
            machines: machines.clone(),
            dir,
            database,
            to_database,
            to_gateway: Proxy::start(vec![sandbox_port], seed + 1).await?,
            sandbox: url,
            kills: AtomicU64::new(0),
            starts: AtomicU64::new(0),
            consumer: None,
            http,
            processes: ports.iter().map(|_| Mutex::new(None)).collect(),
            redis_port: AtomicU16::new(0),
            notified_at: Proxy::start(ports.clone(), seed + 2).await?,
            ports,
            _sandbox: sandbox,
        };
        if let Some(rabbitmq) = site.rabbitmq() {
            site.consumer = Some(Consumer::join(rabbitmq.url(), site.database.clone()).await?);
        }
        site.redis_at(site.redis().map_or(0, |redis| redis.port));
        for n in 0..site.ports.len() {
            site.start(n, "").await?;
        }
        Ok(site)
    }

    /// Starts a process of Payonce that dies at these points; it answers, or it has died as told. Without its
    /// database it does not start: then it is started again, as a supervisor would, for a minute.
    pub async fn start(&self, n: usize, failpoints: &str) -> Result<()> {
        let mut place = self.processes[n].lock().await;
        let log = self.dir.join(format!("payonce-{n}.log"));
        let ready = format!("http://127.0.0.1:{}/readyz", self.ports[n]);
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let mut command = self.command(n, failpoints)?;
            command.arg("serve");
            let mut process = Process::start("Payonce", command, &log)?;
            self.starts.fetch_add(1, Relaxed);
            let up = process.until(async || self.http.get(&ready).send().await.is_ok()).await;
            let aborted = process.was_aborted();
            *place = Some(process);
            match up {
                Err(e) if !aborted && Instant::now() > until => return Err(e),
                Err(_) if !aborted => tokio::time::sleep(Duration::from_millis(100)).await,
                _ => return Ok(()),
            }
        }
    }

    /// What the program says of the whole database, asked past every proxy.
    pub async fn doctor(&self) -> Result<String> {
        let mut command = self.command(0, "")?;
        command.env("PAYONCE_DATABASE_URL", self.database_url(None));
        command.args(["doctor", "--deep"]);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    fn command(&self, n: usize, failpoints: &str) -> Result<Command> {
        let mut command = Command::new(&self.machines.payonce);
        let keys = self.dir.join("gateways");
        let key = |file: &str| keys.join(file).display().to_string();
        let ids = |file: &str| -> Result<serde_json::Value> { Ok(serde_json::from_slice(&std::fs::read(key(file))?)?) };
        let (wechat_pay, alipay) = (ids("wechat_pay/ids.json")?, ids("alipay/ids.json")?);
        let text = |ids: &serde_json::Value, name: &str| ids[name].as_str().unwrap_or_default().to_owned();
        let gateway = format!("http://127.0.0.1:{}", self.to_gateway.port);
        command.current_dir(&self.dir).env("FAILPOINTS", failpoints);
        for (name, value) in [
            ("LISTEN", format!("127.0.0.1:{}", self.ports[n])),
            ("SANDBOX_LISTEN", "off".to_owned()),
            ("DATABASE_URL", self.database_url(self.to_database.as_ref().map(|p| p.port))),
            ("REDIS_URL", redis_url(self.redis_port.load(Relaxed))),
            ("AMQP_URL", self.rabbitmq().map(RabbitMq::url).unwrap_or_default()),
            ("AMQP_EXCHANGE", self.exchange()),
            ("PUBLIC_URL", format!("http://127.0.0.1:{}", self.notified_at.port)),
            ("LEASE", LEASE.to_owned()),
            ("LOG", "info,sqlx=off,sea_orm_migration=warn".to_owned()),
            ("WECHAT_PAY_BASE_URL", gateway.clone()),
            ("WECHAT_PAY_MCHID", text(&wechat_pay, "mchid")),
            ("WECHAT_PAY_APPID", text(&wechat_pay, "appid")),
            ("WECHAT_PAY_SERIAL_NO", text(&wechat_pay, "serial_no")),
            ("WECHAT_PAY_API_V3_KEY", text(&wechat_pay, "api_v3_key")),
            ("WECHAT_PAY_PUBLIC_KEY_ID", text(&wechat_pay, "public_key_id")),
            ("WECHAT_PAY_PRIVATE_KEY_FILE", key("wechat_pay/merchant_private_key.pem")),
            ("WECHAT_PAY_PUBLIC_KEY_FILE", key("wechat_pay/platform_public_key.pem")),
            ("ALIPAY_GATEWAY_URL", format!("{gateway}/gateway.do")),
            ("ALIPAY_APP_ID", text(&alipay, "app_id")),
            ("ALIPAY_SELLER_ID", text(&alipay, "seller_id")),
            ("ALIPAY_PRIVATE_KEY_FILE", key("alipay/app_private_key.pem")),
            ("ALIPAY_ALIPAY_PUBLIC_KEY_FILE", key("alipay/alipay_public_key.pem")),
        ] {
            command.env(format!("PAYONCE_{name}"), value);
        }
        Ok(command)
    }

    fn database_url(&self, proxy: Option<u16>) -> String {
        let server = |server: Option<u16>| proxy.or(server).unwrap_or_default();
        match self.backend {
            Backend::Sqlite => format!("sqlite://{}?mode=rwc", self.database),
            Backend::Postgres => postgres::url(server(self.machines.postgres.as_ref().map(|s| s.port)), &self.database),
            Backend::Mariadb => mariadb::url(server(self.machines.mariadb.as_ref().map(|s| s.port)), &self.database),
        }
    }

    /// Where processes that are started from now on are told that Redis is, 0: nowhere; where it was before.
    pub fn redis_at(&self, port: u16) -> u16 {
        self.redis_port.swap(port, Relaxed)
    }

    /// A connection past every proxy.
    pub async fn look(&self) -> Result<DatabaseConnection> {
        let mut options = sea_orm::ConnectOptions::new(self.database_url(None));
        options.max_connections(1).sqlx_logging(false).acquire_timeout(Duration::from_secs(3));
        Ok(Database::connect(options).await?)
    }

    /// Ends a process at once; counted when it lived.
    pub async fn kill(&self, n: usize) {
        if let Some(process) = self.processes[n].lock().await.as_mut()
            && process.is_running()
        {
            process.kill();
            self.kills.fetch_add(1, Relaxed);
        }
    }

    /// Sends a signal to a process.
    pub async fn signal(&self, n: usize, signal: &str) {
        if let Some(process) = self.processes[n].lock().await.as_mut() {
            process.signal(signal);
        }
    }

    /// How much memory the process has, in KiB; 0 when it is not there.
    pub async fn resident_kib(&self, n: usize) -> u64 {
        self.processes[n].lock().await.as_ref().map_or(0, Process::resident_kib)
    }

    /// Whether the process runs.
    pub async fn is_running(&self, n: usize) -> bool {
        self.processes[n].lock().await.as_mut().is_some_and(Process::is_running)
    }

    /// Kills every process.
    pub async fn kill_all(&self) {
        for n in 0..self.ports.len() {
            self.kill(n).await;
        }
    }

    /// No fault any more: servers and every process run, proxies are honest, the sandbox behaves.
    pub async fn heal(&self) -> Result<()> {
        self.to_gateway.rules.clear();
        if let Some(proxy) = &self.to_database {
            proxy.rules.clear();
        }
        self.http.delete(format!("{}/__sandbox/faults", self.sandbox)).send().await?;
        if let Some(redis) = self.redis()
            && !redis.is_running().await
        {
            redis.start_again().await?;
        }
        if let Some(rabbitmq) = self.rabbitmq() {
            rabbitmq.start_again().await?;
        }
        for n in 0..self.ports.len() {
            // Whatever it was told to die of, it shall not any more.
            if let Some(mut process) = self.processes[n].lock().await.take() {
                process.kill();
            }
            self.start(n, "").await?;
        }
        Ok(())
    }

    /// Ends every process; deletes files and database unless they are evidence.
    pub async fn close(&self, delete: bool) {
        for place in &self.processes {
            place.lock().await.take();
        }
        if !delete {
            return;
        }
        std::fs::remove_dir_all(&self.dir).ok();
        let drop = format!("DROP DATABASE {}", self.database);
        match (self.postgres(), self.mariadb()) {
            (Some(server), _) => server.command(&format!("{drop} WITH (FORCE)")).await.ok(),
            (_, Some(server)) => server.command(&drop).await.ok(),
            _ => None,
        };
    }

    /// The site's PostgreSQL.
    pub fn postgres(&self) -> Option<&Postgres> {
        self.machines.postgres.as_ref().filter(|_| self.backend == Backend::Postgres)
    }

    /// The site's MariaDB.
    pub fn mariadb(&self) -> Option<&MariaDb> {
        self.machines.mariadb.as_ref().filter(|_| self.backend == Backend::Mariadb)
    }

    /// The site's Redis.
    pub fn redis(&self) -> Option<&Redis> {
        match self.backend {
            Backend::Sqlite => None,
            Backend::Postgres => self.machines.redis.first(),
            Backend::Mariadb => self.machines.redis.get(1),
        }
    }

    /// The site's RabbitMQ.
    pub fn rabbitmq(&self) -> Option<&RabbitMq> {
        self.machines.rabbitmq.as_ref().filter(|_| self.backend == Backend::Postgres)
    }

    /// Its own: sites share the server.
    fn exchange(&self) -> String {
        self.rabbitmq().map_or_else(String::new, |_| self.database.clone())
    }

    /// The token of this customer.
    pub fn customer(&self, n: usize) -> &str {
        &self.machines.customers[n % self.machines.customers.len()]
    }

    /// Where a process takes GraphQL.
    pub fn graphql(&self, n: usize) -> String {
        format!("http://127.0.0.1:{}/graphql", self.ports[n % self.ports.len()])
    }
}

fn redis_url(port: u16) -> String {
    if port == 0 { String::new() } else { format!("redis://127.0.0.1:{port}") }
}

/// Both sides' keys, without what the sandbox remembers.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for gateway in ["wechat_pay", "alipay"] {
        copy_folder(&from.join(gateway), &to.join(gateway))?;
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)?.flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() { copy_folder(&path, &to)? } else { std::fs::copy(path, to).map(drop)? }
    }
    Ok(())
}
