//! The connector against a scripted provider: what each kind of answer becomes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use domain::{ClientAction, Currency, Money};
use serde_json::{Value, json};

use super::vectors::{self, EC_PRIVATE_KEY, EC_PUBLIC_KEY, WEAK_PRIVATE_KEY, WEAK_PUBLIC_KEY, text};
use super::*;
use crate::payments::ports::GatewayRefundState;

mod bills;
mod certificates;
mod standby;

/// A request as it arrived.
type Asked = (http::request::Parts, Vec<u8>);

/// A provider that answers by a script and remembers what it was asked.
struct Provider {
    url: String,
    asked: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Asked>>>,
}

impl Provider {
    async fn start(answer: impl Fn() -> Response + Clone + Send + Sync + 'static) -> Self {
        Self::answers(move |_| answer()).await
    }

    /// Answers by path and query.
    async fn answers(answer: impl Fn(&str) -> Response + Clone + Send + Sync + 'static) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (count, keep) = (asked.clone(), requests.clone());
        let app = Router::new().fallback(async move |request: Request| {
            count.fetch_add(1, Ordering::SeqCst);
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec();
            let target = parts.uri.to_string();
            keep.lock().unwrap().push((parts, body));
            answer(&target)
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, asked, requests }
    }

    async fn signs(status: u16, body: Value) -> Self {
        let body = if status == 204 { Vec::new() } else { body.to_string().into_bytes() };
        Self::start(move || {
            let mut response = plain(status, body.clone());
            response.headers_mut().extend(vectors::signed(&body));
            response
        })
        .await
    }

    async fn refuses(status: u16, code: &str) -> Self {
        let body = json!({"code": code, "message": "no"}).to_string();
        Self::start(move || plain(status, body.clone())).await
    }

    fn connector(&self) -> WechatPay {
        vectors::wechat_pay(&self.url)
    }

    /// How often a path that begins so was asked for.
    fn asked_for(&self, path: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|(parts, _)| parts.uri.path().starts_with(path)).count()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn plain(status: u16, body: impl Into<Body>) -> Response {
    Response::builder().status(status).body(body.into()).unwrap()
}

fn refusal<T: fmt::Debug>(outcome: Result<T, GatewayError>) -> String {
    match outcome {
        Err(GatewayError::Refused(refusal)) => refusal.code,
        other => panic!("{other:?}"),
    }
}

fn unknown<T: fmt::Debug>(outcome: Result<T, GatewayError>) -> String {
    match outcome {
        Err(GatewayError::Unknown(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn trade() -> Value {
    json!({"out_trade_no": vectors::payment().as_str(), "trade_state": "NOTPAY", "mchid": "1900000001"})
}

#[tokio::test]
async fn a_signed_answer_opens_a_code_and_the_request_is_as_documented() {
    let provider = Provider::signs(200, json!({"code_url": "weixin://wxpay/bizpayurl?pr=abc"})).await;
    let config = Config {
        wanted_key: Some("PUB_KEY_ID_0119000000012026010100000000000000".to_owned()),
        base_url: format!("{}/wechat/", provider.url),
        ..vectors::config("")
    };
    let opened = WechatPay::new(config, Arc::new(vectors::Stopped)).unwrap().open(&vectors::open_payment()).await;
    let url = "weixin://wxpay/bizpayurl?pr=abc".to_owned();
    let until = vectors::open_payment().expires_at;
    assert_eq!(opened.unwrap(), Opened { action: ClientAction::QrCode { url }, until });

    let requests = provider.requests.lock().unwrap();
    let (parts, body) = &requests[0];
    assert_eq!(format!("{} {}", parts.method, parts.uri), "POST /wechat/v3/pay/transactions/native");
    assert_eq!(parts.headers["accept"], "application/json");
    assert_eq!(parts.headers["content-type"], "application/json");
    assert_eq!(parts.headers["user-agent"], concat!("payonce/", env!("CARGO_PKG_VERSION")));
    assert_eq!(parts.headers["wechatpay-serial"], "PUB_KEY_ID_0119000000012026010100000000000000");
    assert!(!parts.headers.contains_key("accept-encoding"));
    let authorization = parts.headers["authorization"].to_str().unwrap();
    assert!(authorization.starts_with("WECHATPAY2-SHA256-RSA2048 mchid=\"1900000001\",nonce_str=\""));
    let body: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(body["out_trade_no"], vectors::payment().as_str());
}

#[tokio::test]
async fn questions_and_refunds_go_where_the_documents_say() {
    let refund = json!({
        "out_trade_no": vectors::payment().as_str(), "out_refund_no": vectors::refund().as_str(),
        "status": "PROCESSING", "trade_state": "CLOSED", "amount": {"refund": 40, "total": 100, "currency": "CNY"},
    });
    let provider = Provider::signs(200, refund).await;
    let connector = provider.connector();
    let accepted = GatewayRefund { amount: Money::new(40, Currency::CNY), state: GatewayRefundState::Processing };
    assert_eq!(connector.refund(&vectors::refund_request()).await.unwrap(), accepted);
    let found = connector.find_refund(&vectors::refund(), &vectors::payment()).await.unwrap();
    assert_eq!(found, Some(accepted));
    assert_eq!(connector.find(&vectors::payment()).await.unwrap(), Some(GatewayPayment::Closed));
    connector.close(&vectors::payment()).await.unwrap();

    let requests = provider.requests.lock().unwrap();
    let lines: Vec<String> = requests
        .iter()
        .map(|(parts, body)| format!("{} {} {}", parts.method, parts.uri, String::from_utf8_lossy(body)))
        .collect();
    assert_eq!(
        lines,
        [
            "POST /v3/refund/domestic/refunds {\"out_trade_no\":\"pay_00000000000000000000000001\",\
             \"out_refund_no\":\"rfd_00000000000000000000000001\",\"reason\":\"商品已售完\",\
             \"notify_url\":\"https://shop.example.com/r\",\
             \"amount\":{\"refund\":40,\"total\":100,\"currency\":\"CNY\"}}",
            "GET /v3/refund/domestic/refunds/rfd_00000000000000000000000001 ",
            "GET /v3/pay/transactions/out-trade-no/pay_00000000000000000000000001?mchid=1900000001 ",
            "POST /v3/pay/transactions/out-trade-no/pay_00000000000000000000000001/close {\"mchid\":\"1900000001\"}",
        ]
    );
}

#[tokio::test]
async fn a_close_is_done_when_the_empty_answer_is_signed() {
    let signed = Provider::signs(204, Value::Null).await;
    signed.connector().close(&vectors::payment()).await.unwrap();
    let unsigned = Provider::start(|| plain(204, "")).await;
    assert!(unknown(unsigned.connector().close(&vectors::payment()).await).starts_with("204 No Content, but"));
}

#[tokio::test]
async fn what_is_not_there_is_none_and_needs_no_closing() {
    let provider = Provider::refuses(404, "ORDER_NOT_EXIST").await;
    assert_eq!(provider.connector().find(&vectors::payment()).await.unwrap(), None);
    provider.connector().close(&vectors::payment()).await.unwrap();
    let provider = Provider::refuses(404, "RESOURCE_NOT_EXISTS").await;
    assert_eq!(provider.connector().find_refund(&vectors::refund(), &vectors::payment()).await.unwrap(), None);
    // An empty 404 is an address that does not exist, not a payment.
    let provider = Provider::start(|| plain(404, "")).await;
    unknown(provider.connector().find(&vectors::payment()).await);
    unknown(provider.connector().close(&vectors::payment()).await);
}

#[tokio::test]
async fn a_no_is_refused_and_a_not_yet_is_later() {
    for code in ["OUT_TRADE_NO_USED", "ORDERPAID", "ORDER_PAID", "ORDER_CLOSED", "PARAM_ERROR"] {
        let provider = Provider::refuses(400, code).await;
        assert_eq!(refusal(provider.connector().open(&vectors::open_payment()).await), code);
        assert_eq!(provider.asked(), 1);
    }
    let provider = Provider::refuses(400, "ORDERPAID").await;
    assert_eq!(refusal(provider.connector().close(&vectors::payment()).await), "ORDERPAID");
    let provider = Provider::refuses(403, "NOT_ENOUGH").await;
    let outcome = provider.connector().refund(&vectors::refund_request()).await;
    assert!(matches!(outcome, Err(GatewayError::Later(refusal)) if refusal.code == "NOT_ENOUGH"));
    assert_eq!(provider.asked(), 1);
    // Too fast, and it may have been accepted all the same.
    let provider = Provider::refuses(429, "FREQUENCY_LIMITED").await;
    let outcome = provider.connector().refund(&vectors::refund_request()).await;
    assert!(matches!(outcome, Err(GatewayError::Unknown(_))));
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn a_5xx_is_asked_three_times_and_sent_once() {
    let provider = Provider::refuses(500, "SYSTEM_ERROR").await;
    unknown(provider.connector().find(&vectors::payment()).await);
    assert_eq!(provider.asked(), 3);
    let provider = Provider::refuses(503, "SERVICE_UNAVAILABLE").await;
    unknown(provider.connector().open(&vectors::open_payment()).await);
    unknown(provider.connector().refund(&vectors::refund_request()).await);
    unknown(provider.connector().close(&vectors::payment()).await);
    assert_eq!(provider.asked(), 3);
}

#[tokio::test]
async fn every_try_has_its_own_nonce() {
    let provider = Provider::refuses(500, "SYSTEM_ERROR").await;
    unknown(provider.connector().find(&vectors::payment()).await);
    let requests = provider.requests.lock().unwrap();
    let signed: std::collections::HashSet<_> =
        requests.iter().map(|(parts, _)| parts.headers["authorization"].clone()).collect();
    assert_eq!(signed.len(), 3);
}

#[tokio::test]
async fn an_answer_that_nobody_signed_or_that_cannot_be_read_is_unknown() {
    let unsigned = Provider::start(|| plain(200, trade().to_string())).await;
    let why = unknown(unsigned.connector().find(&vectors::payment()).await);
    assert_eq!(why, "200 OK, but a Wechatpay header is missing, repeated or not text");
    assert_eq!(unsigned.asked(), 1);

    let altered = Provider::start(|| {
        let mut response = plain(200, trade().to_string().replace("NOTPAY", "CLOSED"));
        response.headers_mut().extend(vectors::signed(trade().to_string().as_bytes()));
        response
    })
    .await;
    assert_eq!(unknown(altered.connector().find(&vectors::payment()).await), "200 OK, but the signature does not fit");

    let other = Provider::signs(200, json!({"out_trade_no": "other", "trade_state": "CLOSED"})).await;
    unknown(other.connector().find(&vectors::payment()).await);
    let accepted = Provider::signs(202, trade()).await;
    unknown(accepted.connector().find(&vectors::payment()).await);
    let elsewhere =
        Provider::start(|| Response::builder().status(302).header("location", "/").body("".into()).unwrap());
    let elsewhere = elsewhere.await;
    unknown(elsewhere.connector().find(&vectors::payment()).await);
    assert_eq!(elsewhere.asked(), 1);
}

#[tokio::test]
async fn reading_stops_at_the_limit() {
    for size in [256 * 1024, 256 * 1024 + 1] {
        let body = vec![b' '; size];
        let provider = Provider::start(move || plain(200, body.clone())).await;
        let why = unknown(provider.connector().find(&vectors::payment()).await);
        assert_eq!(why.contains("longer than 262144 bytes"), size > 256 * 1024, "{why}");
    }
}

/// A megabyte that comes as a kilobyte: nothing is unpacked, so the signature does not fit what came.
#[tokio::test]
async fn a_packed_answer_stays_packed() {
    let bomb = {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut packer, &vec![b' '; 1 << 20]).unwrap();
        packer.finish().unwrap()
    };
    let provider = Provider::start(move || {
        let mut response = plain(200, bomb.clone());
        response.headers_mut().extend(vectors::signed(&vec![b' '; 1 << 20]));
        response.headers_mut().insert("content-encoding", http::HeaderValue::from_static("gzip"));
        response
    })
    .await;
    assert_eq!(unknown(provider.connector().find(&vectors::payment()).await), "200 OK, but the signature does not fit");
}

/// Asked by WeChat Pay's own number.
#[tokio::test]
async fn a_transaction_is_found_by_its_number_or_is_not_there() {
    let id = "4200000000202601011234567890";
    let answer = json!({
        "out_trade_no": "pay_00000000000000000000000001", "transaction_id": id, "trade_state": "SUCCESS",
        "mchid": "1900000001", "success_time": "2026-01-01T08:00:05+08:00", "amount": {"total": 100},
    });
    let provider = Provider::signs(200, answer).await;
    let (number, found) = provider.connector().find_transaction(id).await.unwrap().unwrap();
    assert_eq!(number, "pay_00000000000000000000000001");
    assert!(matches!(found, GatewayPayment::Paid(evidence) if evidence.transaction_id == id));
    assert_eq!(provider.asked_for("/v3/pay/transactions/id/4200000000202601011234567890"), 1);
    // An answer about another one, and what is no number at all.
    unknown(provider.connector().find_transaction("4200000000202601011234567891").await);
    assert_eq!(provider.connector().find_transaction("../../x").await.unwrap(), None);
    assert_eq!(provider.asked(), 2);
    let nobody = Provider::refuses(404, "ORDER_NOT_EXIST").await;
    assert_eq!(nobody.connector().find_transaction(id).await.unwrap(), None);
}

#[tokio::test]
async fn no_connection_means_not_sent() {
    // Bound and dropped: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let connector = vectors::wechat_pay(&format!("http://{port}"));
    let open = connector.open(&vectors::open_payment()).await;
    assert!(matches!(open, Err(GatewayError::NotSent(_))), "{open:?}");
    let found = connector.find(&vectors::payment()).await;
    assert!(matches!(found, Err(GatewayError::NotSent(_))), "{found:?}");
}

#[tokio::test]
async fn silence_and_a_broken_connection_after_sending_are_unknown() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let config = Config { timeout: Duration::from_millis(200), ..vectors::config(&format!("http://{silent}")) };
    let connector = WechatPay::new(config, Arc::new(vectors::Stopped)).unwrap();
    assert_eq!(unknown(connector.open(&vectors::open_payment()).await), "no answer within 200 ms");

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs_up = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.readable().await.unwrap();
            drop(stream);
        }
    });
    unknown(vectors::wechat_pay(&format!("http://{hangs_up}")).refund(&vectors::refund_request()).await);
}

#[test]
fn a_wrong_configuration_says_what_would_be_right() {
    let good = || vectors::config("https://api.mch.weixin.qq.com");
    let (serial, spki) = good().platform_keys.remove(0);
    let platform = |serial: &str, pem: &str| Config { platform_keys: vec![(serial.into(), pem.into())], ..good() };
    let keys = vectors::keys();
    let certificate = text(&keys["wechat"]["platform_cert_1"]["certificate_pem"]);
    let cases = [
        (Config { base_url: "api.mch.weixin.qq.com".into(), ..good() }, "base_url", "is not a URL"),
        (Config { base_url: "ftp://h".into(), ..good() }, "base_url", "neither http nor https"),
        (Config { base_url: "https://h/?a=1".into(), ..good() }, "base_url", "carries a query"),
        (Config { base_url: "https://a:b@h".into(), ..good() }, "base_url", "carries a user name"),
        (Config { mchid: "19000\"".into(), ..good() }, "mchid", "right is a number"),
        (Config { appid: String::new(), ..good() }, "appid", "right is an id"),
        (Config { serial_no: "5157F0".into(), ..good() }, "serial_no", "40 hexadecimal digits"),
        (Config { private_key_pem: "MIIE".into(), ..good() }, "private_key_pem", "is not a private key in PEM"),
        (Config { private_key_pem: spki.as_str().into(), ..good() }, "private_key_pem", "is a public key"),
        (Config { private_key_pem: WEAK_PRIVATE_KEY.into(), ..good() }, "private_key_pem", "fewer than 2048 bits"),
        (Config { private_key_pem: EC_PRIVATE_KEY.into(), ..good() }, "private_key_pem", "not an RSA key"),
        (Config { api_v3_key: "short".into(), ..good() }, "api_v3_key", "has 5 bytes; right are exactly 32"),
        (Config { private_key_pem: certificate.into(), ..good() }, "private_key_pem", "is a certificate"),
        (Config { standby_url: Some("api2".into()), ..good() }, "standby_url", "is not a URL"),
        (Config { standby_url: Some("http://h".into()), ..good() }, "standby_url", "scheme"),
        (Config { certificate_pem: Some(spki.clone()), ..good() }, "certificate_pem", "is not a certificate in PEM"),
        (Config { certificate_pem: Some(certificate.into()), ..good() }, "certificate_pem", "has the serial 3775B6"),
        (
            Config { certificate_pem: Some(certificate.into()), serial_no: serial.clone(), ..good() },
            "certificate_pem",
            "does not belong to the private key",
        ),
        (
            Config { private_key_pem: text(&keys["wechat"]["platform_cert_1"]["private_pkcs8_pem"]).into(), ..good() },
            "certificate_pem",
            "does not belong to the private key",
        ),
        (platform("PUB_KEY_ID_", &spki), "platform_key_name", "PUB_KEY_ID_ and digits"),
        (platform(&serial, "MIIB"), "platform_keys", "is not a public key in PEM"),
        (platform(&serial, certificate), "platform_keys", "is a certificate"),
        (platform(&serial, WEAK_PUBLIC_KEY), "platform_keys", "fewer than 2048"),
        (platform(&serial, EC_PUBLIC_KEY), "platform_keys", "not an RSA key"),
        (
            Config { platform_keys: vec![(serial.to_lowercase(), spki.clone()), (serial.clone(), spki)], ..good() },
            "platform_keys",
            "is there twice",
        ),
        (Config { wanted_key: Some("PUB_KEY_ID_1".into()), ..good() }, "wanted_key", "not among the platform keys"),
        (Config { timeout: Duration::ZERO, ..good() }, "timeout", "8 by default"),
    ];
    for (config, field, sentence) in cases {
        let error = WechatPay::new(config, Arc::new(vectors::Stopped)).unwrap_err();
        assert_eq!(error.field(), Some(field), "{error}");
        assert!(error.to_string().contains(sentence), "{error}");
    }
}

#[test]
fn nothing_secret_is_shown() {
    let config = vectors::config("http://127.0.0.1:1");
    let shown = format!("{config:?} {:?}", vectors::wechat_pay("http://127.0.0.1:1"));
    let keys = &vectors::keys()["wechat"];
    assert!(!shown.contains(text(&keys["apiv3_key"])) && !shown.contains("PRIVATE KEY"), "{shown}");
    assert!(shown.contains("1900000001"));
}
