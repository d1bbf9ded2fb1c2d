//! `close`: what is closed cannot be paid, and what is paid is not closed.

use payonce::payments::ports::{Closed, GatewayError, GatewayPayment};
use sandbox::{Call, FaultKind};

use super::{Provider, kept_by_every_gateway};

kept_by_every_gateway!(
    what_is_closed_cannot_be_paid,
    what_is_paid_is_not_closed,
    what_is_paid_during_the_close_is_paid,
    what_nobody_came_to_is_closed_or_not_there,
);

async fn what_is_closed_cannot_be_paid(provider: Provider) {
    for product in provider.products() {
        let request = provider.opened(product, 1_280).await;
        assert_eq!(provider.connector.close(&request.number).await.unwrap(), Closed::Done, "{product:?}");
        assert_eq!(provider.connector.close(&request.number).await.unwrap(), Closed::Done, "{product:?}, again");
        assert!(provider.sandbox.pay(request.number.as_str()).await.is_err(), "{product:?}");
        assert_eq!(provider.finds(&request.number).await, Some(GatewayPayment::Closed), "{product:?}");
    }
}

async fn what_is_paid_is_not_closed(provider: Provider) {
    for product in provider.products() {
        let request = provider.opened(product, 1_280).await;
        provider.pays(&request.number).await;
        let refused = provider.connector.close(&request.number).await;
        assert!(matches!(refused, Err(GatewayError::Refused(_))), "{product:?}: {refused:?}");
        assert!(matches!(provider.finds(&request.number).await, Some(GatewayPayment::Paid(_))), "{product:?}");
    }
}

async fn what_is_paid_during_the_close_is_paid(provider: Provider) {
    let request = provider.opened(provider.a_product(), 1_280).await;
    provider.fault(Call::Close, FaultKind::PayDuringClose);
    let refused = provider.connector.close(&request.number).await;
    assert!(matches!(refused, Err(GatewayError::Refused(_))), "{refused:?}");
    assert!(matches!(provider.finds(&request.number).await, Some(GatewayPayment::Paid(_))));
    assert_eq!(provider.charges(&request.number), [1_280]);
}

async fn what_nobody_came_to_is_closed_or_not_there(provider: Provider) {
    assert_eq!(provider.connector.close(&provider.number()).await.unwrap(), Closed::NotFound);
    for product in provider.products() {
        let request = provider.request(product, 1_280);
        provider.connector.open(&request).await.unwrap();
        match provider.connector.close(&request.number).await.unwrap() {
            Closed::Done => assert!(provider.sandbox.pay(request.number.as_str()).await.is_err(), "{product:?}"),
            // What is not there now may be there later: only the provider's silence is recorded.
            Closed::NotFound => assert_eq!(provider.finds(&request.number).await, None, "{product:?}"),
        }
    }
}
