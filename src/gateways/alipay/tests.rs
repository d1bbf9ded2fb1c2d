//! The connector against a scripted provider: what each kind of answer becomes.

use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use domain::{ClientAction, Currency, Money, PaymentProduct};
use serde_json::{Value, json};

mod certificates;
mod doubt;

use super::vectors::{self, Stopped, answer, now, open_payment, payment, refund, refund_request, text};
use super::*;
use crate::gateways::wechat_pay::vectors::{EC_PRIVATE_KEY, EC_PUBLIC_KEY, WEAK_PRIVATE_KEY, WEAK_PUBLIC_KEY};

/// A provider that answers every request with what it is told to, and remembers what it was asked.
struct Provider {
    url: String,
    asked: Arc<Mutex<Vec<form::Fields>>>,
}

impl Provider {
    async fn start(reply: impl Fn(&str) -> Response + Clone + Send + Sync + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let keep = asked.clone();
        let app = Router::new().fallback(async move |request: Request| {
            let (parts, body) = request.into_parts();
            assert_eq!((parts.method.as_str(), parts.uri.path()), ("POST", "/gateway.do"));
            assert_eq!(parts.headers["content-type"], "application/x-www-form-urlencoded;charset=utf-8");
            assert!(!parts.headers.contains_key("accept-encoding"));
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            let both = format!("{}&{}", parts.uri.query().unwrap(), std::str::from_utf8(&body).unwrap());
            let fields = form::decode(both.as_bytes()).unwrap();
            let reply = reply(&fields["method"]);
            keep.lock().unwrap().push(fields);
            reply
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/gateway.do", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, asked }
    }

    /// Signs for each method the node that is listed for it.
    async fn signs<const N: usize>(nodes: [(Call, Value); N]) -> Self {
        let listed = nodes.map(|(call, node)| (call.method(), node.to_string()));
        Self::start(move |method| {
            let node = listed.iter().find(|(listed, _)| *listed == method).unwrap();
            plain(200, answer(method, &node.1))
        })
        .await
    }

    /// Refuses every method, signed.
    async fn refuses(code: &'static str, sub_code: &'static str) -> Self {
        Self::start(move |method| plain(200, answer(method, &error(code, sub_code).to_string()))).await
    }

    fn connector(&self) -> Alipay {
        vectors::alipay(&self.url)
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn plain(status: u16, body: impl Into<Body>) -> Response {
    Response::builder().status(status).body(body.into()).unwrap()
}

fn error(code: &str, sub_code: &str) -> Value {
    json!({"code": code, "msg": "no", "sub_code": sub_code, "sub_msg": "不", "total_amount": "0.00"})
}

fn trade(changes: Value) -> Value {
    let mut trade = json!({
        "code": "10000", "msg": "Success", "out_trade_no": payment().as_str(), "trade_no": "2026010122001",
        "trade_status": "TRADE_SUCCESS", "total_amount": "1.00", "receipt_amount": "1.00",
        "buyer_pay_amount": "0.90", "send_pay_date": "2026-01-01 08:00:05", "new_field": [1],
    });
    let fields = trade.as_object_mut().unwrap();
    fields.extend(changes.as_object().unwrap().clone());
    fields.retain(|_, value| !value.is_null());
    trade
}

fn refunded(fund_change: &str) -> Value {
    json!({
        "code": "10000", "msg": "Success", "out_trade_no": payment().as_str(), "trade_no": "2026010122001",
        "fund_change": fund_change, "refund_fee": "0.40", "gmt_refund_pay": "2026-01-01 09:00:00",
    })
}

fn found_refund() -> Value {
    json!({
        "code": "10000", "msg": "Success", "out_trade_no": payment().as_str(), "total_amount": "1.00",
        "out_request_no": refund().as_str(), "refund_status": "REFUND_SUCCESS", "refund_amount": "0.4",
        "gmt_refund_pay": "2026-01-01 09:00:00",
    })
}

fn nothing() -> Value {
    json!({"code": "10000", "msg": "Success"})
}

fn forty(state: GatewayRefundState) -> GatewayRefund {
    GatewayRefund { amount: Money::new(40, Currency::CNY), state }
}

fn at_nine() -> GatewayRefundState {
    GatewayRefundState::Succeeded { at: now() + domain::Duration::hours(1) }
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

/// Whether the app signed these fields; what is left is the content.
fn signed_content(mut fields: form::Fields) -> String {
    let sign = fields.remove("sign").unwrap();
    assert_eq!(signature::Signer::new(&vectors::config("").private_key).unwrap().sign(&fields).unwrap(), sign);
    assert_eq!(fields["timestamp"], "2026-01-01 08:00:00");
    assert!(fields.values().all(|value| !value.is_empty()));
    fields.remove("biz_content").unwrap()
}

#[tokio::test]
async fn a_code_is_precreated_as_documented() {
    let node = json!({"code": "10000", "out_trade_no": payment().as_str(), "qr_code": "https://qr.alipay.com/bax"});
    let provider = Provider::signs([(Call::Open, node)]).await;
    for (ends, works) in [(30, 30), (120, 120), (7 * 24 * 60, 120)] {
        let expires_at = now() + domain::Duration::minutes(ends);
        let request = OpenPayment { expires_at, ..open_payment(PaymentProduct::Precreate) };
        let opened = provider.connector().open(&request).await.unwrap();
        let url = "https://qr.alipay.com/bax".to_owned();
        let until = now() + domain::Duration::minutes(works);
        assert_eq!(opened, Opened { action: ClientAction::QrCode { url }, until });
    }
    let fields = provider.asked.lock().unwrap()[0].clone();
    assert_eq!(fields["notify_url"], "https://shop.example.com/n?a=1&b=2");
    assert!(!fields.contains_key("return_url"));
    assert_eq!(
        signed_content(fields),
        "{\"out_trade_no\":\"pay_00000000000000000000000001\",\"total_amount\":\"1.00\",\
         \"subject\":\"大乐透 \\\"A B\\\" <1>\",\"time_expire\":\"2026-01-01 08:30:00\",\
         \"passback_params\":\"ord_00000000000000000000000001\"}"
    );
}

#[test]
fn the_time_to_pay_ends_when_the_orders_does_to_the_second_before() {
    for (left, written) in [
        (domain::Duration::minutes(30), "2026-01-01 08:30:00"),
        (domain::Duration::hours(16) - domain::Duration::milliseconds(1), "2026-01-01 23:59:59"),
        (domain::Duration::hours(16), "2026-01-02 00:00:00"),
        (domain::Duration::milliseconds(59_999), "2026-01-01 08:00:59"),
        (domain::Duration::days(7), "2026-01-08 08:00:00"),
    ] {
        for product in [PaymentProduct::Precreate, PaymentProduct::Page, PaymentProduct::Wap, PaymentProduct::App] {
            let request = OpenPayment { expires_at: now() + left, ..open_payment(product) };
            assert_eq!(open::trade(&request).unwrap().time_expire, written, "{left}");
        }
    }
}

#[tokio::test]
async fn page_wap_and_app_are_signed_and_nobody_is_called() {
    let connector = vectors::alipay("https://openapi.alipay.com/gateway.do");
    let content = |query: &str, method: &str, code: &str| {
        let fields = form::decode(query.as_bytes()).unwrap();
        assert_eq!(fields["method"], method);
        let content: Value = serde_json::from_str(&signed_content(fields)).unwrap();
        assert_eq!((&content["product_code"], &content["total_amount"]), (&json!(code), &json!("1.00")));
        content
    };
    for product in [PaymentProduct::Page, PaymentProduct::Wap, PaymentProduct::App] {
        let opened = connector.open(&open_payment(product)).await.unwrap();
        assert_eq!(opened.until, open_payment(product).expires_at);
        match opened.action {
            ClientAction::HtmlForm { html } => {
                let between = |from: &str| html.split_once(from).unwrap().1.split_once('"').unwrap().0.to_owned();
                let plain = |text: String| {
                    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
                };
                let (action, value) = (plain(between("action=\"")), plain(between("value=\"")));
                let query = action.strip_prefix("https://openapi.alipay.com/gateway.do?").unwrap();
                let whole = format!("{query}&biz_content={}", form::escape(&value));
                content(&whole, "alipay.trade.page.pay", "FAST_INSTANT_TRADE_PAY");
                assert!(html.contains("method=\"post\"") && html.ends_with(".submit()</script>"), "{html}");
            }
            ClientAction::Redirect { url } => {
                let query = url.strip_prefix("https://openapi.alipay.com/gateway.do?").unwrap();
                let content = content(query, "alipay.trade.wap.pay", "QUICK_WAP_WAY");
                assert_eq!(content["quit_url"], "https://shop.example.com/back");
                assert!(query.contains("&return_url=https%3A%2F%2Fshop.example.com%2Fback&"));
            }
            ClientAction::AppInvocation { parameters } => {
                content(&parameters, "alipay.trade.app.pay", "QUICK_MSECURITY_PAY");
                assert!(!parameters.contains("return_url") && !parameters.contains('+'), "{parameters}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refusal(connector.open(&open_payment(PaymentProduct::Native)).await), "UNSUPPORTED_PRODUCT");
    let dollars = Money::new(100, Currency::parse("USD").unwrap());
    let request = OpenPayment { amount: dollars, ..open_payment(PaymentProduct::Page) };
    assert_eq!(refusal(connector.open(&request).await), "UNSUPPORTED_CURRENCY");
}

#[tokio::test]
async fn payments_become_ours() {
    let evidence = domain::Evidence {
        transaction_id: "2026010122001".to_owned(),
        amount: Money::new(100, Currency::CNY),
        paid_at: now() + domain::Duration::seconds(5),
    };
    let paid = GatewayPayment::Paid(evidence.clone());
    let unpaid = |status: &str| json!({"trade_status": status, "send_pay_date": null, "receipt_amount": "0.00"});
    for (changes, expected) in [
        (json!({}), Some(paid.clone())),
        (json!({"trade_status": "TRADE_FINISHED", "total_amount": "1"}), Some(paid.clone())),
        (json!({"trade_status": "TRADE_CLOSED"}), Some(GatewayPayment::Returned(evidence))),
        (unpaid("WAIT_BUYER_PAY"), Some(GatewayPayment::Open)),
        (unpaid("TRADE_CLOSED"), Some(GatewayPayment::Closed)),
        (json!({"trade_status": "TRADE_CLOSED", "send_pay_date": null}), None),
        (unpaid("TRADE_SUCCESS"), None),
        (unpaid("SOMETHING_NEW"), None),
        (json!({"trade_no": null}), None),
        (json!({"total_amount": null}), None),
        (json!({"total_amount": "0.00"}), None),
        (json!({"total_amount": 1.0}), None),
        (json!({"total_amount": "1.001"}), None),
        (json!({"out_trade_no": "pay_00000000000000000000000002"}), None),
        (json!({"out_trade_no": null}), None),
    ] {
        let provider = Provider::signs([(Call::Find, trade(changes.clone()))]).await;
        let found = provider.connector().find(&payment()).await;
        match expected {
            Some(expected) => assert_eq!(found.unwrap(), Some(expected), "{changes}"),
            None => assert!(unknown(found).starts_with("verified, but "), "{changes}"),
        }
        assert_eq!(provider.asked(), 1);
    }
}

#[tokio::test]
async fn what_is_not_there_is_none_and_needs_no_closing() {
    let provider = Provider::refuses("40004", "ACQ.TRADE_NOT_EXIST").await;
    let connector = provider.connector();
    assert_eq!(connector.find(&payment()).await.unwrap(), None);
    assert_eq!(connector.close(&payment()).await.unwrap(), Closed::NotFound);
    assert_eq!(connector.find_refund(&refund(), &payment()).await.unwrap(), None);
    assert_eq!(refusal(connector.refund(&refund_request()).await), "ACQ.TRADE_NOT_EXIST");
    let unsigned = Provider::start(|method| {
        let name = method.replace('.', "_");
        plain(200, json!({format!("{name}_response"): error("40004", "ACQ.TRADE_NOT_EXIST")}).to_string())
    })
    .await;
    assert_eq!(unknown(unsigned.connector().find(&payment()).await), "40004 ACQ.TRADE_NOT_EXIST, unsigned");
    unknown(unsigned.connector().close(&payment()).await);
}

#[tokio::test]
async fn a_close_is_done_and_closing_twice_too_but_not_of_a_paid_one() {
    let provider = Provider::signs([(Call::Close, trade(json!({})))]).await;
    assert_eq!(provider.connector().close(&payment()).await.unwrap(), Closed::Done);
    let provider = Provider::signs([(Call::Close, nothing())]).await;
    unknown(provider.connector().close(&payment()).await);
    let no = || (Call::Close, error("40004", "ACQ.TRADE_STATUS_ERROR"));
    let closed = trade(json!({"trade_status": "TRADE_CLOSED", "send_pay_date": null, "receipt_amount": null}));
    let provider = Provider::signs([no(), (Call::Find, closed)]).await;
    assert_eq!(provider.connector().close(&payment()).await.unwrap(), Closed::Done);
    for found in [trade(json!({})), error("40004", "ACQ.SYSTEM_ERROR")] {
        let provider = Provider::signs([no(), (Call::Find, found)]).await;
        assert_eq!(refusal(provider.connector().close(&payment()).await), "ACQ.TRADE_STATUS_ERROR");
    }
}

#[tokio::test]
async fn a_refund_is_done_when_money_moved_and_is_asked_about_when_not() {
    let provider = Provider::signs([(Call::Refund, refunded("Y"))]).await;
    assert_eq!(provider.connector().refund(&refund_request()).await.unwrap(), forty(at_nine()));
    assert_eq!(
        signed_content(provider.asked.lock().unwrap()[0].clone()),
        "{\"out_trade_no\":\"pay_00000000000000000000000001\",\"refund_amount\":\"0.40\",\
         \"out_request_no\":\"rfd_00000000000000000000000001\",\"refund_reason\":\"商品已售完\"}"
    );
    for (found, expected) in [
        (found_refund(), at_nine()),
        (nothing(), GatewayRefundState::Processing),
        (error("20000", "isp.unknow-error"), GatewayRefundState::Processing),
    ] {
        let provider = Provider::signs([(Call::Refund, refunded("N")), (Call::FindRefund, found)]).await;
        assert_eq!(provider.connector().refund(&refund_request()).await.unwrap(), forty(expected));
        assert_eq!(provider.asked(), 2);
    }
    // Earlier refunds are in the sum, or more went back than we asked for: the question tells.
    let mut more = refunded("Y");
    more["refund_fee"] = "0.90".into();
    let mut drifted = found_refund();
    drifted["refund_amount"] = "0.41".into();
    for (found, minor) in [(found_refund(), 40), (drifted, 41)] {
        let provider = Provider::signs([(Call::Refund, more.clone()), (Call::FindRefund, found)]).await;
        let refund = provider.connector().refund(&refund_request()).await.unwrap();
        assert_eq!(refund, GatewayRefund { amount: Money::new(minor, Currency::CNY), state: at_nine() });
    }
    for (field, value) in [("out_trade_no", "other"), ("refund_fee", "0.39")] {
        let mut node = refunded("Y");
        node[field] = value.into();
        unknown(Provider::signs([(Call::Refund, node)]).await.connector().refund(&refund_request()).await);
    }
    let mut node = refunded("Y");
    node.as_object_mut().unwrap().remove("gmt_refund_pay");
    let provider = Provider::signs([(Call::Refund, node)]).await;
    let done_now = forty(GatewayRefundState::Succeeded { at: now() });
    assert_eq!(provider.connector().refund(&refund_request()).await.unwrap(), done_now);
}

#[tokio::test]
async fn a_refund_is_found_only_when_it_succeeded() {
    let cases = [
        (json!({}), Some(Some(at_nine()))),
        (json!({"refund_status": null}), Some(None)),
        (json!({"refund_status": "REFUND_NEW"}), None),
        (json!({"refund_amount": null}), None),
        (json!({"out_request_no": null}), None),
        (json!({"out_request_no": "other"}), None),
        (json!({"out_trade_no": "other"}), None),
    ];
    for (changes, expected) in cases {
        let mut node = found_refund();
        let fields = node.as_object_mut().unwrap();
        fields.extend(changes.as_object().unwrap().clone());
        fields.retain(|_, value| !value.is_null());
        let provider = Provider::signs([(Call::FindRefund, node)]).await;
        let found = provider.connector().find_refund(&refund(), &payment()).await;
        match expected {
            Some(expected) => assert_eq!(found.unwrap(), expected.map(forty), "{changes}"),
            None => assert!(unknown(found).starts_with("verified, but "), "{changes}"),
        }
        let fields = provider.asked.lock().unwrap()[0].clone();
        assert!(signed_content(fields).ends_with("\"query_options\":[\"gmt_refund_pay\"]}"));
    }
}
