//! SIGTERM: nothing new is taken, what runs may end within a bound, and what does not is another process's.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use payonce::app;
use payonce::config::Config;
use sandbox::{Call, Fault, FaultKind, Sandbox, SandboxConfig};
use serde_json::{Value, json};

use crate::support::shop::eventually;
use crate::support::{Backend, Shop};

/// Real processes before one gateway.
struct Stage {
    sandbox: Sandbox,
    folder: PathBuf,
    database: String,
    timeout: &'static str,
}

struct Server {
    process: Child,
    url: String,
}

impl Stage {
    async fn set(timeout: &'static str) -> Stage {
        let sandbox = Sandbox::start(SandboxConfig::default()).await.unwrap();
        let folder = std::env::temp_dir().join(format!("payonce_stage_{}", Shop::key()));
        std::fs::create_dir_all(&folder).unwrap();
        let merchant = sandbox.merchant();
        std::fs::write(folder.join("private.pem"), &merchant.private_key_pem).unwrap();
        std::fs::write(folder.join("public.pem"), &merchant.public_key_pem).unwrap();
        Stage { sandbox, folder, database: Backend::Sqlite.fresh().await, timeout }
    }

    async fn serve(&self) -> Server {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let merchant = self.sandbox.merchant();
        let file = |name: &str| self.folder.join(name).display().to_string();
        let process = Command::new(env!("CARGO_BIN_EXE_payonce"))
            .arg("serve")
            .env("PAYONCE_LISTEN", &free)
            .env("PAYONCE_SANDBOX_LISTEN", "off")
            .env("PAYONCE_DATABASE_URL", &self.database)
            .env("PAYONCE_LEASE", "300ms")
            .env("PAYONCE_SHUTDOWN_TIMEOUT", self.timeout)
            .env("PAYONCE_WECHAT_PAY_BASE_URL", self.sandbox.url())
            .env("PAYONCE_WECHAT_PAY_MCHID", &merchant.mchid)
            .env("PAYONCE_WECHAT_PAY_APPID", &merchant.appid)
            .env("PAYONCE_WECHAT_PAY_SERIAL_NO", &merchant.serial_no)
            .env("PAYONCE_WECHAT_PAY_API_V3_KEY", &merchant.api_v3_key)
            .env("PAYONCE_WECHAT_PAY_PUBLIC_KEY_ID", &merchant.public_key_id)
            .env("PAYONCE_WECHAT_PAY_PRIVATE_KEY_FILE", file("private.pem"))
            .env("PAYONCE_WECHAT_PAY_PUBLIC_KEY_FILE", file("public.pem"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server { process, url: format!("http://{free}") };
        eventually("it is ready", async || reqwest::get(format!("{}/readyz", server.url)).await.is_ok()).await;
        server
    }

    /// A purchase whose answer comes this much later, already at the gateway.
    async fn purchase(&self, server: &Server, key: &str, delay_ms: u64) -> tokio::task::JoinHandle<Option<Value>> {
        self.sandbox.fault(Fault::new(Call::Open, FaultKind::DelayMs(delay_ms)).unwrap());
        let purchase = tokio::spawn(create(server.url.clone(), key.to_owned()));
        eventually("the gateway is asked", async || self.sandbox.calls().iter().any(|c| c.call == Call::Open)).await;
        purchase
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

impl Server {
    fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end of the process; how long it took.
    async fn ended(&mut self) -> Duration {
        let began = Instant::now();
        eventually("the process ends", async || self.process.try_wait().unwrap().is_some()).await;
        assert!(self.process.try_wait().unwrap().unwrap().success());
        began.elapsed()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

async fn create(url: String, key: String) -> Option<Value> {
    let config = Config::from(Default::default(), Default::default()).unwrap();
    let token = app::mint_token(&config, "alice", &["customer".to_owned()], Duration::from_secs(600)).unwrap();
    let query = "mutation($key: IdempotencyKey!) { createOrder(idempotencyKey: $key, input: {lines: [{sku: \"TEA\", quantity: 1}], \
        payment: {gateway: WECHAT_PAY, product: NATIVE}}) { replayed payment { id status } } }";
    let body = json!({"query": query, "variables": {"key": key}}).to_string();
    let request = reqwest::Client::new()
        .post(format!("{url}/graphql"))
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"))
        .body(body);
    let text = request.send().await.ok()?.text().await.ok()?;
    serde_json::from_str(&text).ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_in_time_is_answered() {
    let stage = Stage::set("10s").await;
    let mut server = stage.serve().await;
    let purchase = stage.purchase(&server, &Shop::key(), 5_000).await;
    server.terminate();
    eventually("nothing new is taken", async || create(server.url.clone(), Shop::key()).await.is_none()).await;
    let answer = purchase.await.unwrap().expect("an answer");
    assert_eq!(answer["data"]["createOrder"]["payment"]["status"], "PENDING", "{answer}");
    server.ended().await;
    assert_eq!(stage.sandbox.calls().iter().filter(|c| c.call == Call::Open).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_end_in_time_is_finished_by_another_process() {
    let stage = Stage::set("300ms").await;
    let mut server = stage.serve().await;
    let key = Shop::key();
    let purchase = stage.purchase(&server, &key, 7_000).await;
    server.terminate();
    let took = server.ended().await;
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert!(purchase.await.unwrap().is_none_or(|answer| answer["data"]["createOrder"].is_null()));
    let other = stage.serve().await;
    // The lease of one who is at the gateway outlasts the gateway's deadline.
    let began = Instant::now();
    let answer = loop {
        let answer = create(other.url.clone(), key.clone()).await.expect("an answer");
        if answer["errors"].is_null() && answer["data"]["createOrder"]["payment"]["status"] == "PENDING" {
            break answer;
        }
        assert!(began.elapsed() < Duration::from_secs(25), "{answer}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(answer["data"]["createOrder"]["replayed"], true, "{answer}");
    let calls = stage.sandbox.calls();
    let numbers: std::collections::BTreeSet<_> = calls.iter().filter_map(|c| c.number.clone()).collect();
    assert_eq!(numbers.len(), 1, "one intent, one number: {calls:?}");
}
