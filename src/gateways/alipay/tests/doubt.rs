//! What goes wrong on the way, and what a wrong configuration says.

use super::*;

#[tokio::test]
async fn a_no_is_refused_and_a_not_yet_is_later() {
    for (code, sub_code) in
        [("40004", "ACQ.TRADE_HAS_SUCCESS"), ("40004", "ACQ.CONTEXT_INCONSISTENT"), ("40002", "isv.invalid-signature")]
    {
        let provider = Provider::refuses(code, sub_code).await;
        assert_eq!(refusal(provider.connector().open(&open_payment(PaymentProduct::Precreate)).await), sub_code);
        assert_eq!(provider.asked(), 1);
    }
    for (code, sub_code) in [("40004", "ACQ.SELLER_BALANCE_NOT_ENOUGH"), ("40005", "isv.app-call-limited")] {
        let provider = Provider::refuses(code, sub_code).await;
        let outcome = provider.connector().refund(&refund_request()).await;
        assert!(matches!(outcome, Err(GatewayError::Later(refusal)) if refusal.code == sub_code));
    }
    let discordant = Provider::refuses("40004", "ACQ.DISCORDANT_REPEAT_REQUEST").await;
    let outcome = discordant.connector().refund(&refund_request()).await;
    assert!(matches!(outcome, Err(GatewayError::Refused(refusal)) if refusal.number_is_used()));
    let broken = Provider::refuses("20000", "aop.ACQ.SYSTEM_ERROR").await;
    assert_eq!(unknown(broken.connector().refund(&refund_request()).await), "20000 aop.ACQ.SYSTEM_ERROR");
    assert_eq!(broken.asked(), 1);
}

#[tokio::test]
async fn an_answer_that_nobody_signed_or_that_leaves_a_doubt_is_unknown() {
    let find = Call::Find.method();
    let good = || answer(find, &trade(json!({})).to_string());
    let unsigned = json!({"alipay_trade_query_response": trade(json!({}))}).to_string();
    let node = trade(json!({"total_amount": "0.01"})).to_string();
    let twice = format!("{},\"alipay_trade_query_response\":{node}}}", good().strip_suffix('}').unwrap());
    let success_as_error = good().replace("alipay_trade_query_response", "error_response");
    for (body, why) in [
        (unsigned, "a success that nobody signed"),
        (good().replace("\"1.00\"", "\"1.01\""), "the signature does not fit"),
        (twice, "the answer has a member twice"),
        (success_as_error, "a success that calls itself an error"),
        (answer("alipay.trade.close", &trade(json!({})).to_string()), "the answer has no node of this method"),
        (answer(find, "{\"msg\":\"Success\"}"), "the answer has no code"),
        ("<html>".to_owned(), "the answer is no JSON"),
        (String::new(), "the answer is no JSON"),
    ] {
        let provider = Provider::start(move |_| plain(200, body.clone())).await;
        assert_eq!(unknown(provider.connector().find(&payment()).await), why);
        assert_eq!(provider.asked(), 1);
    }
    let vectors = vectors::response();
    let wrong_app = vectors["cases"].as_array().unwrap().iter().find(|case| case["id"] == "gateway_error_unsigned");
    let body = text(&wrong_app.unwrap()["raw"]).to_owned();
    let provider = Provider::start(move |_| plain(200, body.clone())).await;
    assert_eq!(refusal(provider.connector().find(&payment()).await), "isv.invalid-app-id");
}

#[tokio::test]
async fn other_statuses_decide_nothing_and_only_a_question_is_asked_again() {
    let good = || answer(Call::Find.method(), &trade(json!({})).to_string());
    for (status, asked) in [(500, 3), (503, 3), (302, 1), (404, 1), (429, 1), (202, 1)] {
        let provider = Provider::start(move |_| plain(status, good())).await;
        unknown(provider.connector().find(&payment()).await);
        assert_eq!(provider.asked(), asked, "{status}");
        unknown(provider.connector().refund(&refund_request()).await);
        unknown(provider.connector().close(&payment()).await);
        unknown(provider.connector().open(&open_payment(PaymentProduct::Precreate)).await);
        assert_eq!(provider.asked(), asked + 3, "{status}");
    }
}

#[tokio::test]
async fn reading_stops_at_the_limit() {
    for size in [256 * 1024, 256 * 1024 + 1] {
        let body = vec![b' '; size];
        let provider = Provider::start(move |_| plain(200, body.clone())).await;
        let why = unknown(provider.connector().find(&payment()).await);
        assert_eq!(why.contains("longer than 262144 bytes"), size > 256 * 1024, "{why}");
    }
}

#[tokio::test]
async fn no_connection_means_not_sent_and_silence_is_unknown() {
    // Bound and dropped: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let connector = vectors::alipay(&format!("http://{port}/gateway.do"));
    let open = connector.open(&open_payment(PaymentProduct::Precreate)).await;
    assert!(matches!(open, Err(GatewayError::NotSent(_))), "{open:?}");
    let refund = connector.refund(&refund_request()).await;
    assert!(matches!(refund, Err(GatewayError::NotSent(_))), "{refund:?}");

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}/gateway.do", listener.local_addr().unwrap());
    let config = Config { timeout: Duration::from_millis(200), ..vectors::config(&silent) };
    let connector = Alipay::new(config, Arc::new(Stopped)).unwrap();
    assert_eq!(unknown(connector.find(&payment()).await), "no answer within 200 ms");
    assert_eq!(unknown(connector.refund(&refund_request()).await), "no answer within 200 ms");
}

#[tokio::test]
async fn a_refund_and_its_question_share_one_deadline() {
    let provider = Provider::start(|method| {
        if method == Call::Refund.method() {
            return plain(200, answer(method, &refunded("N").to_string()));
        }
        plain(200, Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>()))
    })
    .await;
    let config = Config { timeout: Duration::from_millis(500), ..vectors::config(&provider.url) };
    let connector = Alipay::new(config, Arc::new(Stopped)).unwrap();
    let begun = Instant::now();
    assert_eq!(connector.refund(&refund_request()).await.unwrap(), forty(GatewayRefundState::Processing));
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
}

#[test]
fn a_wrong_configuration_says_what_would_be_right() {
    let good = || vectors::config(Config::GATEWAY_URL);
    let keys = &vectors::keys()["alipay"];
    let (app, alipay) = (text(&keys["app"]["public_spki_bare"]), text(&keys["alipay"]["public_spki_bare"]));
    let certificate = text(&keys["cert_mode"]["alipay_public_cert_pem"]);
    let private = text(&keys["app"]["private_pkcs8_pem"]);
    let public_key = |key: &str| Config { mode: Mode::PublicKey(key.to_owned()), ..good() };
    let cases = [
        (Config { gateway_url: "openapi.alipay.com".into(), ..good() }, "gateway_url", "is not a URL"),
        (Config { gateway_url: "ftp://h".into(), ..good() }, "gateway_url", "neither http nor https"),
        (Config { gateway_url: "https://h/?a=1".into(), ..good() }, "gateway_url", "carries a query"),
        (Config { gateway_url: "https://a:b@h".into(), ..good() }, "gateway_url", "carries a user name"),
        (Config { browser_url: Some("h".into()), ..good() }, "browser_url", "is not a URL"),
        (Config { app_id: "wx1".into(), ..good() }, "app_id", "16 digits"),
        (Config { seller_id: "2021000000000001".into(), ..good() }, "seller_id", "2088"),
        (Config { private_key: "no".into(), ..good() }, "private_key", "is neither PEM nor base64"),
        (Config { private_key: alipay.into(), ..good() }, "private_key", "is damaged or not an RSA key"),
        (Config { private_key: WEAK_PRIVATE_KEY.into(), ..good() }, "private_key", "fewer than 2048 bits"),
        (Config { private_key: EC_PRIVATE_KEY.into(), ..good() }, "private_key", "not an RSA key"),
        (Config { private_key: app.into(), ..good() }, "private_key", "is damaged or not an RSA key"),
        (public_key(""), "alipay_public_key", "is neither PEM nor base64"),
        (public_key(app), "alipay_public_key", "is the app's own public key"),
        (public_key(private), "alipay_public_key", "is a private key"),
        (public_key(certificate), "alipay_public_key", "is a certificate"),
        (public_key(WEAK_PUBLIC_KEY), "alipay_public_key", "fewer than 2048"),
        (public_key(EC_PUBLIC_KEY), "alipay_public_key", "not an RSA key"),
        (Config { timeout: Duration::ZERO, ..good() }, "timeout", "8 by default"),
    ];
    for (config, field, sentence) in cases {
        let error = Alipay::new(config, Arc::new(Stopped)).unwrap_err();
        assert_eq!(error.field(), Some(field), "{error}");
        assert!(error.to_string().contains(sentence), "{error}");
    }
}

#[test]
fn nothing_secret_is_shown() {
    let shown = format!("{:?} {:?}", vectors::config(Config::GATEWAY_URL), vectors::alipay(Config::GATEWAY_URL));
    assert!(!shown.contains(&text(&vectors::keys()["alipay"]["app"]["private_pkcs8_bare"])[..40]), "{shown}");
    assert!(shown.contains("2021000000000001"));
}
