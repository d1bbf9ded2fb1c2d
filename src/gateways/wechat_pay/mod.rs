//! WeChat Pay, API v3, direct merchant.
//!
//! Source: the vendor's documentation of API v3 and the official SDKs for Go, Java and PHP. Answers count
//! only once their signature fits; what cannot be trusted or read is `Unknown`, never a failure.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use domain::{Date, OpenPayment, PaymentId, RefundId, Timestamp};
use http::HeaderMap;

use crate::payments::ports::{
    BillStream, Clock, Closed, Gateway, GatewayError, GatewayPayment, GatewayRefund, Notification, NotificationError,
    Opened, RefundRequest,
};

mod bill;
mod certificate;
mod certificates;
mod cipher;
mod client;
mod config;
mod errors;
mod invocation;
mod notification;
mod prepay;
mod signature;
mod translate;
mod wire;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod vectors;

pub use bill::{FundAccount, FundFlow, FundFlowStream};
use client::{Answer, Client};
pub use config::{Config, ConfigError};
use errors::Call;
use invocation::Invocation;
use translate::Account;

/// Longest reason of a refund, in bytes of UTF-8.
const REASON_LIMIT: usize = 80;

/// The connector of one merchant.
pub struct WechatPay {
    account: Account,
    client: Arc<Client>,
    clock: Arc<dyn Clock>,
}

impl WechatPay {
    /// Reads and checks everything in `config`. Waits for nobody; without a platform key, the certificates are
    /// asked for in the background.
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        config::check(&config)?;
        let client = Arc::new(Client::new(&config, clock.clone())?);
        if config.platform_keys.is_empty() {
            client.download_in_background();
        }
        let Config { mchid, appid, .. } = config;
        Ok(Self { account: Account { mchid, appid }, client, clock })
    }

    /// What became of a payment, by WeChat Pay's own number of it (`transaction_id`), and our number of it.
    /// `None`: WeChat Pay has no such number.
    pub async fn find_transaction(&self, id: &str) -> Result<Option<(String, GatewayPayment)>, GatewayError> {
        if !(1..=32).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Ok(None);
        }
        let target = format!("/v3/pay/transactions/id/{id}?mchid={}", self.account.mchid);
        match self.client.get(&target).await? {
            Answer::Verified(answer) => {
                translate::transaction(&answer, &self.account, id).map(Some).map_err(unreadable)
            }
            Answer::Error(error) => error.nothing_there(Call::Find).map(|()| None),
        }
    }

    /// How the merchant's money at WeChat Pay moved on one day (Asia/Shanghai), as [`Gateway::bill`] gives its
    /// trades.
    pub async fn fund_flow(&self, day: Date, account: FundAccount) -> Result<FundFlowStream, GatewayError> {
        bill::fund_flow(&self.client, day, account).await
    }
}

impl fmt::Debug for WechatPay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WechatPay").field("mchid", &self.account.mchid).finish_non_exhaustive()
    }
}

#[async_trait]
impl Gateway for WechatPay {
    /// `OUT_TRADE_NO_USED`, `ORDERPAID`, `ORDER_PAID` and `ORDER_CLOSED` come back as `Refused` with that
    /// code: the payment is further than the caller knew, so ask with `find`.
    async fn open(&self, request: &OpenPayment) -> Result<Opened, GatewayError> {
        let target = prepay::target(request.product)?;
        let body = prepay::body(&self.account, request)?;
        let asked_at = self.clock.now();
        match self.client.post(target, &body).await? {
            Answer::Verified(answer) => {
                let invocation = Invocation { account: &self.account, signer: &self.client.signer, at: asked_at };
                prepay::opened(&answer, request, &invocation)
            }
            Answer::Error(error) => Err(error.sorted(Call::Open)),
        }
    }

    /// A `Refused` here is about the question (our key, our account), never about the payment.
    async fn find(&self, number: &PaymentId) -> Result<Option<GatewayPayment>, GatewayError> {
        let target = format!("/v3/pay/transactions/out-trade-no/{number}?mchid={}", self.account.mchid);
        match self.client.get(&target).await? {
            Answer::Verified(answer) => {
                translate::payment(&answer, &self.account, number).map(Some).map_err(unreadable)
            }
            Answer::Error(error) => error.nothing_there(Call::Find).map(|()| None),
        }
    }

    async fn close(&self, number: &PaymentId) -> Result<Closed, GatewayError> {
        let target = format!("/v3/pay/transactions/out-trade-no/{number}/close");
        match self.client.post(&target, &wire::Close { mchid: &self.account.mchid }).await? {
            Answer::Verified(_) => Ok(Closed::Done),
            Answer::Error(error) => error.nothing_there(Call::Close).map(|()| Closed::NotFound),
        }
    }

    async fn refund(&self, request: &RefundRequest) -> Result<GatewayRefund, GatewayError> {
        let body = wire::RefundOrder {
            out_trade_no: request.payment.as_str(),
            out_refund_no: request.number.as_str(),
            reason: prepay::cut(&request.reason, REASON_LIMIT),
            notify_url: &request.notify_url,
            amount: wire::RefundOrderAmount {
                refund: prepay::fen(request.amount)?,
                total: prepay::fen(request.paid)?,
                currency: "CNY",
            },
        };
        match self.client.post("/v3/refund/domestic/refunds", &body).await? {
            Answer::Verified(answer) => {
                translate::refund(&answer, &self.account, &request.number, &request.payment).map_err(unreadable)
            }
            Answer::Error(error) => Err(error.sorted(Call::Refund)),
        }
    }

    /// A `Refused` here is about the question, never about the refund.
    async fn find_refund(&self, number: &RefundId, payment: &PaymentId) -> Result<Option<GatewayRefund>, GatewayError> {
        match self.client.get(&format!("/v3/refund/domestic/refunds/{number}")).await? {
            Answer::Verified(answer) => {
                translate::refund(&answer, &self.account, number, payment).map(Some).map_err(unreadable)
            }
            Answer::Error(error) => error.nothing_there(Call::FindRefund).map(|()| None),
        }
    }

    fn read_notification(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Notification, NotificationError> {
        let Self { account, client, .. } = self;
        notification::Reader { client, account }.read(headers, body, now)
    }

    async fn bill(&self, day: Date) -> Result<BillStream, GatewayError> {
        bill::trade(&self.client, &self.account, day).await
    }
}

fn unreadable(why: &'static str) -> GatewayError {
    GatewayError::Unknown(format!("verified, but {why}"))
}
