//! `open` and `find`: one number is one payment, and where it stands is told truly.

use domain::{Currency, Duration, Evidence, Money};
use payonce::payments::ports::{Clock, GatewayError, GatewayPayment};

use super::provider::yuan;
use super::{Provider, kept_by_every_gateway};

kept_by_every_gateway!(
    the_same_request_is_the_same_payment,
    one_number_has_one_content,
    a_payment_is_found_where_it_stands,
    what_nobody_opened_is_not_there,
    what_ran_out_cannot_be_paid,
    money_is_exact,
    money_of_another_currency_never_leaves,
);

async fn the_same_request_is_the_same_payment(provider: Provider) {
    for product in provider.products() {
        let request = provider.request(product, 1_280);
        let (one, other) = tokio::join!(provider.connector.open(&request), provider.connector.open(&request));
        for opened in [one.unwrap(), other.unwrap()] {
            assert!(provider.clock.now() < opened.until && opened.until <= request.expires_at, "{product:?}");
            provider.comes(&opened.action).await;
        }
        provider.pays(&request.number).await;
        // It may be refused by now, or be handed out by whoever asks nobody: it is paid either way.
        match provider.connector.open(&request).await {
            Ok(opened) => provider.comes(&opened.action).await,
            Err(GatewayError::Refused(_)) => {}
            Err(error) => panic!("{product:?}: {error}"),
        }
        assert!(provider.sandbox.pay(request.number.as_str()).await.is_err(), "{product:?} was paid twice");
        assert_eq!(provider.charges(&request.number), [1_280], "{product:?}");
        assert!(matches!(provider.finds(&request.number).await, Some(GatewayPayment::Paid(_))), "{product:?}");
    }
}

async fn one_number_has_one_content(provider: Provider) {
    for product in provider.products() {
        let request = provider.opened(product, 1_280).await;
        let dearer = domain::OpenPayment { amount: yuan(1_281), ..request.clone() };
        match provider.connector.open(&dearer).await {
            Ok(opened) => provider.comes(&opened.action).await,
            Err(GatewayError::Refused(_)) => {}
            Err(error) => panic!("{product:?}: {error}"),
        }
        provider.pays(&request.number).await;
        assert_eq!(provider.charges(&request.number), [1_280], "{product:?}");
    }
}

async fn a_payment_is_found_where_it_stands(provider: Provider) {
    for product in provider.products() {
        let request = provider.request(product, 9_999);
        let opened = provider.connector.open(&request).await.unwrap();
        // A provider may not know a payment before the payer comes.
        assert!(matches!(provider.finds(&request.number).await, None | Some(GatewayPayment::Open)), "{product:?}");
        provider.comes(&opened.action).await;
        assert_eq!(provider.finds(&request.number).await, Some(GatewayPayment::Open), "{product:?}");
        provider.declines(&request.number).await;
        assert_eq!(provider.finds(&request.number).await, Some(GatewayPayment::Open), "{product:?}, declined");

        provider.waits(Duration::minutes(1)).await;
        let at = provider.clock.now();
        provider.pays(&request.number).await;
        provider.waits(Duration::minutes(1)).await;
        let Some(GatewayPayment::Paid(Evidence { transaction_id, amount, paid_at })) =
            provider.finds(&request.number).await
        else {
            panic!("{product:?} was paid");
        };
        assert_eq!((amount, paid_at.timestamp()), (yuan(9_999), at.timestamp()), "{product:?}");
        assert!(!transaction_id.is_empty() && transaction_id != request.number.as_str(), "{product:?}");
    }
}

async fn what_nobody_opened_is_not_there(provider: Provider) {
    let (number, refund) = (provider.number(), provider.refund_number());
    assert_eq!(provider.finds(&number).await, None);
    assert_eq!(provider.connector.find_refund(&refund, &number).await.unwrap(), None);
    let paid = provider.paid(100).await;
    assert_eq!(provider.connector.find_refund(&refund, &paid.number).await.unwrap(), None);
}

async fn what_ran_out_cannot_be_paid(provider: Provider) {
    for product in provider.products() {
        let request = provider.opened(product, 1_280).await;
        provider.clock.turn(Duration::minutes(31));
        assert!(provider.sandbox.pay(request.number.as_str()).await.is_err(), "{product:?}");
        assert_eq!(provider.finds(&request.number).await, Some(GatewayPayment::Closed), "{product:?}");
    }
}

async fn money_is_exact(provider: Provider) {
    for minor in [1, 9, 10, 29, 99, 100, 101, 1_005, 1_280, 99_999, 123_456_789] {
        let request = provider.paid(minor).await;
        let Some(GatewayPayment::Paid(evidence)) = provider.finds(&request.number).await else { panic!("{minor}") };
        assert_eq!((evidence.amount, provider.charges(&request.number)), (yuan(minor), vec![minor]));
    }
}

async fn money_of_another_currency_never_leaves(provider: Provider) {
    for product in provider.products() {
        let yen = Money { minor: 1_280, currency: Currency::parse("JPY").unwrap() };
        let request = domain::OpenPayment { amount: yen, ..provider.request(product, 1) };
        let refused = provider.connector.open(&request).await;
        assert!(matches!(refused, Err(GatewayError::Refused(_))), "{product:?}: {refused:?}");
    }
    assert_eq!(provider.sandbox.calls(), []);
}
