//! `refund` and `find_refund`: one number is one refund, accepted is not success, and never more than was paid.

use domain::Duration;
use payonce::payments::ports::{GatewayError, GatewayPayment, GatewayRefund, GatewayRefundState, RefundRequest};
use sandbox::{Call, FaultKind};

use super::provider::yuan;
use super::{Provider, kept_by_every_gateway};

kept_by_every_gateway!(
    a_refund_is_done_once,
    a_payment_given_back_was_paid,
    one_refund_number_has_one_content,
    more_than_was_paid_is_refused,
    what_nobody_paid_is_not_given_back,
    what_cannot_be_given_back_now_can_be_later,
    a_refund_that_ends_badly_is_no_success,
);

/// Providers want a pause between two refunds of a payment; this one is enough for all.
const PAUSE: Duration = Duration::minutes(1);

/// Where the refund stands when it had its time.
pub async fn ends(provider: &Provider, refund: &RefundRequest) -> Option<GatewayRefund> {
    provider.waits(Duration::minutes(1)).await;
    provider.connector.find_refund(&refund.number, &refund.payment).await.unwrap()
}

pub fn is_done(found: Option<&GatewayRefund>, minor: i64) -> bool {
    found.is_some_and(|refund| {
        refund.amount == yuan(minor) && matches!(refund.state, GatewayRefundState::Succeeded { .. })
    })
}

async fn a_refund_is_done_once(provider: Provider) {
    for product in provider.products() {
        let payment = provider.opened(product, 10_000).await;
        provider.pays(&payment.number).await;
        let refund = provider.refund_of(&payment, 2_500);
        for _ in 0..2 {
            let accepted = provider.connector.refund(&refund).await.unwrap();
            assert_eq!(accepted.amount, yuan(2_500), "{product:?}");
            let under_way =
                matches!(accepted.state, GatewayRefundState::Processing | GatewayRefundState::Succeeded { .. });
            assert!(under_way, "{product:?}: {accepted:?}");
        }
        let found = ends(&provider, &refund).await;
        assert!(is_done(found.as_ref(), 2_500), "{product:?}: {found:?}");
        let again = provider.connector.refund(&refund).await.unwrap();
        assert_eq!(Some(again), found, "{product:?}: the same again, done");
        assert_eq!(provider.given_back(&payment.number), [2_500], "{product:?}");
    }
}

async fn a_payment_given_back_was_paid(provider: Provider) {
    let payment = provider.paid(10_000).await;
    let Some(GatewayPayment::Paid(evidence)) = provider.finds(&payment.number).await else { panic!("not paid") };
    let returned = GatewayPayment::Returned(evidence.clone());
    for part in [1, 9_998, 1] {
        let refund = provider.refund_of(&payment, part);
        provider.connector.refund(&refund).await.unwrap();
        assert!(is_done(ends(&provider, &refund).await.as_ref(), part));
        // Not every provider tells that a part went back.
        let found = provider.finds(&payment.number).await.unwrap();
        assert!(found == returned || found == GatewayPayment::Paid(evidence.clone()), "{found:?}");
        provider.clock.turn(PAUSE);
    }
    assert_eq!(provider.finds(&payment.number).await, Some(returned), "given back, it is still what was paid");
    assert_eq!(provider.given_back(&payment.number), [1, 9_998, 1]);
}

async fn one_refund_number_has_one_content(provider: Provider) {
    let payment = provider.paid(10_000).await;
    let refund = provider.refund_of(&payment, 2_500);
    provider.connector.refund(&refund).await.unwrap();
    provider.clock.turn(PAUSE);
    let other = RefundRequest { amount: yuan(2_600), ..refund.clone() };
    let refused = provider.connector.refund(&other).await;
    assert!(matches!(refused, Err(GatewayError::Refused(_) | GatewayError::Unknown(_))), "{refused:?}");
    assert!(is_done(ends(&provider, &refund).await.as_ref(), 2_500));
    assert_eq!(provider.given_back(&payment.number), [2_500]);
}

async fn more_than_was_paid_is_refused(provider: Provider) {
    let payment = provider.paid(10_000).await;
    let refused = provider.connector.refund(&provider.refund_of(&payment, 10_001)).await;
    assert!(matches!(refused, Err(GatewayError::Refused(_))), "{refused:?}");
    let part = provider.refund_of(&payment, 6_000);
    provider.connector.refund(&part).await.unwrap();
    provider.waits(PAUSE).await;
    let too_much = provider.refund_of(&payment, 4_001);
    let refused = provider.connector.refund(&too_much).await;
    assert!(matches!(refused, Err(GatewayError::Refused(_))), "{refused:?}");
    assert_eq!(ends(&provider, &too_much).await, None);
    assert_eq!(provider.given_back(&payment.number), [6_000]);
}

async fn what_nobody_paid_is_not_given_back(provider: Provider) {
    let open = provider.opened(provider.a_product(), 10_000).await;
    let unknown = provider.request(provider.a_product(), 10_000);
    for payment in [open, unknown] {
        let refused = provider.connector.refund(&provider.refund_of(&payment, 100)).await;
        assert!(matches!(refused, Err(GatewayError::Refused(_))), "{refused:?}");
    }
    assert_eq!(provider.sandbox.ledger().refunds, []);
}

async fn what_cannot_be_given_back_now_can_be_later(provider: Provider) {
    for not_yet in [FaultKind::NotEnough, FaultKind::RateLimited] {
        let payment = provider.paid(10_000).await;
        let refund = provider.refund_of(&payment, 2_500);
        provider.fault(Call::Refund, not_yet);
        let later = provider.connector.refund(&refund).await;
        // Of "too fast" WeChat Pay says that the refund may be accepted all the same.
        let in_doubt = not_yet == FaultKind::RateLimited && matches!(later, Err(GatewayError::Unknown(_)));
        assert!(in_doubt || matches!(later, Err(GatewayError::Later(_))), "{not_yet:?}: {later:?}");
        provider.connector.refund(&refund).await.unwrap();
        assert!(is_done(ends(&provider, &refund).await.as_ref(), 2_500), "{not_yet:?}");
        assert_eq!(provider.given_back(&payment.number), [2_500], "{not_yet:?}");
    }
}

/// Closed, refused by the bank, or never found again: each provider has its own way, and none is a success.
async fn a_refund_that_ends_badly_is_no_success(provider: Provider) {
    for bad in [FaultKind::RefundClosed, FaultKind::RefundAbnormal] {
        let payment = provider.paid(10_000).await;
        let refund = provider.refund_of(&payment, 2_500);
        provider.fault(Call::Refund, bad);
        let accepted = provider.connector.refund(&refund).await;
        let succeeded = |refund: &GatewayRefund| matches!(refund.state, GatewayRefundState::Succeeded { .. });
        assert!(!accepted.as_ref().is_ok_and(succeeded), "{bad:?}: {accepted:?}");
        let found = ends(&provider, &refund).await;
        assert!(!found.as_ref().is_some_and(succeeded), "{bad:?}: {found:?}");
        assert!(
            !matches!(found, Some(GatewayRefund { state: GatewayRefundState::Processing, .. })),
            "{bad:?}: it is over, and somebody must hear of it"
        );
        assert_eq!(provider.given_back(&payment.number), Vec::<i64>::new(), "{bad:?}");
    }
}
