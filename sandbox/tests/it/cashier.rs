//! The page on which the payer pays.

use chrono::TimeDelta;

use crate::shop::Shop;

#[tokio::test]
async fn the_payer_declines_and_then_pays_on_the_cashier_page() {
    let shop = Shop::open().await;
    shop.opened("ORDER-1", 1280).await;
    let url = format!("{}/cashier/ORDER-1", shop.sandbox.url());
    let page = async || {
        let answer = shop.client.get(&url).send().await.expect("sent");
        let policy = answer.headers()["content-security-policy"].to_str().expect("text").to_owned();
        assert!(policy.contains("default-src 'none'"), "{policy}");
        answer.text().await.expect("text")
    };
    let press = async |button: &str| {
        let answer = shop.client.post(format!("{url}/{button}")).send().await.expect("sent");
        (answer.status().as_u16(), answer.headers()["location"].to_str().expect("text").to_owned())
    };
    let open = page().await;
    assert!(open.contains("¥12.80") && open.contains("Tea") && open.contains("data-left-s=\"604800\""));

    assert_eq!(press("decline").await, (303, "/cashier/ORDER-1".to_owned()));
    assert!(page().await.contains("Payment declined"));
    assert_eq!(shop.trade_state("ORDER-1").await, "NOTPAY");
    for _ in 0..2 {
        assert_eq!(press("pay").await, (303, "/cashier/ORDER-1".to_owned()));
    }
    let paid = page().await;
    assert!(paid.contains("Payment successful") && !paid.contains("<form"));
    assert_eq!(shop.charges().len(), 1, "a double click pays once");
}

#[tokio::test]
async fn a_closed_expired_or_unknown_order_cannot_be_paid_on_the_cashier_page() {
    let shop = Shop::open().await;
    let press = async |number: &str| {
        let url = format!("{}/cashier/{number}/pay", shop.sandbox.url());
        let answer = shop.client.post(url).send().await.expect("sent");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    shop.opened("ORDER-1", 100).await;
    shop.close("ORDER-1").await;
    let (status, page) = press("ORDER-1").await;
    assert!(status == 409 && page.contains("Order closed"), "{status} {page}");
    shop.opened("ORDER-2", 100).await;
    shop.clock.advance(TimeDelta::days(7));
    let (status, page) = press("ORDER-2").await;
    assert!(status == 409 && page.contains("Order expired"), "{status} {page}");
    assert_eq!(press("ORDER-3").await.0, 404);
    assert_eq!(shop.charges(), []);
}
