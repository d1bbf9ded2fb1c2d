//! Notifications that are not what they seem, over HTTP: the right status, no effect, no row.
//!
//! Which of them each connector refuses by itself, down to the reason, stands in the tests of
//! `src/gateways/*/notification.rs`, `wechat_pay/signature.rs` and `gateway_contract/notifications.rs`.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::{HeaderMap, Uri};
use axum::{Router, routing::any};
use reqwest::header::HeaderValue;
use sea_orm::{ConnectionTrait, Database, Statement};
use serde_json::{Value, json};

use crate::support::{Backend, Shop};

/// A notification as the gateway sent it.
#[derive(Clone)]
struct Notice {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// A shop whose gateways' news arrive at a listener of the test, which hands them over as it likes.
struct Intercepted {
    shop: Shop,
    notices: Arc<Mutex<Vec<Notice>>>,
}

impl Intercepted {
    async fn open(backend: Backend) -> Self {
        let notices: Arc<Mutex<Vec<Notice>>> = Arc::default();
        let taken = notices.clone();
        let take = async move |uri: Uri, headers: HeaderMap, body: Bytes| {
            taken.lock().unwrap().push(Notice { path: uri.path().to_owned(), headers, body });
            "success"
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(take))).await });
        let shop = Shop::open_with(backend, &[("PAYONCE_PUBLIC_URL", &url)]).await;
        Self { shop, notices }
    }

    /// An order that is paid at the gateway, of which the shop has not heard, and what it is to hear.
    async fn paid(&self, gateway: &str, product: &str) -> (String, String, Notice) {
        let input = json!({"lines": [{"sku": "TEA", "quantity": 1}], "allowDuplicate": true,
            "payment": {"gateway": gateway, "product": product}});
        let placed = self.shop.create_with("alice", &Shop::key(), input).await;
        let (order, payment) = (placed.text("/createOrder/order/id"), placed.text("/createOrder/payment/id"));
        if gateway == "ALIPAY" {
            // The code is scanned.
            let page = self.shop.http().get(placed.text("/createOrder/payment/action/url")).send().await.unwrap();
            assert!(page.status().is_success());
        }
        self.shop.sandbox().pay(&payment).await.unwrap();
        self.shop.sandbox().settled().await;
        let notice = self.notices.lock().unwrap().pop().unwrap();
        (order, payment, notice)
    }

    /// Hands it over; the status.
    async fn hands_over(&self, notice: &Notice) -> u16 {
        self.answer(notice).await.0
    }

    async fn answer(&self, Notice { path, headers, body }: &Notice) -> (u16, String) {
        let mut headers = headers.clone();
        for name in ["host", "content-length", "connection", "transfer-encoding"] {
            headers.remove(name);
        }
        let request = self.shop.http().post(self.shop.url(path)).headers(headers).body(body.clone());
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn kept(&self) -> i64 {
        let db = Database::connect(&self.shop.database_url).await.unwrap();
        let sql = "SELECT COUNT(*) AS n FROM notifications";
        let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap().unwrap();
        db.close().await.unwrap();
        row.try_get("", "n").unwrap()
    }
}

type Altered = Vec<(&'static str, Notice)>;

fn with_header(notice: &Notice, name: &'static str, value: &str) -> Notice {
    let mut altered = notice.clone();
    altered.headers.insert(name, HeaderValue::from_str(value).unwrap());
    altered
}

fn with_body(notice: &Notice, body: impl Into<Bytes>) -> Notice {
    Notice { body: body.into(), ..notice.clone() }
}

fn wechat(notice: &Notice, other: &Notice) -> Altered {
    let header = |name: &str| notice.headers[name].to_str().unwrap().to_owned();
    let signature = header("wechatpay-signature");
    let at: i64 = header("wechatpay-timestamp").parse().unwrap();
    let mut without = notice.clone();
    without.headers.remove("wechatpay-signature");
    let mut twice = notice.clone();
    twice.headers.append("wechatpay-signature", HeaderValue::from_str(&signature).unwrap());
    let mut rewritten: Value = serde_json::from_slice(&notice.body).unwrap();
    let again = serde_json::to_string_pretty(&rewritten).unwrap();
    rewritten["event_type"] = json!("REFUND.SUCCESS");
    let mut algorithm: Value = serde_json::from_slice(&notice.body).unwrap();
    algorithm["resource"]["algorithm"] = json!("NONE");
    let mut changed = notice.body.to_vec();
    changed[notice.body.len() / 2] ^= 1;
    vec![
        ("no signature", without),
        ("an empty signature", with_header(notice, "wechatpay-signature", "")),
        ("a signature that is not base64", with_header(notice, "wechatpay-signature", "@@@@")),
        (
            "a signature of another notification",
            with_header(notice, "wechatpay-signature", other.headers["wechatpay-signature"].to_str().unwrap()),
        ),
        ("a probe", with_header(notice, "wechatpay-signature", &format!("WECHATPAY/SIGNTEST/{signature}"))),
        ("a byte of the body changed", with_body(notice, changed)),
        ("JSON written again", with_body(notice, again)),
        ("another event", with_body(notice, rewritten.to_string())),
        ("another algorithm", with_body(notice, algorithm.to_string())),
        ("another nonce", with_header(notice, "wechatpay-nonce", "another")),
        ("a timestamp 301 s ago", with_header(notice, "wechatpay-timestamp", &(at - 301).to_string())),
        ("a timestamp in 301 s", with_header(notice, "wechatpay-timestamp", &(at + 301).to_string())),
        ("a timestamp of words", with_header(notice, "wechatpay-timestamp", "now")),
        ("a negative timestamp", with_header(notice, "wechatpay-timestamp", "-1")),
        ("a huge timestamp", with_header(notice, "wechatpay-timestamp", "99999999999999999999")),
        ("headers twice", twice),
        ("an unknown serial", with_header(notice, "wechatpay-serial", "PUB_KEY_ID_0000000000000000000000000000")),
        (
            "a serial of a certificate",
            with_header(notice, "wechatpay-serial", "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"),
        ),
        ("another signature type", with_header(notice, "wechatpay-signature-type", "WECHATPAY2-SM2-WITH-SM3")),
        ("an empty body", with_body(notice, "")),
        ("an empty object", with_body(notice, "{}")),
        ("64 KiB and one byte", with_body(notice, vec![b' '; 64 * 1024 + 1])),
    ]
}

fn alipay(notice: &Notice) -> Altered {
    let body = String::from_utf8(notice.body.to_vec()).unwrap();
    let replaced = |from: &str, to: &str| {
        assert!(body.contains(from), "{from}: {body}");
        with_body(notice, body.replacen(from, to, 1))
    };
    let sign = body.split('&').find(|pair| pair.starts_with("sign=")).unwrap().to_owned();
    vec![
        ("no signature", replaced(&format!("{sign}&"), "")),
        ("an empty signature", replaced(&sign, "sign=")),
        ("a signature that is not base64", replaced(&sign, "sign=%40%40")),
        ("another amount", replaced("total_amount=12.80", "total_amount=12.79")),
        ("a form key twice", with_body(notice, format!("{body}&total_amount=12.80"))),
        ("a field more", with_body(notice, format!("{body}&more=1"))),
        ("sign_type=RSA", replaced("sign_type=RSA2", "sign_type=RSA")),
        ("sign_type=MD5", replaced("sign_type=RSA2", "sign_type=MD5")),
        ("charset=GBK", replaced("charset=utf-8", "charset=GBK")),
        ("escaped twice", with_body(notice, body.replace('%', "%25"))),
        ("another status", replaced("TRADE_SUCCESS", "TRADE_FINISHED")),
        ("JSON", with_body(notice, "{\"trade_status\":\"TRADE_SUCCESS\"}")),
        ("an empty body", with_body(notice, "")),
    ]
}

#[tokio::test]
async fn whatever_is_not_genuine_is_refused_and_leaves_nothing() {
    let shop = Intercepted::open(Backend::Sqlite).await;
    let (order, _, notice) = shop.paid("WECHAT_PAY", "NATIVE").await;
    let (other_order, _, other) = shop.paid("WECHAT_PAY", "NATIVE").await;
    let (alipay_order, _, alipay_notice) = shop.paid("ALIPAY", "PRECREATE").await;
    for (name, altered) in wechat(&notice, &other) {
        let (status, text) = shop.answer(&altered).await;
        let refused: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{name}: {text}"));
        assert!([401, 413].contains(&status), "{name}: {status}");
        assert_eq!(refused["code"], "FAIL", "{name}");
    }
    for (name, altered) in alipay(&alipay_notice) {
        assert_eq!(shop.answer(&altered).await, (401, "fail".to_owned()), "{name}");
    }
    // Signed by one, handed to the other.
    let crossed = [
        Notice { path: alipay_notice.path.clone(), ..notice.clone() },
        Notice { path: notice.path.clone(), ..alipay_notice.clone() },
    ];
    for notice in &crossed {
        assert_eq!(shop.hands_over(notice).await, 401, "{}", notice.path);
    }
    assert_eq!(shop.kept().await, 0, "what is refused is not kept");
    for order in [&order, &other_order, &alipay_order] {
        assert_eq!(shop.shop.order(order).await["status"], "PAYING");
    }
    // And the genuine ones count, whatever was tried with them before.
    assert_eq!(shop.hands_over(&notice).await, 204);
    assert_eq!(shop.hands_over(&other).await, 204);
    assert_eq!(shop.answer(&alipay_notice).await, (200, "success".to_owned()));
    for order in [&order, &other_order, &alipay_order] {
        assert_eq!(shop.shop.order(order).await["status"], "PAID");
    }
    assert_eq!(shop.kept().await, 3);
    shop.shop.check_invariants().await;
}

#[tokio::test]
async fn a_replay_is_acknowledged_and_changes_nothing() {
    let shop = Intercepted::open(Backend::Sqlite).await;
    let (order, _, notice) = shop.paid("WECHAT_PAY", "NATIVE").await;
    assert_eq!(shop.hands_over(&notice).await, 204);
    let paid = shop.shop.order(&order).await;
    for _ in 0..200 {
        assert_eq!(shop.hands_over(&notice).await, 204);
    }
    assert_eq!(shop.kept().await, 1, "200 replays are one row");
    // Paid, then given back: what said "paid" once does not say it again.
    assert_eq!(paid["status"], "PAID");
    shop.shop.refund(&Shop::key(), &order, None).await.text("/refundOrder/refund/id");
    shop.shop.sandbox().settled().await;
    let refunded: Vec<Notice> = shop.notices.lock().unwrap().drain(..).collect();
    for notice in refunded.iter().chain([&notice]) {
        assert_eq!(shop.hands_over(notice).await, 204);
    }
    shop.shop.advance(domain::Duration::minutes(2)).await;
    assert_eq!(shop.shop.order(&order).await["status"], "REFUNDED");
    assert_eq!((shop.shop.ledger().charges.len(), shop.shop.ledger().refunds.len()), (1, 1));
    shop.shop.check_invariants().await;
}

#[tokio::test]
async fn the_path_and_the_method_are_what_they_are() {
    let shop = Intercepted::open(Backend::Sqlite).await;
    let (order, _, notice) = shop.paid("WECHAT_PAY", "NATIVE").await;
    let url = shop.shop.url(&notice.path);
    assert_eq!(shop.shop.http().get(&url).send().await.unwrap().status(), 405);
    assert_eq!(shop.shop.http().put(&url).send().await.unwrap().status(), 405);
    for path in ["/notify/", "/notify/paypal", "/notify/WECHAT_PAY", "/notify/wechat_pay/x", "/notify/..%2fgraphql"] {
        let elsewhere = Notice { path: path.to_owned(), ..notice.clone() };
        assert_eq!(shop.hands_over(&elsewhere).await, 404, "{path}");
    }
    assert_eq!(shop.shop.order(&order).await["status"], "PAYING");
    // What the signature covers is the body: neither a query string nor the media type makes it less genuine.
    let typed = with_header(&notice, "content-type", "text/plain");
    let asked = Notice { path: format!("{}?a=1", notice.path), ..typed };
    assert_eq!(shop.hands_over(&asked).await, 204);
    assert_eq!(shop.shop.order(&order).await["status"], "PAID");
}

#[tokio::test]
async fn without_the_store_it_is_not_acknowledged_and_counts_when_it_comes_again() {
    let shop = Intercepted::open(Backend::Sqlite).await;
    let (order, _, notice) = shop.paid("WECHAT_PAY", "NATIVE").await;
    let db = Database::connect(&shop.shop.database_url).await.unwrap();
    db.execute_unprepared("ALTER TABLE notifications RENAME TO elsewhere").await.unwrap();
    assert_eq!(shop.hands_over(&notice).await, 503);
    db.execute_unprepared("ALTER TABLE elsewhere RENAME TO notifications").await.unwrap();
    db.close().await.unwrap();
    assert_eq!(shop.shop.order(&order).await["status"], "PAYING");
    assert_eq!(shop.hands_over(&notice).await, 204);
    assert_eq!(shop.hands_over(&notice).await, 204);
    assert_eq!(shop.shop.order(&order).await["status"], "PAID");
    assert_eq!(shop.kept().await, 1);
    shop.shop.check_invariants().await;
}
