//! A RabbitMQ of the test's own, that it may kill and start again; and a consumer that writes down what it gets.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, ExchangeKind};
use serde_json::Value;

/// Started by its own script, past the system's service; with a port mapper of its own.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// A server that dies with this value.
pub struct RabbitMq {
    port: u16,
    others: [u16; 2],
    folder: PathBuf,
    mapper: Child,
    server: Child,
}

impl RabbitMq {
    /// Starts it, empty; returns when it answers.
    pub async fn start() -> Self {
        let [port, nodes, mapper_port] = free_ports();
        let folder = std::env::temp_dir().join(format!("payonce-rabbitmq-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let settings = format!("listeners.tcp.1 = 127.0.0.1:{port}\n");
        std::fs::write(folder.join("rabbitmq.conf"), settings).unwrap();
        let mapper = quiet(Command::new("epmd").args(["-port", &mapper_port.to_string(), "-address", "127.0.0.1"]));
        let others = [nodes, mapper_port];
        let server = launch(port, others, &folder);
        let server = Self { port, others, folder, mapper, server };
        server.up().await;
        server
    }

    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it: connections break, new ones are refused. What it holds stays on its disk.
    pub fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    /// Starts it again where it was.
    pub async fn start_again(&mut self) {
        self.server = launch(self.port, self.others, &self.folder);
        self.up().await;
    }

    async fn up(&self) {
        let until = Instant::now() + Duration::from_secs(300);
        while Connection::connect(&self.url(), ConnectionProperties::default()).await.is_err() {
            assert!(Instant::now() < until, "RabbitMQ does not start: {}", self.folder.display());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        // Its helpers are in its group.
        Command::new("kill").args(["-9", "--", &format!("-{}", self.server.id())]).status().ok();
        for child in [&mut self.server, &mut self.mapper] {
            child.kill().ok();
            child.wait().ok();
        }
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

fn launch(port: u16, [nodes, mapper]: [u16; 2], folder: &std::path::Path) -> Child {
    let mut command = Command::new(SERVER);
    command
        // Else the script stays beside the server, and is what would be killed.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .env("HOME", folder)
        .env("ERL_EPMD_PORT", mapper.to_string())
        .env("RABBITMQ_NODENAME", format!("payonce{port}@localhost"))
        .env("RABBITMQ_DIST_PORT", nodes.to_string())
        .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
        .env("RABBITMQ_MNESIA_BASE", folder.join("data"))
        .env("RABBITMQ_LOG_BASE", folder.join("log"))
        .env("RABBITMQ_PID_FILE", folder.join("pid"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"))
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1:1")
        .process_group(0);
    quiet(&mut command)
}

fn quiet(command: &mut Command) -> Child {
    let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    started.expect("rabbitmq-server and epmd are installed: scripts/install rabbitmq-server")
}

/// Three that are free now, below those that the system hands out by itself: the server takes its time to come.
fn free_ports() -> [u16; 3] {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut free = std::iter::repeat_with(|| {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() * 41;
        10_000 + (step % 10_000) as u16
    })
    .filter(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok());
    [(); 3].map(|()| free.next().unwrap())
}

/// What came, in the order in which it came.
#[derive(Clone, Debug)]
pub struct Delivered {
    pub routing_key: String,
    pub message_id: String,
    pub persistent: bool,
    pub event: Value,
}

/// A durable queue bound to everything, and who reads it.
#[derive(Clone)]
pub struct Consumer {
    got: Arc<Mutex<Vec<Delivered>>>,
}

impl Consumer {
    /// Binds the queue and begins to read; goes on whatever the broker does.
    pub async fn join(url: &str, exchange: &str) -> Self {
        let got = Arc::new(Mutex::new(Vec::new()));
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let (url, exchange, all) = (url.to_owned(), exchange.to_owned(), got.clone());
        tokio::spawn(async move {
            let mut ready = Some(ready);
            loop {
                let _ = read(&url, &exchange, &all, &mut ready).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        is_ready.await.unwrap();
        Self { got }
    }

    pub fn got(&self) -> Vec<Delivered> {
        self.got.lock().unwrap().clone()
    }
}

async fn read(
    url: &str,
    exchange: &str,
    got: &Mutex<Vec<Delivered>>,
    ready: &mut Option<tokio::sync::oneshot::Sender<()>>,
) -> Result<(), lapin::Error> {
    let queue = format!("{exchange}.reader");
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let none = FieldTable::default;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(exchange.into(), ExchangeKind::Topic, durable, none()).await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.as_str().into(), durable, none()).await?;
    let everything = QueueBindOptions::default();
    channel.queue_bind(queue.as_str().into(), exchange.into(), "#".into(), everything, none()).await?;
    let options = BasicConsumeOptions::default();
    let mut deliveries = channel.basic_consume(queue.as_str().into(), "".into(), options, none()).await?;
    if let Some(ready) = ready.take() {
        ready.send(()).ok();
    }
    while let Some(delivery) = deliveries.next().await {
        let delivery = delivery?;
        let properties = &delivery.properties;
        got.lock().unwrap().push(Delivered {
            routing_key: delivery.routing_key.to_string(),
            message_id: properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default(),
            persistent: *properties.delivery_mode() == Some(2),
            event: serde_json::from_slice(&delivery.data).unwrap(),
        });
        delivery.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}
