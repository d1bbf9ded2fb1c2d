//! The provider's JSON as documented, no logic. Fields that we do not read are left out: the provider adds
//! fields at any time, so unknown ones are passed over.
//!
//! Source: Alipay's open platform: `alipay.trade.*`, public parameters, result codes. Money is yuan in a
//! decimal string, moments are Beijing's without an offset. Every answer is HTTP 200.

use serde::{Deserialize, Serialize};

use super::yuan::Yuan;

/// `alipay.trade.precreate`, `.page.pay`, `.wap.pay`, `.app.pay`: a trade to be paid.
#[derive(Debug, Serialize)]
pub(super) struct Trade<'a> {
    pub out_trade_no: &'a str,
    pub total_amount: Yuan,
    pub subject: String,
    /// Precreate has a default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_code: Option<&'a str>,
    pub time_expire: String,
    /// URL-encoded once before it is put here; echoed in queries and notifications.
    pub passback_params: String,
    /// WAP: where a payer who gives up is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quit_url: Option<&'a str>,
}

/// `alipay.trade.query`, `alipay.trade.close`: which trade.
#[derive(Debug, Serialize)]
pub(super) struct Which<'a> {
    pub out_trade_no: &'a str,
}

/// `alipay.trade.refund`.
#[derive(Debug, Serialize)]
pub(super) struct RefundOrder<'a> {
    pub out_trade_no: &'a str,
    pub refund_amount: Yuan,
    /// The refund's number, unique within its trade. Left out, there could be one refund only.
    pub out_request_no: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub refund_reason: &'a str,
}

/// `alipay.trade.fastpay.refund.query`.
#[derive(Debug, Serialize)]
pub(super) struct WhichRefund<'a> {
    pub out_trade_no: &'a str,
    pub out_request_no: &'a str,
    /// `gmt_refund_pay` is told only when it is asked for.
    pub query_options: [&'a str; 1],
}

/// `alipay.data.dataservice.bill.downloadurl.query`.
#[derive(Debug, Serialize)]
pub(super) struct WhichBill {
    pub bill_type: &'static str,
    /// `yyyy-MM-dd`.
    pub bill_date: String,
}

/// What every answer begins with. An error can carry fields beside these; they are no data.
#[derive(Debug, Deserialize)]
pub(super) struct Head {
    pub code: String,
    #[serde(default)]
    pub msg: String,
    pub sub_code: Option<String>,
    pub sub_msg: Option<String>,
}

/// The answer to a precreate.
#[derive(Debug, Deserialize)]
pub(super) struct Precreated {
    pub out_trade_no: String,
    pub qr_code: String,
}

/// The answer to a query.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    pub out_trade_no: String,
    pub trade_no: Option<String>,
    pub trade_status: String,
    /// Of the order; what the payer paid himself may be less (coupons).
    pub total_amount: Option<Yuan>,
    /// Absent while unpaid.
    pub send_pay_date: Option<String>,
    /// `0.00` while unpaid.
    pub receipt_amount: Option<Yuan>,
}

/// The answer to a close.
#[derive(Debug, Deserialize)]
pub(super) struct Closed {
    pub out_trade_no: String,
}

/// The answer to a refund. It does not name the refund.
#[derive(Debug, Deserialize)]
pub(super) struct Refunded {
    pub out_trade_no: String,
    /// `Y`: money moved in this very call.
    pub fund_change: Option<String>,
    /// All that was ever refunded on the trade, this refund included.
    pub refund_fee: Option<Yuan>,
    pub gmt_refund_pay: Option<String>,
}

/// The answer to a refund query. An unknown number is answered with none of these.
#[derive(Debug, Deserialize)]
pub(super) struct FoundRefund {
    pub out_trade_no: Option<String>,
    pub out_request_no: Option<String>,
    /// `REFUND_SUCCESS` or absent.
    pub refund_status: Option<String>,
    /// Of this refund.
    pub refund_amount: Option<Yuan>,
    pub gmt_refund_pay: Option<String>,
}

/// The answer to the question for a bill.
#[derive(Debug, Deserialize)]
pub(super) struct BillAddress {
    /// Works for 30 seconds, for everybody.
    pub bill_download_url: Option<String>,
    /// `EMPTY_DATA_WITH_BILL_FILE`: there is a file, and nothing in it.
    pub bill_file_code: Option<String>,
}
