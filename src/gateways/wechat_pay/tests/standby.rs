//! The standby host: used where nothing has left our side, and never else.

use super::*;

/// Bound and dropped: nobody listens there.
fn nobody() -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!("http://{port}")
}

fn connector(main: &str, standby: &Provider) -> WechatPay {
    let config = Config { standby_url: Some(format!("{}/standby", standby.url)), ..vectors::config(main) };
    WechatPay::new(config, Arc::new(vectors::Stopped)).unwrap()
}

#[tokio::test]
async fn without_a_connection_to_the_main_host_the_standby_is_asked_for_changes_too() {
    let standby = Provider::signs(200, json!({"code_url": "weixin://wxpay/bizpayurl?pr=abc"})).await;
    let connector = connector(&nobody(), &standby);
    connector.open(&vectors::open_payment()).await.unwrap();
    let requests = standby.requests.lock().unwrap();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].0.uri, "/standby/v3/pay/transactions/native");
}

#[tokio::test]
async fn what_may_have_been_sent_goes_nowhere_else() {
    let standby = Provider::signs(200, trade()).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs_up = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.readable().await.unwrap();
            drop(stream);
        }
    });
    unknown(connector(&hangs_up, &standby).open(&vectors::open_payment()).await);
    let broken = Provider::refuses(500, "SYSTEM_ERROR").await;
    unknown(connector(&broken.url, &standby).open(&vectors::open_payment()).await);
    unknown(connector(&broken.url, &standby).find(&vectors::payment()).await);
    assert_eq!(standby.asked(), 0);
}

#[tokio::test]
async fn with_both_hosts_away_nothing_is_sent() {
    let config = Config { standby_url: Some(nobody()), ..vectors::config(&nobody()) };
    let outcome = WechatPay::new(config, Arc::new(vectors::Stopped)).unwrap().open(&vectors::open_payment()).await;
    assert!(matches!(outcome, Err(GatewayError::NotSent(_))), "{outcome:?}");
}
