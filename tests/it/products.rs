//! Every way to the payer: what the frontend is handed, and that the order is paid by it.

use domain::Duration;
use serde_json::{Value, json};

use crate::support::{Answer, Backend, Shop, on_every_store};

on_every_store!(an_order_is_bought_with_each_product_of_wechat_pay);

const RETURN_URL: &str = "https://shop.example/paid?a=1&b=2";

const ORDER: &str = "query($id: ID!) { order(id: $id) { status payments { id status product actionExpiresAt action { \
    __typename ... on QrCode { url } ... on Redirect { url } ... on AppInvocation { parameters } \
    ... on WechatJsapi { appId timeStamp nonceStr package signType paySign } } } } }";

fn method(product: &str) -> Value {
    let mut method = json!({"gateway": "WECHAT_PAY", "product": product});
    match product {
        "JSAPI" => method["payerId"] = json!("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"),
        "H5" => method["returnUrl"] = json!(RETURN_URL),
        _ => {}
    }
    method
}

async fn bought(shop: &Shop, method: Value) -> (String, String) {
    let input = json!({"lines": [{"sku": "TEA", "quantity": 1}], "payment": method, "allowDuplicate": true});
    let answer = shop.create_with("alice", &Shop::key(), input).await;
    assert_eq!(answer.at("/createOrder/payment/status"), "PENDING", "{}", answer.body);
    (answer.text("/createOrder/order/id"), answer.text("/createOrder/payment/id"))
}

async fn seen(shop: &Shop, order: &str) -> Value {
    shop.ask(&shop.token("alice", "customer"), ORDER, json!({"id": order})).await.at("/order")
}

/// How long the action works.
fn lifetime(shop: &Shop, payment: &Value) -> Duration {
    let until: domain::Timestamp = payment["actionExpiresAt"].as_str().unwrap().parse().unwrap();
    until - domain::to_stored(payonce::payments::ports::Clock::now(&*shop.clock))
}

async fn an_order_is_bought_with_each_product_of_wechat_pay(backend: Backend) {
    let shop = Shop::open(backend).await;
    let merchant = shop.sandbox().merchant().clone();
    for (product, kind, minutes) in
        [("NATIVE", "QrCode", 30), ("JSAPI", "WechatJsapi", 30), ("H5", "Redirect", 5), ("APP", "AppInvocation", 30)]
    {
        let (order, payment) = bought(&shop, method(product)).await;
        let open = seen(&shop, &order).await["payments"][0].clone();
        assert_eq!((&open["product"], &open["action"]["__typename"]), (&json!(product), &json!(kind)));
        assert_eq!(lifetime(&shop, &open), Duration::minutes(minutes), "{product}");
        let action = &open["action"];
        let text = |name: &str| action[name].as_str().unwrap();
        match product {
            "NATIVE" => assert_eq!(text("url"), format!("{}/cashier/{payment}", shop.sandbox().url())),
            "JSAPI" => {
                assert_eq!((text("appId"), text("signType")), (merchant.appid.as_str(), "RSA"));
                assert!(text("package").starts_with("prepay_id=wx") && text("package").len() == 46);
                assert_eq!(text("nonceStr").len(), 32);
                assert!(text("timeStamp").bytes().all(|b| b.is_ascii_digit()) && text("paySign").len() == 344);
            }
            "H5" => {
                let url = text("url");
                assert!(url.starts_with(&format!("{}/cgi-bin/", shop.sandbox().url())), "{url}");
                assert!(url.ends_with("&redirect_url=https%3A%2F%2Fshop.example%2Fpaid%3Fa%3D1%26b%3D2"), "{url}");
                // It leads to the cashier of this very payment.
                let page = shop.http().get(url).send().await.unwrap();
                assert_eq!(page.url().path(), format!("/cashier/{payment}"));
                assert!(page.text().await.unwrap().contains("¥12.80"));
            }
            _ => {
                let handed: Value = serde_json::from_str(text("parameters")).unwrap();
                let names = ["appid", "noncestr", "package", "partnerid", "prepayid", "sign", "timestamp"];
                let mut given: Vec<_> = handed.as_object().unwrap().keys().collect();
                given.sort();
                assert_eq!(given, names);
                assert_eq!((&handed["appid"], &handed["partnerid"]), (&json!(merchant.appid), &json!(merchant.mchid)));
                assert_eq!(handed["package"], "Sign=WXPay");
                assert!(handed["prepayid"].as_str().unwrap().starts_with("wx"));
            }
        }
        shop.payer_pays(&payment).await;
        let paid = seen(&shop, &order).await;
        assert_eq!((&paid["status"], &paid["payments"][0]["status"]), (&json!("PAID"), &json!("SUCCEEDED")));
        assert_eq!(paid["payments"][0]["action"], Value::Null);
    }
    assert_eq!(shop.ledger().charges.len(), 4);
    shop.check_invariants().await;
}

async fn repaid(shop: &Shop, key: &str, order: &str, method: Value) -> Answer {
    let document = "mutation($key: IdempotencyKey!, $input: RepayOrderInput!) { \
        repayOrder(idempotencyKey: $key, input: $input) { payment { id status } } }";
    let variables = json!({"key": key, "input": {"orderId": order, "payment": method}});
    shop.ask(&shop.token("alice", "customer"), document, variables).await
}

#[tokio::test]
async fn jsapi_without_a_payer_begins_nothing() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, payment) = bought(&shop, method("NATIVE")).await;
    for payer in [Value::Null, json!("")] {
        let nobodys = json!({"gateway": "WECHAT_PAY", "product": "JSAPI", "payerId": payer});
        let input =
            json!({"lines": [{"sku": "TEA", "quantity": 1}], "payment": nobodys.clone(), "allowDuplicate": true});
        let key = Shop::key();
        assert_eq!(shop.create_with("alice", &key, input.clone()).await.code(), "BAD_USER_INPUT");
        // Nothing began, so the key is free for content that makes sense.
        let mut meant = input;
        meant["payment"] = method("JSAPI");
        assert_eq!(shop.create_with("alice", &key, meant).await.at("/createOrder/replayed"), false);
        assert_eq!(repaid(&shop, &Shop::key(), &order, nobodys).await.code(), "BAD_USER_INPUT");
    }
    let untouched = seen(&shop, &order).await;
    assert_eq!(untouched["payments"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&untouched["payments"][0]["id"], &untouched["payments"][0]["status"]),
        (&json!(payment), &json!("PENDING"))
    );
    shop.check_invariants().await;
}

#[tokio::test]
async fn what_one_payer_was_handed_is_not_handed_to_another() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, payment) = bought(&shop, method("JSAPI")).await;
    let again = repaid(&shop, &Shop::key(), &order, method("JSAPI")).await;
    assert_eq!(again.text("/repayOrder/payment/id"), payment);
    let mut others = method("JSAPI");
    others["payerId"] = json!("oSomebodyElse");
    let other = repaid(&shop, &Shop::key(), &order, others).await;
    assert_eq!(other.at("/repayOrder/payment/status"), "PENDING");
    assert_ne!(other.text("/repayOrder/payment/id"), payment);
    assert_eq!(seen(&shop, &order).await["payments"][0]["status"], "CLOSED");
    shop.check_invariants().await;
}

#[tokio::test]
async fn a_browser_that_comes_too_late_gets_another_link() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, payment) = bought(&shop, method("H5")).await;
    shop.advance(Duration::minutes(5)).await;
    let late = seen(&shop, &order).await["payments"][0].clone();
    assert_eq!((&late["status"], &late["action"]), (&json!("PENDING"), &Value::Null));
    let again = repaid(&shop, &Shop::key(), &order, method("H5")).await;
    let next = again.text("/repayOrder/payment/id");
    assert_ne!(next, payment);
    shop.payer_pays(&next).await;
    assert_eq!(seen(&shop, &order).await["status"], "PAID");
    shop.check_invariants().await;
}
