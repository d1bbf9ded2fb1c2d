//! Does what is due when it is due: completes refunds and carries notifications to merchants.

use std::{sync::Arc, time::Duration};

use reqwest::{StatusCode, redirect};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    alipay,
    calls::Call,
    faults::FaultKind,
    outbox::{Content, Letter},
    wechat_pay,
    world::{World, later},
};

/// A client for notifications: five seconds, no redirects, no proxy.
pub(crate) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .timeout(Duration::from_secs(5))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .user_agent("Mozilla/4.0")
        .build()
}

/// Works until stopped. What was on its way then is still in the outbox.
pub(crate) async fn run(world: Arc<World>, client: reqwest::Client, stop: CancellationToken) {
    let deliveries = TaskTracker::new();
    while !stop.is_cancelled() {
        let (letters, next) = world.look(|state, now| {
            let letters = state.journal.outbox.take_due(now);
            (letters, state.next_due())
        });
        for letter in letters {
            let delivery = deliver(world.clone(), client.clone(), letter);
            deliveries.spawn(stop.clone().run_until_cancelled_owned(delivery));
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = world.store.changed.notified() => {}
            () = async {
                match next {
                    Some(at) => world.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            } => {}
        }
    }
    deliveries.close();
    deliveries.wait().await;
}

async fn deliver(world: Arc<World>, client: reqwest::Client, letter: Letter) {
    let gateway = letter.content.gateway();
    let fault = world.faults.take(gateway, Call::Notify, Some(&letter.number));
    let taken = match fault {
        Some(FaultKind::Drop) => false,
        Some(FaultKind::DelayMs(ms)) => return hold_back(&world, letter, ms),
        // A probe stands for nothing: whatever is answered, the real one follows.
        Some(FaultKind::Signtest) => {
            send(&world, &client, &letter, fault).await;
            false
        }
        Some(FaultKind::Swap) => return world.change(|state, _| state.journal.outbox.hold(&letter.id)),
        Some(FaultKind::Duplicate) => {
            let mut taken = send(&world, &client, &letter, None).await;
            let mut more = true;
            while more {
                taken |= send(&world, &client, &letter, None).await;
                more = world.faults.take_one(FaultKind::Duplicate, gateway, Call::Notify, &letter.number);
            }
            taken
        }
        fault => send(&world, &client, &letter, fault).await,
    };
    world.change(|state, now| {
        if taken {
            state.journal.outbox.taken(&letter.id);
        } else {
            state.journal.outbox.not_taken(&letter.id, now);
        }
    });
}

fn hold_back(world: &World, mut letter: Letter, ms: u64) {
    world.change(|state, now| {
        letter.due_at = later(now, ms);
        state.journal.outbox.put(letter);
    });
}

/// Sends it once; whether the merchant took it within the time: for WeChat Pay by 200 or 204, for
/// Alipay by the right word.
async fn send(world: &World, client: &reqwest::Client, letter: &Letter, fault: Option<FaultKind>) -> bool {
    let now = world.clock.signed_at();
    let request = match &letter.content {
        Content::WechatPay(event) => {
            wechat_pay::notification(letter, event, fault, (&world.keys, world.key_mode()), now)
        }
        Content::Alipay(event) => alipay::notification(letter, event, fault, world.keys.alipay(), now),
    };
    let Ok((headers, body)) = request else {
        tracing::error!(id = letter.id, "a notification could not be signed");
        return false;
    };
    let answer = client.post(&letter.url).headers(headers).body(body).send().await;
    let (status, taken) = match answer {
        Ok(answer) => (answer.status(), is_taken(&letter.content, answer).await),
        Err(error) => {
            tracing::debug!(id = letter.id, %error, "a notification did not arrive");
            return false;
        }
    };
    if !taken {
        tracing::debug!(id = letter.id, %status, "a notification was not taken");
    }
    taken
}

async fn is_taken(content: &Content, answer: reqwest::Response) -> bool {
    let status = answer.status();
    match content {
        Content::WechatPay(_) => matches!(status, StatusCode::OK | StatusCode::NO_CONTENT),
        Content::Alipay(_) => answer.bytes().await.is_ok_and(|body| alipay::is_taken(status, &body)),
    }
}
