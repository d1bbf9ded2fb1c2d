//! Whatever goes wrong at a gateway, or on the way to it: what Payonce says, right after and a little later, agrees
//! with what the gateway did. `table` says what is expected, `acts` how it is tried; what takes more than a line is
//! told in `stories`.

mod acts;
mod stories;
mod table;

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Backend, Shop};
use acts::Gateway;
use table::{Row, TABLE};

/// Each table on each store; its rows one after another in one shop.
macro_rules! each_call {
    ($($call:ident),+ $(,)?) => { $(
        mod $call {
            use super::{Backend, Gateway, try_rows};
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn at_wechat_pay_on_sqlite() { try_rows(stringify!($call), Gateway::WechatPay, Backend::Sqlite).await }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn at_alipay_on_sqlite() { try_rows(stringify!($call), Gateway::Alipay, Backend::Sqlite).await }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn at_wechat_pay_on_postgres_and_redis() { try_rows(stringify!($call), Gateway::WechatPay, Backend::PostgresAndRedis).await }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn at_alipay_on_postgres_and_redis() { try_rows(stringify!($call), Gateway::Alipay, Backend::PostgresAndRedis).await }
        }
    )+ };
}

each_call!(open, find, close, refund, find_refund, notify);

/// Those that wait for Payonce's patience with a gateway to end, 8 s each: all at once, each in a shop of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_slow_on_sqlite() {
    try_slow_rows(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_slow_on_postgres_and_redis() {
    try_slow_rows(Backend::PostgresAndRedis).await;
}

async fn try_rows(call: &str, gateway: Gateway, backend: Backend) {
    let shop = Shop::open(backend).await;
    for row in table::rows(call, gateway).into_iter().filter(|row| !row.is_slow()) {
        try_row(&shop, gateway, &row).await;
    }
    shop.check_invariants().await;
}

async fn try_slow_rows(backend: Backend) {
    let calls = TABLE.iter().flat_map(|(call, _)| Gateway::BOTH.map(|gateway| (*call, gateway)));
    let rows = calls.flat_map(|(call, gateway)| table::rows(call, gateway).into_iter().map(move |row| (gateway, row)));
    let slow = rows.filter(|(_, row)| row.is_slow());
    join_all(slow.map(async |(gateway, row)| {
        let shop = Shop::open(backend).await;
        try_row(&shop, gateway, &row).await;
        shop.check_invariants().await;
    }))
    .await;
}

async fn try_row(shop: &Shop, gateway: Gateway, row: &Row) {
    let seen = acts::act(shop, gateway, row).await;
    let unhappened = knob(shop, reqwest::Method::GET, "faults", Value::Null).await;
    assert_eq!(unhappened, json!([]), "{gateway:?} {row}: it did not happen");
    assert_eq!((&*seen.0, &*seen.1), (&*row.right_after, &*row.later), "{gateway:?} {row}");
}

/// The sandbox's knobs as a program outside turns them.
async fn knob(shop: &Shop, method: reqwest::Method, name: &str, body: Value) -> Value {
    let url = format!("{}/__sandbox/{name}", shop.sandbox().url());
    let answer = shop.http().request(method, url).body(body.to_string()).send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{body}: {text}");
    serde_json::from_str(&text).unwrap_or_default()
}

/// The sandbox's own list of what can go wrong is the measure.
#[tokio::test]
async fn every_knob_is_tried_at_every_gateway_that_has_it() {
    let shop = Shop::open(Backend::Sqlite).await;
    let url = format!("{}/__sandbox/faults", shop.sandbox().url());
    let answer = shop.http().post(url).body("{}").send().await.unwrap().text().await.unwrap();
    let (_, list) = answer.split_once("there are ").unwrap();
    let list = list.trim_end_matches(['"', '}']);
    let mut untried = Vec::new();
    for (call, knobs) in list.split("; ").map(|line| line.split_once(": ").unwrap()) {
        let in_table: BTreeSet<String> =
            Gateway::BOTH.into_iter().flat_map(|g| table::rows(call, g)).map(|row| row.fault).collect();
        let told = stories::TOLD.iter().filter(|(told, _)| *told == call).flat_map(|(_, faults)| faults.split(' '));
        let told: BTreeSet<_> = told.collect();
        untried.extend(
            knobs.split(' ').filter(|k| !in_table.contains(*k) && !told.contains(k)).map(|k| format!("{call} {k}")),
        );
    }
    assert!(untried.is_empty(), "{untried:?}");
}
