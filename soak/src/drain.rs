//! After the faults: every client gets its answer, everything undecided is decided, within a minute.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;

use crate::client::insist;
use crate::journal::Journal;
use crate::judge::{self, Rows};
use crate::load::sync;
use crate::site::Site;
use crate::{Result, clock_now};

/// How long everything may take to come to rest.
const AT_MOST: Duration = Duration::from_secs(60);
/// From then on payers come back to their pages, which ask: notifications may have been lost on purpose, and
/// the next question may be minutes away.
const PAYERS_COME_BACK: Duration = Duration::from_secs(12);

/// Waits until all is at rest; how long it took. What is not at rest in time is a violation.
pub async fn drain(site: &Arc<Site>, journal: &Arc<Journal>) -> Result<Duration> {
    let since = Instant::now();
    answer_everybody(site, journal, since + AT_MOST).await;
    let look = site.look().await?;
    let mut pause = Duration::from_millis(100);
    loop {
        let rows = Rows::read(&look).await?;
        let ledger = judge::ledger(site).await?;
        let mut restless = restless(&rows, &ledger);
        if let Some(consumer) = &site.consumer
            && !journal.book().rewound
        {
            let missing = consumer.missing(&look).await?;
            restless.extend((missing > 0).then(|| (None, format!("{missing} events have not come"))));
        }
        if restless.is_empty() {
            break;
        }
        if since.elapsed() > AT_MOST {
            let shown: Vec<&str> = restless.iter().take(5).map(|(_, what)| what.as_str()).collect();
            journal.accuse(format!("{} things are not at rest after a minute: {}", restless.len(), shown.join("; ")));
            break;
        }
        if since.elapsed() > PAYERS_COME_BACK {
            let orders: HashSet<i64> = restless.iter().filter_map(|(order, _)| *order).collect();
            let asked = rows.orders.iter().filter(|o| orders.contains(&o.seq)).map(|o| {
                let customer = o.customer_id.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or_default();
                async move { sync(site, customer, &o.id, customer).await }
            });
            stream::iter(asked).buffer_unordered(8).collect::<Vec<()>>().await;
            pause = Duration::from_secs(1);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
    look.close().await?;
    Ok(since.elapsed())
}

/// A client that heard nothing sends its key again until there is an answer.
async fn answer_everybody(site: &Arc<Site>, journal: &Arc<Journal>, until: Instant) {
    let open: Vec<usize> = {
        let book = journal.book();
        (0..book.intents.len()).filter(|n| book.intents[*n].is_open() && book.intents[*n].sent > 0).collect()
    };
    let pause = Duration::from_millis(200);
    let asked = open.into_iter().map(|intent| async move {
        while Instant::now() < until {
            insist(site, journal, intent, 5, pause).await;
            if !journal.book().intents[intent].is_open() {
                return;
            }
        }
        let what = format!("{:?}", journal.book().intents[intent]);
        journal.accuse(format!("never answered, though its key was sent for a minute: {what}"));
    });
    stream::iter(asked).buffer_unordered(8).collect::<Vec<()>>().await;
}

/// What is still to happen, with the order it is about.
fn restless(rows: &Rows, ledger: &sandbox::Ledger) -> Vec<(Option<i64>, String)> {
    let now = clock_now();
    let mut found = Vec::new();
    for claim in rows.operations.iter().filter(|c| c.state == "RUNNING") {
        found.push((None, format!("operation {} on {} is running", claim.name, claim.order_id)));
    }
    let charged: HashSet<&str> = ledger.charges.iter().map(|c| c.number.as_str()).collect();
    for payment in &rows.payments {
        let undecided = ["CREATED", "UNKNOWN"].contains(&payment.status.as_str());
        let unheard = charged.contains(payment.id.as_str()) && payment.status != "SUCCEEDED";
        if undecided || unheard {
            found.push((Some(payment.order_seq), format!("payment {} is {}", payment.id, payment.status)));
        }
    }
    let returned: HashSet<&str> = ledger.refunds.iter().map(|r| r.number.as_str()).collect();
    for refund in &rows.refunds {
        // One that waits for its turn is not late: the gateway wants a minute between two of one payment.
        let waits = refund.status == "REQUESTED" && refund.next_at.is_some_and(|at| at > now);
        let undecided = refund.status == "UNKNOWN" || (refund.status == "REQUESTED" && !waits);
        let unheard = returned.contains(refund.id.as_str()) && refund.status != "SUCCEEDED";
        if undecided || unheard {
            found.push((Some(refund.order_seq), format!("refund {} is {}", refund.id, refund.status)));
        }
    }
    for order in rows.orders.iter().filter(|o| o.closing.is_some()) {
        found.push((Some(order.seq), format!("order {} is being closed", order.id)));
    }
    found
}
