//! What the wire does to a call: an outcome that is not known is never taken for another, and asking or sending
//! again finds it.

use std::time::{Duration, Instant};

use payonce::payments::ports::{Closed, GatewayError, GatewayPayment};
use sandbox::{Call, FaultKind};

use super::refunding::{ends, is_done};
use super::{Provider, kept_by_every_gateway};

kept_by_every_gateway!(
    what_was_opened_in_doubt_is_one_payment,
    a_refund_in_doubt_happens_once,
    a_close_in_doubt_is_found,
    a_question_is_answered_truly_or_not_at_all,
    what_never_left_is_known_not_to_have_left,
    every_call_ends_within_its_deadline,
);

/// It happened, and the answer cannot be used.
const HAPPENED: [FaultKind; 5] = [
    FaultKind::LoseAnswer,
    FaultKind::Error500After,
    FaultKind::Unsigned,
    FaultKind::WronglySigned,
    FaultKind::Signtest,
];
/// It did not happen, and the caller cannot know.
const DID_NOT_HAPPEN: [FaultKind; 2] = [FaultKind::LoseRequest, FaultKind::Error500];

fn is_unknown<T: std::fmt::Debug>(outcome: &Result<T, GatewayError>) -> bool {
    matches!(outcome, Err(GatewayError::Unknown(_)))
}

async fn what_was_opened_in_doubt_is_one_payment(provider: Provider) {
    let mut asked = 0;
    for product in provider.products() {
        for kind in HAPPENED.into_iter().chain(DID_NOT_HAPPEN).chain([FaultKind::OtherAnswer]) {
            let request = provider.request(product, 1_280);
            provider.fault(Call::Open, kind);
            let calls = provider.sandbox.calls().len();
            let outcome = provider.connector.open(&request).await;
            if provider.sandbox.calls().len() > calls {
                asked += 1;
                let handed = kind == FaultKind::OtherAnswer && outcome.is_ok();
                assert!(handed || is_unknown(&outcome), "{product:?}, {kind:?}: {outcome:?}");
            }
            // Some products ask nobody when they are opened: then nothing could go wrong.
            provider.sandbox.clear_faults();
            let opened = provider.connector.open(&request).await.unwrap();
            provider.comes(&opened.action).await;
            provider.pays(&request.number).await;
            assert_eq!(provider.charges(&request.number), [1_280], "{product:?}, {kind:?}");
            let found = provider.finds(&request.number).await;
            assert!(matches!(found, Some(GatewayPayment::Paid(_))), "{product:?}, {kind:?}: {found:?}");
        }
    }
    assert!(asked > 0, "no product asks anybody: nothing was tried");
}

async fn a_refund_in_doubt_happens_once(provider: Provider) {
    for kind in HAPPENED.into_iter().chain([FaultKind::OtherAnswer]) {
        let payment = provider.paid(10_000).await;
        let refund = provider.refund_of(&payment, 2_500);
        provider.fault(Call::Refund, kind);
        let outcome = provider.connector.refund(&refund).await;
        assert!(is_unknown(&outcome), "{kind:?}: {outcome:?}");
        let found = ends(&provider, &refund).await;
        assert!(is_done(found.as_ref(), 2_500), "{kind:?}: {found:?}");
        assert_eq!(provider.connector.refund(&refund).await.ok(), found, "{kind:?}: sent again");
        assert_eq!(provider.given_back(&payment.number), [2_500], "{kind:?}");
    }
    for kind in DID_NOT_HAPPEN {
        let payment = provider.paid(10_000).await;
        let refund = provider.refund_of(&payment, 2_500);
        provider.fault(Call::Refund, kind);
        let outcome = provider.connector.refund(&refund).await;
        assert!(is_unknown(&outcome), "{kind:?}: {outcome:?}");
        assert_eq!(ends(&provider, &refund).await, None, "{kind:?}");
        provider.connector.refund(&refund).await.unwrap();
        assert!(is_done(ends(&provider, &refund).await.as_ref(), 2_500), "{kind:?}");
        assert_eq!(provider.given_back(&payment.number), [2_500], "{kind:?}");
    }
}

async fn a_close_in_doubt_is_found(provider: Provider) {
    for kind in HAPPENED.into_iter().chain(DID_NOT_HAPPEN) {
        let request = provider.opened(provider.a_product(), 1_280).await;
        provider.fault(Call::Close, kind);
        let outcome = provider.connector.close(&request.number).await;
        assert!(is_unknown(&outcome), "{kind:?}: {outcome:?}");
        let expected = if DID_NOT_HAPPEN.contains(&kind) { GatewayPayment::Open } else { GatewayPayment::Closed };
        assert_eq!(provider.finds(&request.number).await, Some(expected), "{kind:?}");
        assert_eq!(provider.connector.close(&request.number).await.unwrap(), Closed::Done, "{kind:?}, again");
    }
}

async fn a_question_is_answered_truly_or_not_at_all(provider: Provider) {
    let payment = provider.paid(10_000).await;
    let refund = provider.refund_of(&payment, 2_500);
    provider.connector.refund(&refund).await.unwrap();
    let refunded = ends(&provider, &refund).await;
    let paid = provider.finds(&payment.number).await;
    // A question makes nothing happen.
    let happened = HAPPENED.into_iter().filter(|kind| *kind != FaultKind::Error500After);
    for kind in happened.chain(DID_NOT_HAPPEN).chain([FaultKind::OtherAnswer, FaultKind::RateLimited]) {
        provider.fault(Call::Find, kind);
        let found = provider.connector.find(&payment.number).await;
        let unsaid = matches!(found, Err(GatewayError::Unknown(_) | GatewayError::Later(_)));
        assert!(unsaid || found.as_ref().ok() == Some(&paid), "{kind:?}: {found:?}");
        provider.fault(Call::FindRefund, kind);
        let found = provider.connector.find_refund(&refund.number, &payment.number).await;
        let unsaid = matches!(found, Err(GatewayError::Unknown(_) | GatewayError::Later(_)));
        assert!(unsaid || found.as_ref().ok() == Some(&refunded), "{kind:?}: {found:?}");
        provider.sandbox.clear_faults();
    }
}

async fn what_never_left_is_known_not_to_have_left(provider: Provider) {
    let gateway = &provider.cut_off;
    let payment = provider.paid(10_000).await;
    let refund = provider.refund_of(&payment, 2_500);
    let not_sent = |outcome: Option<GatewayError>| assert!(matches!(outcome, Some(GatewayError::NotSent(_))));
    not_sent(gateway.find(&payment.number).await.err());
    not_sent(gateway.close(&payment.number).await.err());
    not_sent(gateway.refund(&refund).await.err());
    not_sent(gateway.find_refund(&refund.number, &payment.number).await.err());
    let mut asked = 0;
    for product in provider.products() {
        if let Err(error) = gateway.open(&provider.request(product, 1_280)).await {
            not_sent(Some(error));
            asked += 1;
        }
    }
    assert!(asked > 0, "no product asks anybody: nothing was tried");
}

async fn every_call_ends_within_its_deadline(provider: Provider) {
    let gateway = &provider.hurried;
    let payment = provider.paid(10_000).await;
    let refund = provider.refund_of(&payment, 2_500);
    for call in [Call::Open, Call::Find, Call::Close, Call::Refund, Call::FindRefund] {
        provider.fault(call, FaultKind::DelayMs(60_000));
    }
    let begun = Instant::now();
    assert!(is_unknown(&gateway.find(&payment.number).await));
    assert!(is_unknown(&gateway.close(&payment.number).await));
    assert!(is_unknown(&gateway.refund(&refund).await));
    assert!(is_unknown(&gateway.find_refund(&refund.number, &payment.number).await));
    let mut outcomes = Vec::new();
    for product in provider.products() {
        outcomes.push(gateway.open(&provider.request(product, 1_280)).await.err());
    }
    assert!(outcomes.iter().any(|error| matches!(error, Some(GatewayError::Unknown(_)))), "{outcomes:?}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}
