//! Opening a payment: the request by product, and what the frontend does with the answer.
//!
//! All products share one request but for the path, the payer (JSAPI) and the scene (H5).

use std::net::{IpAddr, Ipv4Addr};

use chrono::{FixedOffset, SecondsFormat};
use domain::{ClientAction, Currency, Duration, Money, OpenPayment, PaymentProduct, Timestamp};

use super::invocation::Invocation;
use super::translate::Account;
use super::wire;
use crate::payments::ports::{GatewayError, Opened, Refusal};

/// How long a `code_url` and a `prepay_id` work, says the provider.
const PREPAID_LIFETIME: Duration = Duration::hours(2);
/// How long an `h5_url` works, says the provider.
const H5_URL_LIFETIME: Duration = Duration::minutes(5);
/// Longest description, in bytes of UTF-8.
const DESCRIPTION_LIMIT: usize = 127;
/// H5 wants to be told the payer's address, and compares it with the address that opens the page. This one, where
/// it is not known, is plainly nobody's: there the payer is turned away.
const NOBODYS_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Where a payment of this product is opened.
pub(super) fn target(product: PaymentProduct) -> Result<&'static str, GatewayError> {
    match product {
        PaymentProduct::Native => Ok("/v3/pay/transactions/native"),
        PaymentProduct::Jsapi => Ok("/v3/pay/transactions/jsapi"),
        PaymentProduct::H5 => Ok("/v3/pay/transactions/h5"),
        PaymentProduct::App => Ok("/v3/pay/transactions/app"),
        PaymentProduct::Precreate | PaymentProduct::Page | PaymentProduct::Wap => Err(unsupported(product)),
    }
}

/// The request's body. The same request gives the same bytes: the provider refuses one number with two
/// contents.
pub(super) fn body<'a>(account: &'a Account, request: &'a OpenPayment) -> Result<wire::Prepay<'a>, GatewayError> {
    let h5_info = wire::H5Info { kind: "Wap" };
    Ok(wire::Prepay {
        appid: &account.appid,
        mchid: &account.mchid,
        description: cut(&request.description, DESCRIPTION_LIMIT),
        out_trade_no: request.number.as_str(),
        time_expire: beijing(request.expires_at),
        attach: request.order.as_str(),
        notify_url: &request.notify_url,
        amount: wire::PrepayAmount { total: fen(request.amount)?, currency: "CNY" },
        payer: if request.product == PaymentProduct::Jsapi { Some(payer(request)?) } else { None },
        scene_info: (request.product == PaymentProduct::H5)
            .then(|| wire::SceneInfo { payer_client_ip: request.payer_address.unwrap_or(NOBODYS_ADDRESS), h5_info }),
    })
}

/// Reads a verified answer.
pub(super) fn opened(body: &[u8], request: &OpenPayment, invocation: &Invocation<'_>) -> Result<Opened, GatewayError> {
    let unreadable = || {
        let product = request.product.name();
        GatewayError::Unknown(format!("the answer to opening a {product} payment has not what it needs"))
    };
    let answer: wire::Prepaid = serde_json::from_slice(body).map_err(|_| unreadable())?;
    let said = |field: Option<String>| field.filter(|text| !text.is_empty()).ok_or_else(unreadable);
    let (action, lifetime) = match request.product {
        PaymentProduct::Native => (ClientAction::QrCode { url: said(answer.code_url)? }, PREPAID_LIFETIME),
        PaymentProduct::Jsapi => (invocation.jsapi(&said(answer.prepay_id)?)?, PREPAID_LIFETIME),
        PaymentProduct::App => (invocation.app(&said(answer.prepay_id)?)?, PREPAID_LIFETIME),
        PaymentProduct::H5 => {
            let url = and_back(said(answer.h5_url)?, request.return_url.as_deref());
            (ClientAction::Redirect { url }, H5_URL_LIFETIME)
        }
        product @ (PaymentProduct::Precreate | PaymentProduct::Page | PaymentProduct::Wap) => {
            return Err(unsupported(product));
        }
    };
    Ok(Opened { action, until: request.expires_at.min(invocation.at + lifetime) })
}

fn unsupported(product: PaymentProduct) -> GatewayError {
    let message = format!("the product {} is not offered at WeChat Pay", product.name());
    GatewayError::Refused(Refusal { code: "UNSUPPORTED_PRODUCT".to_owned(), message })
}

/// Who pays. `createOrder` and `repayOrder` do not begin without it.
fn payer(request: &OpenPayment) -> Result<wire::Payer<'_>, GatewayError> {
    let openid = request.payer_id.as_deref().filter(|id| !id.is_empty()).ok_or_else(|| {
        let message = "JSAPI needs the payer's openid".to_owned();
        GatewayError::Refused(Refusal { code: "PAYER_MISSING".to_owned(), message })
    })?;
    Ok(wire::Payer { openid })
}

/// The page, and where it sends the payer afterwards: the whole URL as one percent-encoded parameter.
fn and_back(mut page: String, return_url: Option<&str>) -> String {
    let Some(return_url) = return_url else { return page };
    page.push_str(if page.contains('?') { "&redirect_url=" } else { "?redirect_url=" });
    for byte in return_url.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => page.push(char::from(byte)),
            _ => page.push_str(&format!("%{byte:02X}")),
        }
    }
    page
}

/// Whole fen; WeChat Pay takes yuan only.
pub(super) fn fen(amount: Money) -> Result<i64, GatewayError> {
    if amount.currency == Currency::CNY {
        return Ok(amount.minor);
    }
    let message = format!("WeChat Pay takes CNY, not {}", amount.currency);
    Err(GatewayError::Refused(Refusal { code: "UNSUPPORTED_CURRENCY".to_owned(), message }))
}

/// At most so many bytes, whole characters.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// `2026-01-01T08:30:00+08:00`, whole seconds.
fn beijing(at: Timestamp) -> String {
    match FixedOffset::east_opt(8 * 60 * 60) {
        Some(offset) => at.with_timezone(&offset).to_rfc3339_opts(SecondsFormat::Secs, false),
        None => at.to_rfc3339_opts(SecondsFormat::Secs, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateways::wechat_pay::vectors;

    fn request(product: PaymentProduct) -> OpenPayment {
        let payer_id = (product == PaymentProduct::Jsapi).then(|| "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o".to_owned());
        OpenPayment { product, payer_id, ..vectors::open_payment() }
    }

    fn read(answer: &str, request: &OpenPayment) -> Result<Opened, GatewayError> {
        let (account, connector) = (vectors::account(), vectors::wechat_pay("http://127.0.0.1:1"));
        let invocation = Invocation { account: &account, signer: &connector.client.signer, at: vectors::now() };
        opened(answer.as_bytes(), request, &invocation)
    }

    fn refusal(error: GatewayError) -> String {
        match error {
            GatewayError::Refused(refusal) => refusal.code,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn each_product_is_asked_for_as_documented() {
        let common = "{\"appid\":\"wxd678efh567hg6787\",\"mchid\":\"1900000001\",\"description\":\"腾讯充值\",\
             \"out_trade_no\":\"pay_00000000000000000000000001\",\"time_expire\":\"2026-01-01T08:30:00+08:00\",\
             \"attach\":\"ord_00000000000000000000000001\",\"notify_url\":\"https://shop.example.com/n\",\
             \"amount\":{\"total\":100,\"currency\":\"CNY\"}";
        let cases = [
            (PaymentProduct::Native, "native", "}"),
            (PaymentProduct::App, "app", "}"),
            (PaymentProduct::Jsapi, "jsapi", ",\"payer\":{\"openid\":\"oUpF8uMuAJO_M2pxb1Q9zNjWeS6o\"}}"),
            (
                PaymentProduct::H5,
                "h5",
                ",\"scene_info\":{\"payer_client_ip\":\"127.0.0.1\",\"h5_info\":{\"type\":\"Wap\"}}}",
            ),
        ];
        let account = vectors::account();
        for (product, path, rest) in cases {
            assert_eq!(target(product).unwrap(), format!("/v3/pay/transactions/{path}"));
            let request = request(product);
            let body = serde_json::to_string(&body(&account, &request).unwrap()).unwrap();
            assert_eq!(body, format!("{common}{rest}"));
        }
        let from = Some("2001:db8::7".parse().unwrap());
        let h5 = OpenPayment { payer_address: from, ..request(PaymentProduct::H5) };
        let sent = serde_json::to_string(&body(&account, &h5).unwrap()).unwrap();
        assert!(sent.contains("\"payer_client_ip\":\"2001:db8::7\""), "{sent}");
        // Only JSAPI tells who pays, whoever gave it.
        let told = OpenPayment { payer_id: Some("o1".to_owned()), ..request(PaymentProduct::App) };
        assert!(body(&account, &told).unwrap().payer.is_none());
    }

    #[test]
    fn a_description_is_cut_between_characters() {
        let account = vectors::account();
        let request = OpenPayment { description: "长".repeat(100), ..vectors::open_payment() };
        assert_eq!(body(&account, &request).unwrap().description, "长".repeat(42));
    }

    #[test]
    fn an_action_works_as_long_as_the_provider_says_or_until_the_request_ends() {
        let answer =
            r#"{ "code_url" : "weixin:\/\/wxpay\/bizpayurl?pr=abc", "prepay_id": "wx1", "h5_url": "https://h/?a=1" }"#;
        let now = vectors::now();
        for product in [PaymentProduct::Native, PaymentProduct::Jsapi, PaymentProduct::App, PaymentProduct::H5] {
            let lifetime = if product == PaymentProduct::H5 { 5 } else { 120 };
            for ends in [3, 30, 120, 7 * 24 * 60] {
                let request = OpenPayment { expires_at: now + Duration::minutes(ends), ..request(product) };
                let opened = read(answer, &request).unwrap();
                assert_eq!(opened.until, now + Duration::minutes(ends.min(lifetime)), "{product:?} {ends}");
            }
        }
    }

    #[test]
    fn each_product_has_its_action() {
        let code = read(r#"{"code_url":"weixin:\/\/wxpay\/bizpayurl?pr=abc"}"#, &request(PaymentProduct::Native));
        assert_eq!(code.unwrap().action, ClientAction::QrCode { url: "weixin://wxpay/bizpayurl?pr=abc".to_owned() });
        let page = read(r#"{"prepay_id":"wx1"}"#, &request(PaymentProduct::Jsapi)).unwrap().action;
        assert!(matches!(&page, ClientAction::WechatJsapi { package, .. } if package == "prepay_id=wx1"), "{page:?}");
        let app = read(r#"{"prepay_id":"wx1"}"#, &request(PaymentProduct::App)).unwrap().action;
        assert!(matches!(&app, ClientAction::AppInvocation { parameters } if parameters.contains("wx1")), "{app:?}");
    }

    #[test]
    fn a_page_leads_back_when_it_is_said_where_to() {
        let h5_url = "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx1&package=2";
        let answer = format!("{{\"h5_url\":\"{h5_url}\"}}");
        for (return_url, rest) in [
            (None, ""),
            (
                Some("https://shop.example/paid?a=1&b=长 #~"),
                "&redirect_url=https%3A%2F%2Fshop.example%2Fpaid%3Fa%3D1%26b%3D%E9%95%BF%20%23~",
            ),
        ] {
            let request = OpenPayment { return_url: return_url.map(str::to_owned), ..request(PaymentProduct::H5) };
            let url = format!("{h5_url}{rest}");
            assert_eq!(read(&answer, &request).unwrap().action, ClientAction::Redirect { url });
        }
        assert_eq!(and_back("https://h/p".to_owned(), Some("x")), "https://h/p?redirect_url=x");
    }

    #[test]
    fn an_answer_without_what_the_product_needs_is_unknown() {
        let cases = [
            (PaymentProduct::Native, "code_url", "prepay_id"),
            (PaymentProduct::Jsapi, "prepay_id", "code_url"),
            (PaymentProduct::App, "prepay_id", "h5_url"),
            (PaymentProduct::H5, "h5_url", "prepay_id"),
        ];
        for (product, its, other) in cases {
            let wrong = [
                String::new(),
                "{}".to_owned(),
                format!("{{\"{its}\":\"\"}}"),
                format!("{{\"{its}\":7}}"),
                format!("{{\"{other}\":\"wx1\"}}"),
            ];
            for answer in wrong {
                let opened = read(&answer, &request(product));
                assert!(matches!(opened, Err(GatewayError::Unknown(_))), "{product:?} {answer}");
            }
        }
    }

    #[test]
    fn other_products_and_currencies_and_a_page_without_a_payer_are_refused() {
        for product in [PaymentProduct::Precreate, PaymentProduct::Page, PaymentProduct::Wap] {
            assert_eq!(refusal(target(product).unwrap_err()), "UNSUPPORTED_PRODUCT");
            assert_eq!(refusal(read("{}", &request(product)).unwrap_err()), "UNSUPPORTED_PRODUCT");
        }
        let dollars = Money::new(100, Currency::parse("USD").unwrap());
        assert_eq!(refusal(fen(dollars).unwrap_err()), "UNSUPPORTED_CURRENCY");
        let account = vectors::account();
        for payer_id in [None, Some(String::new())] {
            let nobodys = OpenPayment { payer_id, ..request(PaymentProduct::Jsapi) };
            assert_eq!(refusal(body(&account, &nobodys).err().unwrap()), "PAYER_MISSING");
        }
    }
}
