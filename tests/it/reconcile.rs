//! The bill of a day against what is recorded: what the gateway did is found again, the rest is for people.

use std::sync::Arc;

use crate::support::clock::TurnedClock;
use crate::support::{Backend, Shop, on_every_store};
use domain::{Date, Duration, Gateway};
use payonce::payments::ports::Clock;
use payonce::payments::{DifferenceKind, PaymentError, Reconciliation};
use sandbox::{Call, Fault, FaultKind};
use sea_orm::{ConnectionTrait, Database};
use serde_json::json;

on_every_store!(what_the_gateway_did_and_we_missed_is_found_on_its_bill, what_only_one_side_knows_is_told_and_left);

/// A shop at noon in Shanghai, and the day there.
async fn at_noon(backend: Backend) -> (Shop, Date) {
    let clock = TurnedClock::at_now();
    let noon = clock.now().date_naive().and_hms_opt(4, 0, 0).unwrap().and_utc() + Duration::days(1);
    clock.turn(noon - clock.now());
    let url = backend.fresh().await;
    let shop = Shop::open_on(backend, url, Arc::new(clock), &[]).await;
    (shop, noon.date_naive())
}

/// Ten o'clock of the next day.
async fn next_morning(shop: &Shop) {
    shop.advance(Duration::hours(22)).await;
}

async fn reconciled(shop: &Shop, day: Date) -> Reconciliation {
    shop.app.payments.reconcile(Gateway::WechatPay, day).await.unwrap()
}

fn always(call: Call, kind: FaultKind) -> Fault {
    Fault::new(call, kind).unwrap().times(10_000)
}

async fn what_the_gateway_did_and_we_missed_is_found_on_its_bill(backend: Backend) {
    let (shop, day) = at_noon(backend).await;
    let (known, _) = shop.paid_order("TEA").await;
    shop.refund(&Shop::key(), &known, Some(80)).await.at("/refundOrder");
    shop.advance(Duration::seconds(5)).await;
    assert_eq!(shop.order(&known).await["status"], "PARTIALLY_REFUNDED");

    // Paid, and no notification comes and no question is answered.
    let (missed, payment) = shop.open_order("MUG").await;
    for call in [Call::Find, Call::Close] {
        shop.sandbox().fault(always(call, FaultKind::Error500).number(&payment));
    }
    shop.sandbox().fault(always(Call::Notify, FaultKind::Drop).number(&payment));
    shop.sandbox().pay(&payment).await.unwrap();
    // Refunded, the same way.
    let (other, _) = shop.paid_order("BOOK").await;
    shop.sandbox().fault(always(Call::FindRefund, FaultKind::Error500));
    shop.sandbox().fault(always(Call::Notify, FaultKind::Drop));
    let refund = shop.refund(&Shop::key(), &other, None).await.text("/refundOrder/refund/id");
    next_morning(&shop).await;
    assert_ne!(shop.order(&missed).await["status"], "PAID");
    assert_eq!(shop.order(&other).await["status"], "PAID");

    shop.sandbox().clear_faults();
    let told = reconciled(&shop, day).await;
    assert_eq!(told.lines, (3, 2), "{told}");
    let found: Vec<_> = told.differences.iter().map(|d| (d.number.as_str(), &d.kind, d.settled)).collect();
    let expected = [
        (payment.as_str(), &DifferenceKind::NotPaidHere, true),
        (refund.as_str(), &DifferenceKind::NotRefundedHere, true),
    ];
    assert_eq!(found, expected, "{told}");
    assert!(told.is_clean());
    let lines = told.to_string();
    assert!(lines.contains(&format!("{payment}: paid there, not here; asked, and recorded now\n")), "{lines}");
    assert!(lines.ends_with(": 3 payments, 2 refunds; 2 differences settled, 0 left"), "{lines}");

    assert_eq!(shop.order(&missed).await["paid"]["minor"], "10000");
    assert_eq!(shop.order(&other).await["status"], "REFUNDED");
    let again = reconciled(&shop, day).await;
    assert!(again.differences.is_empty(), "{again}");
    shop.check_invariants().await;
}

async fn what_only_one_side_knows_is_told_and_left(backend: Backend) {
    let (shop, day) = at_noon(backend).await;
    let (_, lost) = shop.paid_order("TEA").await;
    let (_, changed) = shop.paid_order("MUG").await;
    let (order, payment) = shop.paid_order("BOOK").await;
    let refund = shop.refund(&Shop::key(), &order, Some(100)).await.text("/refundOrder/refund/id");
    next_morning(&shop).await;
    let invented = "pay_00000000000000000000000000";
    let database = Database::connect(&shop.database_url).await.unwrap();
    for sql in [
        format!("UPDATE payments SET id = '{invented}' WHERE id = '{lost}'"),
        format!("UPDATE payments SET paid = 10001 WHERE id = '{changed}'"),
        format!("UPDATE refunds SET id = 'rfd_00000000000000000000000000' WHERE id = '{refund}'"),
    ] {
        assert_eq!(database.execute_unprepared(&sql).await.unwrap().rows_affected(), 1, "{sql}");
    }
    let told = reconciled(&shop, day).await;
    let lines = told.to_string();
    for line in [
        format!("{lost}: paid there, and no payment here has the number\n"),
        format!("{changed}: 100.00 CNY there, 100.01 CNY here\n"),
        format!("{refund}: refunded there of {payment}, and no refund here has the number\n"),
        format!("{invented}: paid here, and not on the bill\n"),
    ] {
        assert!(lines.contains(&line), "{lines}\n{line}");
    }
    assert!(lines.ends_with(": 3 payments, 1 refunds; 0 differences settled, 4 left"), "{lines}");
    assert!(!told.is_clean());
    // The day before, nothing happened, on either side.
    let before = reconciled(&shop, day.pred_opt().unwrap()).await;
    assert!(before.is_clean() && before.lines == (0, 0), "{before}");
}

#[tokio::test]
async fn without_a_bill_nothing_is_compared() {
    let (shop, day) = at_noon(Backend::Sqlite).await;
    shop.paid_order("TEA").await;
    let told = |outcome: Result<Reconciliation, PaymentError>| outcome.unwrap_err().to_string();
    let today = told(shop.app.payments.reconcile(Gateway::WechatPay, day).await);
    assert!(today.contains("the day") && today.contains("is not over"), "{today}");
    shop.advance(Duration::hours(21)).await;
    let early = told(shop.app.payments.reconcile(Gateway::WechatPay, day).await);
    assert!(early.contains("STATEMENT_CREATING"), "{early}");
    shop.advance(Duration::hours(1)).await;
    // The first call asks for the bill, the second one downloads it.
    shop.fault(Call::Bill, FaultKind::WronglySigned);
    let forged = told(shop.app.payments.reconcile(Gateway::WechatPay, day).await);
    assert!(forged.contains("the signature does not fit"), "{forged}");
    assert_eq!(reconciled(&shop, day).await.lines, (1, 0));
    assert_eq!(json!(shop.ledger().charges.len()), 1);
}
