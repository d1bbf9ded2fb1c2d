//! One request to Payonce, as a shop's page would send it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::journal::{Heard, Journal};
use crate::site::Site;

/// Codes that mean: nothing is known yet, the same key again.
const AGAIN: [&str; 4] = ["IDEMPOTENCY_IN_PROGRESS", "STORE_UNAVAILABLE", "PAYMENT_IN_PROGRESS", "INTERNAL"];

/// Sends an intent to a process of Payonce, writes down what came back, and returns it.
pub async fn send(site: &Site, journal: &Journal, intent: usize, process: usize) -> Heard {
    let (token, body) = prepare(site, journal, intent);
    let since = Instant::now();
    let heard = post(site, process, &token, body).await;
    journal.hear(intent, &heard, since);
    heard
}

/// The token and the body of an intent's request; counts it as sent.
pub fn prepare(site: &Site, journal: &Journal, intent: usize) -> (String, String) {
    let mut book = journal.book();
    let intent = &mut book.intents[intent];
    intent.sent += 1;
    let token = match intent.verb {
        crate::journal::Verb::Refund => site.machines.admin.as_str(),
        _ => site.customer(intent.customer),
    };
    (token.to_owned(), json!({"query": intent.verb.document(), "variables": intent.variables}).to_string())
}

/// Sends the same intent until there is an answer, at most so many times.
pub async fn insist(site: &Site, journal: &Journal, intent: usize, times: usize, pause: Duration) -> Heard {
    let mut heard = Heard::Nothing;
    for time in 0..times {
        heard = send(site, journal, intent, intent + time).await;
        if !matches!(heard, Heard::Again(_) | Heard::Nothing) {
            break;
        }
        tokio::time::sleep(pause).await;
    }
    heard
}

/// Sends a body and sorts the answer.
pub async fn post(site: &Site, process: usize, token: &str, body: String) -> Heard {
    let request = site.http.post(site.graphql(process)).header("content-type", "application/json");
    let answer = match request.header("authorization", format!("Bearer {token}")).body(body).send().await {
        Ok(response) => response.text().await,
        Err(e) => Err(e),
    };
    let Ok(answer) = answer else { return Heard::Nothing };
    let Ok(answer) = serde_json::from_str::<Value>(&answer) else { return Heard::Nothing };
    match answer["errors"][0]["extensions"]["code"].as_str() {
        Some(code) if AGAIN.contains(&code) => Heard::Again(code.to_owned()),
        Some(code) => Heard::Refused(code.to_owned()),
        None => {
            let data = answer["data"].as_object().and_then(|fields| fields.values().next());
            data.map_or(Heard::Nothing, |payload| Heard::Payload(payload.clone()))
        }
    }
}
