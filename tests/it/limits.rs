//! Limits that the shop sets, and amounts that cannot be.

use std::sync::Arc;

use domain::Duration;
use payonce::payments::ports::Clock;
use serde_json::{Value, json};

use crate::support::{Answer, Backend, Shop, on_every_store};

on_every_store!(
    an_order_below_the_minimum_or_above_the_maximum_is_refused,
    a_hundred_orders_at_once_do_not_pass_a_customers_day,
    a_key_counts_once_and_an_order_closed_unpaid_no_longer,
    a_refund_above_the_maximum_says_what_is_allowed,
    amounts_that_cannot_be_are_refused_and_leave_nothing,
);

fn limit(answer: &Answer) -> (String, Value, Value) {
    assert_eq!(answer.code(), "LIMIT_EXCEEDED", "{}", answer.body);
    (
        answer.extension("limitName").as_str().unwrap().to_owned(),
        answer.extension("limit")["minor"].clone(),
        answer.extension("remaining")["minor"].clone(),
    )
}

async fn an_order_below_the_minimum_or_above_the_maximum_is_refused(backend: Backend) {
    let limits = [("PAYONCE_ORDER_MIN_MINOR", "CNY:1280"), ("PAYONCE_ORDER_MAX_MINOR", "CNY:20000,JPY:1")];
    let shop = Shop::open_with(backend, &limits).await;
    shop.sell("YEN", 500, "JPY").await;
    shop.sell("WON", 500_000, "KRW").await;
    let before = shop.rows().await;
    let below = shop.create("alice", &Shop::key(), "PIN", 1_279, false).await;
    assert_eq!(limit(&below), ("ORDER_MIN".into(), json!("1280"), json!(null)));
    let above = shop.create("alice", &Shop::key(), "MUG", 3, true).await;
    assert_eq!(limit(&above), ("ORDER_MAX".into(), json!("20000"), json!(null)));
    assert_eq!(above.extension("limit"), json!({"minor": "20000", "currency": "CNY", "decimal": "200.00"}));
    let yen = shop.create("alice", &Shop::key(), "YEN", 1, false).await;
    assert_eq!(yen.extension("limit"), json!({"minor": "1", "currency": "JPY", "decimal": "1"}));
    assert_eq!(shop.rows().await, before);
    // To the last fen, and only where there is a limit.
    shop.create("alice", &Shop::key(), "PIN", 1_280, false).await.at("/createOrder");
    shop.create("alice", &Shop::key(), "MUG", 2, true).await.at("/createOrder");
    shop.create("alice", &Shop::key(), "WON", 9, false).await.at("/createOrder");
    shop.check_invariants().await;
}

/// The day's sum is one row of the store: whoever adds to it waits for who was before.
async fn a_hundred_orders_at_once_do_not_pass_a_customers_day(backend: Backend) {
    let shop = Arc::new(Shop::open_with(backend, &[("PAYONCE_CUSTOMER_DAILY_MAX_MINOR", "CNY:32000")]).await);
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let shop = shop.clone();
            tokio::spawn(async move {
                let key = Shop::key();
                loop {
                    let answer = shop.create("alice", &key, "TEA", 1, false).await;
                    // Nothing began; the same key again, as a client would.
                    if answer.extension("retrySameKey") != true {
                        return answer;
                    }
                }
            })
        })
        .collect();
    let mut made = 0;
    for call in calls {
        let answer = call.await.unwrap();
        if answer.code().is_empty() {
            made += 1;
        } else {
            let (name, most, left) = limit(&answer);
            assert_eq!((name.as_str(), most, left), ("CUSTOMER_DAILY_MAX", json!("32000"), json!("0")));
        }
    }
    assert_eq!(made, 25);
    assert_eq!(shop.number("SELECT COUNT(*) FROM orders").await, 25);
    assert_eq!(shop.number("SELECT COUNT(*) FROM operations").await, 25, "a refused key is not kept");
    // Everybody has a day of their own.
    shop.create("bob", &Shop::key(), "MUG", 3, false).await.at("/createOrder");
    shop.check_invariants().await;
}

async fn a_key_counts_once_and_an_order_closed_unpaid_no_longer(backend: Backend) {
    let shop = Shop::open_with(backend, &[("PAYONCE_CUSTOMER_DAILY_MAX_MINOR", "CNY:30000")]).await;
    // From noon in Shanghai on, so that the day does not end under us.
    let noon = 4 * 3_600 - shop.clock.now().timestamp().rem_euclid(86_400);
    shop.advance(Duration::seconds(noon.rem_euclid(86_400))).await;
    let left = async || {
        let answer = shop.create("alice", &Shop::key(), "MUG", 4, false).await;
        assert_eq!(limit(&answer).0, "CUSTOMER_DAILY_MAX");
        answer.extension("remaining")["minor"].as_str().unwrap().parse::<i64>().unwrap()
    };
    assert_eq!(left().await, 30_000);
    let key = Shop::key();
    let first = shop.create("alice", &key, "MUG", 1, true).await;
    for _ in 0..3 {
        assert_eq!(shop.create("alice", &key, "MUG", 1, true).await.at("/createOrder/replayed"), true);
    }
    assert_eq!(left().await, 20_000);
    // A refusal counts nothing, and its key may be used for less.
    let refused = Shop::key();
    assert_eq!(limit(&shop.create("alice", &refused, "MUG", 3, false).await).2, json!("20000"));
    let second = shop.create("alice", &refused, "MUG", 2, false).await;
    assert_eq!(left().await, 0);
    // Cancelled or expired, it counts no more.
    shop.cancel("alice", &Shop::key(), &second.text("/createOrder/order/id")).await.at("/cancelOrder");
    assert_eq!(left().await, 20_000);
    shop.advance(Duration::minutes(31)).await;
    assert_eq!(shop.order(&first.text("/createOrder/order/id")).await["closeReason"], "EXPIRED");
    assert_eq!(left().await, 30_000);
    // Paid, it counts for good: what goes back later does not make room.
    let (paid, _) = shop.paid_order("MUG").await;
    shop.refund(&Shop::key(), &paid, None).await.at("/refundOrder");
    shop.advance(Duration::minutes(2)).await;
    assert_eq!(shop.order(&paid).await["status"], "REFUNDED");
    assert_eq!(left().await, 20_000);
    shop.check_invariants().await;
    // The next day begins at midnight in Shanghai.
    shop.advance(Duration::hours(12)).await;
    assert_eq!(left().await, 30_000);
    shop.check_invariants().await;
}

async fn a_refund_above_the_maximum_says_what_is_allowed(backend: Backend) {
    let shop = Shop::open_with(backend, &[("PAYONCE_REFUND_MAX_MINOR", "CNY:6000")]).await;
    let (order, _) = shop.paid_order("MUG").await;
    let before = shop.rows().await;
    for minor in [None, Some(6_001)] {
        let refused = shop.refund(&Shop::key(), &order, minor).await;
        assert_eq!(limit(&refused), ("REFUND_MAX".into(), json!("6000"), json!(null)));
        assert_eq!(refused.extension("maximumRefundable")["minor"], "6000");
    }
    assert_eq!(shop.rows().await, before);
    assert_eq!(shop.order(&order).await["refundable"]["minor"], "10000", "nothing stays reserved");
    shop.refund(&Shop::key(), &order, Some(6_000)).await.at("/refundOrder");
    shop.advance(Duration::minutes(2)).await;
    shop.refund(&Shop::key(), &order, None).await.at("/refundOrder");
    shop.advance(Duration::minutes(2)).await;
    assert_eq!(shop.order(&order).await["status"], "REFUNDED");
    shop.check_invariants().await;
}

#[tokio::test]
async fn a_limit_that_is_taken_away_leaves_its_orders_as_they_are() {
    let limits = [("PAYONCE_CUSTOMER_DAILY_MAX_MINOR", "CNY:30000")];
    let shop = Shop::open_with(Backend::Sqlite, &limits).await;
    let counted = shop.create("alice", &Shop::key(), "MUG", 1, false).await.text("/createOrder/order/id");
    let (url, clock) = (shop.database_url.clone(), shop.clock.clone());
    shop.close().await;
    let without = Shop::open_on(Backend::Sqlite, url.clone(), clock.clone(), &[]).await;
    let other = without.create("alice", &Shop::key(), "MUG", 9, false).await.text("/createOrder/order/id");
    for order in [&counted, &other] {
        without.cancel("alice", &Shop::key(), order).await.at("/cancelOrder");
    }
    without.check_invariants().await;
    without.close().await;
    let again = Shop::open_on(Backend::Sqlite, url, clock, &limits).await;
    again.create("alice", &Shop::key(), "MUG", 3, false).await.at("/createOrder");
    again.check_invariants().await;
}

async fn amounts_that_cannot_be_are_refused_and_leave_nothing(backend: Backend) {
    let shop = Shop::open(backend).await;
    for (sku, minor, currency) in [
        ("LARGEST", i64::MAX, "CNY"),
        ("HALF", i64::MAX / 2 + 1, "CNY"),
        ("BEYOND", (1 << 53) + 1, "CNY"),
        ("YEN", 500, "JPY"),
    ] {
        shop.sell(sku, minor, currency).await;
    }
    let (order, _) = shop.paid_order("MUG").await;
    let before = shop.rows().await;

    // What is asked back: an amount is a whole number of minor units, as text or as an integer.
    let (out, input) = ("AMOUNT_OUT_OF_RANGE", "BAD_USER_INPUT");
    let amounts: Vec<(Value, &str)> = vec![
        (json!({"minor": 0, "currency": "CNY"}), out),
        (json!({"minor": "0", "currency": "CNY"}), out),
        (json!({"minor": -1, "currency": "CNY"}), out),
        (json!({"minor": "-1", "currency": "CNY"}), out),
        (json!({"minor": "-9223372036854775808", "currency": "CNY"}), out),
        (json!({"minor": "9223372036854775808", "currency": "CNY"}), out),
        (json!({"minor": 9_223_372_036_854_775_808_u64, "currency": "CNY"}), out),
        (json!({"minor": 1e30, "currency": "CNY"}), out),
        (json!({"minor": "9".repeat(400), "currency": "CNY"}), out),
        (json!({"minor": 12.5, "currency": "CNY"}), out),
        (json!({"minor": 1.0, "currency": "CNY"}), out),
        (json!({"minor": "12.5", "currency": "CNY"}), out),
        (json!({"minor": "1e3", "currency": "CNY"}), out),
        (json!({"minor": "0x10", "currency": "CNY"}), out),
        (json!({"minor": "1,000", "currency": "CNY"}), out),
        (json!({"minor": " 1", "currency": "CNY"}), out),
        (json!({"minor": "+1", "currency": "CNY"}), out),
        (json!({"minor": "01", "currency": "CNY"}), out),
        (json!({"minor": "-0", "currency": "CNY"}), out),
        (json!({"minor": "１", "currency": "CNY"}), out),
        (json!({"minor": "", "currency": "CNY"}), out),
        (json!({"minor": "ten", "currency": "CNY"}), out),
        (json!({"minor": true, "currency": "CNY"}), out),
        (json!({"minor": [1], "currency": "CNY"}), out),
        (json!({"minor": 1, "currency": "USD"}), out),
        (json!({"minor": 1, "currency": "JPY"}), out),
        (json!({"minor": 1, "currency": "XXX"}), input),
        (json!({"minor": 1, "currency": "cny"}), input),
        (json!({"minor": 1, "currency": "CN¥"}), input),
        (json!({"minor": 1, "currency": ""}), input),
        (json!({"minor": 1, "currency": 156}), input),
        (json!({"minor": null, "currency": "CNY"}), input),
        (json!({"currency": "CNY"}), input),
        (json!({"minor": 1}), input),
        (json!("1"), input),
        // These can be, but not of this order.
        (json!({"minor": 10_001, "currency": "CNY"}), "REFUND_EXCEEDS_PAID"),
        (json!({"minor": "9007199254740993", "currency": "CNY"}), "REFUND_EXCEEDS_PAID"),
        (json!({"minor": "9223372036854775807", "currency": "CNY"}), "REFUND_EXCEEDS_PAID"),
    ];
    let refund = "mutation($key: IdempotencyKey!, $input: RefundOrderInput!) { refundOrder(idempotencyKey: $key, input: $input) { replayed } }";
    for (amount, code) in amounts {
        let variables =
            json!({"key": Shop::key(), "input": {"orderId": order, "reason": "OTHER", "amount": amount.clone()}});
        let answer = shop.ask(&shop.token("rita", "refunder"), refund, variables).await;
        assert_eq!(fitting(&answer, code), code, "{amount}: {}", answer.body);
        // The same written into the document.
        if let (Some(minor), Some(currency)) = (amount.get("minor"), amount.get("currency")) {
            let written = format!(
                "mutation {{ refundOrder(idempotencyKey: \"{}\", input: {{orderId: \"{order}\", reason: OTHER, amount: {{minor: {minor}, currency: {currency}}}}}) {{ replayed }} }}",
                Shop::key()
            );
            let answer = shop.ask(&shop.token("rita", "refunder"), &written, json!({})).await;
            assert_eq!(fitting(&answer, code), code, "{written}: {}", answer.body);
        }
    }

    // What is ordered: quantities, and what they come to.
    let line = |sku: &str, quantity: Value| json!({"sku": sku, "quantity": quantity});
    let orders: Vec<(Value, &str)> = vec![
        (json!([line("TEA", json!(0))]), input),
        (json!([line("TEA", json!(-1))]), input),
        (json!([line("TEA", json!(10_001))]), input),
        (json!([line("TEA", json!(i32::MAX))]), input),
        (json!([line("TEA", json!(2_147_483_648_i64))]), input),
        (json!([line("TEA", json!(i64::MAX))]), input),
        (json!([line("TEA", json!(u64::MAX))]), input),
        (json!([line("TEA", json!(1.5))]), input),
        (json!([line("TEA", json!("1"))]), input),
        (json!([line("TEA", json!(null))]), input),
        (json!([line("LARGEST", json!(2))]), out),
        (json!([line("BEYOND", json!(10_000))]), out),
        (json!([line("HALF", json!(1)), line("HALF", json!(1))]), out),
        (json!([line("LARGEST", json!(1)), line("PIN", json!(1))]), out),
        (json!([line("TEA", json!(1)), line("YEN", json!(1))]), out),
    ];
    for (lines, code) in orders {
        let answer =
            shop.create_with("alice", &Shop::key(), json!({"lines": lines.clone(), "allowDuplicate": true})).await;
        assert_eq!(fitting(&answer, code), code, "{lines}: {}", answer.body);
    }
    // Both gateways take yuan only; the order itself may be in yen, which have no hundredths.
    let pay = json!({"lines": [line("YEN", json!(3))], "payment": {"gateway": "WECHAT_PAY", "product": "NATIVE"}});
    assert_eq!(shop.create_with("alice", &Shop::key(), pay).await.code(), input);
    assert_eq!(shop.rows().await, before, "nothing was written");

    let yen = shop.create("alice", &Shop::key(), "YEN", 3, false).await;
    assert_eq!(yen.at("/createOrder/order/total"), json!({"minor": "1500", "currency": "JPY", "decimal": "1500"}));
    let beyond = shop.create("alice", &Shop::key(), "BEYOND", 1, false).await;
    assert_eq!(beyond.text("/createOrder/order/total/minor"), "9007199254740993");
    let largest = shop.create("alice", &Shop::key(), "LARGEST", 1, false).await;
    assert_eq!(largest.text("/createOrder/order/total/decimal"), "92233720368547758.07");
    shop.check_invariants().await;
}

/// What is not of its type is refused by the validation of the document too, which then has its own code.
fn fitting(answer: &Answer, code: &str) -> String {
    match answer.code().as_str() {
        "GRAPHQL_VALIDATION_FAILED" if code == "BAD_USER_INPUT" => code.to_owned(),
        other => other.to_owned(),
    }
}
