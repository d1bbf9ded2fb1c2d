//! Somebody who is told everything by RabbitMQ, and writes down what came when.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, ExchangeKind};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use serde_json::Value;
use tokio_util::task::AbortOnDropHandle;

use crate::Result;
use crate::journal::Journal;

/// What came, in the order in which it came: id, order, version, type.
type Came = Vec<(String, String, i64, String)>;

/// Reads a durable queue that is bound to everything, whatever the broker does, until it is dropped.
pub struct Consumer {
    came: Arc<Mutex<Came>>,
    _task: AbortOnDropHandle<()>,
}

impl Consumer {
    /// Binds the queue, and begins to read it.
    pub async fn join(url: String, exchange: String) -> Result<Self> {
        // Bound before anything is published.
        drop(bind(&url, &exchange).await?);
        let came = Arc::new(Mutex::new(Vec::new()));
        let all = came.clone();
        let task = tokio::spawn(async move {
            loop {
                let _ = read(&url, &exchange, &all).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Ok(Self { came, _task: AbortOnDropHandle::new(task) })
    }

    fn came(&self) -> MutexGuard<'_, Came> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many events of the table have not come yet.
    pub async fn missing(&self, look: &DatabaseConnection) -> Result<usize> {
        let happened = happened(look).await?;
        let came: HashMap<(String, i64), String> =
            self.came().iter().map(|(_, order, version, kind)| ((order.clone(), *version), kind.clone())).collect();
        Ok(happened.into_iter().filter(|(key, kind)| came.get(key) != Some(kind)).count())
    }

    /// Everything came, each order's in order, each event under one id.
    pub async fn judge(&self, look: &DatabaseConnection, journal: &Journal) -> Result<()> {
        if journal.book().rewound {
            // Versions were given twice.
            return Ok(());
        }
        let missing = self.missing(look).await?;
        if missing > 0 {
            journal.accuse(format!("{missing} events never came to the consumer"));
        }
        let (mut newest, mut ids) = (HashMap::<&str, i64>::new(), HashMap::<(&str, i64), &str>::new());
        let came = self.came();
        for (id, order, version, _) in came.iter() {
            if *ids.entry((order, *version)).or_insert(id) != id {
                journal.accuse(format!("version {version} of {order} came under two ids"));
            }
            let newest = newest.entry(order).or_default();
            if *version > *newest + 1 {
                journal.accuse(format!("version {version} of {order} came before {}", *newest + 1));
            }
            *newest = (*newest).max(*version);
        }
        Ok(())
    }
}

async fn happened(look: &DatabaseConnection) -> Result<Vec<((String, i64), String)>> {
    let sql = "SELECT o.id, e.version, e.type FROM events e JOIN orders o ON o.seq = e.order_seq";
    let rows = look.query_all_raw(Statement::from_string(look.get_database_backend(), sql)).await?;
    let read = |row: sea_orm::QueryResult| {
        Ok(((row.try_get("", "id")?, row.try_get("", "version")?), row.try_get("", "type")?))
    };
    rows.into_iter().map(read).collect()
}

async fn bind(url: &str, exchange: &str) -> std::result::Result<(Connection, lapin::Channel), lapin::Error> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let none = FieldTable::default;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(exchange.into(), ExchangeKind::Topic, durable, none()).await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(exchange.into(), durable, none()).await?;
    channel.queue_bind(exchange.into(), exchange.into(), "#".into(), QueueBindOptions::default(), none()).await?;
    Ok((connection, channel))
}

async fn read(url: &str, exchange: &str, came: &Mutex<Came>) -> Result<()> {
    let (_connection, channel) = bind(url, exchange).await?;
    let options = BasicConsumeOptions::default();
    let mut deliveries = channel.basic_consume(exchange.into(), "".into(), options, FieldTable::default()).await?;
    while let Some(delivery) = deliveries.next().await {
        let delivery = delivery?;
        let event: Value = serde_json::from_slice(&delivery.data)?;
        let text = |member: &str| event[member].as_str().unwrap_or_default().to_owned();
        let version = event["version"].as_i64().unwrap_or_default();
        let row = (text("id"), text("orderId"), version, text("type"));
        came.lock().unwrap_or_else(PoisonError::into_inner).push(row);
        delivery.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}
