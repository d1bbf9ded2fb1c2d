//! The provider's JSON as documented, no logic. Fields that we do not read are left out: the provider
//! adds fields at any time, so unknown ones are passed over.
//!
//! Source: WeChat Pay API v3, direct merchant: prepay, query, close, refund, notifications, certificates, bills. Money is whole
//! fen, moments are RFC 3339 with an offset.

use serde::{Deserialize, Serialize};

/// `POST /v3/pay/transactions/{native|jsapi|h5|app}`.
#[derive(Serialize)]
pub(super) struct Prepay<'a> {
    pub appid: &'a str,
    pub mchid: &'a str,
    pub description: &'a str,
    pub out_trade_no: &'a str,
    pub time_expire: String,
    /// Echoed in queries, notifications and bills.
    pub attach: &'a str,
    pub notify_url: &'a str,
    pub amount: PrepayAmount<'a>,
    /// JSAPI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payer: Option<Payer<'a>>,
    /// H5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scene_info: Option<SceneInfo<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct PrepayAmount<'a> {
    pub total: i64,
    pub currency: &'a str,
}

/// Identifies a person; has no `Debug`, so that it cannot be logged.
#[derive(Serialize)]
pub(super) struct Payer<'a> {
    pub openid: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct SceneInfo<'a> {
    pub payer_client_ip: std::net::IpAddr,
    pub h5_info: H5Info<'a>,
}

#[derive(Debug, Serialize)]
pub(super) struct H5Info<'a> {
    /// `Wap`, `iOS` or `Android`.
    #[serde(rename = "type")]
    pub kind: &'a str,
}

/// The answer to [`Prepay`].
#[derive(Debug, Deserialize)]
pub(super) struct Prepaid {
    /// Native.
    pub code_url: Option<String>,
    /// JSAPI and App.
    pub prepay_id: Option<String>,
    /// H5.
    pub h5_url: Option<String>,
}

/// What an app hands to WeChat's SDK. Android calls `package` `packageValue`.
#[derive(Debug, Serialize)]
pub(super) struct AppInvocation<'a> {
    pub appid: &'a str,
    pub partnerid: &'a str,
    pub prepayid: &'a str,
    pub package: &'a str,
    pub noncestr: &'a str,
    /// Unix seconds, as text.
    pub timestamp: &'a str,
    pub sign: &'a str,
}

/// `POST /v3/pay/transactions/out-trade-no/{out_trade_no}/close`; the answer is an empty 204.
#[derive(Debug, Serialize)]
pub(super) struct Close<'a> {
    pub mchid: &'a str,
}

/// A payment: the answer to a query and the text of a `TRANSACTION.*` notification.
#[derive(Debug, Deserialize)]
pub(super) struct Trade {
    pub appid: Option<String>,
    pub mchid: Option<String>,
    pub out_trade_no: String,
    /// Absent while unpaid.
    pub transaction_id: Option<String>,
    pub trade_state: String,
    pub trade_state_desc: Option<String>,
    /// What we said when it was opened.
    pub attach: Option<String>,
    pub success_time: Option<String>,
    pub amount: Option<TradeAmount>,
}

#[derive(Debug, Deserialize)]
pub(super) struct TradeAmount {
    /// Of the order, in fen; what the payer paid himself may be less (coupons).
    pub total: Option<i64>,
    pub currency: Option<String>,
}

/// `POST /v3/refund/domestic/refunds`.
#[derive(Debug, Serialize)]
pub(super) struct RefundOrder<'a> {
    pub out_trade_no: &'a str,
    pub out_refund_no: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: &'a str,
    pub notify_url: &'a str,
    pub amount: RefundOrderAmount<'a>,
}

#[derive(Debug, Serialize)]
pub(super) struct RefundOrderAmount<'a> {
    pub refund: i64,
    pub total: i64,
    pub currency: &'a str,
}

/// A refund: the answer to [`RefundOrder`] and to a query (`status`), and the text of a `REFUND.*`
/// notification (`refund_status`, and `mchid`).
#[derive(Debug, Deserialize)]
pub(super) struct Refund {
    pub mchid: Option<String>,
    pub out_trade_no: String,
    pub out_refund_no: String,
    pub status: Option<String>,
    pub refund_status: Option<String>,
    /// Only when it succeeded.
    pub success_time: Option<String>,
    pub amount: RefundAmount,
}

#[derive(Debug, Deserialize)]
pub(super) struct RefundAmount {
    pub refund: i64,
    /// Answers say it, notifications do not.
    pub currency: Option<String>,
}

/// What is posted to `notify_url`.
#[derive(Debug, Deserialize)]
pub(super) struct Envelope {
    pub id: String,
    pub resource_type: String,
    pub event_type: String,
    pub resource: Resource,
}

/// What is encrypted in a notification.
#[derive(Debug, Deserialize)]
pub(super) struct Resource {
    pub original_type: String,
    #[serde(flatten)]
    pub sealed: Sealed,
}

/// Something encrypted with the APIv3 key.
#[derive(Debug, Deserialize)]
pub(super) struct Sealed {
    pub algorithm: String,
    pub ciphertext: String,
    pub associated_data: Option<String>,
    pub nonce: String,
}

/// `GET /v3/certificates`.
#[derive(Debug, Deserialize)]
pub(super) struct CertificateList {
    pub data: Vec<ListedCertificate>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ListedCertificate {
    pub serial_no: String,
    pub effective_time: String,
    pub expire_time: String,
    /// An X.509 certificate in PEM.
    pub encrypt_certificate: Sealed,
}

/// `GET /v3/bill/tradebill` and `/v3/bill/fundflowbill`.
#[derive(Debug, Deserialize)]
pub(super) struct BillFile {
    pub hash_type: String,
    /// Over the unpacked bytes.
    pub hash_value: String,
    /// Good for some seconds or minutes.
    pub download_url: String,
}

/// The body of a 4xx or 5xx.
#[derive(Debug, Deserialize)]
pub(super) struct ErrorBody {
    pub code: String,
    #[serde(default)]
    pub message: String,
}
