//! Alipay, whole: each product is bought and paid, refunds are done within the call, and what goes wrong on the
//! wire is found again.

use crate::support::{Backend, Shop, form, on_every_store};
use domain::Duration;
use sandbox::{Call, FaultKind};
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
