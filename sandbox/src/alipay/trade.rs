//! A trade: an order, where it stands, and what was given back.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    amount::yuan,
    answer::{Fields, Refusal},
    numbers,
    order::{Order, Product},
    parameters::TIME,
};
use crate::{clock::beijing, faults::FaultKind};

/// The one payer there is.
pub(super) const BUYER_ID: &str = "2088102147948060";
pub(super) const BUYER_LOGON_ID: &str = "159****5620";

const REFUNDABLE: TimeDelta = TimeDelta::days(365);

/// What happened to a trade, before its refunds and the time are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Progress {
    Waiting,
    Paid { at: DateTime<Utc> },
    Closed,
}

/// Where a trade stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Waiting,
    /// Paid, and something can be given back.
    Success {
        paid_at: DateTime<Utc>,
    },
    /// All was given back.
    Refunded {
        paid_at: DateTime<Utc>,
    },
    /// Paid long ago.
    Finished {
        paid_at: DateTime<Utc>,
    },
    /// Never paid.
    Closed,
    /// Never paid, and closed by itself.
    Expired,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Waiting => "WAIT_BUYER_PAY",
            Self::Success { .. } => "TRADE_SUCCESS",
            Self::Refunded { .. } | Self::Closed | Self::Expired => "TRADE_CLOSED",
            Self::Finished { .. } => "TRADE_FINISHED",
        }
    }

    pub(super) fn paid_at(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Success { paid_at } | Self::Refunded { paid_at } | Self::Finished { paid_at } => Some(paid_at),
            Self::Waiting | Self::Closed | Self::Expired => None,
        }
    }
}

/// Money that was given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refund {
    /// The merchant's number, unique within the trade (`out_request_no`).
    pub(super) number: String,
    pub(super) minor: i64,
    pub(super) reason: Option<String>,
    pub(super) at: DateTime<Utc>,
}

/// One order of the book; a trade once the payer has seen it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Trade {
    pub(super) order: Order,
    /// `None`: a QR code that nobody has scanned.
    pub(super) trade_no: Option<String>,
    pub(super) created_at: DateTime<Utc>,
    progress: Progress,
    /// The payer's last attempt was declined; the trade stays open.
    pub(super) declined: bool,
    pub(super) refunds: Vec<Refund>,
}

impl Trade {
    pub(super) fn open(order: Order, now: DateTime<Utc>) -> Self {
        let is_trade = order.product != Product::QrCode;
        Self {
            trade_no: is_trade.then(|| numbers::trade_no(now)),
            order,
            created_at: now,
            progress: Progress::Waiting,
            declined: false,
            refunds: Vec::new(),
        }
    }

    /// The payer scans the QR code: only now it is a trade. Says its number if it became one.
    pub(super) fn scan(&mut self, now: DateTime<Utc>) -> Option<&str> {
        if self.trade_no.is_some() || self.status(now) != Status::Waiting {
            return None;
        }
        self.created_at = now;
        Some(self.trade_no.insert(numbers::trade_no(now)))
    }

    pub(super) fn until(&self) -> DateTime<Utc> {
        if self.trade_no.is_some() { self.order.expires_at } else { self.order.scan_by }
    }

    pub(super) fn status(&self, now: DateTime<Utc>) -> Status {
        match self.progress {
            Progress::Waiting if now >= self.until() => Status::Expired,
            Progress::Waiting => Status::Waiting,
            Progress::Paid { at } if self.refunded() == self.order.total => Status::Refunded { paid_at: at },
            Progress::Paid { at } if now - at > REFUNDABLE => Status::Finished { paid_at: at },
            Progress::Paid { at } => Status::Success { paid_at: at },
            Progress::Closed => Status::Closed,
        }
    }

    /// What was given back until now.
    pub(super) fn refunded(&self) -> i64 {
        self.refunds.iter().map(|refund| refund.minor).sum()
    }

    /// The same request again is answered again while the trade is unpaid; nothing else is.
    pub(super) fn reopen(&self, again: &Order, now: DateTime<Utc>) -> Result<(), Refusal> {
        match self.status(now) {
            Status::Waiting if self.order.is_same(again) => Ok(()),
            Status::Waiting => Err(Refusal::business("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改")),
            Status::Success { .. } | Status::Finished { .. } => {
                Err(Refusal::business("ACQ.TRADE_HAS_SUCCESS", "交易已被支付"))
            }
            Status::Refunded { .. } | Status::Closed | Status::Expired => Err(Refusal::closed()),
        }
    }

    /// Only for a trade that waits; the caller has looked.
    pub(super) fn paid(&mut self, now: DateTime<Utc>) {
        self.progress = Progress::Paid { at: now };
    }

    /// Only for a trade that waits; the caller has looked.
    pub(super) fn closed(&mut self) {
        self.progress = Progress::Closed;
    }

    /// What a fault makes of it just before its payer pays.
    pub(super) fn bend(&mut self, fault: Option<FaultKind>, now: DateTime<Utc>) {
        match fault {
            Some(FaultKind::OneMore) => self.order.total += 1,
            Some(FaultKind::OneLess) => self.order.total -= 1,
            Some(FaultKind::AlthoughClosed) if matches!(self.status(now), Status::Closed | Status::Expired) => {
                self.progress = Progress::Waiting;
                let until = self.until().max(now + TimeDelta::minutes(1));
                (self.order.expires_at, self.order.scan_by) = (until, until);
            }
            _ => {}
        }
    }

    /// Its two numbers.
    pub(super) fn names(&self) -> Fields {
        let mut fields = Fields::from([("out_trade_no", json!(self.order.number))]);
        if let Some(trade_no) = &self.trade_no {
            fields.insert("trade_no", json!(trade_no));
        }
        fields
    }

    /// The answer to a query.
    pub(super) fn answer(&self, now: DateTime<Utc>) -> Fields {
        let (total, status) = (yuan(self.order.total), self.status(now));
        let mut fields = self.names();
        fields.extend([
            ("buyer_logon_id", json!(BUYER_LOGON_ID)),
            ("buyer_user_id", json!(BUYER_ID)),
            ("buyer_user_type", json!("PRIVATE")),
            ("total_amount", json!(total)),
            ("trade_status", json!(status.name())),
            ("point_amount", json!("0.00")),
        ]);
        let paid = if status.paid_at().is_some() { total.clone() } else { "0.00".to_owned() };
        for name in ["buyer_pay_amount", "invoice_amount", "receipt_amount"] {
            fields.insert(name, json!(paid));
        }
        if let Some(at) = status.paid_at() {
            fields.insert("send_pay_date", json!(beijing(at, TIME)));
            fields.insert("fund_bill_list", json!([{"amount": total, "fund_channel": "ALIPAYACCOUNT"}]));
        }
        if let Some(passback) = &self.order.passback_params {
            fields.insert("passback_params", json!(passback));
        }
        fields
    }

    /// The answer to a refund. `moved`: in this call. The fee is that of all refunds until now.
    pub(super) fn refund_answer(&self, moved: bool, at: Option<DateTime<Utc>>) -> Fields {
        let mut fields = self.names();
        fields.extend([
            ("buyer_logon_id", json!(BUYER_LOGON_ID)),
            ("buyer_user_id", json!(BUYER_ID)),
            ("fund_change", json!(if moved { "Y" } else { "N" })),
            ("refund_fee", json!(yuan(self.refunded()))),
            ("send_back_fee", json!(if moved { self.last_refund() } else { "0.00".to_owned() })),
        ]);
        if let Some(at) = at {
            fields.insert("gmt_refund_pay", json!(beijing(at, TIME)));
        }
        fields
    }

    fn last_refund(&self) -> String {
        yuan(self.refunds.last().map_or(0, |refund| refund.minor))
    }
}
