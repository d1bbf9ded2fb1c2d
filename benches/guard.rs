//! What the document guard costs: `make bench-guard`. It says the median of many runs, for the request that is
//! sent most and for hostile ones.

use std::hint::black_box;
use std::time::{Duration, Instant};

use payonce::http::guard;
use serde_json::{Value, json};

fn main() {
    let order = "mutation PlaceOrder($key: IdempotencyKey!, $input: CreateOrderInput!) { createOrder(idempotencyKey: $key, input: $input) { replayed \
        order { ...Shown } payment { ...Attempt } } } \
        fragment Shown on Order { id status closeReason version customerId createdAt expiresAt paidAt remainingSeconds note \
        total { minor currency decimal } paid { minor currency decimal } refunded { minor currency decimal } refundable { minor currency decimal } \
        lines { sku name quantity unitPrice { minor currency } amount { minor currency } } payments { ...Attempt } } \
        fragment Attempt on Payment { id status gateway product surplus late mismatch gatewayTransactionId failureReason actionExpiresAt \
        amount { minor currency decimal } action { __typename ... on QrCode { url } ... on Redirect { url } ... on HtmlForm { html } \
        ... on WechatJsapi { appId timeStamp nonceStr package signType paySign } ... on AppInvocation { parameters } } }";
    let variables = json!({"key": "0190b3a2-1111-7222-8333-444455556666", "input": {
        "lines": [{"sku": "TEA", "quantity": 2}, {"sku": "MUG", "quantity": 1}],
        "payment": {"gateway": "WECHAT_PAY", "product": "NATIVE"}, "note": "Ring twice, please."}});
    println!("{:<40} {:>8} {:>12}  verdict", "document", "bytes", "µs");
    measure("createOrder", order, &variables);
    let none = json!({});
    let bomb = |levels: usize, each: usize| {
        let links: String = (0..levels)
            .map(|n| format!("fragment F{n} on Q {{ {} }} ", format!("...F{} ", n + 1).repeat(each)))
            .collect();
        format!("{{ ...F0 }} {links} fragment F{levels} on Q {{ a }}")
    };
    let slim = {
        let links: String =
            (0..6).map(|n| format!("fragment F{n} on Q {{ {} }} ", format!("...F{} ", n + 1).repeat(3))).collect();
        format!("{{ ...F0 }} {links} fragment F6 on Q {{ {} }}", "a ".repeat(20))
    };
    let names: String = (0..650).map(|n| format!("n{n}: 1 ")).collect();
    for (name, document) in [
        ("introspection", include_str!("../src/http/document/introspection.graphql").to_owned()),
        ("lists nested 1,350 deep", format!("{{ a(b: {}", "[".repeat(1_350))),
        ("16 KB of braces", "{".repeat(16_000)),
        ("a megabyte of braces", "{".repeat(1_000_000)),
        ("a fragment bomb 7 x 10", bomb(7, 10)),
        ("a fragment bomb 15 x 10", bomb(15, 10)),
        ("a fragment bomb within the counts", slim),
        ("fragments in a circle", "{ ...A } fragment A on Q { ...B } fragment B on Q { ...A }".to_owned()),
        ("21 aliases", format!("{{ a {{ {} }} }}", "b: c ".repeat(21))),
        ("1,900 fields", format!("{{ a {{ {} }} }}", "b ".repeat(1_900))),
        ("2,001 tokens", format!("{{ a {{ {} }} }}", "b ".repeat(2_001))),
        ("650 names in an object", format!("{{ a(b: {{{names}}}) }}")),
        ("a string of 16 KB", format!("{{ a(b: \"{}\") }}", "x".repeat(16_000))),
        ("16 KB of comments", format!("{{ a }}{}", "#\n".repeat(8_000))),
        ("an integer of 10 KB", format!("{{ a(b: {}) }}", "9".repeat(10_000))),
    ] {
        measure(name, &document, &none);
    }
    measure("variables of 32 KB", "{ a }", &json!({"a": (0..31).map(|_| "x".repeat(1_000)).collect::<Vec<_>>()}));
    measure("variables nested 100 deep", "{ a }", &(0..100).fold(json!({}), |inner, _| json!({ "a": inner })));
}

fn measure(name: &str, document: &str, variables: &Value) {
    let verdict = guard(document, variables).map_or_else(|e| e.code(), |()| "passes");
    let mut times: Vec<Duration> = (0..2_000)
        .map(|_| {
            let began = Instant::now();
            let _ = black_box(guard(black_box(document), black_box(variables)));
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    let median = times[times.len() / 2].as_nanos() as f64 / 1_000.0;
    println!("{name:<40} {:>8} {median:>12.1}  {verdict}", document.len());
}
