//! A sandbox that runs: started, asked, stopped.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use axum::Router;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    alipay,
    calls::{CallLog, ReceivedCall},
    cashier::{self, PayError},
    clock::{Clock, SystemClock},
    connection::{Connection, CuttableListener},
    control, courier,
    faults::{Fault, Faults},
    keys::{Keys, KeysError, Merchant},
    ledger::Ledger,
    state::{StateError, Store},
    wechat_pay::{self, KeyMode},
    world::World,
};

/// How long `stop` waits for requests that are being answered.
const GRACE: Duration = Duration::from_secs(2);

/// How a sandbox is to run. By default: a free port of this machine, nothing kept, real time.
#[derive(Clone)]
pub struct SandboxConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where keys and state are kept. `None`: in memory, and the keys are made once per process.
    pub home: Option<PathBuf>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// How long a refund is being processed, by the clock. 1 s by default.
    pub refund_delay: Duration,
    /// Base of the links to the cashier; `None`: the bound address.
    pub public_url: Option<String>,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            home: None,
            clock: Arc::new(SystemClock),
            refund_delay: Duration::from_secs(1),
            public_url: None,
        }
    }
}

impl fmt::Debug for SandboxConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxConfig")
            .field("listen", &self.listen)
            .field("home", &self.home)
            .field("refund_delay", &self.refund_delay)
            .field("public_url", &self.public_url)
            .finish_non_exhaustive()
    }
}

/// Why a sandbox does not run.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The keys cannot be made, kept or read.
    #[error("the sandbox's keys: {0}")]
    Keys(#[from] KeysError),
    /// What was kept cannot be read.
    #[error("the sandbox's state: {0}")]
    State(#[from] StateError),
    /// No HTTP client for notifications.
    #[error("the sandbox's HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// The work was given up because the program is ending.
    #[error("interrupted while starting")]
    Interrupted,
}

/// A running sandbox. Dropping it ends it too, but only `stop` waits until all is saved.
pub struct Sandbox {
    world: Arc<World>,
    address: SocketAddr,
    work: Work,
    keeping: Work,
}

/// Background tasks that end together.
#[derive(Default)]
struct Work {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Work {
    async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(GRACE, self.tasks.wait()).await.is_err() {
            tracing::warn!("the sandbox stopped while a request was still being answered");
        }
    }
}

impl Sandbox {
    /// Binds and serves in background tasks of this runtime. It answers from now on.
    pub async fn start(config: SandboxConfig) -> Result<Self, StartError> {
        let address = config.listen;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| StartError::Listen { address, source })?;
        let address = listener.local_addr();
        let address = address.map_err(|source| StartError::Listen { address: config.listen, source })?;
        let client = courier::client()?;
        let opened = tokio::task::spawn_blocking(move || open(config, address)).await;
        let world = Arc::new(opened.map_err(|_| StartError::Interrupted)??);

        let (work, keeping) = (Work::default(), Work::default());
        work.tasks.spawn(serve(listener, world.clone(), work.stop.clone()));
        work.tasks.spawn(courier::run(world.clone(), client, work.stop.clone()));
        keeping.tasks.spawn(world.store.clone().keep(keeping.stop.clone()));
        Ok(Self { world, address, work, keeping })
    }

    /// The address it is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL of everything: gateways, cashier and knobs.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Alipay's gateway for the merchant's server.
    pub fn alipay_gateway_url(&self) -> String {
        self.url() + alipay::PATH
    }

    /// Alipay's gateway for payers' browsers, which may not reach the bound address.
    pub fn public_alipay_gateway_url(&self) -> String {
        format!("{}{}", self.world.public_url, alipay::PATH)
    }

    /// What to configure a connector with.
    pub fn merchant(&self) -> &Merchant {
        self.world.keys.borrow_merchant()
    }

    /// Makes the next such call go wrong.
    pub fn fault(&self, fault: Fault) {
        self.world.faults.add(fault);
    }

    /// The faults that have not happened yet; a test that ends with one has tried nothing.
    pub fn faults_waiting(&self) -> Vec<Fault> {
        self.world.faults.waiting()
    }

    /// Forgets the faults that have not happened.
    pub fn clear_faults(&self) {
        self.world.faults.clear();
    }

    /// Which keys WeChat Pay has for the merchant from now on, and which of them signs.
    pub fn set_key_mode(&self, mode: KeyMode) {
        self.world.set_key_mode(mode);
    }

    /// The truth about the money, as of now.
    pub fn ledger(&self) -> Ledger {
        self.world.ledger()
    }

    /// The last 10,000 calls received, oldest first.
    pub fn calls(&self) -> Vec<ReceivedCall> {
        self.world.calls.all()
    }

    /// The payer pays this order now, as on the cashier page. The merchant's notification follows
    /// on its own.
    pub async fn pay(&self, number: &str) -> Result<(), PayError> {
        self.world.pay(number)
    }

    /// Returns once all that is due by the clock is done: refunds completed, notifications answered
    /// or their repetition scheduled. For tests that move the clock and must not outrun the sandbox.
    pub async fn settled(&self) {
        self.world.settled().await;
    }

    /// Ends it: requests being answered are finished, everything is saved.
    pub async fn stop(self) {
        self.work.end().await;
        self.keeping.end().await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.work.stop.cancel();
        self.keeping.stop.cancel();
    }
}

fn open(config: SandboxConfig, address: SocketAddr) -> Result<World, StartError> {
    let keys = match &config.home {
        Some(home) => Keys::load_or_create(home)?,
        None => keys_of_this_process()?,
    };
    let public_url = config.public_url.unwrap_or_else(|| format!("http://{address}"));
    Ok(World {
        clock: config.clock,
        keys,
        store: Arc::new(Store::open(config.home)?),
        faults: Faults::default(),
        calls: CallLog::default(),
        refund_delay: config.refund_delay,
        key_mode: Mutex::default(),
        bill_files: wechat_pay::BillFiles::default(),
        public_url: public_url.trim_end_matches('/').to_owned(),
    })
}

/// Made once: a test run starts many sandboxes, and a key takes a tenth of a second.
fn keys_of_this_process() -> Result<Keys, KeysError> {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    if let Some(keys) = KEYS.get() {
        return Ok(keys.clone());
    }
    let made = Keys::generate()?;
    Ok(KEYS.get_or_init(|| made).clone())
}

async fn serve(listener: TcpListener, world: Arc<World>, stop: CancellationToken) {
    let gateways = Router::new().merge(wechat_pay::routes()).merge(alipay::routes());
    let routes = gateways.merge(cashier::routes()).merge(control::routes()).with_state(world);
    let service = routes.into_make_service_with_connect_info::<Connection>();
    let served = axum::serve(CuttableListener(listener), service).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the sandbox stopped serving");
    }
}
