//! What goes wrong on the way of an answer.

use std::{error::Error, io, time::Duration};

use reqwest::{Method, StatusCode};
use sandbox::{Call, FaultKind};

use crate::{merchant_crypto::is_signed, shop::Shop};

fn is_reset(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::ConnectionReset) {
            return true;
        }
        cause = inner.source();
    }
    false
}

#[tokio::test]
async fn a_connection_can_be_reset_before_the_effect_after_it_and_in_the_middle_of_a_body() {
    let shop = Shop::open().await;
    for (kind, found) in [(FaultKind::ResetRequest, 404), (FaultKind::ResetAnswer, 200), (FaultKind::ResetMidBody, 200)]
    {
        let number = format!("ORDER-{kind:?}");
        shop.fault(Call::Open, kind);
        let order = shop.order(&number, 100).to_string();
        let reset = shop.try_ask(Method::POST, "/v3/pay/transactions/native", &order).await;
        let error = reset.err().expect("no whole answer");
        assert!(is_reset(&error), "{error:?}");
        assert_eq!(error.is_body() || error.is_decode(), kind == FaultKind::ResetMidBody, "{error:?}");
        assert_eq!(shop.find(&number).await.status, found, "{kind:?}");
    }
}

#[tokio::test]
async fn somebody_in_between_can_answer_or_send_elsewhere() {
    let shop = Shop::open().await;
    for (kind, status, found) in [
        (FaultKind::HttpError(502), 502, 404),
        (FaultKind::HttpErrorAfter(504), 504, 200),
        (FaultKind::Redirect, 307, 404),
    ] {
        let number = format!("ORDER-{status}");
        shop.fault(Call::Open, kind);
        let answer = shop.native(&shop.order(&number, 100)).await;
        assert_eq!(answer.status, status);
        assert!(!is_signed(&shop.merchant, &answer.headers, &answer.body));
        if status == 307 {
            assert_eq!(answer.headers["location"], "/v3/pay/transactions/native");
        }
        assert_eq!(shop.find(&number).await.status, found, "{kind:?}");
    }
}

#[tokio::test]
async fn an_answer_can_be_empty_huge_packed_or_without_end() {
    let shop = Shop::open().await;
    for kind in [FaultKind::Empty, FaultKind::Huge] {
        shop.fault(Call::Open, kind);
        let answer = shop.native(&shop.order("ORDER-1", 100)).await;
        assert_eq!(answer.status, StatusCode::OK);
        shop.verify(&answer.headers, &answer.body);
        assert_eq!(answer.body.is_empty(), kind == FaultKind::Empty);
        assert_eq!(answer.body.len() > 256 * 1024, kind == FaultKind::Huge);
    }
    shop.fault(Call::Open, FaultKind::SlowDrip);
    let slow = tokio::time::timeout(Duration::from_secs(1), shop.native(&shop.order("ORDER-1", 100))).await;
    assert!(slow.is_err(), "it has come already");

    shop.fault(Call::Find, FaultKind::GzipBomb);
    let target = format!("/v3/pay/transactions/out-trade-no/ORDER-1?mchid={}", shop.merchant.mchid);
    let bomb = shop.try_ask(Method::GET, &target, "").await.expect("an answer");
    assert_eq!(bomb.headers["content-encoding"], "gzip");
    assert_eq!(bomb.headers["content-length"], "10208");
}
