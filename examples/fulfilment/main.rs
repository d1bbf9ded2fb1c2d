//! Ships goods once for each paid order, however often it is told.
//!
//! From RabbitMQ: `cargo run --example fulfilment -- --amqp amqp://payonce:payonce@127.0.0.1:5672`
//! As a webhook: `cargo run --example fulfilment -- --listen 127.0.0.1:9000 --secret whsec_…`

mod ledger;
mod signature;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use clap::Parser;
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, ExchangeKind};
use serde_json::Value;

use ledger::Ledger;
use signature::{Headers, is_genuine};

type Wrong = Box<dyn std::error::Error + Send + Sync>;

/// Ships goods once for each paid order, however often it is told.
#[derive(Parser)]
struct Arguments {
    /// RabbitMQ's URL.
    #[arg(long)]
    amqp: Option<String>,
    /// The exchange that Payonce publishes to.
    #[arg(long, default_value = "payonce.events")]
    exchange: String,
    /// Where to take webhooks, at any path.
    #[arg(long, requires = "secret")]
    listen: Option<SocketAddr>,
    /// `PAYONCE_WEBHOOK_SECRET`.
    #[arg(long)]
    secret: Option<String>,
    /// Where it is written down what was shipped.
    #[arg(long, default_value = "fulfilment.db")]
    ledger: String,
}

#[tokio::main]
async fn main() -> Result<(), Wrong> {
    let arguments = Arguments::parse();
    let ledger = Arc::new(Ledger::open(&arguments.ledger).await?);
    println!("{} parcels have gone out so far", ledger.parcels().await?);
    let mut tasks = tokio::task::JoinSet::new();
    if let Some(url) = arguments.amqp {
        tasks.spawn(consume(url, arguments.exchange, ledger.clone()));
    }
    if let (Some(at), Some(secret)) = (arguments.listen, arguments.secret) {
        tasks.spawn(listen(at, secret, ledger));
    }
    if tasks.is_empty() {
        return Err("nothing to do: give --amqp, or --listen and --secret".into());
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Reads our own queue; a connection that is lost is opened again.
async fn consume(url: String, exchange: String, ledger: Arc<Ledger>) -> Result<(), Wrong> {
    loop {
        if let Err(e) = read_queue(&url, &exchange, &ledger).await {
            eprintln!("{e}; once more in a second");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn read_queue(url: &str, exchange: &str, ledger: &Ledger) -> Result<(), Wrong> {
    const QUEUE: &str = "fulfilment";
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let none = FieldTable::default;
    // The exchange as Payonce declares it, the queue our own: durable, so that it goes on while we are away.
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(exchange.into(), ExchangeKind::Topic, durable, none()).await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(QUEUE.into(), durable, none()).await?;
    channel.queue_bind(QUEUE.into(), exchange.into(), "order.paid".into(), QueueBindOptions::default(), none()).await?;
    channel.basic_qos(16, BasicQosOptions::default()).await?;
    let mut deliveries =
        channel.basic_consume(QUEUE.into(), QUEUE.into(), BasicConsumeOptions::default(), none()).await?;
    println!("reading the queue {QUEUE}");
    while let Some(delivery) = deliveries.next().await {
        let delivery = delivery?;
        let event: Value = serde_json::from_slice(&delivery.data)?;
        println!("{}: {:?}", event["id"], ledger.take(&event).await?);
        // Only now: who acknowledges first and writes then loses what is between.
        delivery.ack(BasicAckOptions::default()).await?;
    }
    Err("the connection is gone".into())
}

async fn listen(at: SocketAddr, secret: String, ledger: Arc<Ledger>) -> Result<(), Wrong> {
    let router = Router::new().fallback(post(take)).with_state(Arc::new((secret, ledger)));
    println!("taking webhooks at http://{at}/");
    Ok(axum::serve(tokio::net::TcpListener::bind(at).await?, router).await?)
}

async fn take(State(shop): State<Arc<(String, Arc<Ledger>)>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let (secret, ledger) = &*shop;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let three = Headers {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    // The bytes as they came: JSON that was read and written again may be other bytes.
    if !is_genuine(secret, &three, &body, now) {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(event) = serde_json::from_slice::<Value>(&body) else { return StatusCode::BAD_REQUEST };
    match ledger.take(&event).await {
        Ok(outcome) => {
            println!("{}: {outcome:?}", three.id);
            StatusCode::NO_CONTENT
        }
        // Not acknowledged: it comes again.
        Err(e) => {
            eprintln!("{e}");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}
