//! How far behind the channels are, for `/metrics`.

use std::sync::Arc;

use domain::Duration;
use tokio_util::sync::CancellationToken;

use crate::payments::ports::Clock;
use crate::store::{Channel, Channels, Store, StoreError};

const EVERY: Duration = Duration::seconds(15);

/// Runs until it is stopped.
pub(super) async fn run(channels: Channels, store: Store, clock: Arc<dyn Clock>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let now = clock.now();
        if let Err(e) = measure(channels, &store, &clock).await {
            tracing::warn!(error = %e, "what was not told yet could not be counted");
        }
        // No database future is in here.
        tokio::select! {
            () = clock.sleep_until(now + EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn measure(channels: Channels, store: &Store, clock: &Arc<dyn Clock>) -> Result<(), StoreError> {
    for (channel, configured) in [(Channel::Amqp, channels.amqp), (Channel::Webhook, channels.webhook)] {
        if configured {
            let untold = store.untold(channel).await?;
            let age = untold.oldest.map_or(0, |at| (clock.now() - at).num_seconds().max(0));
            metrics::gauge!("payonce_events_untold", "channel" => channel.name()).set(untold.events as f64);
            metrics::gauge!("payonce_events_oldest_seconds", "channel" => channel.name()).set(age as f64);
        }
    }
    if channels.webhook {
        metrics::gauge!("payonce_dead_letters").set(store.dead_letter_count().await? as f64);
    }
    Ok(())
}
