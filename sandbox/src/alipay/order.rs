//! What a merchant asks for when it opens a payment.

use chrono::{DateTime, Days, FixedOffset, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    amount,
    answer::Refusal,
    parameters::{Parameters, TIME},
};

/// How the payer gets to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Product {
    /// By scanning a QR code.
    QrCode,
    /// In the browser of a computer.
    Page,
    /// In the browser of a phone.
    Wap,
    /// In Alipay's app, called by another app.
    App,
}

impl Product {
    fn codes(self) -> &'static [&'static str] {
        match self {
            Self::QrCode => &["FACE_TO_FACE_PAYMENT", "QR_CODE_OFFLINE"],
            Self::Page => &["FAST_INSTANT_TRADE_PAY"],
            Self::Wap => &["QUICK_WAP_WAY"],
            Self::App => &["QUICK_MSECURITY_PAY"],
        }
    }

    /// Two products must be named, for the others the name is the only one there could be.
    fn must_be_named(self) -> bool {
        matches!(self, Self::Page | Self::Wap)
    }

    fn default_timeout(self) -> TimeDelta {
        match self {
            Self::QrCode => TimeDelta::hours(3),
            Self::Page | Self::Wap | Self::App => LONGEST,
        }
    }

    fn shortest_timeout(self) -> TimeDelta {
        match self {
            Self::Wap => TimeDelta::minutes(5),
            Self::QrCode | Self::Page | Self::App => TimeDelta::minutes(1),
        }
    }
}

const LONGEST: TimeDelta = TimeDelta::days(15);
const QR_CODE: TimeDelta = TimeDelta::hours(2);

/// A checked request to open a payment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) product: Product,
    pub(super) number: String,
    /// In fen.
    pub(super) total: i64,
    pub(super) subject: String,
    pub(super) body: Option<String>,
    pub(super) passback_params: Option<String>,
    pub(super) notify_url: Option<String>,
    pub(super) return_url: Option<String>,
    /// Until when a QR code can be scanned first.
    pub(super) scan_by: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
}

impl Order {
    /// Reads a request that came at `now` and applies the rules of its fields.
    pub(super) fn read(
        product: Product,
        parameters: &Parameters,
        content: &Value,
        seller_id: &str,
        now: DateTime<Utc>,
    ) -> Result<Self, Refusal> {
        let fields = Content::of(content)?;
        let named = fields.optional("product_code", 64)?;
        if !named.map_or(!product.must_be_named(), |code| product.codes().contains(&code.as_str())) {
            return Err(Refusal::parameter("product_code", "与接口不符"));
        }
        if fields.optional("seller_id", 28)?.is_some_and(|id| id != seller_id) {
            return Err(Refusal::business("ACQ.PARTNER_ERROR", "seller_id不是本应用的商户"));
        }
        let expires_at = fields.expiry(product, now)?;
        let qr_code = fields.duration("qr_code_timeout_express", now)?.unwrap_or(now + QR_CODE);
        Ok(Self {
            product,
            number: fields.number("out_trade_no")?,
            total: fields.amount("total_amount")?,
            subject: fields.text("subject", 256)?,
            body: fields.optional("body", 128)?,
            passback_params: fields.optional("passback_params", 512)?,
            notify_url: url(parameters, "notify_url")?,
            return_url: match product {
                Product::Page | Product::Wap => url(parameters, "return_url")?,
                Product::QrCode | Product::App => None,
            },
            scan_by: if product == Product::QrCode { qr_code.min(expires_at) } else { expires_at },
            expires_at,
        })
    }

    /// Whether a second request under the same number asks for the same.
    pub(super) fn is_same(&self, again: &Self) -> bool {
        (self.product, self.total, &self.subject) == (again.product, again.total, &again.subject)
    }
}

/// The real gateway wants a public host; a sandbox also takes this machine.
fn url(parameters: &Parameters, name: &str) -> Result<Option<String>, Refusal> {
    let Some(url) = parameters.get(name) else {
        return Ok(None);
    };
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    if !is_web || url.len() > 256 || reqwest::Url::parse(url).is_err() {
        return Err(Refusal::parameter(name, "不是合法的URL"));
    }
    Ok(Some(url.to_owned()))
}

/// The fields of `biz_content`. Lengths count characters.
pub(super) struct Content<'a>(&'a Value);

impl<'a> Content<'a> {
    pub(super) fn of(content: &'a Value) -> Result<Self, Refusal> {
        if content.is_object() { Ok(Self(content)) } else { Err(Refusal::parameter("biz_content", "不是JSON对象")) }
    }

    /// Numbers are taken for their text, as clients send them for amounts.
    pub(super) fn optional(&self, name: &str, longest: usize) -> Result<Option<String>, Refusal> {
        let text = match &self.0[name] {
            Value::Null => return Ok(None),
            Value::String(text) if text.is_empty() => return Ok(None),
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return Err(Refusal::parameter(name, "类型错误")),
        };
        if text.chars().count() > longest {
            return Err(Refusal::parameter(name, "过长"));
        }
        Ok(Some(text))
    }

    pub(super) fn text(&self, name: &str, longest: usize) -> Result<String, Refusal> {
        self.optional(name, longest)?.ok_or_else(|| Refusal::parameter(name, "不能为空"))
    }

    /// A merchant's number of an order: up to 64 of `[0-9A-Za-z_]`.
    fn number(&self, name: &str) -> Result<String, Refusal> {
        let number = self.text(name, 64)?;
        if !number.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(Refusal::parameter(name, "含有不允许的字符"));
        }
        Ok(number)
    }

    /// In fen.
    pub(super) fn amount(&self, name: &str) -> Result<i64, Refusal> {
        amount::fen(&self.text(name, 12)?).ok_or_else(|| Refusal::parameter(name, "应为0.01至100000000.00"))
    }

    /// Whether `query_options` asks for it.
    pub(super) fn wants(&self, option: &str) -> bool {
        self.0["query_options"].as_array().is_some_and(|options| options.iter().any(|asked| asked == option))
    }

    /// An absolute time wins over a duration.
    fn expiry(&self, product: Product, now: DateTime<Utc>) -> Result<DateTime<Utc>, Refusal> {
        let at = match self.optional("time_expire", 32)? {
            Some(text) => Some(from_beijing(&text).ok_or_else(|| Refusal::parameter("time_expire", "格式错误"))?),
            None => self.duration("timeout_express", now)?,
        };
        let Some(at) = at else {
            return Ok(now + product.default_timeout());
        };
        if at <= now {
            return Err(Refusal::business("ACQ.NOW_TIME_AFTER_EXPIRE_TIME_ERROR", "当前时间已超过允许支付的时间"));
        }
        Ok(at.clamp(now + product.shortest_timeout(), now + LONGEST))
    }

    /// `1m` to `15d` in minutes, hours or days; or `1c`, to the end of the day.
    fn duration(&self, name: &str, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, Refusal> {
        let Some(text) = self.optional(name, 6)? else {
            return Ok(None);
        };
        let wrong = || Refusal::parameter(name, "格式错误");
        if text == "1c" {
            return end_of_day(now).map(Some).ok_or_else(wrong);
        }
        let unit = text.chars().last().unwrap_or_default();
        let count: u32 = text.trim_end_matches(unit).parse().map_err(|_| wrong())?;
        let length = match unit {
            'm' => TimeDelta::minutes(count.into()),
            'h' => TimeDelta::hours(count.into()),
            'd' => TimeDelta::days(count.into()),
            _ => return Err(wrong()),
        };
        if !(TimeDelta::minutes(1)..=LONGEST).contains(&length) {
            return Err(wrong());
        }
        Ok(Some(now + length))
    }
}

fn zone() -> Option<FixedOffset> {
    FixedOffset::east_opt(8 * 3600)
}

fn from_beijing(text: &str) -> Option<DateTime<Utc>> {
    let local = NaiveDateTime::parse_from_str(text, TIME).ok()?;
    Some(local.and_local_timezone(zone()?).single()?.to_utc())
}

fn end_of_day(now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let tomorrow = now.with_timezone(&zone()?).date_naive().checked_add_days(Days::new(1))?;
    Some(tomorrow.and_time(NaiveTime::MIN).and_local_timezone(zone()?).single()?.to_utc())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(product: Product, extra: &Value) -> Result<Order, Refusal> {
        let mut content = json!({"out_trade_no": "ORDER_1", "total_amount": "88.88", "subject": "Tea"});
        for (name, value) in extra.as_object().expect("an object") {
            content[name] = value.clone();
        }
        let now = DateTime::from_timestamp(1_767_225_600, 0).expect("in range");
        Order::read(product, &Parameters::default(), &content, "2088", now)
    }

    #[test]
    fn an_order_expires_as_asked_within_its_products_limits() {
        let days = 24 * 60;
        for (product, asked, minutes) in [
            (Product::QrCode, json!({}), 180),
            (Product::App, json!({}), 15 * days),
            (Product::QrCode, json!({"timeout_express": "90m"}), 90),
            (Product::QrCode, json!({"timeout_express": "1c"}), 16 * 60),
            (Product::QrCode, json!({"timeout_express": "90m", "time_expire": "2026-01-01 08:10:00"}), 10),
            (Product::QrCode, json!({"time_expire": "2027-01-01 08:10:00"}), 15 * days),
            (Product::Wap, json!({"timeout_express": "1m", "product_code": "QUICK_WAP_WAY"}), 5),
        ] {
            let order = read(product, &asked).expect("good");
            assert_eq!((order.expires_at.timestamp() - 1_767_225_600) / 60, minutes, "{asked}");
            assert!(order.scan_by <= order.expires_at);
        }
    }

    #[test]
    fn each_wrong_field_is_refused() {
        for (product, wrong, sub_code) in [
            (Product::QrCode, json!({"out_trade_no": ""}), "ACQ.INVALID_PARAMETER"),
            (Product::QrCode, json!({"out_trade_no": "A-1"}), "ACQ.INVALID_PARAMETER"),
            (Product::QrCode, json!({"total_amount": "0"}), "ACQ.INVALID_PARAMETER"),
            (Product::QrCode, json!({"total_amount": "1.001"}), "ACQ.INVALID_PARAMETER"),
            (Product::QrCode, json!({"subject": null}), "ACQ.INVALID_PARAMETER"),
            (Product::QrCode, json!({"timeout_express": "1.5h"}), "ACQ.INVALID_PARAMETER"),
            (Product::QrCode, json!({"timeout_express": "16d"}), "ACQ.INVALID_PARAMETER"),
            (Product::QrCode, json!({"time_expire": "2026-01-01 08:00:00"}), "ACQ.NOW_TIME_AFTER_EXPIRE_TIME_ERROR"),
            (Product::QrCode, json!({"product_code": "QUICK_WAP_WAY"}), "ACQ.INVALID_PARAMETER"),
            (Product::Page, json!({}), "ACQ.INVALID_PARAMETER"),
            (Product::App, json!({"seller_id": "2089"}), "ACQ.PARTNER_ERROR"),
        ] {
            assert_eq!(read(product, &wrong).expect_err("wrong").sub_code, sub_code, "{wrong}");
        }
        let number = read(Product::QrCode, &json!({"total_amount": 0.1})).expect("a JSON number");
        assert_eq!(number.total, 10);
    }
}
