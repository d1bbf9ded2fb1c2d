//! Two at once about one order, again and again: a payer and a client, a payer and the clock, a payer and another
//! payer. However it ends, the shop keeps the price once or not at all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entity::order;
use futures_util::StreamExt;
use futures_util::future::join;
use futures_util::stream;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DatabaseConnection, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use crate::client::insist;
use crate::drain::drain;
use crate::journal::{Heard, Journal, Verb};
use crate::judge::{self, Rows, judge};
use crate::load::{pay_at_cashier, sync};
use crate::machines::{Backend, Machines};
use crate::random::Random;
use crate::site::Site;
use crate::storm::Figure;
use crate::trial::Outcome;
use crate::{Result, clock_now};

/// Orders that are raced about at the same time.
const AT_ONCE: usize = 16;
/// A payer need not wait longer for a silent gateway.
const SILENCE: Duration = Duration::from_secs(11);
/// Everything that came too late is back after this.
const RETURNED_WITHIN: Duration = Duration::from_secs(90);

/// What the payer races against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Race {
    Repay,
    Cancel,
    Expiry,
    Question,
    OtherGateway,
}

const RACES: [Race; 5] = [Race::Repay, Race::Cancel, Race::Expiry, Race::Question, Race::OtherGateway];

impl Race {
    const fn name(self) -> &'static str {
        match self {
            Self::Repay => "a payment against a repay",
            Self::Cancel => "a payment against a cancellation",
            Self::Expiry => "a payment against the end of the order's time",
            Self::Question => "a payment's notification against a question",
            Self::OtherGateway => "payments at both gateways, of which one was silent",
        }
    }
}

/// Each race so many times on one database.
pub async fn races(machines: &Arc<Machines>, backend: Backend, seed: u64, times: usize) -> (Vec<Figure>, Outcome) {
    let journal = Arc::new(Journal::new(&format!("races-{seed:015x}")));
    let mut figures = Vec::new();
    let mut outcome = Outcome::default();
    if let Err(e) = on_a_site(machines, backend, seed, times, &journal, &mut figures, &mut outcome).await {
        outcome.violations.push(format!("the races broke off: {e}"));
    }
    outcome.violations.append(&mut journal.book().violations);
    (figures, outcome)
}

async fn on_a_site(
    machines: &Arc<Machines>,
    backend: Backend,
    seed: u64,
    times: usize,
    journal: &Arc<Journal>,
    figures: &mut Vec<Figure>,
    outcome: &mut Outcome,
) -> Result<()> {
    let name = format!("races-{}-{seed:x}", backend.name().to_lowercase());
    let site = Arc::new(Site::open(machines, backend, &name, seed).await?);
    let look = site.look().await?;
    let mut random = Random::new(seed);
    let mut raced = Vec::new();
    for race in RACES {
        let since = Instant::now();
        let orders = match race {
            Race::OtherGateway => both_gateways(&site, journal, &mut random, times).await,
            _ => one_gateway(&site, &look, journal, &mut random, race, times).await,
        };
        raced.push((race, orders, since.elapsed()));
    }
    site.http.delete(format!("{}/__sandbox/faults", site.sandbox)).send().await?;
    outcome.rest = drain(&site, journal).await?;
    for (race, orders, took) in raced {
        figures.push(ended(&site, &look, journal, race, &orders, took).await?);
    }
    judge(&site, journal).await?;
    look.close().await?;
    let held = journal.book().violations.is_empty();
    site.close(held).await;
    Ok(())
}

/// An order with an open payment: both ids.
async fn bought(site: &Site, journal: &Journal, customer: usize) -> Option<(String, String)> {
    let input = json!({"lines": [{"sku": "TEA", "quantity": 1}], "allowDuplicate": true,
        "payment": {"gateway": "WECHAT_PAY", "product": "NATIVE"}});
    let intent = journal.intend(customer, Verb::Create, input);
    insist(site, journal, intent, 50, Duration::from_millis(100)).await;
    let ids = journal.book().intents[intent].ids.clone()?;
    Some((ids.order, ids.payment?))
}

async fn repay(site: &Site, journal: &Journal, customer: usize, order: &str, method: Value, times: usize) -> Heard {
    let intent = journal.intend(customer, Verb::Repay, json!({"orderId": order, "payment": method}));
    insist(site, journal, intent, times, Duration::from_millis(500)).await
}

async fn one_gateway(
    site: &Arc<Site>,
    look: &DatabaseConnection,
    journal: &Arc<Journal>,
    random: &mut Random,
    race: Race,
    times: usize,
) -> Vec<String> {
    let work = (0..times).map(|n| {
        let (payer, other) = (random.millis(0, 60), random.millis(0, 60));
        // Some payers can pay what is over.
        let late = random.chance(25);
        async move {
            let (order, payment) = bought(site, journal, n).await?;
            if late {
                wrong(site, "pay", "although_closed", 1, &payment).await;
            }
            let pays = async {
                tokio::time::sleep(payer).await;
                pay_at_cashier(site, &payment).await
            };
            let acts = async {
                tokio::time::sleep(other).await;
                match race {
                    Race::Repay => {
                        let method = json!({"gateway": "ALIPAY", "product": "PRECREATE"});
                        repay(site, journal, n, &order, method, 20).await;
                    }
                    Race::Cancel => {
                        let intent = journal.intend(n, Verb::Cancel, json!({"orderId": order}));
                        insist(site, journal, intent, 20, Duration::from_millis(500)).await;
                    }
                    Race::Expiry => time_is_over(look, &order, journal).await,
                    Race::Question | Race::OtherGateway => sync(site, n, &order, n).await,
                }
            };
            join(pays, acts).await;
            Some(order)
        }
    });
    let orders: Vec<Option<String>> = stream::iter(work).buffer_unordered(AT_ONCE).collect().await;
    missing(journal, &orders);
    orders.into_iter().flatten().collect()
}

/// The order's time is over now.
async fn time_is_over(look: &DatabaseConnection, order: &str, journal: &Journal) {
    let now = clock_now();
    let done = order::Entity::update_many()
        .col_expr(order::Column::ExpiresAt, Expr::val(now))
        .col_expr(order::Column::NextAt, Expr::val(now))
        .filter(order::Column::Id.eq(order))
        .filter(order::Column::Winner.is_null())
        .exec(look)
        .await;
    if let Err(e) = done {
        journal.accuse(format!("the harness could not end the time of {order}: {e}"));
    }
}

/// WeChat Pay says nothing about these payments, so everybody goes to Alipay; and then they pay at both.
async fn both_gateways(site: &Arc<Site>, journal: &Arc<Journal>, random: &mut Random, times: usize) -> Vec<String> {
    let opened = (0..times).map(|n| async move {
        let (order, payment) = bought(site, journal, n).await?;
        for call in ["find", "close"] {
            wrong(site, call, "error_503", 100_000, &payment).await;
        }
        let method = json!({"gateway": "ALIPAY", "product": "PRECREATE"});
        let intent = journal.intend(n, Verb::Repay, json!({"orderId": order, "payment": method}));
        insist(site, journal, intent, 1, Duration::ZERO).await;
        Some((n, order, payment, intent))
    });
    let opened: Vec<_> = stream::iter(opened).buffer_unordered(AT_ONCE).collect().await;
    tokio::time::sleep(SILENCE).await;
    let work = opened.into_iter().flatten().map(|(n, order, first, intent)| {
        let (one, other) = (random.millis(0, 20), random.millis(0, 20));
        async move {
            let heard = insist(site, journal, intent, 40, Duration::from_millis(500)).await;
            let second = match &heard {
                Heard::Payload(shown) => shown["payment"]["id"].as_str()?.to_owned(),
                other => {
                    journal.accuse(format!("customer {n} could not go to the other gateway: {other:?}"));
                    return None;
                }
            };
            let pays = [(first, one), (second, other)].map(async |(payment, head)| {
                tokio::time::sleep(head).await;
                pay_at_cashier(site, &payment).await
            });
            let [one, other] = pays;
            join(one, other).await;
            Some(order)
        }
    });
    let orders: Vec<Option<String>> = stream::iter(work).buffer_unordered(AT_ONCE).collect().await;
    missing(journal, &orders);
    orders.into_iter().flatten().collect()
}

fn missing(journal: &Journal, orders: &[Option<String>]) {
    let missing = orders.iter().filter(|o| o.is_none()).count();
    if missing > 0 {
        journal.accuse(format!("{missing} of {} orders never came to their race", orders.len()));
    }
}

async fn wrong(site: &Site, call: &str, fault: &str, times: u32, number: &str) {
    let fault = json!({"call": call, "fault": fault, "times": times, "number": number});
    site.http.post(format!("{}/__sandbox/faults", site.sandbox)).body(fault.to_string()).send().await.ok();
}

/// What the races have come to, once all that came too late is back: a paid order keeps its price, any other nothing.
async fn ended(
    site: &Site,
    look: &DatabaseConnection,
    journal: &Journal,
    race: Race,
    orders: &[String],
    took: Duration,
) -> Result<Figure> {
    let until = Instant::now() + RETURNED_WITHIN;
    loop {
        let (paid, unpaid, returned, wrong) = count(site, look, orders).await?;
        if wrong.is_empty() || Instant::now() > until {
            for what in wrong {
                journal.accuse(format!("{}: {what}", race.name()));
            }
            return Ok(Figure {
                what: format!("{} races of {}", orders.len(), race.name()),
                result: format!(
                    "{paid} paid, {unpaid} not; {returned} payments came back; {:.0} s",
                    took.as_secs_f64()
                ),
            });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn count(
    site: &Site,
    look: &DatabaseConnection,
    orders: &[String],
) -> Result<(usize, usize, usize, Vec<String>)> {
    let rows = Rows::read(look).await?;
    let ledger = judge::ledger(site).await?;
    let mut kept: HashMap<&str, i64> = HashMap::new();
    for charge in &ledger.charges {
        *kept.entry(charge.number.as_str()).or_default() += charge.minor;
    }
    let mut returned_of: HashMap<&str, i64> = HashMap::new();
    for refund in &ledger.refunds {
        *returned_of.entry(refund.payment_number.as_str()).or_default() += refund.minor;
    }
    let seqs: HashMap<&str, &order::Model> = rows.orders.iter().map(|o| (o.id.as_str(), o)).collect();
    let (mut paid, mut unpaid, mut returned, mut wrong) = (0, 0, 0, Vec::new());
    for id in orders {
        let Some(order) = seqs.get(id.as_str()) else {
            wrong.push(format!("{id} is not there"));
            continue;
        };
        let mut net = 0;
        for payment in rows.payments.iter().filter(|p| p.order_seq == order.seq) {
            let back = returned_of.get(payment.id.as_str()).copied().unwrap_or_default();
            returned += usize::from(back > 0);
            net += kept.get(payment.id.as_str()).copied().unwrap_or_default() - back;
        }
        let due = if order.status == "PAID" { order.total_minor } else { 0 };
        *(if order.status == "PAID" { &mut paid } else { &mut unpaid }) += 1;
        if net != due {
            wrong.push(format!("{id} is {} and {net} of {} are kept", order.status, order.total_minor));
        }
    }
    Ok((paid, unpaid, returned, wrong))
}
