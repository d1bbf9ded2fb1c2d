//! `bill`: a day's bill is what the provider's own ledger says of that day.

use std::collections::BTreeSet;

use domain::{Date, Duration};
use futures_util::TryStreamExt;
use payonce::payments::ports::{BillEntry, BillLine, Clock, GatewayError, GatewayPayment};
use sandbox::Call;

use super::provider::yuan;
use super::refunding::ends;
use super::{Provider, kept_by_every_gateway};
use crate::support::wire::ON_THE_WAY;

kept_by_every_gateway!(
    a_bill_is_the_ledger_of_its_day,
    a_day_that_is_not_over_has_no_bill_yet,
    a_bill_in_doubt_is_the_whole_bill_or_none,
);

/// The provider's day: Asia/Shanghai is eight hours ahead, always.
fn today(provider: &Provider) -> Date {
    (provider.clock.now() + Duration::hours(8)).date_naive()
}

/// Goes on to a morning there: what a promise does next happens on one day.
async fn goes_on_to_the_next_morning(provider: &Provider) {
    let local = (provider.clock.now() + Duration::hours(8)).time();
    let passed = local.signed_duration_since(chrono::NaiveTime::MIN);
    provider.waits(Duration::hours(24 + 11) - passed).await;
}

async fn billed(provider: &Provider, day: Date) -> Vec<BillLine> {
    provider.connector.bill(day).await.unwrap().try_collect().await.unwrap()
}

/// Each movement of money as `(payment, refund, minor)`; a payment has no refund.
type Moves = BTreeSet<(String, Option<String>, i64)>;

fn ledger(provider: &Provider) -> Moves {
    let ledger = provider.sandbox.ledger();
    let charges = ledger.charges.into_iter().map(|charge| (charge.number, None, charge.minor));
    let refunds = ledger.refunds.into_iter().map(|refund| (refund.payment_number, Some(refund.number), refund.minor));
    charges.chain(refunds).collect()
}

async fn a_bill_is_the_ledger_of_its_day(provider: Provider) {
    goes_on_to_the_next_morning(&provider).await;
    let (day, before) = (today(&provider), ledger(&provider));
    assert_eq!(before, Moves::new());
    for product in provider.products() {
        let payment = provider.opened(product, 9_999).await;
        provider.pays(&payment.number).await;
        for part in [1, 2_500] {
            let refund = provider.refund_of(&payment, part);
            provider.connector.refund(&refund).await.unwrap();
            ends(&provider, &refund).await.unwrap();
        }
        // What never moved money is on no bill.
        let closed = provider.opened(product, 777).await;
        provider.connector.close(&closed.number).await.unwrap();
        provider.opened(product, 778).await;
    }
    assert_eq!(today(&provider), day);
    goes_on_to_the_next_morning(&provider).await;
    let another_days = provider.paid(123).await;
    goes_on_to_the_next_morning(&provider).await;

    let lines = billed(&provider, day).await;
    let refund = |line: &BillLine| match &line.entry {
        BillEntry::Payment => None,
        BillEntry::Refund { number, done } => {
            assert!(done, "{line:?}");
            Some(number.clone())
        }
    };
    let moves: Moves = lines.iter().map(|line| (line.payment.clone(), refund(line), line.amount.minor)).collect();
    let mut expected = ledger(&provider);
    assert!(expected.remove(&(another_days.number.as_str().to_owned(), None, 123)));
    assert_eq!((lines.len(), &moves), (expected.len(), &expected));

    for line in &lines {
        assert_eq!(line.amount, yuan(line.amount.minor));
        assert_eq!((line.at + Duration::hours(8)).date_naive(), day, "{line:?}");
        let number = domain::PaymentId::parse(&line.payment).unwrap();
        let Some(GatewayPayment::Paid(evidence) | GatewayPayment::Returned(evidence)) = provider.finds(&number).await
        else {
            panic!("{line:?}")
        };
        assert_eq!(line.transaction_id, evidence.transaction_id);
        if line.entry == BillEntry::Payment {
            assert_eq!((line.amount, line.at.timestamp()), (evidence.amount, evidence.paid_at.timestamp()));
        }
    }
    let next = billed(&provider, day + Duration::days(1)).await;
    assert_eq!(next.iter().map(|line| line.payment.as_str()).collect::<Vec<_>>(), [another_days.number.as_str()]);
    assert_eq!(billed(&provider, day - Duration::days(1)).await, [], "a day without trades");
}

async fn a_day_that_is_not_over_has_no_bill_yet(provider: Provider) {
    goes_on_to_the_next_morning(&provider).await;
    provider.paid(9_999).await;
    let later = provider.connector.bill(today(&provider)).await.err();
    assert!(matches!(later, Some(GatewayError::Later(_))), "{later:?}");
}

async fn a_bill_in_doubt_is_the_whole_bill_or_none(provider: Provider) {
    goes_on_to_the_next_morning(&provider).await;
    let day = today(&provider);
    provider.paid(1_280).await;
    provider.paid(10_000).await;
    goes_on_to_the_next_morning(&provider).await;
    let whole = billed(&provider, day).await;
    assert_eq!(whole.len(), 2);
    for kind in ON_THE_WAY {
        provider.fault(Call::Bill, kind);
        let read: Result<Vec<BillLine>, _> = match provider.connector.bill(day).await {
            Ok(lines) => lines.try_collect().await,
            Err(e) => Err(e),
        };
        assert!(provider.sandbox.faults_waiting().is_empty(), "{kind:?} did not happen");
        match read {
            Ok(lines) => assert_eq!(lines, whole, "{kind:?}"),
            Err(GatewayError::Unknown(_) | GatewayError::Later(_)) => {}
            Err(e) => panic!("{kind:?}: {e}"),
        }
        assert_eq!(billed(&provider, day).await, whole, "after {kind:?}");
    }
}
