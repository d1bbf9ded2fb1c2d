//! An order: what was asked for, and where it stands.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{fields::Fields, numbers, refusal::Refusal};
use crate::{clock::beijing_time, faults::FaultKind};

/// Who pays when the merchant does not say.
const SOME_PAYER: &str = "oSandboxPayer00000000000000";
const H5_LINK_LIFETIME: TimeDelta = TimeDelta::minutes(5);

/// How the payer gets to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum TradeType {
    /// By scanning a QR code.
    Native,
    /// In WeChat's own browser or a mini program.
    Jsapi,
    /// In another mobile browser.
    #[serde(rename = "MWEB")]
    H5,
    /// From the merchant's app.
    App,
}

impl TradeType {
    /// How long an order may be open at most.
    fn longest(self) -> TimeDelta {
        match self {
            Self::Native => TimeDelta::days(7),
            Self::Jsapi | Self::H5 | Self::App => TimeDelta::days(15),
        }
    }
}

/// A checked request to open an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Prepay {
    pub(super) trade_type: TradeType,
    pub(super) appid: String,
    pub(super) mchid: String,
    pub(super) description: String,
    pub(super) number: String,
    pub(super) attach: String,
    pub(super) notify_url: String,
    pub(super) total: i64,
    /// Who is to pay, if the merchant knows.
    #[serde(default)]
    openid: Option<String>,
    time_expire: Option<DateTime<Utc>>,
    /// The whole request: a repetition must be identical in every field.
    request: Value,
}

impl Prepay {
    /// Reads a request and applies the rules of its fields.
    pub(super) fn read(trade_type: TradeType, request: &Value) -> Result<Self, Refusal> {
        let fields = Fields::of(request)?;
        check_optional(&fields)?;
        check_product(trade_type, &fields)?;
        let total = fields.amount("/amount/total")?;
        fields.optional_choice("/amount/currency", &["CNY"])?;
        let notify_url = fields.optional_notify_url("/notify_url", 1..=255)?;
        let attach = fields.optional_text("/attach", 0..=128)?;
        Ok(Self {
            trade_type,
            appid: fields.text("/appid", 1..=32)?.to_owned(),
            mchid: fields.text("/mchid", 1..=32)?.to_owned(),
            description: fields.text("/description", 1..=127)?.to_owned(),
            number: fields.order_number("/out_trade_no")?.to_owned(),
            attach: attach.unwrap_or_default().to_owned(),
            notify_url: notify_url.ok_or_else(|| fields.wrong("/notify_url", "缺少必填参数"))?,
            total,
            openid: fields.optional_text("/payer/openid", 1..=128)?.map(str::to_owned),
            time_expire: fields.optional_time("/time_expire")?,
            request: request.clone(),
        })
    }

    /// An order is open for seven days if nothing is asked for; for a minute at least.
    fn expires_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let asked = self.time_expire.unwrap_or(now + TimeDelta::days(7));
        asked.clamp(now + TimeDelta::minutes(1), now + self.trade_type.longest())
    }
}

/// What only this product needs.
fn check_product(trade_type: TradeType, fields: &Fields<'_>) -> Result<(), Refusal> {
    match trade_type {
        TradeType::Native | TradeType::App => {}
        TradeType::Jsapi => {
            fields.text("/payer/openid", 1..=128)?;
        }
        TradeType::H5 => {
            let address = fields.text("/scene_info/payer_client_ip", 1..=45)?;
            if address.parse::<IpAddr>().is_err() {
                return Err(fields.wrong("/scene_info/payer_client_ip", "不是IP地址"));
            }
            fields.text("/scene_info/h5_info/type", 1..=32)?;
            fields.optional_choice("/scene_info/h5_info/type", &["Wap", "iOS", "Android"])?;
        }
    }
    Ok(())
}

fn check_optional(fields: &Fields<'_>) -> Result<(), Refusal> {
    fields.optional_text("/goods_tag", 0..=32)?;
    fields.optional_flag("/support_fapiao")?;
    fields.optional_flag("/settle_info/profit_sharing")?;
    fields.optional_text("/payer/openid", 1..=128)?;
    if fields.optional_object("/scene_info")? {
        fields.text("/scene_info/payer_client_ip", 1..=45)?;
        fields.optional_text("/scene_info/device_id", 0..=32)?;
    }
    if fields.optional_object("/detail")? && fields.get("/detail").is_some_and(|detail| detail.to_string().len() > 6144)
    {
        return Err(fields.wrong("/detail", "长度超过6144字节"));
    }
    let ways = ["no_balance", "no_credit", "no_debit", "balance_only"];
    match fields.get("/limit_pay") {
        None => Ok(()),
        Some(Value::Array(limits)) if limits.iter().all(|limit| ways.iter().any(|way| limit == way)) => Ok(()),
        Some(_) => Err(fields.wrong("/limit_pay", "不在枚举范围内")),
    }
}

/// Where an order stands. An order past its time is closed, though nobody closed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OrderState {
    Open,
    Paid {
        transaction_id: String,
        at: DateTime<Utc>,
        /// Some refund exists, even a partial one.
        refunded: bool,
    },
    /// The merchant closed it.
    Closed,
    /// It closed by itself.
    Expired,
}

/// One order of the book.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) prepay: Prepay,
    pub(super) prepay_id: String,
    /// When it was asked for last: links that live shortly live from then on.
    #[serde(default)]
    prepaid_at: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
    state: OrderState,
    /// The payer's last attempt was declined; the order stays open.
    pub(super) declined: bool,
    /// Only a fault charges in another one than yuan.
    #[serde(default)]
    currency: Option<String>,
}

impl Order {
    pub(super) fn open(prepay: Prepay, now: DateTime<Utc>) -> Self {
        Self {
            prepay_id: numbers::prepay_id(now),
            prepaid_at: now,
            expires_at: prepay.expires_at(now),
            prepay,
            state: OrderState::Open,
            declined: false,
            currency: None,
        }
    }

    pub(super) fn currency(&self) -> &str {
        self.currency.as_deref().unwrap_or("CNY")
    }

    /// What a fault makes of it just before its payer pays.
    pub(super) fn bend(&mut self, fault: Option<FaultKind>, now: DateTime<Utc>) {
        match fault {
            Some(FaultKind::OneMore) => self.prepay.total += 1,
            Some(FaultKind::OneLess) => self.prepay.total -= 1,
            Some(FaultKind::OtherCurrency) => self.currency = Some("USD".to_owned()),
            Some(FaultKind::AlthoughClosed) if *self.state(now) != OrderState::Open && !self.is_paid() => {
                self.state = OrderState::Open;
                self.expires_at = self.expires_at.max(now + TimeDelta::minutes(1));
            }
            _ => {}
        }
    }

    fn is_paid(&self) -> bool {
        matches!(self.state, OrderState::Paid { .. })
    }

    /// The state at `now`; an order closes by itself when its time is over.
    pub(super) fn state(&mut self, now: DateTime<Utc>) -> &mut OrderState {
        if self.state == OrderState::Open && now >= self.expires_at {
            self.state = OrderState::Expired;
        }
        &mut self.state
    }

    /// The transaction and its moment, if it was paid.
    pub(super) fn paid(&self) -> Option<(&str, DateTime<Utc>)> {
        match &self.state {
            OrderState::Paid { transaction_id, at, .. } => Some((transaction_id, *at)),
            _ => None,
        }
    }

    /// Who paid, or will.
    pub(super) fn payer(&self) -> &str {
        self.prepay.openid.as_deref().unwrap_or(SOME_PAYER)
    }

    /// The same request again is answered again while the order is open; nothing else is.
    pub(super) fn reopen(&mut self, again: &Prepay, now: DateTime<Utc>) -> Result<(), Refusal> {
        let is_same = self.is_same(again);
        match self.state(now) {
            OrderState::Paid { .. } => Err(Refusal::order_paid()),
            OrderState::Closed | OrderState::Expired => Err(Refusal::new(400, "ORDER_CLOSED", "订单已关闭")),
            OrderState::Open if is_same => {
                self.prepaid_at = now;
                Ok(())
            }
            OrderState::Open => Err(Refusal::new(403, "OUT_TRADE_NO_USED", "商户订单号重复")),
        }
    }

    /// Whether its link for browsers still works; `None`: it never had one.
    pub(super) fn h5_link_works(&self, now: DateTime<Utc>) -> Option<bool> {
        let has_one = self.prepay.trade_type == TradeType::H5;
        has_one.then(|| now < self.prepaid_at + H5_LINK_LIFETIME)
    }

    fn is_same(&self, again: &Prepay) -> bool {
        self.prepay.trade_type == again.trade_type && self.prepay.request == again.request
    }

    /// Closing is idempotent; a paid order cannot be closed.
    pub(super) fn close(&mut self, now: DateTime<Utc>) -> Result<(), Refusal> {
        let state = self.state(now);
        match state {
            OrderState::Open => *state = OrderState::Closed,
            OrderState::Closed | OrderState::Expired => {}
            OrderState::Paid { .. } => return Err(Refusal::order_paid()),
        }
        Ok(())
    }

    /// The answer to a query, which is also what a notification of the payment holds.
    pub(super) fn answer(&mut self, now: DateTime<Utc>) -> Value {
        let (state, words) = match self.state(now) {
            OrderState::Open => ("NOTPAY", "订单未支付"),
            OrderState::Closed | OrderState::Expired => ("CLOSED", "订单已关闭"),
            OrderState::Paid { refunded, .. } if *refunded => ("REFUND", "订单发生过退款"),
            OrderState::Paid { .. } => ("SUCCESS", "支付成功"),
        };
        let mut answer = json!({
            "appid": self.prepay.appid,
            "mchid": self.prepay.mchid,
            "out_trade_no": self.prepay.number,
            "trade_state": state,
            "trade_state_desc": words,
            "attach": self.prepay.attach,
            "amount": {"total": self.prepay.total, "currency": self.currency()},
            "promotion_detail": [],
        });
        if let OrderState::Paid { transaction_id, at, .. } = &self.state {
            answer["transaction_id"] = json!(transaction_id);
            answer["trade_type"] = json!(self.prepay.trade_type);
            answer["bank_type"] = json!("OTHERS");
            answer["success_time"] = json!(beijing_time(*at));
            answer["payer"] = json!({ "openid": self.payer() });
            answer["amount"]["payer_total"] = json!(self.prepay.total);
            answer["amount"]["payer_currency"] = json!(self.currency());
        }
        answer
    }
}
