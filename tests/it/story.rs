//! The whole story: bought, paid, watched live, refunded.

use crate::support::{Backend, Shop, on_every_store};
use domain::Duration;
use serde_json::json;

on_every_store!(an_order_is_bought_paid_watched_and_refunded);

async fn an_order_is_bought_paid_watched_and_refunded(backend: Backend) {
    let shop = Shop::open(backend).await;
    let products = shop.ask("", "{ products { nodes { sku price { minor currency decimal } } } }", json!({})).await;
    assert_eq!(
        products.at("/products/nodes/3"),
        json!({"sku": "TEA", "price": {"minor": "1280", "currency": "CNY", "decimal": "12.80"}})
    );

    // Bought: the QR code leads to the cashier.
    let key = Shop::key();
    let bought = shop.create("alice", &key, "TEA", 2, true).await;
    let (order, payment) = (bought.text("/createOrder/order/id"), bought.text("/createOrder/payment/id"));
    assert_eq!(bought.at("/createOrder/replayed"), false);
    assert_eq!(bought.at("/createOrder/order/status"), "PAYING");
    assert_eq!(bought.at("/createOrder/order/total"), json!({"minor": "2560", "currency": "CNY", "decimal": "25.60"}));
    assert_eq!(bought.at("/createOrder/payment/status"), "PENDING");
    assert_eq!(bought.text("/createOrder/payment/action/url"), format!("{}/cashier/{payment}", shop.sandbox().url()));

    // Watched: the current state comes first.
    let mut watcher = shop.watch("alice", &order).await;
    assert_eq!(watcher.event().await["orderStatus"], "PAYING");

    // Paid: the notification makes it so, and the watcher sees it.
    shop.payer_pays(&payment).await;
    let paid = watcher.until("PAID").await;
    assert_eq!(paid["order"]["paid"]["minor"], "2560");
    assert_eq!(paid["payment"]["status"], "SUCCEEDED");

    // Sent again: the same order, as it is now.
    let again = shop.create("alice", &key, "TEA", 2, true).await;
    assert_eq!(again.at("/createOrder/replayed"), true);
    assert_eq!(again.text("/createOrder/order/id"), order);
    assert_eq!(again.text("/createOrder/payment/id"), payment);
    assert_eq!(again.at("/createOrder/order/status"), "PAID");

    // A part goes back: accepted first, then done.
    let refund = shop.refund(&Shop::key(), &order, Some(1_000)).await;
    assert_eq!(refund.at("/refundOrder/refund/status"), "PROCESSING");
    assert_eq!(refund.at("/refundOrder/order/status"), "PAID");
    assert_eq!(refund.at("/refundOrder/order/refundable/minor"), "1560");
    shop.advance(Duration::seconds(2)).await;
    let partly = watcher.until("PARTIALLY_REFUNDED").await;
    assert_eq!(partly["refund"]["status"], "SUCCEEDED");
    assert_eq!(partly["order"]["refunded"]["minor"], "1000");

    // The rest goes back, and the subscription ends by itself.
    shop.advance(Duration::minutes(1)).await;
    shop.refund(&Shop::key(), &order, None).await.at("/refundOrder");
    shop.advance(Duration::seconds(2)).await;
    watcher.until("REFUNDED").await;
    assert_eq!(watcher.hear().await, json!({"id": "1", "type": "complete"}));

    let ledger = shop.ledger();
    assert_eq!(ledger.charges.len(), 1);
    assert_eq!(ledger.refunds.iter().map(|r| r.minor).sum::<i64>(), 2_560);
    shop.check_invariants().await;
    shop.close().await;
}
