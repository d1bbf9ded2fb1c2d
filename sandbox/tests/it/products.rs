//! The ways to the payer: JSAPI, H5 and APP. NATIVE is in `payments`.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::shop::{Answer, Shop};

fn target(product: &str) -> String {
    format!("/v3/pay/transactions/{product}")
}

/// An order with what this product needs.
fn order(shop: &Shop, product: &str, number: &str) -> Value {
    let mut order = shop.order(number, 1280);
    match product {
        "jsapi" => order["payer"] = json!({"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}),
        "h5" => order["scene_info"] = json!({"payer_client_ip": "203.0.113.7", "h5_info": {"type": "Wap"}}),
        _ => {}
    }
    order
}

async fn opened(shop: &Shop, product: &str, number: &str) -> Answer {
    let answer = shop.post(&target(product), &order(shop, product, number)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    shop.verify(&answer.headers, &answer.body);
    answer
}

async fn visit(shop: &Shop, url: &str) -> (u16, String) {
    let answer = shop.client.get(url).send().await.expect("sent");
    let location = answer.headers().get("location").map(|to| to.to_str().expect("text").to_owned());
    (answer.status().as_u16(), location.unwrap_or_default())
}

#[tokio::test]
async fn each_product_is_opened_paid_at_the_cashier_notified_and_found() {
    let mut shop = Shop::open().await;
    let somebody = "oSandboxPayer00000000000000";
    for (product, trade_type, openid) in
        [("jsapi", "JSAPI", "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"), ("h5", "MWEB", somebody), ("app", "APP", somebody)]
    {
        let number = format!("ORDER-{product}");
        let answer = opened(&shop, product, &number).await;
        assert_eq!(opened(&shop, product, &number).await.body, answer.body, "the same again");
        if product != "h5" {
            let answer = answer.json();
            let id = answer["prepay_id"].as_str().expect("an id");
            assert!(id.len() == 36 && id.starts_with("wx20260101080000"), "{id}");
            assert_eq!(answer, json!({ "prepay_id": id }));
        }
        let pay = format!("{}/cashier/{number}/pay", shop.sandbox.url());
        let paid = shop.client.post(pay).send().await.expect("sent");
        assert_eq!(paid.status(), 303);
        let (_, notice) = shop.notice().await;
        assert_eq!((&notice["trade_type"], &notice["payer"]["openid"]), (&json!(trade_type), &json!(openid)));
        assert_eq!(shop.find(&number).await.json(), notice);
    }
    assert_eq!(shop.charges().len(), 3);
}

#[tokio::test]
async fn the_link_for_browsers_leads_to_the_cashier_for_five_minutes() {
    let shop = Shop::open().await;
    let answer = opened(&shop, "h5", "A|B*C-D_01").await.json();
    let link = answer["h5_url"].as_str().expect("a link").to_owned();
    let start = format!("{}/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx20260101080000", shop.sandbox.url());
    assert!(link.starts_with(&start) && link.contains("&package="), "{link}");
    let cashier = || (303, "/cashier/A%7CB*C-D_01".to_owned());
    assert_eq!(visit(&shop, &link).await, cashier());
    let back = format!("{link}&redirect_url=https%3A%2F%2Fshop.example%2Fpaid%3Fa%3D1");
    assert_eq!(visit(&shop, &back).await, cashier());
    assert_eq!(visit(&shop, &format!("{link}&redirect_url=paid")).await.0, 400);

    shop.clock.advance(TimeDelta::seconds(299));
    assert_eq!(visit(&shop, &link).await, cashier());
    shop.clock.advance(TimeDelta::seconds(1));
    assert_eq!(visit(&shop, &link).await.0, 410);
    assert_eq!(shop.trade_state("A%7CB*C-D_01").await, "NOTPAY", "the order is older than its link");
    // Asked for again, it lives again.
    opened(&shop, "h5", "A|B*C-D_01").await;
    assert_eq!(visit(&shop, &link).await, cashier());

    let id = opened(&shop, "app", "ORDER-1").await.json()["prepay_id"].as_str().expect("an id").to_owned();
    let page = link.split('?').next().expect("a path");
    assert_eq!(visit(&shop, &format!("{page}?prepay_id={id}")).await.0, 404, "no browser pays for an app");
    assert_eq!(visit(&shop, page).await.0, 404);
}

#[tokio::test]
async fn what_a_product_needs_is_refused_by_name() {
    let shop = Shop::open().await;
    let wrong = [
        ("jsapi", "/payer", Value::Null, "/payer/openid"),
        ("jsapi", "/payer/openid", json!(""), "/payer/openid"),
        ("jsapi", "/payer/openid", json!("o".repeat(129)), "/payer/openid"),
        ("h5", "/scene_info", Value::Null, "/scene_info/payer_client_ip"),
        ("h5", "/scene_info", json!("Wap"), "/scene_info"),
        ("h5", "/scene_info/payer_client_ip", Value::Null, "/scene_info/payer_client_ip"),
        ("h5", "/scene_info/payer_client_ip", json!("here"), "/scene_info/payer_client_ip"),
        ("h5", "/scene_info/h5_info", Value::Null, "/scene_info/h5_info/type"),
        ("h5", "/scene_info/h5_info/type", json!("wap"), "/scene_info/h5_info/type"),
    ];
    for (product, pointer, value, field) in wrong {
        let mut order = order(&shop, product, "ORDER-1");
        *order.pointer_mut(pointer).expect(pointer) = value.clone();
        let answer = shop.post(&target(product), &order).await;
        assert_eq!(answer.refusal(), (400, "PARAM_ERROR".to_owned()), "{pointer} {value}");
        assert_eq!(answer.json()["detail"]["field"], format!("/body{field}"), "{pointer} {value}");
    }
    assert_eq!(shop.find("ORDER-1").await.status, 404, "nothing was opened");
}

#[tokio::test]
async fn a_number_belongs_to_one_product() {
    let shop = Shop::open().await;
    opened(&shop, "app", "ORDER-1").await;
    let native = shop.native(&order(&shop, "app", "ORDER-1")).await;
    assert_eq!(native.refusal(), (403, "OUT_TRADE_NO_USED".to_owned()));
}

#[tokio::test]
async fn these_orders_may_be_open_for_fifteen_days() {
    let shop = Shop::open().await;
    for (product, days) in [("native", 7), ("jsapi", 15), ("h5", 15), ("app", 15)] {
        let number = format!("ORDER-{product}");
        let mut order = order(&shop, product, &number);
        order["time_expire"] = json!("2026-03-01T08:00:00+08:00");
        assert_eq!(shop.post(&target(product), &order).await.status, 200);
        let page = shop.client.get(format!("{}/cashier/{number}", shop.sandbox.url())).send().await.expect("sent");
        let left = format!("data-left-s=\"{}\"", days * 86_400);
        assert!(page.text().await.expect("text").contains(&left), "{product}");
    }
}
