//! Ten thousand times the same, over three processes; and what Redis is worth.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::{Value, json};

use crate::Result;
use crate::client::{self, insist, post};
use crate::drain::drain;
use crate::journal::{Heard, Journal, Verb};
use crate::judge::{self, judge};
use crate::load::{Load, pay_at_cashier};
use crate::machines::{Backend, Machines};
use crate::random::Random;
use crate::site::Site;
use crate::trial::Outcome;

/// Requests under way at the same time.
const AT_ONCE: usize = 256;

/// One line of figures.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What was done.
    pub what: String,
    /// What came of it.
    pub result: String,
}

/// Storms on one database with so many duplicates, and the load with and without Redis for `time` each.
pub async fn storms(
    machines: &Arc<Machines>,
    backend: Backend,
    seed: u64,
    duplicates: usize,
    time: Duration,
) -> (Vec<Figure>, Outcome) {
    let journal = Arc::new(Journal::new(&format!("storm-{seed:015x}")));
    let mut figures = Vec::new();
    let mut outcome = Outcome::default();
    if let Err(e) = on_a_site(machines, backend, seed, duplicates, time, &journal, &mut figures, &mut outcome).await {
        outcome.violations.push(format!("the storm broke off: {e}"));
    }
    outcome.violations.append(&mut journal.book().violations);
    (figures, outcome)
}

#[expect(clippy::too_many_arguments, reason = "what the storms share, once")]
async fn on_a_site(
    machines: &Arc<Machines>,
    backend: Backend,
    seed: u64,
    duplicates: usize,
    time: Duration,
    journal: &Arc<Journal>,
    figures: &mut Vec<Figure>,
    outcome: &mut Outcome,
) -> Result<()> {
    let name = format!("storm-{}-{seed:x}", backend.name().to_lowercase());
    let site = Arc::new(Site::open(machines, backend, &name, seed).await?);
    figures.push(same_keys(&site, journal, duplicates, 1).await);
    figures.push(same_keys(&site, journal, duplicates, 200).await);
    figures.push(other_contents(&site, journal, duplicates / 2).await);
    figures.push(refunds(&site, journal).await);
    if backend.processes() > 1 {
        figures.push(without_redis(&site, journal, seed, time).await?);
    }
    site.heal().await?;
    outcome.rest = drain(&site, journal).await?;
    judge(&site, journal).await?;
    let held = journal.book().violations.is_empty();
    site.close(held).await;
    Ok(())
}

/// The same orders again and again: one charge a key, and no answer but that order or IDEMPOTENCY_IN_PROGRESS.
async fn same_keys(site: &Arc<Site>, journal: &Arc<Journal>, times: usize, keys: usize) -> Figure {
    let input = json!({"lines": [{"sku": "TEA", "quantity": 1}], "allowDuplicate": true,
        "payment": {"gateway": "WECHAT_PAY", "product": "NATIVE"}});
    let intents: Vec<usize> = (0..keys).map(|n| journal.intend(n, Verb::Create, input.clone())).collect();
    let since = Instant::now();
    let requests = (0..times).map(|n| {
        let intent = intents[n % keys];
        async move {
            let begun = Instant::now();
            let heard = client::send(site, journal, intent, n).await;
            (heard, begun.elapsed())
        }
    });
    let answers: Vec<(Heard, Duration)> = stream::iter(requests).buffer_unordered(AT_ONCE).collect().await;
    let took = since.elapsed();
    for (heard, _) in &answers {
        match heard {
            Heard::Payload(_) => {}
            Heard::Again(code) if code == "IDEMPOTENCY_IN_PROGRESS" => {}
            other => journal.accuse(format!("a duplicate of {keys} keys got {other:?}")),
        }
    }
    for intent in &intents {
        insist(site, journal, *intent, 20, Duration::from_millis(100)).await;
    }
    let ids: Vec<String> = {
        let book = journal.book();
        intents.iter().filter_map(|n| book.intents[*n].ids.as_ref()?.payment.clone()).collect()
    };
    stream::iter(&ids).map(|id| pay_at_cashier(site, id)).buffer_unordered(8).collect::<Vec<bool>>().await;
    let charges = match judge::ledger(site).await {
        Ok(ledger) => ledger.charges.iter().filter(|c| ids.contains(&c.number)).count(),
        Err(_) => 0,
    };
    if charges != keys {
        journal.accuse(format!("{times} submissions under {keys} keys made {charges} charges"));
    }
    let told = answers.iter().filter(|(heard, _)| matches!(heard, Heard::Payload(_))).count();
    Figure {
        what: format!("{times} submissions over {keys} key{}", if keys == 1 { "" } else { "s" }),
        result: format!(
            "{charges} charge{}; {told} answered, {} in progress; p99 {:.0} ms, {:.0}/s",
            if charges == 1 { "" } else { "s" },
            times - told,
            p99(answers.iter().map(|(_, t)| t.as_secs_f64() * 1e3).collect()),
            times as f64 / took.as_secs_f64()
        ),
    }
}

/// One key that was answered, and every time another content.
async fn other_contents(site: &Arc<Site>, journal: &Arc<Journal>, times: usize) -> Figure {
    let input = json!({"lines": [{"sku": "PIN", "quantity": 1}], "allowDuplicate": true});
    let intent = journal.intend(0, Verb::Create, input);
    insist(site, journal, intent, 20, Duration::from_millis(100)).await;
    let (token, body) = client::prepare(site, journal, intent);
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let requests = (0..times).map(|n| {
        let mut other = body.clone();
        other["variables"]["input"]["note"] = json!(format!("another {n}"));
        let token = &token;
        async move { post(site, n, token, other.to_string()).await }
    });
    let answers: Vec<Heard> = stream::iter(requests).buffer_unordered(AT_ONCE).collect().await;
    let mut codes: HashMap<String, usize> = HashMap::new();
    for heard in answers {
        let code = match heard {
            Heard::Refused(code) | Heard::Again(code) => code,
            other => format!("{other:?}"),
        };
        *codes.entry(code).or_default() += 1;
    }
    if codes.get("IDEMPOTENCY_KEY_MISMATCH") != Some(&times) {
        journal.accuse(format!("{times} other contents under one key got {codes:?}"));
    }
    Figure { what: format!("{times} other contents under one answered key"), result: format!("{codes:?}") }
}

/// A hundred times two percent of one payment, at once: fifty are accepted.
async fn refunds(site: &Arc<Site>, journal: &Arc<Journal>) -> Figure {
    let input = json!({"lines": [{"sku": "MUG", "quantity": 1}], "allowDuplicate": true,
        "payment": {"gateway": "WECHAT_PAY", "product": "NATIVE"}});
    let order = journal.intend(1, Verb::Create, input);
    insist(site, journal, order, 20, Duration::from_millis(100)).await;
    let Some(ids) = journal.book().intents[order].ids.clone() else {
        journal.accuse("no order for the refunds".to_owned());
        return Figure { what: "refunds".to_owned(), result: "none".to_owned() };
    };
    pay_at_cashier(site, ids.payment.as_deref().unwrap_or_default()).await;
    for _ in 0..100 {
        crate::load::sync(site, 1, &ids.order, 0).await;
        if let Heard::Payload(shown) = client::send(site, journal, order, 0).await
            && shown["order"]["status"] == "PAID"
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let asked = (0..100).map(|_| {
        let input =
            json!({"orderId": ids.order, "reason": "CUSTOMER_REQUEST", "amount": {"minor": "200", "currency": "CNY"}});
        let intent = journal.intend(1, Verb::Refund, input);
        insist(site, journal, intent, 100, Duration::from_millis(50))
    });
    let answers: Vec<Heard> = stream::iter(asked).buffer_unordered(100).collect().await;
    let accepted = answers.iter().filter(|h| matches!(h, Heard::Payload(_))).count();
    let refused = answers.iter().filter(|h| matches!(h, Heard::Refused(c) if c == "REFUND_EXCEEDS_PAID")).count();
    if (accepted, refused) != (50, 50) {
        journal.accuse(format!("of 100 refunds of 2 % {accepted} were accepted and {refused} refused"));
    }
    Figure {
        what: "100 refunds of 2 % of one payment at once".to_owned(),
        result: format!("{accepted} accepted, {refused} REFUND_EXCEEDS_PAID"),
    }
}

/// The same load beside Redis and without it.
async fn without_redis(site: &Arc<Site>, journal: &Arc<Journal>, seed: u64, time: Duration) -> Result<Figure> {
    let mut random = Random::new(seed);
    // Caches, pools and branch predictors get warm first.
    measured(site, journal, &mut random, time / 4).await;
    let (healthy, _, _) = measured(site, journal, &mut random, time).await;
    let redis = site.redis().ok_or("no Redis runs")?;
    redis.kill().await;
    let (dead, errors, all) = measured(site, journal, &mut random, time).await;
    redis.start_again().await?;
    let rate = 100.0 * errors as f64 / all.max(1) as f64;
    Ok(Figure {
        what: "Redis dead against healthy".to_owned(),
        result: format!(
            "p99 {dead:.0} ms against {healthy:.0} ms: ×{:.2}; errors other than IDEMPOTENCY_IN_PROGRESS with Redis dead: {errors} of {all} ({rate:.2} %)",
            dead / healthy.max(0.001)
        ),
    })
}

/// The p99 of answered mutations in milliseconds, errors that are no rule's, and requests in all.
async fn measured(
    site: &Arc<Site>,
    journal: &Arc<Journal>,
    random: &mut Random,
    time: Duration,
) -> (f64, usize, usize) {
    let clear = || std::mem::take(&mut *journal.times.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    clear();
    let errors = journal.errors();
    let load = Load::start(site, journal, random, 6);
    tokio::time::sleep(time).await;
    load.stop().await;
    let times = clear();
    let errors = journal.errors() - errors;
    (p99(times.clone()), errors, times.len() + errors)
}

fn p99(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get((times.len() * 99 / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}
