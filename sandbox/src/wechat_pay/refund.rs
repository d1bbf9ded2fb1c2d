//! A refund: what was asked for, and where it stands.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{fields::Fields, refusal::Refusal};
use crate::clock::beijing_time;

/// A checked request for a refund.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RefundRequest {
    pub(super) number: String,
    pub(super) transaction_id: Option<String>,
    pub(super) payment_number: Option<String>,
    pub(super) notify_url: Option<String>,
    pub(super) refund: i64,
    pub(super) total: i64,
    /// The whole request: a repetition must be identical in every field.
    pub(super) request: Value,
}

impl RefundRequest {
    /// Reads a request and applies the rules of its fields.
    pub(super) fn read(request: &Value) -> Result<Self, Refusal> {
        let fields = Fields::of(request)?;
        let transaction_id = fields.optional_text("/transaction_id", 1..=32)?;
        let payment_number = match fields.get("/out_trade_no") {
            Some(_) => Some(fields.order_number("/out_trade_no")?),
            None => None,
        };
        if transaction_id.is_none() && payment_number.is_none() {
            return Err(fields.wrong("/out_trade_no", "与transaction_id二选一，不能都为空"));
        }
        fields.optional_text("/reason", 0..=80)?;
        fields.optional_choice("/funds_account", &["AVAILABLE", "UNSETTLED"])?;
        fields.text("/amount/currency", 1..=16)?;
        fields.optional_choice("/amount/currency", &["CNY"])?;
        let refund = fields.amount("/amount/refund")?;
        let total = fields.amount("/amount/total")?;
        if refund > total {
            return Err(Refusal::invalid_request("退款金额不能大于订单金额"));
        }
        Ok(Self {
            number: fields.refund_number("/out_refund_no")?.to_owned(),
            transaction_id: transaction_id.map(str::to_owned),
            payment_number: payment_number.map(str::to_owned),
            notify_url: fields.optional_notify_url("/notify_url", 1..=256)?,
            refund,
            total,
            request: request.clone(),
        })
    }
}

/// How a refund ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Ending {
    #[default]
    Success,
    /// Nothing moved, the money may be refunded under another number.
    Closed,
    /// The bank refused it; the money has left the merchant's hands and needs handling.
    Abnormal,
}

impl Ending {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Closed => "CLOSED",
            Self::Abnormal => "ABNORMAL",
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Success => "退款成功",
            Self::Closed => "退款关闭",
            Self::Abnormal => "退款异常",
        }
    }
}

/// One refund of the book. It is accepted long before it is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Refund {
    pub(super) request: RefundRequest,
    pub(super) refund_id: String,
    pub(super) transaction_id: String,
    pub(super) payment_number: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) ending: Ending,
    /// When it ended; `None` while it is being processed.
    pub(super) ended_at: Option<DateTime<Utc>>,
}

impl Refund {
    /// Whether its money cannot be refunded a second time.
    pub(super) fn holds_money(&self) -> bool {
        self.ended_at.is_none() || self.ending != Ending::Closed
    }

    /// The answer to the request and to a query.
    pub(super) fn to_json(&self) -> Value {
        let (refund, total) = (self.request.refund, self.request.total);
        let status = match self.ended_at {
            Some(_) => self.ending.name(),
            None => "PROCESSING",
        };
        let mut answer = json!({
            "refund_id": self.refund_id,
            "out_refund_no": self.request.number,
            "transaction_id": self.transaction_id,
            "out_trade_no": self.payment_number,
            "channel": "ORIGINAL",
            "user_received_account": "支付用户零钱",
            "create_time": beijing_time(self.created_at),
            "status": status,
            "funds_account": "AVAILABLE",
            "amount": {
                "total": total, "refund": refund, "from": [],
                "payer_total": total, "payer_refund": refund,
                "settlement_refund": refund, "settlement_total": total,
                "discount_refund": 0, "currency": "CNY", "refund_fee": refund,
            },
            "promotion_detail": [],
        });
        if let (Some(at), Ending::Success) = (self.ended_at, self.ending) {
            answer["success_time"] = json!(beijing_time(at));
        }
        answer
    }

    /// What the notification of its end holds; the status has another name there.
    pub(super) fn to_notice(&self, mchid: &str) -> Value {
        let (refund, total) = (self.request.refund, self.request.total);
        let mut notice = json!({
            "mchid": mchid,
            "out_trade_no": self.payment_number,
            "transaction_id": self.transaction_id,
            "out_refund_no": self.request.number,
            "refund_id": self.refund_id,
            "refund_status": self.ending.name(),
            "user_received_account": "支付用户零钱",
            "amount": {
                "total": total, "refund": refund, "payer_total": total, "payer_refund": refund,
            },
        });
        if let (Some(at), Ending::Success) = (self.ended_at, self.ending) {
            notice["success_time"] = json!(beijing_time(at));
        }
        notice
    }
}
