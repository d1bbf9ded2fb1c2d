//! Alipay, whole: each product is bought and paid, refunds are done within the call, and what goes wrong on the
//! wire is found again.

use std::sync::Arc;

use crate::support::{Backend, Shop, form, on_every_store};
use chrono::Timelike;
use domain::{Date, Duration};
use futures_util::TryStreamExt;
use payonce::gateways::alipay::{Alipay, Config, Mode};
use payonce::payments::ports::{BillEntry, BillLine, Clock, Gateway, GatewayError};
use sandbox::{Call, FaultKind, Sandbox, SandboxConfig};
use serde_json::{Value, json};

on_every_store!(an_order_is_bought_with_each_product_of_alipay_and_partly_refunded);

const PAYMENT: &str = "query($id: ID!) { payment(id: $id) { status product action { __typename ... on QrCode { url } \
    ... on Redirect { url } ... on HtmlForm { html } ... on AppInvocation { parameters } } } }";

async fn bought(shop: &Shop, product: &str) -> (String, String) {
    let method = json!({"gateway": "ALIPAY", "product": product, "returnUrl": "https://shop.example/paid"});
    let input = json!({"lines": [{"sku": "MUG", "quantity": 1}], "payment": method, "allowDuplicate": true});
    let answer = shop.create_with("alice", &Shop::key(), input).await;
    (answer.text("/createOrder/order/id"), answer.text("/createOrder/payment/id"))
}

async fn action(shop: &Shop, payment: &str) -> Value {
    let seen = shop.ask(&shop.token("alice", "customer"), PAYMENT, json!({"id": payment})).await.at("/payment");
    assert_eq!(seen["status"], "PENDING", "{seen}");
    seen["action"].clone()
}

/// What a browser, a scanner or the mobile SDK makes of the action: the payer is at the cashier then.
async fn go_to_cashier(shop: &Shop, action: &Value) {
    let text = |name: &str| action[name].as_str().unwrap().to_owned();
    let request = match action["__typename"].as_str().unwrap() {
        "QrCode" | "Redirect" => shop.http().get(text("url")),
        "HtmlForm" => {
            let (address, fields) = form::submitted(&text("html"));
            shop.http().post(address).header("content-type", "application/x-www-form-urlencoded").body(fields)
        }
        "AppInvocation" => shop
            .http()
            .post(shop.sandbox().alipay_gateway_url())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(text("parameters")),
        other => panic!("{other}"),
    };
    let page = request.send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.url().path().starts_with("/cashier/"), "{}", page.url());
}

async fn an_order_is_bought_with_each_product_of_alipay_and_partly_refunded(backend: Backend) {
    let shop = Shop::open(backend).await;
    for (product, kind) in
        [("PRECREATE", "QrCode"), ("PAGE", "HtmlForm"), ("WAP", "Redirect"), ("APP", "AppInvocation")]
    {
        let (order, payment) = bought(&shop, product).await;
        let action = action(&shop, &payment).await;
        assert_eq!(action["__typename"], kind);
        go_to_cashier(&shop, &action).await;
        shop.payer_pays(&payment).await;
        assert_eq!(shop.order(&order).await["status"], "PAID", "{product}");
        // A refund of Alipay's is done within the call.
        let refund = shop.refund(&Shop::key(), &order, Some(2_500)).await;
        assert_eq!(refund.at("/refundOrder/refund/status"), "SUCCEEDED", "{}", refund.body);
        assert_eq!(refund.at("/refundOrder/order/status"), "PARTIALLY_REFUNDED");
        shop.advance(Duration::seconds(5)).await;
        shop.refund(&Shop::key(), &order, None).await.at("/refundOrder");
        shop.advance(Duration::seconds(5)).await;
        assert_eq!(shop.order(&order).await["status"], "REFUNDED", "{product}");
    }
    let ledger = shop.ledger();
    assert!(ledger.charges.iter().all(|c| c.gateway == "alipay"));
    assert_eq!((ledger.charges.len(), ledger.refunds.len()), (4, 8));
    shop.check_invariants().await;
}

#[tokio::test]
async fn a_lost_answer_to_a_refund_is_found_again_and_happens_once() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, payment) = bought(&shop, "PRECREATE").await;
    go_to_cashier(&shop, &action(&shop, &payment).await).await;
    shop.payer_pays(&payment).await;
    shop.fault(Call::Refund, FaultKind::LoseAnswer);
    let refund = shop.refund(&Shop::key(), &order, Some(2_500)).await;
    assert_eq!(refund.at("/refundOrder/refund/status"), "UNKNOWN", "{}", refund.body);
    shop.advance(Duration::seconds(10)).await;
    assert_eq!(shop.order(&order).await["refunded"]["minor"], "2500");
    assert_eq!(shop.ledger().refunds.len(), 1);
    shop.check_invariants().await;
}

/// A precreated trade that nobody has scanned is not there for Alipay: neither query nor close find it.
#[tokio::test]
async fn a_code_that_nobody_scanned_can_be_cancelled_and_what_is_paid_on_it_late_goes_back() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, payment) = bought(&shop, "PRECREATE").await;
    let code = action(&shop, &payment).await;
    let closed = shop.cancel("alice", &Shop::key(), &order).await;
    assert_eq!(closed.at("/cancelOrder/order/status"), "CLOSED");
    // The code still works at Alipay; the payer scans and pays, and no notification comes.
    go_to_cashier(&shop, &code).await;
    shop.fault(Call::Notify, FaultKind::Drop);
    shop.sandbox().pay(&payment).await.unwrap();
    for _ in 0..3 {
        shop.advance(Duration::seconds(30)).await;
    }
    let order = shop.order(&order).await;
    assert_eq!((&order["status"], &order["payments"][0]["surplus"]), (&json!("CLOSED"), &json!(true)), "{order}");
    assert_eq!(order["refunds"][0]["status"], "SUCCEEDED", "{order}");
    assert_eq!(shop.ledger().refunds.len(), 1);
    shop.check_invariants().await;
}

#[tokio::test]
async fn the_gateway_can_be_changed_from_one_to_the_other() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, first) = shop.open_order("TEA").await;
    let document = "mutation($key: IdempotencyKey!, $input: RepayOrderInput!) { repayOrder(idempotencyKey: $key, input: $input) { payment { id status gateway } order { payments { id status } } } }";
    let input = json!({"orderId": order, "payment": {"gateway": "ALIPAY", "product": "WAP", "returnUrl": "https://shop.example/"}});
    let repaid =
        shop.ask(&shop.token("alice", "customer"), document, json!({"key": Shop::key(), "input": input})).await;
    assert_eq!(repaid.at("/repayOrder/payment/gateway"), "ALIPAY");
    assert_eq!(repaid.at("/repayOrder/order/payments/0"), json!({"id": first, "status": "CLOSED"}));
    assert!(shop.sandbox().pay(&first).await.is_err(), "the first one can still be paid");
    let second = repaid.text("/repayOrder/payment/id");
    go_to_cashier(&shop, &action(&shop, &second).await).await;
    shop.payer_pays(&second).await;
    assert_eq!(shop.order(&order).await["status"], "PAID");
    shop.check_invariants().await;
}

#[tokio::test]
async fn an_order_is_bought_and_refunded_in_certificate_mode() {
    let home = std::env::temp_dir().join(format!("payonce_certificates_{}", std::process::id()));
    let gateway = Sandbox::start(SandboxConfig { home: Some(home.clone()), ..SandboxConfig::default() }).await.unwrap();
    let merchant = gateway.merchant().alipay.clone();
    let file = |name: &str| home.join("alipay").join(name).to_str().unwrap().to_owned();
    let shop = Shop::open_with(
        Backend::Sqlite,
        &[
            ("PAYONCE_ALIPAY_GATEWAY_URL", &gateway.alipay_gateway_url()),
            ("PAYONCE_ALIPAY_APP_ID", &merchant.app_id),
            ("PAYONCE_ALIPAY_SELLER_ID", &merchant.seller_id),
            ("PAYONCE_ALIPAY_PRIVATE_KEY_FILE", &file("app_private_key.pem")),
            ("PAYONCE_ALIPAY_APP_CERT_FILE", &file("certificates/appCertPublicKey.crt")),
            ("PAYONCE_ALIPAY_ALIPAY_CERT_FILE", &file("certificates/alipayCertPublicKey_RSA2.crt")),
            ("PAYONCE_ALIPAY_ROOT_CERT_FILE", &file("certificates/alipayRootCert.crt")),
        ],
    )
    .await;
    for product in ["PRECREATE", "WAP"] {
        let (order, payment) = bought(&shop, product).await;
        go_to_cashier(&shop, &action(&shop, &payment).await).await;
        gateway.pay(&payment).await.unwrap();
        gateway.settled().await;
        assert_eq!(shop.order(&order).await["status"], "PAID", "{product}");
        let refund = shop.refund(&Shop::key(), &order, None).await;
        assert_eq!(refund.at("/refundOrder/refund/status"), "SUCCEEDED", "{}", refund.body);
    }
    let (order, _) = bought(&shop, "PAGE").await;
    assert_eq!(shop.cancel("alice", &Shop::key(), &order).await.at("/cancelOrder/order/status"), "CLOSED");
    assert_eq!((gateway.ledger().charges.len(), gateway.ledger().refunds.len()), (2, 2));
    // It was this gateway, and each of its answers was believed the first time.
    assert!(shop.ledger().charges.is_empty());
    let asked = gateway.calls().iter().filter(|call| call.call == Call::Refund).count();
    assert_eq!(asked, 2);
    shop.close().await;
    gateway.stop().await;
    std::fs::remove_dir_all(home).unwrap();
}

/// The connector on its own, as the shop has it.
fn connector(shop: &Shop) -> Alipay {
    let merchant = &shop.sandbox().merchant().alipay;
    let config = Config {
        gateway_url: shop.sandbox().alipay_gateway_url(),
        browser_url: None,
        app_id: merchant.app_id.clone(),
        seller_id: merchant.seller_id.clone(),
        private_key: merchant.private_key_pem.clone().into(),
        mode: Mode::PublicKey(merchant.alipay_public_key_pem.clone()),
        timeout: Config::TIMEOUT,
    };
    let clock: Arc<dyn Clock> = shop.clock.clone();
    Alipay::new(config, clock).unwrap()
}

async fn bill(shop: &Shop, day: Date) -> Result<Vec<BillLine>, GatewayError> {
    connector(shop).bill(day).await?.try_collect().await
}

/// Until this hour in Beijing, which is eight hours ahead.
async fn turn_to(shop: &Shop, hour: u32) -> Date {
    let beijing = shop.clock.now() + Duration::hours(8);
    let past = Duration::seconds(beijing.time().num_seconds_from_midnight().into());
    let wanted = Duration::hours(hour.into());
    let wait = if past < wanted { wanted - past } else { wanted - past + Duration::hours(24) };
    shop.advance(wait).await;
    (shop.clock.now() + Duration::hours(8)).date_naive()
}

#[tokio::test]
async fn the_bill_of_a_day_is_what_the_ledger_says() {
    let shop = Shop::open(Backend::Sqlite).await;
    let day = turn_to(&shop, 10).await;
    for (product, refunded) in [("PRECREATE", vec![Some(2_500), None]), ("WAP", vec![None]), ("PAGE", vec![])] {
        let (order, payment) = bought(&shop, product).await;
        go_to_cashier(&shop, &action(&shop, &payment).await).await;
        shop.payer_pays(&payment).await;
        for minor in refunded {
            shop.refund(&Shop::key(), &order, minor).await.at("/refundOrder");
            shop.advance(Duration::seconds(5)).await;
        }
    }
    let (_, unpaid) = bought(&shop, "PRECREATE").await;
    for hour in [23, 8] {
        turn_to(&shop, hour).await;
        assert!(matches!(bill(&shop, day).await, Err(GatewayError::Later(_))), "{hour}");
    }
    turn_to(&shop, 9).await;
    let lines = bill(&shop, day).await.unwrap();
    let ledger = shop.ledger();
    let sorted = |mut moves: Vec<(String, i64)>| {
        moves.sort();
        moves
    };
    let payments = lines.iter().filter(|line| line.entry == BillEntry::Payment);
    let payments = payments.map(|line| (line.payment.clone(), line.amount.minor)).collect();
    let charges = ledger.charges.iter().map(|charge| (charge.number.clone(), charge.minor)).collect();
    assert_eq!(sorted(payments), sorted(charges));
    let refunds = lines.iter().filter_map(|line| match &line.entry {
        BillEntry::Refund { number, done: true } => Some((number.clone(), line.amount.minor)),
        _ => None,
    });
    let given_back = ledger.refunds.iter().map(|refund| (refund.number.clone(), refund.minor)).collect();
    assert_eq!(sorted(refunds.collect()), sorted(given_back));
    assert_eq!((ledger.charges.len(), ledger.refunds.len(), lines.len()), (3, 3, 6));
    assert!(lines.iter().all(|line| line.payment != unpaid && line.transaction_id.len() == 28));
    assert!(lines.iter().all(|line| (line.at + Duration::hours(8)).date_naive() == day));
    // A day without trades: not yet, and from noon an empty one.
    let next = turn_to(&shop, 9).await.pred_opt().unwrap();
    assert!(matches!(bill(&shop, next).await, Err(GatewayError::Later(_))));
    turn_to(&shop, 12).await;
    assert_eq!(bill(&shop, next).await.unwrap(), []);
}
