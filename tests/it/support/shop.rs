//! A whole Payonce for one test: its own database, sandbox, clock and ports.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use domain::Duration;
use payonce::app::{self, App};
use payonce::config::Config;
use payonce::payments::ports::Clock;
use serde_json::{Value, json};

use super::clock::TurnedClock;
use super::database::Backend;
use super::watcher::Watcher;

pub struct Shop {
    pub app: App,
    pub config: Config,
    pub clock: Arc<TurnedClock>,
    pub database_url: String,
    http: reqwest::Client,
}

/// What came back from `/graphql`.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// The data at this path; fails when there are errors.
    pub fn at(&self, pointer: &str) -> Value {
        assert!(self.body.get("errors").is_none(), "{}", self.body);
        self.body["data"].pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {}", self.body)).clone()
    }

    pub fn text(&self, pointer: &str) -> String {
        self.at(pointer).as_str().unwrap_or_else(|| panic!("{pointer} is no text in {}", self.body)).to_owned()
    }

    /// The code of the first error; empty when there is none.
    pub fn code(&self) -> String {
        self.extension("code").as_str().unwrap_or_default().to_owned()
    }

    pub fn extension(&self, name: &str) -> Value {
        self.body["errors"][0]["extensions"][name].clone()
    }
}

pub const PAYMENT: &str = "id status surplus late mismatch amount { minor } action { __typename ... on QrCode { url } } gatewayTransactionId failureReason";
pub const ORDER: &str = "id status closeReason version customerId remainingSeconds total { minor currency decimal } paid { minor } refunded { minor } refundable { minor } \
    payments { id status surplus late mismatch gatewayTransactionId } refunds { id status reason amount { minor } failureReason }";

impl Shop {
    pub async fn open(backend: Backend) -> Shop {
        Self::open_with(backend, &[]).await
    }

    pub async fn open_with(backend: Backend, settings: &[(&str, &str)]) -> Shop {
        let database_url = backend.fresh().await;
        Self::open_on(backend, database_url, Arc::new(TurnedClock::at_now()), settings).await
    }

    /// On a database that is there already, for a second process of the same shop.
    pub async fn open_on(
        backend: Backend,
        database_url: String,
        clock: Arc<TurnedClock>,
        settings: &[(&str, &str)],
    ) -> Shop {
        let mut environment: BTreeMap<String, String> = [
            ("PAYONCE_LISTEN", "127.0.0.1:0"),
            ("PAYONCE_SANDBOX_LISTEN", "127.0.0.1:0"),
            ("PAYONCE_SANDBOX_HOME", "off"),
            ("PAYONCE_DATABASE_URL", &database_url),
        ]
        .into_iter()
        .chain(settings.iter().copied())
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
        if let Some(redis) = backend.redis() {
            environment.entry("PAYONCE_REDIS_URL".to_owned()).or_insert(redis);
        }
        let config = Config::from(BTreeMap::new(), environment).unwrap();
        let app = App::start(&config, clock.clone()).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let shop = Shop { app, config, clock, database_url, http };
        shop.quiet().await;
        shop
    }

    pub async fn close(self) {
        self.app.stop().await;
    }

    /// A key that no other test uses.
    pub fn key() -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        format!("it-key-{}-{:08}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
    }

    pub fn token(&self, sub: &str, role: &str) -> String {
        app::mint_token_at(
            &self.config,
            sub,
            &[role.to_owned()],
            std::time::Duration::from_secs(30 * 86_400),
            self.clock.now(),
        )
        .unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.app.address)
    }

    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Sends a document as the holder of a token; an empty one is nobody's.
    pub async fn ask(&self, token: &str, document: &str, variables: Value) -> Answer {
        let body = json!({"query": document, "variables": variables}).to_string();
        let mut request = self.http.post(self.url("/graphql")).header("content-type", "application/json").body(body);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"));
        Answer { status, body }
    }

    /// createOrder as `sub`, one line of a product, paid by WeChat Pay Native if wanted.
    pub async fn create(&self, sub: &str, key: &str, sku: &str, quantity: i64, pay: bool) -> Answer {
        let mut input = json!({"lines": [{"sku": sku, "quantity": quantity}], "allowDuplicate": true});
        if pay {
            input["payment"] = json!({"gateway": "WECHAT_PAY", "product": "NATIVE"});
        }
        self.create_with(sub, key, input).await
    }

    pub async fn create_with(&self, sub: &str, key: &str, input: Value) -> Answer {
        let document = format!(
            "mutation($key: IdempotencyKey!, $input: CreateOrderInput!) {{ createOrder(idempotencyKey: $key, input: $input) {{ replayed order {{ {ORDER} }} payment {{ {PAYMENT} }} }} }}"
        );
        self.ask(&self.token(sub, "customer"), &document, json!({"key": key, "input": input})).await
    }

    /// An order of alice's with an open payment: its id and the payment's.
    pub async fn open_order(&self, sku: &str) -> (String, String) {
        let answer = self.create("alice", &Self::key(), sku, 1, true).await;
        (answer.text("/createOrder/order/id"), answer.text("/createOrder/payment/id"))
    }

    /// An order of alice's that is paid: its id and the payment's.
    pub async fn paid_order(&self, sku: &str) -> (String, String) {
        let (order, payment) = self.open_order(sku).await;
        self.payer_pays(&payment).await;
        assert_eq!(self.order(&order).await["status"], "PAID");
        (order, payment)
    }

    /// repayOrder by WeChat Pay Native.
    pub async fn repay(&self, sub: &str, key: &str, order: &str) -> Answer {
        self.repay_by(sub, key, order, json!({"gateway": "WECHAT_PAY", "product": "NATIVE"})).await
    }

    pub async fn repay_by(&self, sub: &str, key: &str, order: &str, method: Value) -> Answer {
        let document = format!(
            "mutation($key: IdempotencyKey!, $input: RepayOrderInput!) {{ repayOrder(idempotencyKey: $key, input: $input) {{ replayed order {{ {ORDER} }} payment {{ {PAYMENT} }} }} }}"
        );
        let input = json!({"orderId": order, "payment": method});
        self.ask(&self.token(sub, "customer"), &document, json!({"key": key, "input": input})).await
    }

    pub async fn cancel(&self, sub: &str, key: &str, order: &str) -> Answer {
        let document = format!(
            "mutation($key: IdempotencyKey!, $input: CancelOrderInput!) {{ cancelOrder(idempotencyKey: $key, input: $input) {{ replayed order {{ {ORDER} }} }} }}"
        );
        self.ask(&self.token(sub, "customer"), &document, json!({"key": key, "input": {"orderId": order}})).await
    }

    /// refundOrder by an admin; no amount is all that is left.
    pub async fn refund(&self, key: &str, order: &str, minor: Option<i64>) -> Answer {
        self.refund_as(&self.token("admin", "admin"), key, order, minor).await
    }

    pub async fn refund_as(&self, token: &str, key: &str, order: &str, minor: Option<i64>) -> Answer {
        let document = format!(
            "mutation($key: IdempotencyKey!, $input: RefundOrderInput!) {{ refundOrder(idempotencyKey: $key, input: $input) {{ replayed refund {{ id status amount {{ minor }} }} order {{ {ORDER} }} }} }}"
        );
        let mut input = json!({"orderId": order, "reason": "CUSTOMER_REQUEST"});
        if let Some(minor) = minor {
            input["amount"] = json!({"minor": minor.to_string(), "currency": "CNY"});
        }
        self.ask(token, &document, json!({"key": key, "input": input})).await
    }

    /// The order as staff see it.
    pub async fn order(&self, id: &str) -> Value {
        let document = format!("query($id: ID!) {{ order(id: $id) {{ {ORDER} }} }}");
        self.ask(&self.token("sam", "support"), &document, json!({"id": id})).await.at("/order")
    }

    pub async fn sync(&self, sub: &str, id: &str) -> Answer {
        let document = format!("mutation($id: ID!) {{ syncOrder(orderId: $id) {{ {ORDER} }} }}");
        self.ask(&self.token(sub, "customer"), &document, json!({"id": id})).await
    }

    pub async fn watch(&self, sub: &str, order: &str) -> Watcher {
        Watcher::join(self, sub, order).await
    }

    /// The payer is at the cashier, and has not paid yet: only then does Alipay know the payment.
    pub async fn scanned(&self, payment: &str) {
        let page = self.http.get(format!("{}/cashier/{payment}", self.sandbox().url())).send().await.unwrap();
        assert_eq!(page.status(), 200);
    }

    /// The payer pays on the cashier page, and the notification arrives.
    pub async fn payer_pays(&self, payment: &str) {
        let cashier = format!("{}/cashier/{payment}/pay", self.sandbox().url());
        let page = self.http.post(cashier).send().await.unwrap();
        assert!(page.status().is_success(), "{}", page.status());
        self.sandbox().settled().await;
    }

    pub fn sandbox(&self) -> &sandbox::Sandbox {
        self.app.sandbox.as_ref().unwrap()
    }

    pub fn ledger(&self) -> sandbox::Ledger {
        self.sandbox().ledger()
    }

    pub fn fault(&self, call: sandbox::Call, kind: sandbox::FaultKind) {
        self.sandbox().fault(sandbox::Fault::new(call, kind).unwrap());
    }

    /// Turns the clock and waits until everything that came due is done, on both sides.
    pub async fn advance(&self, by: Duration) {
        self.sandbox().settled().await;
        self.clock.turn(by);
        self.quiet().await;
        self.sandbox().settled().await;
        self.quiet().await;
    }

    /// Waits until the scheduler has nothing left to do at the clock's time.
    pub async fn quiet(&self) {
        let now = self.clock.now();
        let mut quiet = self.app.payments.quiet_until();
        quiet.wait_for(|until| until.is_some_and(|until| until >= now)).await.unwrap();
    }
}

/// Waits until something is so, at most ten seconds.
pub async fn eventually<F: AsyncFnMut() -> bool>(what: &str, mut so: F) {
    for _ in 0..1_000 {
        if so().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("not within ten seconds: {what}");
}
