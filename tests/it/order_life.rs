//! An order's whole life: its attempts one after the other, its end in time, and what is asked about in between.

use domain::Duration;
use sandbox::Call;
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};

use crate::support::desk::{Desk, Trouble};
use crate::support::{Backend, Shop, on_every_store};

on_every_store!(
    repay_closes_the_earlier_attempt_before_it_opens_another,
    an_order_takes_twenty_payments_and_shows_them_all,
    an_order_is_closed_within_two_seconds_of_its_time,
    many_orders_expire_together_and_one_that_cannot_be_read_holds_nobody_up,
    past_its_time_an_order_is_not_payable_though_nobody_has_closed_it,
    what_stays_unknown_is_asked_about_ever_more_rarely_and_then_is_for_people,
    money_of_another_amount_stops_repay_and_expiry_until_it_is_back,
);

fn by(gateway: &str, product: &str) -> Value {
    json!({"gateway": gateway, "product": product, "returnUrl": if product == "H5" { json!("https://shop.example/") } else { Value::Null }})
}

async fn repay_closes_the_earlier_attempt_before_it_opens_another(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, mut earlier) = shop.open_order("TEA").await;
    // Another product, another gateway, and back.
    for method in [by("WECHAT_PAY", "H5"), by("ALIPAY", "PRECREATE"), by("WECHAT_PAY", "NATIVE")] {
        shop.advance(Duration::minutes(4)).await;
        let before = shop.sandbox().calls().len();
        let repaid = shop.repay_by("alice", &Shop::key(), &order, method.clone()).await;
        assert_eq!(repaid.at("/repayOrder/payment/status"), "PENDING", "{method}");
        let next = repaid.text("/repayOrder/payment/id");
        assert_ne!(next, earlier);
        let calls: Vec<(Call, Option<String>)> =
            shop.sandbox().calls().split_off(before).into_iter().map(|c| (c.call, c.number)).collect();
        let asked = [(Call::Find, &earlier), (Call::Close, &earlier), (Call::Open, &next)];
        assert_eq!(calls, asked.map(|(call, number)| (call, Some(number.clone()))), "{method}");
        assert!(shop.sandbox().pay(&earlier).await.is_err(), "{method}: the earlier one can still be paid");
        shop.scanned(&next).await;
        earlier = next;
    }
    // The last one lives as long as its order, not longer.
    let document = "query($id: ID!) { order(id: $id) { expiresAt payments { actionExpiresAt status } } }";
    let seen = shop.ask(&shop.token("alice", "customer"), document, json!({"id": order})).await.at("/order");
    assert_eq!(seen["payments"][3]["actionExpiresAt"], seen["expiresAt"], "{seen}");
    let statuses: Vec<&Value> = seen["payments"].as_array().unwrap().iter().map(|p| &p["status"]).collect();
    assert_eq!(statuses, ["CLOSED", "CLOSED", "CLOSED", "PENDING"]);
    shop.payer_pays(&earlier).await;
    assert_eq!(shop.order(&order).await["status"], "PAID");
    shop.check_invariants().await;
}

async fn an_order_takes_twenty_payments_and_shows_them_all(backend: Backend) {
    let shop = Shop::open(backend).await;
    let order = shop.create("alice", &Shop::key(), "BOOK", 1, false).await.text("/createOrder/order/id");
    let methods = [by("WECHAT_PAY", "NATIVE"), by("ALIPAY", "PRECREATE")];
    let mut attempts = Vec::new();
    for method in methods.iter().cycle().take(20) {
        let repaid = shop.repay_by("alice", &Shop::key(), &order, method.clone()).await;
        attempts.push(repaid.text("/repayOrder/payment/id"));
    }
    assert_eq!(shop.repay("alice", &Shop::key(), &order).await.code(), "LIMIT_EXCEEDED");
    let seen = shop.order(&order).await;
    let shown: Vec<&Value> = seen["payments"].as_array().unwrap().iter().map(|p| &p["id"]).collect();
    assert_eq!(shown, attempts.iter().collect::<Vec<_>>());
    shop.sandbox().pay(attempts.last().unwrap()).await.unwrap();
    shop.sandbox().settled().await;
    assert_eq!(shop.order(&order).await["status"], "PAID");
    shop.check_invariants().await;
}

async fn an_order_is_closed_within_two_seconds_of_its_time(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (paying, _) = shop.open_order("TEA").await;
    let unpaid = shop.create("alice", &Shop::key(), "TEA", 1, false).await.text("/createOrder/order/id");
    shop.advance(Duration::minutes(30) - Duration::milliseconds(1)).await;
    for order in [&paying, &unpaid] {
        assert_ne!(shop.order(order).await["status"], "CLOSED");
    }
    // It is due in a millisecond, and the scheduler looks every second.
    for _ in 0..2 {
        shop.advance(Duration::seconds(1)).await;
    }
    for order in [&paying, &unpaid] {
        let closed = shop.order(order).await;
        assert_eq!((&closed["status"], &closed["closeReason"]), (&json!("CLOSED"), &json!("EXPIRED")), "{closed}");
    }
    shop.check_invariants().await;
}

async fn many_orders_expire_together_and_one_that_cannot_be_read_holds_nobody_up(backend: Backend) {
    let shop = Shop::open(backend).await;
    let mut orders = Vec::new();
    for n in 0..12 {
        let order = shop.create("alice", &Shop::key(), "TEA", 1, false).await.text("/createOrder/order/id");
        if n % 3 == 0 {
            let repaid = shop.repay("alice", &Shop::key(), &order).await;
            assert_eq!(repaid.at("/repayOrder/payment/status"), "PENDING");
        }
        orders.push(order);
    }
    let broken = orders.remove(5);
    let sql = format!(
        "UPDATE order_lines SET currency = '?' WHERE order_seq = (SELECT seq FROM orders WHERE id = '{broken}')"
    );
    let db = Database::connect(&shop.database_url).await.unwrap();
    db.execute_unprepared(&sql).await.unwrap();
    shop.advance(Duration::minutes(30) + Duration::seconds(1)).await;
    shop.advance(Duration::seconds(2)).await;
    for order in &orders {
        let closed = shop.order(order).await;
        assert_eq!((&closed["status"], &closed["closeReason"]), (&json!("CLOSED"), &json!("EXPIRED")), "{closed}");
    }
    db.execute_unprepared(&sql.replace('?', "CNY")).await.unwrap();
    db.close().await.unwrap();
    shop.advance(Duration::seconds(41)).await;
    assert_eq!(shop.order(&broken).await["status"], "CLOSED");
    shop.check_invariants().await;
}

async fn past_its_time_an_order_is_not_payable_though_nobody_has_closed_it(backend: Backend) {
    // Its scheduler does not run.
    let desk = Desk::open(backend).await;
    let bought = desk.create(&Shop::key()).await.unwrap();
    let (order, payment) = (bought.order.id.clone(), bought.payment.unwrap());
    let now = desk.clock.turn(Duration::minutes(30));
    let late = desk.order(&order).await;
    assert_eq!((late.status().name(), late.remaining_seconds(now)), ("PAYING", 0));
    assert!(late.payment(&payment).unwrap().action(now).is_none(), "its code is still shown");
    assert!(late.may_be_paid(now, Duration::zero() + Duration::minutes(1)).is_err());
}

async fn what_stays_unknown_is_asked_about_ever_more_rarely_and_then_is_for_people(backend: Backend) {
    let a_week = std::time::Duration::from_secs(7 * 86_400);
    let desk = Desk::open_with(backend, |settings| settings.order_ttl = a_week).await;
    desk.gateway.trouble("open", Trouble::Silence);
    for _ in 0..200 {
        desk.gateway.trouble("find", Trouble::Silence);
    }
    desk.create(&Shop::key()).await.unwrap();
    desk.payments.start();
    desk.quiet().await;
    let asked = || desk.gateway.calls.lock().unwrap().iter().filter(|(call, _)| *call == "find").count();
    let (mut age, mut seen, mut times) = (0, 0, Vec::new());
    let steps = [(140, 1), (1_800, 100), (176_400, 1_800)];
    for (until, step) in steps {
        while age < until {
            desk.advance(Duration::seconds(step)).await;
            age += step;
            if asked() > seen {
                seen = asked();
                times.push(age);
            }
        }
    }
    assert_eq!(times[..6], [2, 7, 17, 37, 77, 137]);
    let pauses: Vec<i64> = times[6..].windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().take(4).all(|p| (300..=400).contains(p)), "every five minutes: {times:?}");
    assert!(pauses.iter().skip(6).all(|p| (3_600..=5_400).contains(p)), "every hour: {times:?}");
    assert!(*times.last().unwrap() <= 172_800 + 5_400, "two days: {times:?}");
    let queue = desk.store.for_people(desk.payments.now()).await.unwrap();
    assert!(queue.contains(&("payment", 1)), "{queue:?}");
}

async fn money_of_another_amount_stops_repay_and_expiry_until_it_is_back(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, payment) = shop.open_order("TEA").await;
    shop.fault(Call::Pay, sandbox::FaultKind::OneMore);
    shop.payer_pays(&payment).await;
    let seen = shop.order(&order).await;
    assert_eq!(
        (&seen["status"], &seen["payments"][0]["mismatch"]),
        (&json!("PENDING_PAYMENT"), &json!(true)),
        "{seen}"
    );
    assert_eq!(shop.repay("alice", &Shop::key(), &order).await.code(), "PAYMENT_IN_PROGRESS");
    shop.advance(Duration::minutes(31)).await;
    shop.advance(Duration::seconds(2)).await;
    assert_eq!(shop.order(&order).await["status"], "PENDING_PAYMENT", "it expired with the payer's money");
    let back = shop.refund(&Shop::key(), &order, None).await;
    assert_eq!(back.at("/refundOrder/refund/amount/minor"), "1281");
    for _ in 0..5 {
        shop.advance(Duration::seconds(10)).await;
    }
    let over = shop.order(&order).await;
    assert_eq!((&over["status"], &over["refunds"][0]["status"]), (&json!("CLOSED"), &json!("SUCCEEDED")), "{over}");
    shop.check_invariants().await;
}
