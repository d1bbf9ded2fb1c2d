//! `read_notification`: what is genuine is read, and nothing else has any effect.

use axum::body::Bytes;
use axum::http::HeaderMap;
use payonce::payments::ports::{Clock, GatewayPayment, GatewayRefundState, News, NotificationError};
use sandbox::{Call, FaultKind};

use super::provider::{Notice, yuan};
use super::refunding::ends;
use super::{Provider, kept_by_every_gateway};

kept_by_every_gateway!(
    a_payment_is_told_with_the_evidence_that_a_question_finds,
    a_repeat_says_the_same_under_the_same_id,
    a_refund_is_never_told_as_a_payment,
    what_was_altered_has_no_effect,
    what_is_not_signed_well_has_no_effect,
    what_is_for_another_merchant_is_not_ours,
);

/// A payment of 100 yuan and what the shop was told of it.
async fn told(provider: &Provider) -> (domain::OpenPayment, Notice) {
    let payment = provider.paid(10_000).await;
    let mut notices = provider.notices().await;
    assert_eq!(notices.len(), 1);
    (payment, notices.remove(0))
}

async fn a_payment_is_told_with_the_evidence_that_a_question_finds(provider: Provider) {
    for product in provider.products() {
        let payment = provider.opened(product, 9_999).await;
        provider.pays(&payment.number).await;
        let notices = provider.notices().await;
        let [notice] = notices.as_slice() else { panic!("{product:?}: {} notifications", notices.len()) };
        let calls = provider.sandbox.calls().len();
        let notification = provider.reads(notice).unwrap();
        assert_eq!(provider.sandbox.calls().len(), calls, "{product:?}: reading asks nobody");
        let News::Paid { number, evidence, order } = notification.news else {
            panic!("{product:?}: {:?}", notification.news)
        };
        assert_eq!(order, Some(payment.order.clone()), "{product:?}");
        assert_eq!((number.as_str(), evidence.amount), (payment.number.as_str(), yuan(9_999)), "{product:?}");
        assert_eq!(provider.finds(&payment.number).await, Some(GatewayPayment::Paid(evidence)), "{product:?}");
        assert!(!notification.id.is_empty() && notification.facts.is_object(), "{product:?}");
    }
}

async fn a_repeat_says_the_same_under_the_same_id(provider: Provider) {
    provider.fault(Call::Notify, FaultKind::Duplicate);
    provider.paid(10_000).await;
    let notices = provider.notices().await;
    assert_eq!(notices.len(), 2);
    let [one, other] = [provider.reads(&notices[0]).unwrap(), provider.reads(&notices[1]).unwrap()];
    assert_eq!((&one.id, &one.news), (&other.id, &other.news));
    provider.paid(10_000).await;
    let another = provider.reads(&provider.notices().await[0]).unwrap();
    assert_ne!(another.id, one.id);
}

/// Some providers tell of refunds, some only hint at them; none may look like money that came in.
async fn a_refund_is_never_told_as_a_payment(provider: Provider) {
    let (payment, _) = told(&provider).await;
    let refund = provider.refund_of(&payment, 2_500);
    provider.connector.refund(&refund).await.unwrap();
    ends(&provider, &refund).await;
    let notices = provider.notices().await;
    assert!(!notices.is_empty(), "nobody told of the refund");
    for notice in notices {
        match provider.reads(&notice).unwrap().news {
            News::Other { .. } => {}
            News::Refund { number, payment: of, refund: told } => {
                assert_eq!((number.as_str(), of.as_str()), (refund.number.as_str(), payment.number.as_str()));
                assert_eq!(told.amount, yuan(2_500));
                assert!(matches!(told.state, GatewayRefundState::Succeeded { .. }), "{told:?}");
            }
            News::Paid { .. } => panic!("a refund was told as a payment"),
        }
    }
}

async fn what_was_altered_has_no_effect(provider: Provider) {
    let (_, (headers, body)) = told(&provider).await;
    provider.reads(&(headers.clone(), body.clone())).unwrap();
    for at in 0..body.len() {
        let mut altered = body.to_vec();
        altered[at] ^= 1;
        let read = provider.reads(&(headers.clone(), Bytes::from(altered)));
        assert!(matches!(read, Err(NotificationError::Invalid(_))), "byte {at} of {body:?}: {read:?}");
    }
    for wrong in [Bytes::new(), body.slice(1..), body.slice(..body.len() - 1), Bytes::from_static(b"{}")] {
        let read = provider.reads(&(headers.clone(), wrong.clone()));
        assert!(matches!(read, Err(NotificationError::Invalid(_))), "{wrong:?}: {read:?}");
    }
}

async fn what_is_not_signed_well_has_no_effect(provider: Provider) {
    for kind in [FaultKind::Unsigned, FaultKind::WronglySigned, FaultKind::Signtest] {
        provider.fault(Call::Notify, kind);
        let (_, notice) = told(&provider).await;
        let read = provider.reads(&notice);
        assert!(matches!(read, Err(NotificationError::Invalid(_))), "{kind:?}: {read:?}");
    }
    // Nobody's at all: an empty request, as scanners send them.
    let read = provider.connector.read_notification(&HeaderMap::new(), b"", provider.clock.now());
    assert!(matches!(read, Err(NotificationError::Invalid(_))), "{read:?}");
}

async fn what_is_for_another_merchant_is_not_ours(provider: Provider) {
    let (_, (headers, body)) = told(&provider).await;
    let ours = provider.reads(&(headers.clone(), body.clone())).unwrap();
    let read = provider.of_another_merchant.read_notification(&headers, &body, provider.clock.now());
    let Err(NotificationError::NotOurs { id, facts, .. }) = read else { panic!("{read:?}") };
    assert_eq!((id, *facts), (ours.id, ours.facts));
}
