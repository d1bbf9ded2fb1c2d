//! Opening a payment: the request by product, and what the frontend does with the answer.
//!
//! Native is spoken; JSAPI, H5 and App differ in path, a few fields and the action only.

use chrono::{FixedOffset, SecondsFormat};
use domain::{ClientAction, Currency, Duration, Money, OpenPayment, PaymentProduct, Timestamp};

use super::translate::Account;
use super::wire;
use crate::payments::ports::{GatewayError, Opened, Refusal};

/// How long a `code_url` works, says the provider.
const CODE_URL_LIFETIME: Duration = Duration::hours(2);
/// Longest description, in bytes of UTF-8.
const DESCRIPTION_LIMIT: usize = 127;

/// Where a payment of this product is opened.
pub(super) fn target(product: PaymentProduct) -> Result<&'static str, GatewayError> {
    match product {
        PaymentProduct::Native => Ok("/v3/pay/transactions/native"),
        PaymentProduct::Jsapi
        | PaymentProduct::H5
        | PaymentProduct::App
        | PaymentProduct::Precreate
        | PaymentProduct::Page
        | PaymentProduct::Wap => {
            let message = format!("the product {} is not offered at WeChat Pay", product.name());
            Err(GatewayError::Refused(Refusal { code: "UNSUPPORTED_PRODUCT".to_owned(), message }))
        }
    }
}

/// The request's body. The same request gives the same bytes: the provider refuses one number with two
/// contents.
pub(super) fn body<'a>(account: &'a Account, request: &'a OpenPayment) -> Result<wire::Prepay<'a>, GatewayError> {
    Ok(wire::Prepay {
        appid: &account.appid,
        mchid: &account.mchid,
        description: cut(&request.description, DESCRIPTION_LIMIT),
        out_trade_no: request.number.as_str(),
        time_expire: beijing(request.expires_at),
        attach: request.order.as_str(),
        notify_url: &request.notify_url,
        amount: wire::PrepayAmount { total: fen(request.amount)?, currency: "CNY" },
    })
}

/// Reads a verified answer.
pub(super) fn opened(body: &[u8], request: &OpenPayment, now: Timestamp) -> Result<Opened, GatewayError> {
    let unreadable = || GatewayError::Unknown("the answer to opening a payment has no code_url".to_owned());
    let answer: wire::Prepaid = serde_json::from_slice(body).map_err(|_| unreadable())?;
    let url = answer.code_url.filter(|url| !url.is_empty()).ok_or_else(unreadable)?;
    Ok(Opened { action: ClientAction::QrCode { url }, until: request.expires_at.min(now + CODE_URL_LIFETIME) })
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

    #[test]
    fn a_native_payment_is_asked_for_as_documented() {
        let account = vectors::account();
        let body = serde_json::to_string(&body(&account, &vectors::open_payment()).unwrap()).unwrap();
        assert_eq!(
            body,
            "{\"appid\":\"wxd678efh567hg6787\",\"mchid\":\"1900000001\",\"description\":\"腾讯充值\",\
             \"out_trade_no\":\"pay_00000000000000000000000001\",\"time_expire\":\"2026-01-01T08:30:00+08:00\",\
             \"attach\":\"ord_00000000000000000000000001\",\"notify_url\":\"https://shop.example.com/n\",\
             \"amount\":{\"total\":100,\"currency\":\"CNY\"}}"
        );
    }

    #[test]
    fn a_description_is_cut_between_characters() {
        let account = vectors::account();
        let request = OpenPayment { description: "长".repeat(100), ..vectors::open_payment() };
        assert_eq!(body(&account, &request).unwrap().description, "长".repeat(42));
    }

    #[test]
    fn the_code_works_two_hours_or_until_the_request_ends() {
        let answer = br#"{ "code_url" : "weixin:\/\/wxpay\/bizpayurl?pr=abc" }"#;
        let now = vectors::now();
        for (ends, works) in [(30, 30), (120, 120), (7 * 24 * 60, 120)] {
            let request = OpenPayment { expires_at: now + Duration::minutes(ends), ..vectors::open_payment() };
            let opened = opened(answer, &request, now).unwrap();
            assert_eq!(opened.until, now + Duration::minutes(works));
            assert_eq!(opened.action, ClientAction::QrCode { url: "weixin://wxpay/bizpayurl?pr=abc".to_owned() });
        }
    }

    #[test]
    fn an_answer_without_a_code_is_unknown() {
        for answer in ["", "{}", r#"{"code_url":""}"#, r#"{"code_url":7}"#, r#"{"prepay_id":"wx1"}"#] {
            let opened = opened(answer.as_bytes(), &vectors::open_payment(), vectors::now());
            assert!(matches!(opened, Err(GatewayError::Unknown(_))), "{answer}");
        }
    }

    #[test]
    fn other_products_and_currencies_are_refused() {
        let code = |error| match error {
            GatewayError::Refused(refusal) => refusal.code,
            other => panic!("{other}"),
        };
        assert_eq!(code(target(PaymentProduct::Jsapi).unwrap_err()), "UNSUPPORTED_PRODUCT");
        let dollars = Money::new(100, Currency::parse("USD").unwrap());
        assert_eq!(code(fen(dollars).unwrap_err()), "UNSUPPORTED_CURRENCY");
    }
}
