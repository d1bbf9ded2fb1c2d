//! Gateways and the wire to them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use serde_json::json;

use crate::Result;
use crate::random::Random;
use crate::site::Site;

const CALLS: [(&str, &[&str]); 6] = [
    (
        "open",
        &[
            "lose_answer",
            "lose_request",
            "error_500",
            "error_500_after",
            "rate_limited",
            "delay_ms",
            "unsigned",
            "wrongly_signed",
            "other_answer",
            "signtest",
        ],
    ),
    (
        "find",
        &[
            "lose_answer",
            "lose_request",
            "error_500",
            "rate_limited",
            "delay_ms",
            "unsigned",
            "wrongly_signed",
            "other_answer",
            "signtest",
        ],
    ),
    (
        "close",
        &[
            "lose_answer",
            "lose_request",
            "error_500",
            "error_500_after",
            "rate_limited",
            "delay_ms",
            "unsigned",
            "pay_during_close",
        ],
    ),
    (
        "refund",
        &[
            "lose_answer",
            "lose_request",
            "error_500",
            "error_500_after",
            "rate_limited",
            "delay_ms",
            "unsigned",
            "wrongly_signed",
            "other_answer",
            "not_enough",
            "refund_closed",
            "refund_abnormal",
        ],
    ),
    (
        "find_refund",
        &["lose_answer", "lose_request", "error_500", "rate_limited", "delay_ms", "unsigned", "other_answer"],
    ),
    ("notify", &["drop", "duplicate", "delay_ms", "unsigned", "wrongly_signed", "signtest"]),
];

/// Some fault for some call, every few milliseconds.
pub async fn faults(site: &Arc<Site>, random: &mut Random, until: Instant) -> Result<u64> {
    let mut added = 0;
    while Instant::now() < until {
        let (call, kinds) = *random.pick(&CALLS);
        let kind = *random.pick(kinds);
        let ms = if random.chance(3) { 9_000 } else { 50 + random.below(1_500) };
        add(site, call, kind, 1, (kind == "delay_ms").then_some(ms)).await;
        added += 1;
        tokio::time::sleep(random.millis(10, 60)).await;
    }
    Ok(added)
}

/// Asks the sandbox for a fault.
pub async fn add(site: &Site, call: &str, kind: &str, times: u32, ms: Option<u64>) {
    let fault = json!({"call": call, "fault": kind, "times": times, "ms": ms});
    site.http.post(format!("{}/__sandbox/faults", site.sandbox)).body(fault.to_string()).send().await.ok();
}

/// Every tenth request and every tenth answer is cut in half, and all are a little late.
pub async fn wire(site: &Arc<Site>, until: Instant) -> Result<u64> {
    let rules = &site.to_gateway.rules;
    let before = rules.cuts.load(Relaxed);
    rules.cut_requests.store(10, Relaxed);
    rules.cut_answers.store(10, Relaxed);
    rules.late_ms.store(30, Relaxed);
    tokio::time::sleep_until(until.into()).await;
    rules.clear();
    Ok(rules.cuts.load(Relaxed) - before)
}
