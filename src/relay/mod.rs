//! Door out: the event table to RabbitMQ and to a webhook. At least once, the events of an order in the order of
//! their versions, each always under the same id.

mod amqp;
mod channel;
mod measure;
mod message;
mod webhook;

pub use amqp::{Broker, BrokerSettings};
pub use message::Message;
pub use webhook::{Webhook, WebhookSettings};

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::payments::ports::Clock;
use crate::store::{Channels, Store};

/// What is wrong with a setting, without what stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The broker's URL.
    #[error("is not an AMQP URL; right is like amqps://user:password@rabbit.example.com/shop")]
    BrokerUrl,
    /// The webhook's URL.
    #[error("is not a URL; right is like https://shop.example.com/payonce")]
    WebhookUrl,
    /// The HTTP client cannot be made.
    #[error("no HTTP client can be made: are there CA certificates on this machine?")]
    HttpClient,
}

/// Who is told.
#[derive(Clone, Default)]
pub struct Outlets {
    /// RabbitMQ.
    pub amqp: Option<Arc<Broker>>,
    /// An HTTP address.
    pub webhook: Option<Arc<Webhook>>,
}

impl Outlets {
    /// Those that are there.
    pub fn channels(&self) -> Channels {
        Channels { amqp: self.amqp.is_some(), webhook: self.webhook.is_some() }
    }
}

/// Everything that tells.
pub struct Relay {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Relay {
    /// Begins to tell, from where each order was left.
    pub fn start(store: &Store, clock: &Arc<dyn Clock>, outlets: Outlets) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let channels = outlets.channels();
        if let Some(broker) = outlets.amqp {
            tasks.spawn(channel::run(broker, store.clone(), clock.clone(), stop.clone()));
        }
        if let Some(webhook) = outlets.webhook {
            tasks.spawn(channel::run(webhook.clone(), store.clone(), clock.clone(), stop.clone()));
            tasks.spawn(webhook::resend(webhook, store.clone(), clock.clone(), stop.clone()));
        }
        if channels != Channels::default() {
            tasks.spawn(measure::run(channels, store.clone(), clock.clone(), stop.clone()));
        }
        Self { tasks, stop }
    }

    /// Takes nothing new, and waits for what is being told: some seconds at most.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
