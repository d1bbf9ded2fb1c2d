//! What goes wrong over more than one call.

use domain::Duration;
use serde_json::{Value, json};

use super::acts::{Gateway, charged, go_wrong, opened, pay, refunds, some_minutes, status, went_back};
use crate::support::{Backend, Shop};

/// The knobs that are told of here and stand in no table.
pub const TOLD: [(&str, &str); 5] = [
    ("open", "lag_ms"),
    ("find", "user_paying accept"),
    ("pay", "one_more one_less other_currency although_closed"),
    // In wechat_pay.rs and in gateway_contract/billing.rs.
    ("certificates", ELSEWHERE),
    ("bill", ELSEWHERE),
];
const ELSEWHERE: &str = "lose_request lose_answer reset_request reset_answer error_500 error_502 error_503 error_504 \
    rate_limited redirect delay_ms unsigned wrongly_signed signtest";

/// Tells it on both stores.
macro_rules! stories {
    ($($name:ident),+ $(,)?) => { $(
        mod $name {
            use crate::support::Backend;
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() { super::$name(Backend::Sqlite).await }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres_and_redis() { super::$name(Backend::PostgresAndRedis).await }
        }
    )+ };
}

stories!(
    a_payer_who_is_at_it_is_waited_for,
    a_payment_of_another_amount_or_currency_is_kept_for_people,
    what_is_paid_with_a_code_that_was_closed_goes_back,
    who_pays_at_both_gateways_gets_one_payment_back,
    the_notice_of_a_refund_may_come_before_that_of_its_payment,
    a_notice_that_comes_a_day_late_changes_nothing,
    a_payment_that_is_slow_to_appear_is_not_lost_to_a_cancellation,
    a_refund_that_the_gateway_closes_is_done_under_another_number,
);

async fn a_payer_who_is_at_it_is_waited_for(backend: Backend) {
    let shop = Shop::open(backend).await;
    for state in ["user_paying", "accept"] {
        let (order, payment) = opened(&shop, Gateway::WechatPay, "TEA").await;
        go_wrong(&shop, json!({"call": "find", "fault": state, "number": payment})).await;
        assert_eq!(shop.sync("alice", &order).await.at("/syncOrder/status"), "PAYING", "{state}");
        pay(&shop, &payment).await;
        assert_eq!((status(&shop, &order).await, charged(&shop, &payment)), ("PAID".into(), vec![1_280]), "{state}");
    }
    done(&shop).await;
}

async fn a_payment_of_another_amount_or_currency_is_kept_for_people(backend: Backend) {
    let shop = Shop::open(backend).await;
    for (gateway, fault, minor) in [
        (Gateway::WechatPay, "one_more", 1_281),
        (Gateway::WechatPay, "one_less", 1_279),
        (Gateway::WechatPay, "other_currency", 1_280),
        (Gateway::Alipay, "one_more", 1_281),
        (Gateway::Alipay, "one_less", 1_279),
    ] {
        for told in [true, false] {
            let (order, payment) = opened(&shop, gateway, "TEA").await;
            go_wrong(&shop, json!({"call": "pay", "fault": fault, "number": payment})).await;
            if !told {
                go_wrong(&shop, json!({"call": "notify", "fault": "drop", "number": payment})).await;
            }
            pay(&shop, &payment).await;
            some_minutes(&shop).await;
            let seen = shop.order(&order).await;
            let theirs = &seen["payments"][0];
            assert_eq!((&theirs["status"], &theirs["mismatch"]), (&json!("SUCCEEDED"), &json!(true)), "{fault} {seen}");
            assert_eq!((&seen["status"], &seen["paid"]["minor"]), (&json!("PENDING_PAYMENT"), &json!("0")), "{fault}");
            assert_eq!(charged(&shop, &payment), [minor], "{fault}");
            // Nobody may pay or cancel before people have decided; what they can decide is that it goes back.
            assert_ne!(shop.repay("alice", &Shop::key(), &order).await.code(), "");
            assert_ne!(shop.cancel("alice", &Shop::key(), &order).await.code(), "");
            if fault != "other_currency" {
                let back = shop.refund(&Shop::key(), &order, None).await;
                assert_eq!(back.at("/refundOrder/refund/amount/minor"), json!(minor.to_string()), "{fault}");
                some_minutes(&shop).await;
                assert_eq!(shop.order(&order).await["refunds"][0]["status"], "SUCCEEDED", "{fault}");
            }
        }
    }
    done(&shop).await;
}

async fn what_is_paid_with_a_code_that_was_closed_goes_back(backend: Backend) {
    let shop = Shop::open(backend).await;
    for gateway in Gateway::BOTH {
        let (order, payment) = opened(&shop, gateway, "TEA").await;
        shop.scanned(&payment).await;
        shop.cancel("alice", &Shop::key(), &order).await.at("/cancelOrder");
        assert!(shop.sandbox().pay(&payment).await.is_err(), "{gateway:?}: it is closed there");
        go_wrong(&shop, json!({"call": "pay", "fault": "although_closed", "number": payment})).await;
        pay(&shop, &payment).await;
        some_minutes(&shop).await;
        let seen = shop.order(&order).await;
        let late = &seen["payments"][0];
        assert_eq!(seen["status"], "CLOSED", "{gateway:?}");
        assert_eq!((&late["surplus"], &late["late"]), (&json!(true), &json!(true)), "{gateway:?} {seen}");
        assert_eq!(refunds(&shop, &order).await, "SUCCEEDED", "{gateway:?}");
        assert_eq!((charged(&shop, &payment), went_back(&shop, &payment)), (vec![1_280], vec![1_280]));
    }
    done(&shop).await;
}

async fn who_pays_at_both_gateways_gets_one_payment_back(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, first) = opened(&shop, Gateway::WechatPay, "TEA").await;
    let second = pay_instead(&shop, &order, json!({"gateway": "ALIPAY", "product": "PRECREATE"})).await;
    shop.scanned(&second).await;
    go_wrong(&shop, json!({"call": "pay", "fault": "although_closed", "number": first})).await;
    for payment in [&second, &first] {
        pay(&shop, payment).await;
    }
    some_minutes(&shop).await;
    let seen = shop.order(&order).await;
    assert_eq!((&seen["status"], &seen["paid"]["minor"]), (&json!("PAID"), &json!("1280")), "{seen}");
    let surplus: Vec<&Value> = seen["payments"].as_array().unwrap().iter().map(|p| &p["surplus"]).collect();
    assert_eq!(surplus, [true, false]);
    assert_eq!((went_back(&shop, &first), went_back(&shop, &second)), (vec![1_280], vec![]));
    done(&shop).await;
}

async fn pay_instead(shop: &Shop, order: &str, method: Value) -> String {
    let document = "mutation($key: IdempotencyKey!, $input: RepayOrderInput!) { \
        repayOrder(idempotencyKey: $key, input: $input) { payment { id status } } }";
    let variables = json!({"key": Shop::key(), "input": {"orderId": order, "payment": method}});
    let answer = shop.ask(&shop.token("alice", "customer"), document, variables).await;
    assert_eq!(answer.at("/repayOrder/payment/status"), "PENDING", "{}", answer.body);
    answer.text("/repayOrder/payment/id")
}

async fn the_notice_of_a_refund_may_come_before_that_of_its_payment(backend: Backend) {
    let shop = Shop::open(backend).await;
    for gateway in Gateway::BOTH {
        let (order, payment) = opened(&shop, gateway, "MUG").await;
        go_wrong(&shop, json!({"call": "notify", "fault": "swap", "number": payment})).await;
        pay(&shop, &payment).await;
        assert_eq!(status(&shop, &order).await, "PAYING", "nobody told us");
        assert_eq!(shop.sync("alice", &order).await.at("/syncOrder/status"), "PAID");
        let asked = shop.refund(&Shop::key(), &order, Some(2_500)).await;
        shop.advance(Duration::seconds(1)).await;
        let seen = shop.order(&order).await;
        assert_eq!((&seen["status"], &seen["refunded"]["minor"]), (&json!("PARTIALLY_REFUNDED"), &json!("2500")));
        // Both have come, the refund's first.
        let told = told(&shop).await;
        let refund = asked.text("/refundOrder/refund/id");
        let first = if gateway == Gateway::WechatPay { Some(refund) } else { None };
        assert_eq!(told[told.len() - 2..], [first, Some(payment.clone())], "{gateway:?}");
        assert_eq!((charged(&shop, &payment), went_back(&shop, &payment)), (vec![10_000], vec![2_500]));
    }
    done(&shop).await;
}

/// The numbers that the notifications were about, in the order in which they were taken; those that are not acted on
/// have none.
async fn told(shop: &Shop) -> Vec<Option<String>> {
    use sea_orm::{ConnectionTrait, Database, Statement};
    let db = Database::connect(&shop.database_url).await.unwrap();
    let sql = Statement::from_string(db.get_database_backend(), "SELECT number FROM notifications ORDER BY seq");
    let rows = db.query_all_raw(sql).await.unwrap();
    db.close().await.unwrap();
    rows.iter().map(|row| row.try_get("", "number").unwrap()).collect()
}

async fn a_notice_that_comes_a_day_late_changes_nothing(backend: Backend) {
    let shop = Shop::open(backend).await;
    for gateway in Gateway::BOTH {
        let (order, payment) = opened(&shop, gateway, "TEA").await;
        go_wrong(&shop, json!({"call": "notify", "fault": "delay_ms", "ms": 86_400_000, "number": payment})).await;
        pay(&shop, &payment).await;
        some_minutes(&shop).await;
        let before = shop.order(&order).await;
        assert_eq!(before["status"], "PAID", "our own question has found it");
        assert!(!told(&shop).await.contains(&Some(payment.clone())));
        shop.advance(Duration::days(1)).await;
        assert!(told(&shop).await.contains(&Some(payment.clone())), "it has come");
        assert_eq!(shop.order(&order).await, before);
    }
    done(&shop).await;
}

async fn a_payment_that_is_slow_to_appear_is_not_lost_to_a_cancellation(backend: Backend) {
    let shop = Shop::open(backend).await;
    for gateway in Gateway::BOTH {
        go_wrong(&shop, json!({"call": "open", "fault": "lag_ms", "ms": 30_000})).await;
        let (order, payment) = opened(&shop, gateway, "TEA").await;
        shop.scanned(&payment).await;
        // The gateway finds nothing to close, and closes nothing.
        shop.cancel("alice", &Shop::key(), &order).await.at("/cancelOrder");
        assert_eq!(status(&shop, &order).await, "CLOSED");
        go_wrong(&shop, json!({"call": "notify", "fault": "drop", "times": 16, "number": payment})).await;
        pay(&shop, &payment).await;
        some_minutes(&shop).await;
        assert_eq!((status(&shop, &order).await, refunds(&shop, &order).await), ("CLOSED".into(), "SUCCEEDED".into()));
        assert_eq!((charged(&shop, &payment), went_back(&shop, &payment)), (vec![1_280], vec![1_280]), "{gateway:?}");
        shop.sandbox().clear_faults();
    }
    done(&shop).await;
}

async fn a_refund_that_the_gateway_closes_is_done_under_another_number(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, payment) = opened(&shop, Gateway::WechatPay, "MUG").await;
    pay(&shop, &payment).await;
    go_wrong(&shop, json!({"call": "refund", "fault": "refund_closed"})).await;
    shop.refund(&Shop::key(), &order, Some(2_500)).await.at("/refundOrder");
    some_minutes(&shop).await;
    assert_eq!((refunds(&shop, &order).await, went_back(&shop, &payment)), ("FAILED + PROCESSING".into(), vec![]));
    shop.advance(Duration::hours(1)).await;
    some_minutes(&shop).await;
    assert_eq!((refunds(&shop, &order).await, went_back(&shop, &payment)), ("FAILED + SUCCEEDED".into(), vec![2_500]));
    done(&shop).await;
}

/// Everything that was to go wrong has, and both sides agree.
async fn done(shop: &Shop) {
    assert_eq!(shop.sandbox().faults_waiting(), [], "it did not happen");
    shop.check_invariants().await;
}
