//! RabbitMQ: a durable topic exchange, persistent messages, publisher confirms.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::Timestamp;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Connection, ConnectionProperties, ExchangeKind};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use super::SettingsError;
use super::channel::{Failure, Outlet};
use super::message::Message;
use crate::store::Channel;

/// For TCP, TLS, login, and the exchange.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// For the confirm of one message.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);
/// A broker that is away is looked for again after this, and twice as long each time, up to the second.
const LOOK_AGAIN: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(10)];
/// AMQP's mark of a message that is kept on disk.
const PERSISTENT: u8 = 2;

/// How RabbitMQ is reached.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    /// `amqp://` or `amqps://`.
    pub url: SecretString,
    /// The topic exchange; made durable when it is not there.
    pub exchange: String,
}

/// RabbitMQ. Connects when there is something to tell, and again when the connection is lost.
pub struct Broker {
    settings: BrokerSettings,
    link: Mutex<Option<Arc<Link>>>,
    links: AtomicU64,
}

/// One connection, with a channel that confirms.
struct Link {
    number: u64,
    channel: lapin::Channel,
    // Closes when the link goes.
    _connection: Connection,
}

impl Broker {
    /// Reads the URL; connects to nothing.
    pub fn new(settings: BrokerSettings) -> Result<Self, SettingsError> {
        let url = settings.url.expose_secret();
        url.parse::<AMQPUri>().map_err(|_| SettingsError::BrokerUrl)?;
        if url.starts_with("amqps:") {
            // The process may have chosen one before: any will do.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        Ok(Self { settings, link: Mutex::default(), links: AtomicU64::new(0) })
    }

    /// Connects and declares the exchange, for `payonce doctor`. The error is one line without the URL.
    pub async fn check(&self) -> Result<(), String> {
        self.connect().await.map(drop)
    }

    async fn connect(&self) -> Result<Link, String> {
        match timeout(CONNECT_WITHIN, self.open()).await {
            Ok(opened) => opened.map_err(|e| e.to_string()),
            Err(_) => Err(format!("no connection within {} s", CONNECT_WITHIN.as_secs())),
        }
    }

    async fn open(&self) -> Result<Link, lapin::Error> {
        let properties = ConnectionProperties::default().with_connection_name("payonce".into());
        let connection = Connection::connect(self.settings.url.expose_secret(), properties).await?;
        let channel = connection.create_channel().await?;
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let exchange = self.settings.exchange.as_str().into();
        channel.exchange_declare(exchange, ExchangeKind::Topic, durable, FieldTable::default()).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Link { number: self.links.fetch_add(1, Ordering::Relaxed), channel, _connection: connection })
    }

    /// The link is given up, unless another one has taken its place.
    async fn lost(&self, link: &Link) {
        let mut current = self.link.lock().await;
        if current.as_ref().is_some_and(|now| now.number == link.number) {
            *current = None;
        }
    }
}

#[async_trait]
impl Outlet for Broker {
    const CHANNEL: Channel = Channel::Amqp;
    const AT_ONCE: usize = 64;
    const FAILING_AT_ONCE: usize = 0;

    async fn ready(&self) {
        let [mut pause, longest] = LOOK_AGAIN;
        loop {
            let mut link = self.link.lock().await;
            if link.as_ref().is_some_and(|link| link.channel.status().connected()) {
                return;
            }
            match self.connect().await {
                Ok(new) => {
                    tracing::info!(exchange = self.settings.exchange, "connected to RabbitMQ");
                    *link = Some(Arc::new(new));
                    return;
                }
                Err(why) => tracing::warn!(why, "RabbitMQ does not answer; events wait"),
            }
            drop(link);
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    async fn send(&self, message: &Message, _now: Timestamp) -> Result<(), Failure> {
        let Some(link) = self.link.lock().await.clone() else {
            return Err(Failure::Down("there is no connection".to_owned()));
        };
        let publish = async {
            let exchange = self.settings.exchange.as_str().into();
            let options = BasicPublishOptions::default();
            let kind = message.kind.name();
            link.channel.basic_publish(exchange, kind.into(), options, &message.body, properties(message)).await?.await
        };
        let why = match timeout(CONFIRM_WITHIN, publish).await {
            Ok(Ok(confirmation)) if confirmation.is_ack() => return Ok(()),
            Ok(Ok(_)) => "the broker refused it".to_owned(),
            Ok(Err(e)) => e.to_string(),
            Err(_) => format!("no confirm within {} s", CONFIRM_WITHIN.as_secs()),
        };
        self.lost(&link).await;
        Err(Failure::Down(why))
    }
}

fn properties(message: &Message) -> BasicProperties {
    BasicProperties::default()
        .with_message_id(message.id.as_str().into())
        .with_type(message.kind.name().into())
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT)
        .with_timestamp(u64::try_from(message.at.timestamp()).unwrap_or_default())
        .with_app_id("payonce".into())
}
