//! A payment as callers see it.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, SimpleObject, Union};
use domain::{Order, PaymentId, PaymentState, Timestamp};

use super::Asked;
use super::enums::{Gateway, PaymentProduct, PaymentStatus};
use super::error::ApiError;
use super::order::OrderView;
use super::product::Money;
use crate::payments::PaymentError;

/// One attempt at paying an order.
pub struct PaymentView {
    pub(super) order: Arc<Order>,
    pub(super) id: PaymentId,
}

impl PaymentView {
    fn it(&self) -> Result<&domain::Payment, ApiError> {
        self.order
            .payment(&self.id)
            .ok_or_else(|| PaymentError::Internal("a payment without its order".to_owned()).into())
    }

    fn flags(&self) -> Result<(bool, bool, bool), ApiError> {
        Ok(match self.it()?.state {
            PaymentState::Succeeded { surplus, late, mismatch, .. } => (surplus, late, mismatch),
            _ => (false, false, false),
        })
    }
}

#[Object(name = "Payment")]
impl PaymentView {
    /// `pay_…`: also the number under which the gateway knows it.
    async fn id(&self) -> ID {
        ID(self.id.to_string())
    }
    /// What it pays for.
    async fn order(&self) -> OrderView {
        OrderView(self.order.clone())
    }
    /// Where it stands.
    async fn status(&self) -> Result<PaymentStatus, ApiError> {
        Ok(self.it()?.status().into())
    }
    /// Which provider.
    async fn gateway(&self) -> Result<Gateway, ApiError> {
        Ok(self.it()?.gateway().into())
    }
    /// How the payer gets there.
    async fn product(&self) -> Result<PaymentProduct, ApiError> {
        Ok(self.it()?.request.product.into())
    }
    /// What was asked for; with `mismatch`, what arrived.
    async fn amount(&self) -> Result<Money, ApiError> {
        let it = self.it()?;
        Ok(Money(it.evidence().map_or(it.request.amount, |e| e.amount)))
    }
    /// What the frontend must do next; null when there is nothing to do, or no longer.
    async fn action(&self, ctx: &Context<'_>) -> Result<Option<ClientAction>, ApiError> {
        let now = ctx.payments()?.now();
        Ok(self.it()?.action(now).map(|(action, _)| action.clone().into()))
    }
    /// Until when `action` works.
    async fn action_expires_at(&self, ctx: &Context<'_>) -> Result<Option<Timestamp>, ApiError> {
        let now = ctx.payments()?.now();
        Ok(self.it()?.action(now).map(|(_, until)| until))
    }
    /// It succeeded, but the order did not need it; it is refunded by itself.
    async fn surplus(&self) -> Result<bool, ApiError> {
        Ok(self.flags()?.0)
    }
    /// It succeeded after it or the order was closed.
    async fn late(&self) -> Result<bool, ApiError> {
        Ok(self.flags()?.1)
    }
    /// It succeeded with another amount or currency than asked for; staff decide.
    async fn mismatch(&self) -> Result<bool, ApiError> {
        Ok(self.flags()?.2)
    }
    /// Why it failed, in words that may be shown.
    async fn failure_reason(&self) -> Result<Option<&str>, ApiError> {
        Ok(match &self.it()?.state {
            PaymentState::Failed { reason, .. } => Some(reason),
            _ => None,
        })
    }
    /// The gateway's own number of it, once it succeeded.
    async fn gateway_transaction_id(&self) -> Result<Option<&str>, ApiError> {
        Ok(self.it()?.evidence().map(|e| e.transaction_id.as_str()))
    }
    /// When it was recorded.
    async fn created_at(&self) -> Result<Timestamp, ApiError> {
        Ok(self.it()?.created_at)
    }
    /// When it succeeded, by the gateway's clock.
    async fn paid_at(&self) -> Result<Option<Timestamp>, ApiError> {
        Ok(self.it()?.evidence().map(|e| e.paid_at))
    }
}

/// What the frontend must do next.
#[derive(Union)]
pub enum ClientAction {
    /// Show a QR code.
    QrCode(QrCode),
    /// Send the browser somewhere.
    Redirect(Redirect),
    /// Submit a form.
    HtmlForm(HtmlForm),
    /// Call WeChat's bridge.
    WechatJsapi(WechatJsapi),
    /// Call the provider's mobile SDK.
    AppInvocation(AppInvocation),
}

/// Show `url` as a QR code; the payer scans it with the provider's app.
#[derive(SimpleObject)]
pub struct QrCode {
    /// What the code says.
    url: String,
}

/// Send the browser to `url`.
#[derive(SimpleObject)]
pub struct Redirect {
    /// Where to.
    url: String,
}

/// Put `html` into the page; it submits itself.
#[derive(SimpleObject)]
pub struct HtmlForm {
    /// The form.
    html: String,
}

/// Call WeChat's JSAPI bridge with these fields, exactly.
#[derive(SimpleObject)]
pub struct WechatJsapi {
    /// The app.
    app_id: String,
    /// Unix seconds.
    time_stamp: String,
    /// Random text.
    nonce_str: String,
    /// `prepay_id=…`.
    package: String,
    /// `RSA`.
    sign_type: String,
    /// The merchant's signature.
    pay_sign: String,
}

/// Hand `parameters` to the provider's mobile SDK.
#[derive(SimpleObject)]
pub struct AppInvocation {
    /// WeChat Pay: JSON of the signed fields; Alipay: the signed order string.
    parameters: String,
}

impl From<domain::ClientAction> for ClientAction {
    fn from(action: domain::ClientAction) -> Self {
        use domain::ClientAction as Twin;
        match action {
            Twin::QrCode { url } => Self::QrCode(QrCode { url }),
            Twin::Redirect { url } => Self::Redirect(Redirect { url }),
            Twin::HtmlForm { html } => Self::HtmlForm(HtmlForm { html }),
            Twin::WechatJsapi { app_id, time_stamp, nonce_str, package, sign_type, pay_sign } => {
                Self::WechatJsapi(WechatJsapi { app_id, time_stamp, nonce_str, package, sign_type, pay_sign })
            }
            Twin::AppInvocation { parameters } => Self::AppInvocation(AppInvocation { parameters }),
        }
    }
}
