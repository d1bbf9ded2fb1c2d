//! Payonce: its database, its processes and what is asked of it.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::server::{Server, free_port};
use crate::{Result, setting};

/// What every subscriber asks for.
pub const DOCUMENT: &str =
    "subscription Status($id: ID!) { paymentStatus(orderId: $id) { orderId version orderStatus at } }";

/// One installation.
pub struct Shop {
    database: String,
    look: DatabaseConnection,
    http: reqwest::Client,
    /// A customer's.
    pub token: String,
}

impl Shop {
    /// A database of its own and a token; nothing runs yet.
    pub async fn make() -> Result<Self> {
        let server = setting("PAYONCE_TEST_POSTGRES_URL", "");
        let name = format!("bench_live_{}", std::process::id());
        Database::connect(&server).await?.execute_unprepared(&format!("CREATE DATABASE {name}")).await?;
        let database = format!("{}/{name}", server.rsplit_once('/').ok_or("PAYONCE_TEST_POSTGRES_URL is no URL")?.0);
        let mut shop = Self {
            look: Database::connect(&database).await?,
            database,
            http: reqwest::Client::builder().no_proxy().build()?,
            token: String::new(),
        };
        let minted = shop.payonce().args(["token", "--sub", "alice", "--role", "customer"]).output()?;
        shop.token = String::from_utf8(minted.stdout)?.trim().to_owned();
        Ok(shop)
    }

    /// What tokens are signed with; the peer's, too.
    pub fn secret(&self) -> &'static str {
        "a-secret-of-the-benchmark-and-of-nothing-else"
    }

    fn payonce(&self) -> Command {
        let mut command = Command::new(setting("PAYONCE_BIN", "target/release/payonce"));
        command.env("PAYONCE_DATABASE_URL", &self.database).env("PAYONCE_LOG", "error");
        command.env("PAYONCE_REDIS_URL", setting("PAYONCE_TEST_REDIS_URL", ""));
        command.env("PAYONCE_JWT_HS256_SECRET", self.secret()).env("PAYONCE_WS_PER_PROCESS", "20000");
        command
    }

    /// Starts a process of it.
    pub async fn open(&self) -> Result<Server> {
        let (port, sandbox) = (free_port()?, free_port()?);
        let mut command = self.payonce();
        command.arg("serve").env("PAYONCE_LISTEN", format!("127.0.0.1:{port}"));
        command.env("PAYONCE_SANDBOX_LISTEN", format!("127.0.0.1:{sandbox}")).env("PAYONCE_SANDBOX_HOME", "off");
        let mut server = Server::start(command, port).await?;
        server.sandbox = sandbox;
        Ok(server)
    }

    /// A new order's id.
    pub async fn create(&self, at: &Server, key: usize) -> Result<String> {
        let document = "mutation($key: IdempotencyKey!, $input: CreateOrderInput!) \
                        { it: createOrder(idempotencyKey: $key, input: $input) { order { id } } }";
        let input = json!({"lines": [{"sku": "TEA", "quantity": 1}], "allowDuplicate": true});
        let it = self.change(at, document, json!({"key": format!("bench-live-create-{key}"), "input": input})).await?;
        text(&it["order"]["id"])
    }

    /// A new order that waits for its payer: its id and the payment's.
    pub async fn create_paying(&self, at: &Server, key: usize) -> Result<(String, String)> {
        let document = "mutation($key: IdempotencyKey!, $input: CreateOrderInput!) \
                        { it: createOrder(idempotencyKey: $key, input: $input) { order { id } payment { id } } }";
        let input = json!({"lines": [{"sku": "TEA", "quantity": 1}], "allowDuplicate": true,
                           "payment": {"gateway": "WECHAT_PAY", "product": "NATIVE"}});
        let it = self.change(at, document, json!({"key": format!("bench-live-paying-{key}"), "input": input})).await?;
        Ok((text(&it["order"]["id"])?, text(&it["payment"]["id"])?))
    }

    /// The payer pays at the cashier; the gateway's notification comes a moment later.
    pub async fn pay(&self, at: &Server, payment: &str) -> Result<()> {
        let page = format!("http://127.0.0.1:{}/cashier/{payment}/pay", at.sandbox);
        Ok(self.http.post(page).send().await?.error_for_status().map(drop)?)
    }

    /// Cancels an order: it is closed when this returns.
    pub async fn cancel(&self, at: &Server, order: &str) -> Result<()> {
        let document = "mutation($key: IdempotencyKey!, $input: CancelOrderInput!) \
                        { it: cancelOrder(idempotencyKey: $key, input: $input) { order { id } } }";
        let variables = json!({"key": format!("bench-live-{order}"), "input": {"orderId": order}});
        self.change(at, document, variables).await.map(drop)
    }

    /// A process that has too much to do is asked again with the same key, as it says.
    async fn change(&self, at: &Server, document: &str, variables: Value) -> Result<Value> {
        loop {
            match self.try_change(at, document, &variables).await {
                Err(e) if e.to_string().contains("OVERLOADED") => sleep(Duration::from_millis(50)).await,
                done => return done,
            }
        }
    }

    async fn try_change(&self, at: &Server, document: &str, variables: &Value) -> Result<Value> {
        let body = json!({"query": document, "variables": variables}).to_string();
        let request = self.http.post(format!("http://{}/graphql", at.address)).body(body);
        let request = request.header("content-type", "application/json").bearer_auth(&self.token);
        let mut answer: Value = serde_json::from_str(&request.send().await?.text().await?)?;
        match answer["data"]["it"].take() {
            Value::Null => Err(format!("not done: {answer}").into()),
            it => Ok(it),
        }
    }

    /// When the latest change of each order was committed, in microseconds of the day's clock.
    pub async fn committed(&self) -> Result<HashMap<String, i64>> {
        let sql = "SELECT o.id, CAST(extract(epoch FROM pg_xact_commit_timestamp(e.xmin)) * 1000000 AS BIGINT) \
                   FROM orders o JOIN events e ON e.order_seq = o.seq AND e.version = o.version";
        let rows = self.look.query_all_raw(Statement::from_string(self.look.get_database_backend(), sql)).await?;
        rows.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
    }

    /// The payload that subscribes to an order.
    pub fn following(&self, order: &str) -> String {
        json!({"query": DOCUMENT, "variables": {"id": order}}).to_string()
    }

    /// The lines of `/metrics` that begin like this.
    pub async fn metrics(&self, of: &Server, prefix: &str) -> Result<Vec<String>> {
        let text = self.http.get(format!("http://{}/metrics", of.address)).send().await?.text().await?;
        Ok(text.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect())
    }
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().ok_or("an id is missing")?.to_owned())
}
