//! The payment providers and what they are asked for, in words that fit both.

use serde::{Deserialize, Serialize};

use crate::{Money, OrderId, PaymentId, RefundId, Timestamp};

/// A payment provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gateway {
    /// WeChat Pay, API v3, direct merchant.
    WechatPay,
    /// Alipay, gateway.do with RSA2.
    Alipay,
}

impl Gateway {
    /// Every one of them.
    pub const ALL: [Gateway; 2] = [Gateway::WechatPay, Gateway::Alipay];

    /// The name in paths, columns and logs: `wechat_pay`, `alipay`.
    pub const fn name(self) -> &'static str {
        match self {
            Gateway::WechatPay => "wechat_pay",
            Gateway::Alipay => "alipay",
        }
    }

    /// Reads [`Gateway::name`] back.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|g| g.name() == name)
    }

    /// Whether opening a payment of this product asks the provider; else only the payer's coming does.
    pub const fn is_asked_to_open(self, product: PaymentProduct) -> bool {
        match self {
            Gateway::WechatPay => true,
            Gateway::Alipay => matches!(product, PaymentProduct::Precreate),
        }
    }

    /// Whether the provider sells this product.
    pub const fn offers(self, product: PaymentProduct) -> bool {
        use PaymentProduct as P;
        match self {
            Gateway::WechatPay => matches!(product, P::Native | P::Jsapi | P::H5 | P::App),
            Gateway::Alipay => matches!(product, P::Precreate | P::Page | P::Wap | P::App),
        }
    }
}

/// How the payer gets to the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentProduct {
    /// WeChat Pay: a QR code that the payer scans.
    Native,
    /// WeChat Pay: inside WeChat's browser or a mini program.
    Jsapi,
    /// WeChat Pay: another mobile browser.
    H5,
    /// Either: a native mobile app.
    App,
    /// Alipay: a QR code that the payer scans.
    Precreate,
    /// Alipay: a desktop browser.
    Page,
    /// Alipay: a mobile browser.
    Wap,
}

impl PaymentProduct {
    /// Every product of every provider.
    pub const ALL: [PaymentProduct; 7] =
        [Self::Native, Self::Jsapi, Self::H5, Self::App, Self::Precreate, Self::Page, Self::Wap];

    /// The name in columns and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Jsapi => "jsapi",
            Self::H5 => "h5",
            Self::App => "app",
            Self::Precreate => "precreate",
            Self::Page => "page",
            Self::Wap => "wap",
        }
    }

    /// Reads [`PaymentProduct::name`] back.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }
}

/// The whole unsigned request to open a payment. It is stored before it is sent, so that a retry sends
/// the same: providers refuse one number with two contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPayment {
    /// The provider's idempotency key.
    pub number: PaymentId,
    /// The order, echoed back in notifications (`attach`, `passback_params`).
    pub order: OrderId,
    /// Who is asked.
    pub gateway: Gateway,
    /// How the payer gets there.
    pub product: PaymentProduct,
    /// What the payer owes.
    pub amount: Money,
    /// What the payer reads, at most 127 bytes.
    pub description: String,
    /// When the provider stops taking money for it.
    pub expires_at: Timestamp,
    /// Where the provider tells us.
    pub notify_url: String,
    /// The payer's id at the provider (openid), for JSAPI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer_id: Option<String>,
    /// Where browsers come back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_url: Option<String>,
    /// Where the payer asked from, for H5: the provider compares it with the address that opens its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer_address: Option<std::net::IpAddr>,
}

/// The whole unsigned request for a refund. Nothing in it is stored twice: a refund and
/// its payment make it, always the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundRequest {
    /// The provider's idempotency key.
    pub number: RefundId,
    /// Whose money.
    pub payment: PaymentId,
    /// How much.
    pub amount: Money,
    /// What the payment brought.
    pub paid: Money,
    /// What the payer may read, at most 80 bytes.
    pub reason: String,
    /// Where the provider tells us.
    pub notify_url: String,
}

/// What the frontend must do next to let the payer pay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ClientAction {
    /// Show this link as a QR code.
    QrCode {
        /// What the code says.
        url: String,
    },
    /// Send the browser there.
    Redirect {
        /// Where to.
        url: String,
    },
    /// Put this form into the page and submit it.
    HtmlForm {
        /// The form.
        html: String,
    },
    /// Call WeChat's bridge with these fields.
    WechatJsapi {
        /// The app.
        app_id: String,
        /// Unix seconds, as text.
        time_stamp: String,
        /// Random text that was signed.
        nonce_str: String,
        /// `prepay_id=…`.
        package: String,
        /// Always `RSA`.
        sign_type: String,
        /// The merchant's signature.
        pay_sign: String,
    },
    /// Hand this to the provider's mobile SDK.
    AppInvocation {
        /// WeChat Pay: JSON of the signed fields. Alipay: the signed order string.
        parameters: String,
    },
}
