//! What every site stands on: the servers, the gateways' keys and the callers' tokens, made once a run.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::process::{Process, free_port};
use crate::servers::{MariaDb, Postgres, RabbitMq, Redis};

/// Customers that order; one token each.
pub const CUSTOMERS: usize = 6;

/// Which database a site has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Backend {
    /// One process on a file.
    Sqlite,
    /// Three processes on PostgreSQL and Redis, which tell RabbitMQ.
    Postgres,
    /// Three processes on MariaDB and Redis.
    Mariadb,
}

impl Backend {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::Mariadb => "MariaDB",
        }
    }

    /// How many processes of Payonce work on it.
    pub const fn processes(self) -> usize {
        match self {
            Self::Sqlite => 1,
            Self::Postgres | Self::Mariadb => 3,
        }
    }
}

/// Servers, keys and tokens. Everything ends and is deleted with it.
pub struct Machines {
    /// The program that is tried.
    pub payonce: PathBuf,
    /// Both gateways' keys.
    pub keys: PathBuf,
    /// The tokens of those who order.
    pub customers: Vec<String>,
    /// The token of who refunds.
    pub admin: String,
    /// There when a site wants it.
    pub postgres: Option<Postgres>,
    /// There when a site wants it.
    pub mariadb: Option<MariaDb>,
    /// There when a site wants it.
    pub rabbitmq: Option<RabbitMq>,
    /// One for each server's lane: a fault in one does not disturb the other.
    pub redis: Vec<Redis>,
    // Last: what is in it is still used while the others end.
    home: Home,
}

impl Machines {
    /// Starts what these databases need.
    pub async fn start(payonce: &Path, backends: &[Backend]) -> Result<Self> {
        let home = Home::make()?;
        let keys = home.path.join("keys");
        make_keys(payonce, &keys, &home.path).await?;
        let mut customers = Vec::new();
        for n in 0..CUSTOMERS {
            customers.push(token(payonce, &format!("customer-{n}"), "customer")?);
        }
        let admin = token(payonce, "admin", "admin")?;
        let mut machines = Self {
            payonce: payonce.to_owned(),
            keys,
            customers,
            admin,
            postgres: None,
            mariadb: None,
            rabbitmq: None,
            redis: vec![],
            home,
        };
        let home = &machines.home.path;
        if backends.contains(&Backend::Postgres) {
            machines.rabbitmq = Some(RabbitMq::start(&home.join("rabbitmq"))?);
            machines.postgres = Some(Postgres::start(&home.join("postgres")).await?);
        }
        if backends.contains(&Backend::Mariadb) {
            machines.mariadb = Some(MariaDb::start(&home.join("mariadb")).await?);
        }
        for lane in ["redis-postgres", "redis-mariadb"] {
            machines.redis.push(Redis::start(&home.join(lane)).await?);
        }
        if let Some(rabbitmq) = &machines.rabbitmq {
            rabbitmq.up().await?;
        }
        Ok(machines)
    }

    /// A new, empty directory.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let directory = self.home.path.join(name);
        std::fs::create_dir_all(&directory)?;
        Ok(directory)
    }

    /// From now on nothing is deleted; says where it lies.
    pub fn keep(&self) -> PathBuf {
        self.home.keep.store(true, std::sync::atomic::Ordering::Relaxed);
        self.home.path.clone()
    }
}

/// A sandbox makes the keys when it starts.
async fn make_keys(payonce: &Path, keys: &Path, home: &Path) -> Result<()> {
    let mut command = Command::new(payonce);
    command.args(["sandbox", "--listen", &format!("127.0.0.1:{}", free_port()), "--keys"]).arg(keys).current_dir(home);
    let mut sandbox = Process::start("the sandbox", command, &home.join("keys.log"))?;
    let made = [keys.join("wechat_pay/ids.json"), keys.join("alipay/ids.json")];
    sandbox.until(async || made.iter().all(|file| file.exists())).await
}

fn token(payonce: &Path, subject: &str, role: &str) -> Result<String> {
    let mut mint = Command::new(payonce);
    mint.args(["token", "--sub", subject, "--role", role, "--ttl", "2d"]);
    let minted = mint.output().map_err(|e| format!("{}: {e}", payonce.display()))?;
    if !minted.status.success() {
        return Err(String::from_utf8_lossy(&minted.stderr).into_owned().into());
    }
    Ok(String::from_utf8(minted.stdout)?.trim().to_owned())
}

/// A temporary directory, deleted at the end unless it is evidence.
struct Home {
    path: PathBuf,
    keep: std::sync::atomic::AtomicBool,
}

impl Home {
    fn make() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("payonce-soak-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        // The servers' own users must get through.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o711))?;
        Ok(Self { path, keep: false.into() })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !*self.keep.get_mut() {
            std::fs::remove_dir_all(&self.path).ok();
        }
    }
}
