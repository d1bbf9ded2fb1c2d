//! The only place that knows every room: builds them, joins them, shuts them down.

mod access;

pub use access::{Revoke, revoke_tokens, revoke_tokens_at};

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::{Currency, Money, Timestamp};
use migration::{Migrator, MigratorTrait};
use sandbox::{Sandbox, SandboxConfig};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{AlipayKeys, Config, Profile, TokenKey};
use crate::coordination::{InProcessCoordination, RedisCoordination};
use crate::gateways::{ConfigError, Registry, alipay, wechat_pay};
use crate::http::{self, HttpSettings, NewToken, QuoteVerifier, SocketSettings, Sockets, TokenKeys, TokenVerifier};
use crate::payments::ports::{BoxFuture, Clock, Coordination};
use crate::payments::{Payments, Quotes, Reconciliation, Settings};
use crate::relay::{Broker, BrokerSettings, Outlets, Relay, SettingsError, Webhook, WebhookSettings};
use crate::store::{Depth, Invariant, Product, Store, StoreOptions, Violation};

/// For the head of a request; shorter than proxies keep idle connections, which they find closed then.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// Connections for requests, besides the sockets that may be open.
const REQUESTS: usize = 5_000;

/// Why it did not start: one line, naming the variable to change.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

fn failed(variable: &str, why: impl std::fmt::Display) -> StartError {
    StartError(format!("{variable}: {why}"))
}

/// A pool says only that it waited in vain; what to look at is said here.
fn unreachable_database(e: &dyn std::fmt::Display) -> StartError {
    let cause = e.to_string();
    if cause.contains("pool timed out") {
        let words = "the database does not answer within 5 s; check that it runs and that host, port, user, password and name are right";
        return failed("PAYONCE_DATABASE_URL", words);
    }
    failed("PAYONCE_DATABASE_URL", cause)
}

/// The error's own words name the provider; the variables are named after it.
fn wrong_gateway(config: &Config, e: ConfigError) -> StartError {
    match &e {
        ConfigError::WechatPay(wrong) => {
            let given = config.wechat_pay.as_ref();
            let (variable, file) = match wrong.field() {
                Some("base_url") => ("BASE_URL", None),
                Some("standby_url") => ("STANDBY_URL", None),
                Some("mchid") => ("MCHID", None),
                Some("appid") => ("APPID", None),
                Some("serial_no") => ("SERIAL_NO", None),
                Some("platform_key_name") => ("PUBLIC_KEY_ID", None),
                Some("api_v3_key") => ("API_V3_KEY", None),
                Some("private_key_pem") => ("PRIVATE_KEY_FILE", given.map(|g| &g.private_key.path)),
                Some("certificate_pem") => ("CERT_FILE", given.and_then(|g| Some(&g.certificate.as_ref()?.path))),
                Some("platform_keys") => ("PUBLIC_KEY_FILE", given.and_then(|g| Some(&g.public_key.as_ref()?.1.path))),
                _ => ("*", None),
            };
            let variable = format!("PAYONCE_WECHAT_PAY_{variable}");
            file.map_or_else(|| failed(&variable, &e), |file| failed(&variable, format!("{file}: {e}")))
        }
        ConfigError::Alipay(why) => wrong_alipay(config, why),
    }
}

/// Names the variable, and the file where it names one.
fn wrong_alipay(config: &Config, why: &alipay::ConfigError) -> StartError {
    let Some((field, given)) = why.field().zip(config.alipay.as_ref()) else {
        return failed("PAYONCE_ALIPAY_*", why);
    };
    let file = given.files.iter().find(|(key, _)| **key == format!("alipay_{field}_file"));
    match file {
        Some((key, path)) => failed(&format!("PAYONCE_{}", key.to_ascii_uppercase()), format!("{path}: {why}")),
        None => failed(&format!("PAYONCE_ALIPAY_{}", field.to_ascii_uppercase()), why),
    }
}

/// The real clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine for the time")]
    fn now(&self) -> Timestamp {
        domain::to_stored(chrono::Utc::now())
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        let wait = (at - self.now()).to_std().unwrap_or_default();
        Box::pin(tokio::time::sleep(wait))
    }
}

/// The same clock for the sandbox, which knows nothing of ours.
struct SandboxClock(Arc<dyn Clock>);

impl sandbox::Clock for SandboxClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep_until<'a>(&'a self, at: Timestamp) -> BoxFuture<'a, ()> {
        self.0.sleep_until(at)
    }
}

/// A running Payonce.
pub struct App {
    /// Where GraphQL is.
    pub address: SocketAddr,
    /// Where the console and the metrics are.
    pub admin_address: SocketAddr,
    /// The workflows.
    pub payments: Payments,
    /// The gateway simulator, in the dev profile.
    pub sandbox: Option<Sandbox>,
    store: Store,
    relay: Relay,
    sockets: Arc<Sockets>,
    servers: Vec<JoinHandle<()>>,
    stop: CancellationToken,
    /// How long operations under way may take to end at a shutdown.
    patience: Duration,
}

impl App {
    /// Builds and starts everything; ready when it returns.
    pub async fn start(config: &Config, clock: Arc<dyn Clock>) -> Result<App, StartError> {
        http::record_metrics();
        let listener = bind("PAYONCE_LISTEN", config.listen).await?;
        let address = listener.local_addr().map_err(|e| failed("PAYONCE_LISTEN", e))?;
        let admin_listener = match config.admin_listen {
            Some(at) => Some(bind("PAYONCE_ADMIN_LISTEN", at).await?),
            None => None,
        };
        let outlets = outlets(config)?;
        let dev = config.profile == Profile::Dev;
        if dev {
            migrate(config).await?;
        }
        let store = connect(config).await?;
        if dev {
            demo_products(&store).await.map_err(|e| failed("PAYONCE_DATABASE_URL", e))?;
        } else {
            nothing_pending(&store).await?;
        }
        let sandbox = start_sandbox(config, &clock).await?;
        let registry = Registry {
            wechat_pay: wechat_pay_config(config, sandbox.as_ref()),
            alipay: alipay_config(config, sandbox.as_ref()),
        };
        let gateways = registry.connect(&clock).map_err(|e| wrong_gateway(config, e))?;
        let coordination = coordination(config).await?;
        let access = access::settings(config, coordination.clone());
        let documents = access::trusted_documents(config)?;
        let public_url = config.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
        let settings = Settings { quotes: quotes(config, &clock)?, ..settings(config, public_url.clone()) };
        let payments =
            Payments::new(store.clone(), gateways, coordination, clock.clone(), config.number_key.clone(), settings);
        let tokens = tokens(config, clock.clone())?;
        access::read_keys(&tokens).await;
        payments.read_revocations().await.map_err(|e| failed("PAYONCE_DATABASE_URL", e))?;
        let doors = http::doors(
            payments.clone(),
            tokens,
            HttpSettings {
                dev,
                cors_origins: config.cors_origins.clone(),
                sockets: SocketSettings {
                    per_process: config.ws_per_process,
                    per_subject: config.ws_per_subject,
                    allowed_origins: config.cors_origins.clone(),
                    public_origin: Some(public_url),
                },
                with_admin: admin_listener.is_none(),
                access,
                documents,
            },
        );
        let stop = CancellationToken::new();
        let patience = http::Patience { head: HEAD_WITHIN, connections: config.ws_per_process + REQUESTS };
        let serve = |listener, router| tokio::spawn(http::listen(listener, router, patience, stop.clone()));
        let mut servers = vec![serve(listener, doors.public)];
        let mut admin_address = address;
        if let Some(listener) = admin_listener {
            admin_address = listener.local_addr().map_err(|e| failed("PAYONCE_ADMIN_LISTEN", e))?;
            servers.push(serve(listener, doors.admin));
        }
        payments.start();
        let relay = Relay::start(&store, &clock, outlets);
        Ok(App {
            address,
            admin_address,
            payments,
            sandbox,
            store,
            relay,
            sockets: doors.sockets,
            servers,
            stop,
            patience: config.shutdown_timeout,
        })
    }

    /// Takes nothing new, ends live connections, waits for what is under way, and closes every door.
    pub async fn stop(self) {
        self.stop.cancel();
        // What is told last may be told by another process, or at the next start.
        tokio::join!(self.payments.stop(self.patience), self.relay.stop());
        // Each socket says goodbye by itself; a reader that does not read is not waited for.
        for _ in 0..100 {
            if self.sockets.open() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for server in self.servers {
            let abort = server.abort_handle();
            if tokio::time::timeout(Duration::from_secs(2), server).await.is_err() {
                abort.abort();
            }
        }
        if let Some(sandbox) = self.sandbox {
            sandbox.stop().await;
        }
        self.store.close().await;
    }
}

fn settings(config: &Config, public_url: String) -> Settings {
    Settings {
        order_ttl: config.order_ttl,
        repay_margin: config.repay_margin,
        lease: config.lease,
        duplicate_window: config.duplicate_window,
        deadline: Duration::from_secs(10),
        key_retention: config.key_retention,
        max_operations: config.max_operations,
        limits: config.limits.clone(),
        quotes: None,
        public_url,
    }
}

/// Compares a gateway's bill of one day with what is recorded. A server may run beside it.
pub async fn reconcile(
    config: &Config,
    gateway: domain::Gateway,
    day: domain::Date,
) -> Result<Reconciliation, StartError> {
    let store = connect(config).await?;
    nothing_pending(&store).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let registry = Registry { wechat_pay: wechat_pay_config(config, None), alipay: alipay_config(config, None) };
    let gateways = registry.connect(&clock).map_err(|e| wrong_gateway(config, e))?;
    let coordination = coordination(config).await?;
    let settings = settings(config, config.public_url.clone().unwrap_or_default());
    let payments = Payments::new(store.clone(), gateways, coordination, clock, config.number_key.clone(), settings);
    let compared = payments.reconcile(gateway, day).await;
    payments.stop(config.shutdown_timeout).await;
    store.close().await;
    compared.map_err(|e| failed("reconcile", e))
}

async fn bind(variable: &str, at: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(at)
        .await
        .map_err(|e| failed(variable, format!("cannot listen on {at}: {e}; choose another address")))
}

/// Opens the store that is configured.
pub async fn connect(config: &Config) -> Result<Store, StartError> {
    let options = StoreOptions { url: config.database_url.clone(), max_connections: 16 };
    let store = Store::connect(&options).await.map_err(|e| unreachable_database(&e))?;
    Ok(store.telling(outlets(config)?.channels()))
}

/// Makes the database what this version needs. Several processes may try at once: one does it, the rest
/// waits for it.
pub async fn migrate(config: &Config) -> Result<(), StartError> {
    let wrong = |e: sea_orm::DbErr| unreachable_database(&e);
    let connect = || async {
        let mut one = sea_orm::ConnectOptions::new(&config.database_url);
        one.max_connections(1)
            .connect_timeout(Duration::from_secs(5))
            .acquire_timeout(Duration::from_secs(5))
            .sqlx_logging(false);
        Database::connect(one).await
    };
    let lock = connect().await.map_err(wrong)?;
    hold_migration_lock(&lock).await.map_err(wrong)?;
    let work = connect().await.map_err(wrong)?;
    let migrated = Migrator::up(&work, None).await;
    work.close().await.ok();
    // Closing the connection gives the lock back; so does a crash.
    lock.close().await.ok();
    migrated.map_err(wrong)
}

async fn hold_migration_lock(lock: &DatabaseConnection) -> Result<(), sea_orm::DbErr> {
    let sql = match lock.get_database_backend() {
        DbBackend::Postgres => "SELECT 1::bigint AS held FROM (SELECT pg_advisory_lock(7013)) AS l",
        DbBackend::MySql => "SELECT CAST(GET_LOCK(CONCAT(DATABASE(), '.migrate'), 60) AS SIGNED) AS held",
        // One process.
        _ => return Ok(()),
    };
    let row = lock.query_one_raw(Statement::from_string(lock.get_database_backend(), sql)).await?;
    let held: Option<i64> = row.map(|r| r.try_get("", "held")).transpose()?;
    match held {
        Some(1) => Ok(()),
        _ => Err(sea_orm::DbErr::Custom("another process is migrating for over a minute".to_owned())),
    }
}

/// How many steps the database lacks.
pub async fn pending_migrations(store: &Store) -> Result<usize, StartError> {
    let pending = Migrator::get_pending_migrations(store.for_migrations()).await;
    Ok(pending.map_err(|e| failed("PAYONCE_DATABASE_URL", e))?.len())
}

async fn nothing_pending(store: &Store) -> Result<(), StartError> {
    match pending_migrations(store).await? {
        0 => Ok(()),
        n => Err(failed(
            "PAYONCE_DATABASE_URL",
            format!("the database lacks {n} migrations; run `payonce migrate` first"),
        )),
    }
}

async fn demo_products(store: &Store) -> Result<(), crate::store::StoreError> {
    if store.product_count().await? > 0 {
        return Ok(());
    }
    let products = [
        ("TEA", "Oolong tea, 100 g", 1_280),
        ("MUG", "Stoneware mug", 10_000),
        ("BOOK", "The book of tea", 5_900),
        ("PIN", "Enamel pin", 1),
    ];
    let products = products.map(|(sku, name, minor)| Product {
        sku: sku.to_owned(),
        name: name.to_owned(),
        price: Money::new(minor, Currency::CNY),
    });
    let tx = store.begin().await?;
    tx.put_products(&products).await?;
    tx.commit().await
}

async fn start_sandbox(config: &Config, clock: &Arc<dyn Clock>) -> Result<Option<Sandbox>, StartError> {
    let Some(listen) = config.sandbox_listen else { return Ok(None) };
    let settings = SandboxConfig {
        listen,
        home: config.sandbox_home.clone(),
        public_url: config.sandbox_url.clone(),
        clock: Arc::new(SandboxClock(clock.clone())),
        ..SandboxConfig::default()
    };
    Sandbox::start(settings).await.map(Some).map_err(|e| failed("PAYONCE_SANDBOX_LISTEN", e))
}

fn wechat_pay_config(config: &Config, sandbox: Option<&Sandbox>) -> Option<wechat_pay::Config> {
    if let Some(given) = &config.wechat_pay {
        return Some(wechat_pay::Config {
            base_url: given.base_url.clone(),
            standby_url: given.standby_url.clone(),
            mchid: given.mchid.clone(),
            appid: given.appid.clone(),
            serial_no: given.serial_no.clone(),
            private_key_pem: given.private_key.text.clone(),
            certificate_pem: given.certificate.as_ref().map(|file| file.text.clone()),
            api_v3_key: given.api_v3_key.clone(),
            platform_keys: given.public_key.iter().map(|(id, file)| (id.clone(), file.text.clone())).collect(),
            timeout: wechat_pay::Config::TIMEOUT,
            wanted_key: given.public_key.as_ref().map(|(id, _)| id.clone()),
        });
    }
    let sandbox = sandbox?;
    let merchant = sandbox.merchant();
    Some(wechat_pay::Config {
        base_url: sandbox.url(),
        standby_url: None,
        mchid: merchant.mchid.clone(),
        appid: merchant.appid.clone(),
        serial_no: merchant.serial_no.clone(),
        private_key_pem: merchant.private_key_pem.clone().into(),
        certificate_pem: Some(merchant.certificate_pem.clone()),
        api_v3_key: merchant.api_v3_key.clone().into(),
        platform_keys: vec![(merchant.public_key_id.clone(), merchant.public_key_pem.clone())],
        timeout: wechat_pay::Config::TIMEOUT,
        wanted_key: Some(merchant.public_key_id.clone()),
    })
}

fn alipay_config(config: &Config, sandbox: Option<&Sandbox>) -> Option<alipay::Config> {
    if let Some(given) = &config.alipay {
        return Some(alipay::Config {
            gateway_url: given.gateway_url.clone(),
            browser_url: None,
            app_id: given.app_id.clone(),
            seller_id: given.seller_id.clone(),
            private_key: given.private_key.clone(),
            mode: match given.keys.clone() {
                AlipayKeys::PublicKey(key) => alipay::Mode::PublicKey(key),
                AlipayKeys::Certificates { app, alipay, root } => alipay::Mode::Certificates { app, alipay, root },
            },
            timeout: alipay::Config::TIMEOUT,
        });
    }
    let sandbox = sandbox?;
    let merchant = &sandbox.merchant().alipay;
    Some(alipay::Config {
        gateway_url: sandbox.alipay_gateway_url(),
        browser_url: Some(sandbox.public_alipay_gateway_url()),
        app_id: merchant.app_id.clone(),
        seller_id: merchant.seller_id.clone(),
        private_key: merchant.private_key_pem.clone().into(),
        mode: alipay::Mode::PublicKey(merchant.alipay_public_key_pem.clone()),
        timeout: alipay::Config::TIMEOUT,
    })
}

/// Where events go; nothing is connected to yet.
fn outlets(config: &Config) -> Result<Outlets, StartError> {
    let wrong = |variable: &'static str| move |e: SettingsError| failed(variable, e);
    let amqp = config
        .events
        .amqp
        .as_ref()
        .map(|given| Broker::new(BrokerSettings { url: given.url.clone(), exchange: given.exchange.clone() }));
    let webhook = config
        .events
        .webhook
        .as_ref()
        .map(|given| Webhook::new(&WebhookSettings { url: given.url.clone(), secrets: given.secrets.clone() }));
    Ok(Outlets {
        amqp: amqp.transpose().map_err(wrong("PAYONCE_AMQP_URL"))?.map(Arc::new),
        webhook: webhook.transpose().map_err(wrong("PAYONCE_WEBHOOK_URL"))?.map(Arc::new),
    })
}

async fn coordination(config: &Config) -> Result<Arc<dyn Coordination>, StartError> {
    match &config.redis_url {
        None => Ok(Arc::new(InProcessCoordination::new())),
        Some(url) => match RedisCoordination::connect(url.expose_secret()).await {
            Ok(redis) => Ok(Arc::new(redis)),
            Err(e) => Err(failed("PAYONCE_REDIS_URL", e)),
        },
    }
}

fn tokens(config: &Config, clock: Arc<dyn Clock>) -> Result<TokenVerifier, StartError> {
    let (keys, variable) = match &config.token_key {
        TokenKey::Hs256(secret) => (TokenKeys::Hs256(secret.clone()), "PAYONCE_JWT_HS256_SECRET"),
        TokenKey::Jwks(json) => (TokenKeys::Jwks(json.clone()), "PAYONCE_JWKS_FILE"),
        TokenKey::JwksUrl(url) => (TokenKeys::JwksUrl(url.clone()), "PAYONCE_JWKS_URL"),
    };
    TokenVerifier::new(keys, config.jwt_issuer.clone(), config.jwt_audience.clone(), clock)
        .map_err(|e| failed(variable, e))
}

/// What reads the quotes of the shop's pricing service; `None`: there is none.
fn quotes(config: &Config, clock: &Arc<dyn Clock>) -> Result<Option<Arc<dyn Quotes>>, StartError> {
    let Some(given) = &config.quotes else { return Ok(None) };
    let audience = config.jwt_audience.clone();
    match QuoteVerifier::new(given.keys.text.clone(), given.issuer.clone(), audience, clock.clone()) {
        Ok(verifier) => Ok(Some(Arc::new(verifier))),
        Err(e) => Err(failed("PAYONCE_QUOTE_KEYS_FILE", format!("{}: {e}", given.keys.path))),
    }
}

/// Mints a token with the configured secret; refuses when only public keys are configured.
pub fn mint_token(config: &Config, sub: &str, roles: &[String], ttl: Duration) -> Result<String, StartError> {
    mint_token_at(config, sub, roles, ttl, SystemClock.now())
}

/// [`mint_token`], issued at `now`.
pub fn mint_token_at(
    config: &Config,
    sub: &str,
    roles: &[String],
    ttl: Duration,
    now: Timestamp,
) -> Result<String, StartError> {
    let TokenKey::Hs256(secret) = &config.token_key else {
        return Err(failed(
            "PAYONCE_JWT_HS256_SECRET",
            "is not set; with public keys alone the issuer mints the tokens",
        ));
    };
    let new = NewToken { sub, roles, issuer: &config.jwt_issuer, audience: &config.jwt_audience, ttl, now };
    http::mint(secret, new).map_err(StartError)
}

/// Checks everything that is configured, one line each; true when all is well. `deep`: also asks the database
/// everything that must hold, which reads whole tables.
pub async fn doctor(config: &Config, deep: bool) -> bool {
    let mut well = true;
    let mut say = |what: &str, result: Result<String, String>| {
        let (sign, text) = match result {
            Ok(text) => ("ok  ", text),
            Err(text) => {
                well = false;
                ("FAIL", text)
            }
        };
        println!("{sign}  {what:<24} {text}");
    };
    say("config", Ok(format!("profile {:?}", config.profile)));
    match connect(config).await {
        Err(e) => say("database", Err(e.to_string())),
        Ok(store) => {
            let pending = match pending_migrations(&store).await {
                Ok(0) => Ok(format!("{}, every migration is there", store.kind())),
                Ok(n) => Err(format!("{} lacks {n} migrations; run `payonce migrate`", store.kind())),
                Err(e) => Err(e.to_string()),
            };
            say("database", pending);
            let clock = match store.clock_offset_ms().await {
                Ok(ms) if ms.abs() <= 1_000 => Ok(format!("{ms} ms from the database's")),
                Ok(ms) => Err(format!("{ms} ms from the database's; at most 1000 are well")),
                Err(e) => Err(e.to_string()),
            };
            say("clock", clock);
            if deep {
                for invariant in Invariant::all() {
                    let asked = store.check(&invariant, Depth::Everything, SystemClock.now()).await;
                    if let Some(result) = verdict(&invariant, asked) {
                        say(invariant.name, result);
                    }
                }
            }
            store.close().await;
        }
    }
    match coordination(config).await {
        Ok(c) if config.redis_url.is_none() => {
            drop(c);
            say("redis", Ok("not configured; this process coordinates by itself".to_owned()));
        }
        Ok(c) if c.healthy().await => say("redis", Ok("answers".to_owned())),
        Ok(_) => {
            say("redis", Err("PAYONCE_REDIS_URL: does not answer; requests will be slower, and still right".to_owned()))
        }
        Err(e) => say("redis", Err(e.to_string())),
    }
    match outlets(config) {
        Ok(outlets) => {
            if let Some(broker) = outlets.amqp {
                let answers = broker.check().await.map(|()| "answers, and has the exchange".to_owned());
                say("rabbitmq", answers.map_err(|why| format!("PAYONCE_AMQP_URL: {why}; events wait")));
            }
            if let Some(webhook) = outlets.webhook {
                say("webhook", Ok(format!("events go to {}, signed", webhook.host())));
            }
        }
        Err(e) => say("events", Err(e.to_string())),
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let registry = Registry { wechat_pay: wechat_pay_config(config, None), alipay: alipay_config(config, None) };
    let gateway = match registry.connect(&clock) {
        Ok(gateways) if gateways.is_empty() => Ok("none is configured; the dev profile has the sandbox".to_owned()),
        Ok(gateways) => {
            let mut names: Vec<&str> = gateways.keys().map(|g| g.name()).collect();
            names.sort_unstable();
            Ok(format!("the keys of {} are readable", names.join(" and ")))
        }
        Err(e) => Err(wrong_gateway(config, e).to_string()),
    };
    say("gateways", gateway);
    if config.quotes.is_some() {
        say("quotes", quotes(config, &clock).map(|_| "keys are readable".to_owned()).map_err(|e| e.to_string()));
    }
    let keys = match tokens(config, clock) {
        Ok(tokens) => tokens.read_keys().await.map_err(|e| failed("PAYONCE_JWKS_URL", e).to_string()),
        Err(e) => Err(e.to_string()),
    };
    say("tokens", keys.map(|()| "keys are readable".to_owned()));
    well
}

/// `None`: there is no such thing on this database.
fn verdict(
    invariant: &Invariant,
    asked: Result<Option<Violation>, crate::store::StoreError>,
) -> Option<Result<String, String>> {
    match asked {
        Ok(None) => None,
        Ok(Some(found)) if found.rows.is_empty() => Some(Ok(invariant.promise.to_owned())),
        Ok(Some(found)) => {
            let n = found.rows.len();
            let rows = found.rows.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
            Some(Err(format!("{} Not so of {n} rows: {rows}", invariant.promise)))
        }
        Err(e) => Some(Err(e.to_string())),
    }
}

/// Reads products from CSV (`sku,name,price_minor,currency` with that header) and puts them into the
/// catalogue, all or none.
pub async fn import_products(config: &Config, file: &std::path::Path) -> Result<usize, StartError> {
    let wrong = |line: u64, why: &str| StartError(format!("{}: line {line}: {why}", file.display()));
    let mut reader = csv::Reader::from_path(file).map_err(|e| StartError(format!("{}: {e}", file.display())))?;
    let mut products = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|e| StartError(format!("{}: {e}", file.display())))?;
        let line = row.position().map_or(0, csv::Position::line);
        let [sku, name, minor, currency] = row.iter().collect::<Vec<_>>()[..] else {
            return Err(wrong(line, "right are four columns: sku,name,price_minor,currency"));
        };
        if sku.is_empty() || sku.len() > 64 || name.is_empty() || name.chars().count() > 200 {
            return Err(wrong(line, "a sku has 1 to 64 bytes, a name 1 to 200 characters"));
        }
        let minor: i64 = minor
            .parse()
            .ok()
            .filter(|m| *m > 0)
            .ok_or_else(|| wrong(line, "price_minor is a whole number of minor units from 1"))?;
        let currency =
            Currency::parse(currency).map_err(|_| wrong(line, "currency is an ISO 4217 code such as CNY"))?;
        products.push(Product { sku: sku.to_owned(), name: name.to_owned(), price: Money::new(minor, currency) });
    }
    let store = connect(config).await?;
    let put = async {
        let tx = store.begin().await?;
        tx.put_products(&products).await?;
        tx.commit().await
    };
    put.await.map_err(|e: crate::store::StoreError| failed("PAYONCE_DATABASE_URL", e))?;
    Ok(products.len())
}

/// The sandbox alone, with a clock that can be turned, until it is told to stop.
pub async fn sandbox_alone(listen: SocketAddr, keys: Option<std::path::PathBuf>) -> Result<Sandbox, StartError> {
    let clock = Arc::new(sandbox::ForwardClock::default());
    let settings = SandboxConfig { listen, home: keys, clock, ..SandboxConfig::default() };
    Sandbox::start(settings).await.map_err(|e| failed("--listen", e))
}

/// The text that a newcomer reads first.
pub fn greeting(app: &App, config: &Config) -> Result<String, StartError> {
    let day = Duration::from_secs(86_400);
    let customer = mint_token(config, "alice", &["customer".to_owned()], day)?;
    let admin = mint_token(config, "admin", &["admin".to_owned()], day)?;
    let address = app.address;
    let sandbox = app.sandbox.as_ref().map_or("off".to_owned(), |s| format!("{} (no money moves)", s.url()));
    Ok(format!(
        "\nPayonce is ready.\n\n  GraphQL    http://{address}/graphql\n  Console    http://{admin_address}/admin/#token={admin}\n  \
         Demo shop  http://{address}/shop/#token={customer}\n  Sandbox    {sandbox}\n\n  customer token (alice, one day)\n  {customer}\n\n  \
         admin token (admin, one day)\n  {admin}\n",
        admin_address = app.admin_address,
    ))
}
