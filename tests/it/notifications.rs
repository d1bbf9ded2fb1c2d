//! Notifications: only a genuine one has an effect, and only once.

use crate::support::{Backend, Shop, on_every_store};
use domain::Duration;
use sandbox::{Call, FaultKind};

on_every_store!(
    a_notification_that_comes_twice_is_applied_once,
    a_success_on_a_cancelled_order_goes_back_by_itself,
    sync_order_finds_what_no_notification_told,
    a_notification_that_is_not_genuine_has_no_effect,
);

async fn a_notification_that_comes_twice_is_applied_once(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, payment) = shop.open_order("TEA").await;
    shop.fault(Call::Notify, FaultKind::Duplicate);
    shop.payer_pays(&payment).await;
    let paid = shop.order(&order).await;
    assert_eq!(paid["status"], "PAID");
    // Created, opened, paid: the second notification made no event.
    assert_eq!(paid["version"], 4, "{paid}");
    shop.check_invariants().await;
}

async fn a_success_on_a_cancelled_order_goes_back_by_itself(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, payment) = shop.open_order("TEA").await;
    // The notification is held back; our side closes the order because the database says so.
    shop.fault(Call::Notify, FaultKind::Drop);
    shop.sandbox().pay(&payment).await.unwrap();
    let db = sea_orm::Database::connect(&shop.database_url).await.unwrap();
    for sql in [
        "UPDATE payments SET status = 'CLOSED', action = NULL, action_expires_at = NULL, next_at = NULL, state_at = created_at",
        "UPDATE orders SET status = 'CLOSED', close_reason = 'CANCELLED', closed_at = created_at, open_payment = NULL, next_at = NULL",
    ] {
        sea_orm::ConnectionTrait::execute_unprepared(&db, sql).await.unwrap();
    }
    db.close().await.unwrap();
    assert_eq!(shop.order(&order).await["status"], "CLOSED");
    // It comes again, as the gateway's schedule says.
    shop.advance(Duration::seconds(16)).await;
    shop.advance(Duration::seconds(2)).await;
    shop.advance(Duration::seconds(10)).await;
    let order = shop.order(&order).await;
    let late = &order["payments"][0];
    assert_eq!((&order["status"], &order["paid"]["minor"]), (&"CLOSED".into(), &"0".into()));
    assert_eq!(
        (&late["status"], &late["surplus"], &late["late"]),
        (&"SUCCEEDED".into(), &true.into(), &true.into()),
        "{order}"
    );
    assert_eq!(
        (&order["refunds"][0]["reason"], &order["refunds"][0]["status"]),
        (&"SURPLUS".into(), &"SUCCEEDED".into()),
        "{order}"
    );
    let ledger = shop.ledger();
    assert_eq!((ledger.charges.len(), ledger.refunds.len()), (1, 1));
    shop.check_invariants().await;
}

async fn a_notification_that_is_not_genuine_has_no_effect(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, payment) = shop.open_order("TEA").await;
    for kind in [FaultKind::Unsigned, FaultKind::WronglySigned, FaultKind::Signtest] {
        shop.fault(Call::Notify, kind);
    }
    shop.sandbox().pay(&payment).await.unwrap();
    shop.sandbox().settled().await;
    assert_eq!(shop.order(&order).await["status"], "PAYING");
    let forged = shop.http().post(shop.url("/notify/wechat_pay")).body("{}").send().await.unwrap();
    assert_eq!(forged.status(), 401);
    let nowhere = shop.http().post(shop.url("/notify/paypal")).body("{}").send().await.unwrap();
    assert_eq!(nowhere.status(), 404);
    // The real one follows by the gateway's schedule, or our own question finds it: once.
    shop.advance(Duration::minutes(2)).await;
    assert_eq!(shop.order(&order).await["status"], "PAID");
    assert_eq!(shop.ledger().charges.len(), 1);
    shop.check_invariants().await;
}

async fn sync_order_finds_what_no_notification_told(backend: Backend) {
    let shop = Shop::open(backend).await;
    let (order, payment) = shop.open_order("TEA").await;
    shop.fault(Call::Notify, FaultKind::Drop);
    shop.sandbox().pay(&payment).await.unwrap();
    assert_eq!(shop.order(&order).await["status"], "PAYING");
    assert_eq!(shop.sync("mallory", &order).await.code(), "NOT_FOUND");
    assert_eq!(shop.sync("alice", &order).await.at("/syncOrder/status"), "PAID");
    shop.check_invariants().await;
}
