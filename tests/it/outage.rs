//! A gateway's outage: its first good answer wakes what is unknown there.

use domain::Duration;
use sandbox::{Call, Fault, FaultKind};

use crate::support::{Backend, Shop, on_every_store};

on_every_store!(the_first_good_answer_wakes_what_is_unknown);

async fn the_first_good_answer_wakes_what_is_unknown(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (paid, _) = shop.paid_order("MUG").await;
    for call in [Call::Open, Call::Find, Call::Refund, Call::FindRefund] {
        shop.sandbox().fault(Fault::new(call, FaultKind::Error500).unwrap().times(10_000));
    }
    let mut orders = Vec::new();
    for _ in 0..24 {
        let bought = shop.create("alice", &Shop::key(), "TEA", 1, true).await;
        assert_eq!(bought.at("/createOrder/payment/status"), "UNKNOWN");
        orders.push(bought.text("/createOrder/order/id"));
    }
    shop.refund(&Shop::key(), &paid, Some(100)).await.at("/refundOrder");
    // Ten minutes later they are asked about every five minutes.
    shop.advance(Duration::minutes(10)).await;
    let asked = || shop.sandbox().calls().iter().filter(|c| c.call == Call::Find).count();
    let before = asked();
    shop.sandbox().clear_faults();
    // Somebody's purchase is the first good answer.
    shop.open_order("BOOK").await;
    shop.quiet().await;
    // Not at once, for they have just been asked about.
    shop.advance(Duration::seconds(3)).await;
    // Oldest first, and not all together.
    assert!((20..24).contains(&(asked() - before)), "{} in the first second", asked() - before);
    for _ in 0..2 {
        shop.advance(Duration::seconds(1)).await;
    }
    for order in &orders {
        assert_eq!(shop.order(order).await["payments"][0]["status"], "PENDING");
    }
    for _ in 0..5 {
        shop.advance(Duration::seconds(2)).await;
    }
    assert_eq!(shop.order(&paid).await["refunds"][0]["status"], "SUCCEEDED");
    shop.check_invariants().await;
}
