//! How fast orders are closed when many fall due at the same moment: `soak --bench expiry`. One process of Payonce on
//! PostgreSQL with every commit on the disk, and Redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::StreamExt;
use futures_util::stream;
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use serde_json::json;

use crate::journal::{Journal, Verb};
use crate::judge;
use crate::machines::{Backend, Machines};
use crate::site::Site;
use crate::{Result, clock_now};

/// Orders with nothing open.
const UNPAID: usize = 100_000;
/// Until they are due: the rows are there by then.
const AHEAD: chrono::Duration = chrono::Duration::seconds(5);
/// Who takes longer than this has failed.
const AT_MOST: Duration = Duration::from_secs(300);

/// Measures both kinds, prints the figures, and says whether all were closed and every invariant holds.
pub async fn expiry(machines: &Arc<Machines>, open: usize) -> Result<bool> {
    let site = Site::open(machines, Backend::Postgres, "bench-expiry", 1).await?;
    for n in 1..site.ports.len() {
        site.kill(n).await;
    }
    let look = site.look().await?;
    let due = clock_now() + AHEAD;
    let seeding = Instant::now();
    seed(&look, due, UNPAID).await?;
    println!("{UNPAID} orders with nothing open: seeded in {:.1} s", seeding.elapsed().as_secs_f64());
    let unpaid = watch(&site, &look, due, UNPAID).await?;

    let opening = Instant::now();
    let journal = Journal::new("bench-expiry");
    open_orders(&site, &journal, open).await;
    println!("{open} orders with an open payment: opened in {:.1} s", opening.elapsed().as_secs_f64());
    let due = clock_now() + AHEAD;
    let moved = format!("UPDATE orders SET expires_at = '{0}', next_at = '{0}' WHERE status = 'PAYING'", sql_time(due));
    look.execute_unprepared(&moved).await?;
    let paying = watch(&site, &look, due, open).await?;

    judge::invariants(&site, &journal).await?;
    look.close().await?;
    let wrong = std::mem::take(&mut journal.book().violations);
    for what in &wrong {
        println!("VIOLATION {what}");
    }
    site.close(wrong.is_empty()).await;
    Ok(wrong.is_empty() && unpaid && paying)
}

fn sql_time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Orders as `createOrder` without a payment leaves them, all due at the same moment.
async fn seed(look: &DatabaseConnection, due: DateTime<Utc>, count: usize) -> Result<()> {
    let (now, due) = (sql_time(clock_now()), sql_time(due));
    // Hexadecimal digits are among Crockford's.
    let orders = format!(
        "INSERT INTO orders (id, customer_id, status, total_minor, currency, version, created_at, expires_at, next_at) \
         SELECT 'ord_' || upper(substr(md5('bench' || n), 1, 26)), 'customer-0', 'PENDING_PAYMENT', 1280, 'CNY', 1, \
         '{now}', '{due}', '{due}' FROM generate_series(1, {count}) AS n"
    );
    let lines = "INSERT INTO order_lines (order_seq, line_no, sku, name, quantity, unit_price_minor, currency) \
                 SELECT seq, 0, 'TEA', 'Tea', 1, 1280, 'CNY' FROM orders";
    let events = format!(
        "INSERT INTO events (order_seq, version, type, facts, actor, at) SELECT seq, 1, 'order.created', '{{}}', \
         'customer-0', '{now}' FROM orders"
    );
    for sql in [orders.as_str(), lines, &events, "ANALYZE orders, order_lines, events"] {
        look.execute_unprepared(sql).await?;
    }
    Ok(())
}

/// Orders that payers have a code for.
async fn open_orders(site: &Site, journal: &Journal, count: usize) {
    let opened = (0..count).map(|n| {
        let input = json!({"lines": [{"sku": "TEA", "quantity": 1}], "allowDuplicate": true,
            "payment": {"gateway": "WECHAT_PAY", "product": "NATIVE"}});
        let intent = journal.intend(n, Verb::Create, input);
        async move {
            for _ in 0..20 {
                // There is only the first process.
                crate::client::send(site, journal, intent, 0).await;
                if !journal.book().intents[intent].is_open() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            journal.accuse("an order could not be opened".to_owned());
        }
    });
    stream::iter(opened).buffer_unordered(16).collect::<Vec<()>>().await;
}

/// Waits until they are closed and prints how fast that was; false when it took too long.
async fn watch(site: &Site, look: &DatabaseConnection, due: DateTime<Utc>, count: usize) -> Result<bool> {
    let before = site.resident_kib(0).await;
    let mut peak = before;
    let since = Instant::now();
    let sql = format!(
        "SELECT COUNT(*) AS n, CAST(COALESCE(EXTRACT(EPOCH FROM MAX(closed_at)) * 1000, 0) AS BIGINT) AS last \
         FROM orders WHERE status = 'CLOSED' AND expires_at = '{}'",
        sql_time(due)
    );
    let (mut closed, mut last) = (0, 0);
    while closed < count as i64 && since.elapsed() < AT_MOST {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let row = look.query_one_raw(Statement::from_string(look.get_database_backend(), sql.clone())).await?;
        let row = row.ok_or("nothing was counted")?;
        (closed, last) = (row.try_get("", "n")?, row.try_get("", "last")?);
        peak = peak.max(site.resident_kib(0).await);
    }
    let took = (last - due.timestamp_millis()) as f64 / 1e3;
    println!(
        "{closed} of {count} closed, {:.0} a second, the last {took:.1} s after they were due; \
         resident memory {} MiB before, {} MiB at most, {} MiB after",
        closed as f64 / took.max(0.001),
        before / 1_024,
        peak / 1_024,
        site.resident_kib(0).await / 1_024
    );
    Ok(closed == count as i64)
}
