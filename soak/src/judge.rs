//! The verdict: the invariants in the database, the gateway's ledger against it, and every promise kept.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use entity::{operation, order, payment, refund};
use sea_orm::{ConnectionTrait, DatabaseConnection, EntityTrait, QueryOrder, Statement};
use serde_json::Value;

use crate::journal::{Intent, Journal, Verb};
use crate::machines::Backend;
use crate::site::Site;
use crate::{Result, clock_now};

/// Who asks fewer has asked nothing.
const FEWEST_INVARIANTS: usize = 20;

/// What the store says.
pub struct Rows {
    /// Claims.
    pub operations: Vec<operation::Model>,
    /// Orders.
    pub orders: Vec<order::Model>,
    /// Payments.
    pub payments: Vec<payment::Model>,
    /// Refunds.
    pub refunds: Vec<refund::Model>,
}

impl Rows {
    /// Reads everything.
    pub async fn read(look: &DatabaseConnection) -> Result<Self> {
        Ok(Self {
            operations: operation::Entity::find().order_by_asc(operation::Column::Seq).all(look).await?,
            orders: order::Entity::find().all(look).await?,
            payments: payment::Entity::find().all(look).await?,
            refunds: refund::Entity::find().all(look).await?,
        })
    }
}

/// What really happened, says the gateway.
pub async fn ledger(site: &Site) -> Result<sandbox::Ledger> {
    let text = site.http.get(format!("{}/__sandbox/ledger", site.sandbox)).send().await?.text().await?;
    Ok(serde_json::from_str(&text)?)
}

/// Writes everything that must not be into the journal.
pub async fn judge(site: &Site, journal: &Journal) -> Result<()> {
    let look = site.look().await?;
    invariants(site, journal).await?;
    nothing_left_open(site, &look, journal).await?;
    let rows = Rows::read(&look).await?;
    let truth = ledger(site).await?;
    money(&rows, &truth, journal);
    intent_before_act(site, &rows, journal).await?;
    promises(&rows, journal);
    if let Some(consumer) = &site.consumer {
        consumer.judge(&look, journal).await?;
    }
    look.close().await?;
    Ok(())
}

/// Everything that must hold, as `payonce doctor --deep` asks it.
pub async fn invariants(site: &Site, journal: &Journal) -> Result<()> {
    let said = site.doctor().await?;
    let mut asked = 0;
    for line in said.lines() {
        let Some((sign, rest)) = line.split_once(char::is_whitespace) else { continue };
        let name = rest.split_whitespace().next().unwrap_or_default();
        asked += usize::from(name.contains('_'));
        // A fault may have taken Redis away for good.
        if sign == "FAIL" && name != "redis" {
            journal.accuse(format!("payonce doctor --deep: {}", rest.trim()));
        }
    }
    if asked < FEWEST_INVARIANTS {
        journal.accuse(format!("payonce doctor --deep asked {asked} invariants only: {said}"));
    }
    Ok(())
}

/// No session holds a transaction open while it does nothing.
async fn nothing_left_open(site: &Site, look: &DatabaseConnection, journal: &Journal) -> Result<()> {
    let sql = match site.backend {
        Backend::Sqlite => {
            // The only writer must be free.
            if let Err(e) = look.execute_unprepared("PRAGMA busy_timeout = 3000; BEGIN IMMEDIATE; ROLLBACK").await {
                journal.accuse(format!("somebody holds SQLite's write lock: {e}"));
            }
            return Ok(());
        }
        Backend::Postgres => format!(
            "SELECT CAST(COUNT(*) AS BIGINT) AS n FROM pg_stat_activity WHERE datname = '{}' \
             AND state LIKE 'idle in transaction%' AND state_change < clock_timestamp() - interval '1 second'",
            site.database
        ),
        Backend::Mariadb => format!(
            "SELECT CAST(COUNT(*) AS SIGNED) AS n FROM information_schema.innodb_trx t \
             JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id \
             WHERE p.db = '{}' AND p.command = 'Sleep' AND p.time >= 1",
            site.database
        ),
    };
    let row = look.query_one_raw(Statement::from_string(look.get_database_backend(), sql)).await?;
    let open: i64 = row.map(|r| r.try_get("", "n")).transpose()?.unwrap_or_default();
    if open > 0 {
        journal.accuse(format!("{open} sessions are idle in a transaction"));
    }
    Ok(())
}

/// Paid there if and only if paid here, and the same of what went back.
fn money(rows: &Rows, truth: &sandbox::Ledger, journal: &Journal) {
    let payments: HashMap<&str, &payment::Model> = rows.payments.iter().map(|p| (p.id.as_str(), p)).collect();
    let refunds: HashMap<&str, &refund::Model> = rows.refunds.iter().map(|r| (r.id.as_str(), r)).collect();
    let mut charged = HashSet::new();
    for charge in &truth.charges {
        let (number, minor) = (charge.number.as_str(), charge.minor);
        if !charged.insert(number) {
            journal.accuse(format!("{number} was charged twice"));
        }
        match payments.get(number) {
            Some(p) if p.status == "SUCCEEDED" && p.paid == minor => {}
            Some(p) => journal.accuse(format!("{number} was charged {minor}; here it is {} with {}", p.status, p.paid)),
            None => journal.accuse(format!("{number} was charged {minor}, and nobody here knows it")),
        }
        let back: i64 = truth.refunds.iter().filter(|r| r.payment_number == charge.number).map(|r| r.minor).sum();
        if back > minor {
            journal.accuse(format!("{number} gave {back} back of {minor}"));
        }
    }
    for payment in rows.payments.iter().filter(|p| p.status == "SUCCEEDED" && !charged.contains(p.id.as_str())) {
        journal.accuse(format!("{} is SUCCEEDED here and was never charged", payment.id));
    }
    let mut returned = HashSet::new();
    for money in &truth.refunds {
        let (number, minor) = (money.number.as_str(), money.minor);
        if !returned.insert(number) {
            journal.accuse(format!("{number} was refunded twice"));
        }
        match refunds.get(number) {
            Some(r) if r.status == "SUCCEEDED" && r.amount_minor == minor && r.payment_id == money.payment_number => {}
            Some(r) => {
                journal.accuse(format!("{number} gave {minor} back; here it is {} of {}", r.status, r.amount_minor))
            }
            None => journal.accuse(format!("{number} gave {minor} back, and nobody here knows it")),
        }
    }
    for refund in rows.refunds.iter().filter(|r| r.status == "SUCCEEDED" && !returned.contains(r.id.as_str())) {
        journal.accuse(format!("{} is SUCCEEDED here and nothing went back", refund.id));
    }
    let mut winners: HashMap<i64, usize> = HashMap::new();
    for payment in rows.payments.iter().filter(|p| p.status == "SUCCEEDED" && !p.surplus && !p.mismatch) {
        *winners.entry(payment.order_seq).or_default() += 1;
    }
    for (order, _) in winners.iter().filter(|(_, n)| **n > 1) {
        journal.accuse(format!("order {order} keeps the money of more than one payment"));
    }
}

/// The gateway was asked for nothing that was not written down here before.
async fn intent_before_act(site: &Site, rows: &Rows, journal: &Journal) -> Result<()> {
    if journal.book().rewound {
        // The store has forgotten some, and those calls were made when it still knew.
        return Ok(());
    }
    let text = site.http.get(format!("{}/__sandbox/calls", site.sandbox)).send().await?.text().await?;
    let calls: Vec<Value> = serde_json::from_str(&text)?;
    // A number belongs to the first claim that names it; a later one has only taken it up.
    let mut intended: HashMap<&str, DateTime<Utc>> = HashMap::new();
    let payments = rows.payments.iter().map(|p| (p.id.as_str(), p.created_at));
    let refunds = rows.refunds.iter().map(|r| (r.id.as_str(), r.created_at));
    intended.extend(payments.chain(refunds));
    let mut claimed = HashSet::new();
    for claim in &rows.operations {
        let number = claim.refund_id.as_deref().or(claim.payment_id.as_deref());
        if let Some(number) = number.filter(|n| claimed.insert(*n))
            && let Some(at) = intended.get_mut(number)
        {
            *at = claim.created_at.max(*at);
        }
    }
    let mut told = HashSet::new();
    for call in calls.iter().filter(|c| c["call"] == "open" || c["call"] == "refund") {
        let Some(number) = call["number"].as_str() else { continue };
        let asked: Option<DateTime<Utc>> = call["at"].as_str().and_then(|at| at.parse().ok());
        let wrong = match (intended.get(number), asked) {
            (None, _) => "and nothing here says so",
            (Some(intended), Some(asked)) if asked < *intended => "before it was written down here",
            _ => continue,
        };
        if told.insert(number) {
            journal.accuse(format!("the gateway was asked to {} {number}, {wrong}", call["call"]));
        }
    }
    Ok(())
}

/// What a client was told is so: ids, versions, a success.
fn promises(rows: &Rows, journal: &Journal) {
    let claims: HashMap<&str, &operation::Model> =
        rows.operations.iter().map(|c| (c.idempotency_key.as_str(), c)).collect();
    let orders: HashMap<&str, &order::Model> = rows.orders.iter().map(|o| (o.id.as_str(), o)).collect();
    let payments: HashMap<&str, &payment::Model> = rows.payments.iter().map(|p| (p.id.as_str(), p)).collect();
    let refunds: HashMap<&str, &refund::Model> = rows.refunds.iter().map(|r| (r.id.as_str(), r)).collect();
    let mut broken = Vec::new();
    let book = journal.book();
    for intent in &book.intents {
        broken.extend(broken_promise(intent, claims.get(intent.key()).copied(), &refunds));
    }
    for known in &book.orders {
        match orders.get(known.order.as_str()) {
            None => broken.push(format!("{} was promised and is not there", known.order)),
            Some(o) if o.version < known.version => {
                broken.push(format!("{} was shown at version {}, and is at {}", known.order, known.version, o.version));
            }
            Some(_) => {}
        }
        for (payment, status) in &known.payments {
            match payments.get(payment.as_str()) {
                None if book.lost.iter().any(|ids| ids.payment.as_deref() == Some(payment)) => {}
                None => broken.push(format!("{payment} was promised and is not there")),
                Some(p) if status == "SUCCEEDED" && p.status != "SUCCEEDED" => {
                    broken.push(format!("{payment} was shown as SUCCEEDED, and is {}", p.status));
                }
                Some(_) => {}
            }
        }
    }
    drop(book);
    broken.into_iter().for_each(|what| journal.accuse(what));
}

fn broken_promise(
    intent: &Intent,
    claim: Option<&operation::Model>,
    refunds: &HashMap<&str, &refund::Model>,
) -> Option<String> {
    let (verb, key) = (intent.verb, intent.key());
    match (&intent.ids, claim) {
        (Some(ids), Some(c)) => {
            let kept = c.order_id == ids.order
                && (c.payment_id == ids.payment || verb == Verb::Cancel)
                && c.refund_id == ids.refund
                && ids.refund.as_deref().is_none_or(|r| refunds.contains_key(r));
            (!kept).then(|| format!("{verb:?} {key} was answered with {ids:?}; its claim names {c:?}"))
        }
        (Some(ids), None) => Some(format!("{verb:?} {key} was answered with {ids:?}, and its claim is gone")),
        // Sent once and refused once: nothing began, nothing is kept.
        (None, Some(c)) if intent.sent == 1 && intent.refused.is_some() => {
            Some(format!("{verb:?} {key} was refused, and yet there is {c:?}"))
        }
        (None, _) => None,
    }
}

/// Operations whose lease has ended and that nobody has taken over or finished.
pub async fn orphans(look: &DatabaseConnection) -> Result<Vec<i64>> {
    use sea_orm::{ColumnTrait, QueryFilter, QuerySelect};
    let ended = operation::Entity::find()
        .select_only()
        .column(operation::Column::Seq)
        .filter(operation::Column::State.eq("RUNNING"))
        .filter(operation::Column::LeaseUntil.lt(clock_now()));
    Ok(ended.into_tuple().all(look).await?)
}
