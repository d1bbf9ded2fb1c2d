//! Alipay, OpenAPI (`gateway.do`, forms signed with RSA2), direct merchant, in public-key or certificate mode.
//!
//! Source: the vendor's documentation of the open platform and the official SDKs for Java, Node and Python.
//! Answers count only once their signature fits; what cannot be trusted or read is `Unknown`, never a failure.
//!
//! Not used on purpose:
//!
//! - `alipay.trade.cancel`. It gives the money back where the trade is paid, under no refund number of ours, and
//!   its answer can be lost: a payer who pays between our question and the cancel would be refunded by a call
//!   that only wanted to close. Payonce asks and then closes. The one thing a close cannot do, voiding a code that
//!   nobody has scanned, needs no cancel: what is paid on it late is recorded as surplus and refunded by number.
//! - `alipay.open.app.alipaycert.download`. The authority that issues Alipay's certificate issues every
//!   merchant's too, so a downloaded one that leads to the root is not thereby Alipay's. An answer under a
//!   certificate we were not given is `Unknown`, with an alert; the file of Alipay's certificates takes the old
//!   and the new one side by side, so nothing has to stop for a change.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use domain::{Date, OpenPayment, PaymentId, RefundId, Timestamp};
use http::HeaderMap;
use reqwest::Url;
use tokio::time::Instant;

use crate::payments::ports::{
    BillStream, Clock, Closed, Gateway, GatewayError, GatewayPayment, GatewayRefund, GatewayRefundState, Notification,
    NotificationError, Opened, RefundRequest,
};

mod beijing;
mod bill;
mod certificates;
mod client;
mod codes;
mod config;
mod envelope;
mod errors;
mod form;
mod notification;
mod open;
mod request;
mod signature;
mod translate;
mod wire;
mod yuan;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod vectors;

use client::{Answer, Client};
pub use config::{Config, ConfigError, Mode};
use errors::{Call, Meaning};
use request::Requests;
use signature::{Signer, Verifier};
use yuan::Yuan;

/// Longest reason of a refund, in characters.
const REASON_LIMIT: usize = 256;

/// The connector of one app of one merchant.
pub struct Alipay {
    client: Client,
    browser_url: Url,
    app_id: String,
    seller_id: String,
    clock: Arc<dyn Clock>,
}

impl Alipay {
    /// Reads and checks everything in `config`; calls nobody. Certificates must be valid now; one that runs out
    /// later goes on being believed until the next start, as Alipay's SDKs do.
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        config::check(&config)?;
        let signer = Signer::new(&config.private_key)?;
        let (verifier, certificates) = Verifier::new(&config.mode, &signer, clock.now())?;
        let requests = Requests { app_id: config.app_id.clone(), signer, certificates, clock: clock.clone() };
        let client = Client::new(&config, requests, verifier)?;
        let browser_url = config.browser_url.as_deref().unwrap_or(&config.gateway_url);
        let browser_url = config::gateway_url(browser_url).map_err(ConfigError::BrowserUrl)?;
        let Config { app_id, seller_id, .. } = config;
        Ok(Self { client, browser_url, app_id, seller_id, clock })
    }

    async fn ask(&self, number: &PaymentId, deadline: Instant) -> Result<Option<GatewayPayment>, GatewayError> {
        let content = wire::Which { out_trade_no: number.as_str() };
        match self.client.call(Call::Find, None, &content, deadline).await? {
            Answer::Verified(answer) => translate::payment(&answer, number).map(Some).map_err(unreadable),
            Answer::Error(error) => error.nothing_there(Call::Find).map(|()| None),
        }
    }

    async fn ask_refund(
        &self,
        number: &RefundId,
        payment: &PaymentId,
        deadline: Instant,
    ) -> Result<Option<GatewayRefund>, GatewayError> {
        let content = wire::WhichRefund {
            out_trade_no: payment.as_str(),
            out_request_no: number.as_str(),
            query_options: ["gmt_refund_pay"],
        };
        match self.client.call(Call::FindRefund, None, &content, deadline).await? {
            Answer::Verified(answer) => {
                translate::found_refund(&answer, number, payment, self.clock.now()).map_err(unreadable)
            }
            Answer::Error(error) => error.nothing_there(Call::FindRefund).map(|()| None),
        }
    }
}

impl fmt::Debug for Alipay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alipay").field("app_id", &self.app_id).finish_non_exhaustive()
    }
}

#[async_trait]
impl Gateway for Alipay {
    /// Only PRECREATE calls; PAGE, WAP and APP are signed and handed out, and the gateway learns of them from
    /// the payer. `ACQ.TRADE_HAS_SUCCESS`, `ACQ.TRADE_HAS_CLOSE` and `ACQ.CONTEXT_INCONSISTENT` come back as
    /// `Refused`: the payment is further than the caller knew, so ask with `find`.
    async fn open(&self, request: &OpenPayment) -> Result<Opened, GatewayError> {
        if let Some(opened) = open::without_a_call(&self.client.requests, &self.browser_url, request)? {
            return Ok(opened);
        }
        let content = open::trade(request)?;
        let asked_at = self.clock.now();
        match self.client.call(Call::Open, Some(&request.notify_url), &content, self.client.deadline()).await? {
            Answer::Verified(answer) => open::precreated(&answer, request, asked_at).map_err(unreadable),
            Answer::Error(error) => Err(error.sorted(Call::Open)),
        }
    }

    /// `None` also for a payment that was opened and that no payer has come to yet: a code nobody scanned, a
    /// page nobody opened. It can still be paid until it expires. A `Refused` here is about the question (our
    /// key, our account), never about the payment.
    async fn find(&self, number: &PaymentId) -> Result<Option<GatewayPayment>, GatewayError> {
        self.ask(number, self.client.deadline()).await
    }

    /// `NotFound` also for what no payer has come to yet; it can still be paid. Alipay says "wrong state" of a
    /// closed payment as of a paid one, so that is asked about within the same deadline.
    async fn close(&self, number: &PaymentId) -> Result<Closed, GatewayError> {
        let deadline = self.client.deadline();
        let content = wire::Which { out_trade_no: number.as_str() };
        match self.client.call(Call::Close, None, &content, deadline).await? {
            Answer::Verified(answer) => translate::closed(&answer, number).map(|()| Closed::Done).map_err(unreadable),
            Answer::Error(error) if error.meaning(Call::Close) == Meaning::Refused => {
                match self.ask(number, deadline).await {
                    Ok(Some(GatewayPayment::Closed)) => Ok(Closed::Done),
                    _ => Err(error.sorted(Call::Close)),
                }
            }
            Answer::Error(error) => error.nothing_there(Call::Close).map(|()| Closed::NotFound),
        }
    }

    /// Done when the answer says that money moved in this call; if not, it is asked about within the same
    /// deadline, and `Processing` while nothing can be said. Alipay tells of refunds at the payment's
    /// address, so `notify_url` is not sent.
    async fn refund(&self, request: &RefundRequest) -> Result<GatewayRefund, GatewayError> {
        let deadline = self.client.deadline();
        let reason = request.reason.char_indices().nth(REASON_LIMIT).map_or(request.reason.len(), |(at, _)| at);
        let content = wire::RefundOrder {
            out_trade_no: request.payment.as_str(),
            refund_amount: Yuan::of(request.amount)?,
            out_request_no: request.number.as_str(),
            refund_reason: &request.reason[..reason],
        };
        let answer = match self.client.call(Call::Refund, None, &content, deadline).await? {
            Answer::Verified(answer) => answer,
            Answer::Error(error) => return Err(error.sorted(Call::Refund)),
        };
        if let Some(refund) = translate::refund(&answer, request, self.clock.now()).map_err(unreadable)? {
            return Ok(refund);
        }
        match self.ask_refund(&request.number, &request.payment, deadline).await {
            Ok(Some(refund)) => Ok(refund),
            Ok(None) | Err(_) => Ok(GatewayRefund { amount: request.amount, state: GatewayRefundState::Processing }),
        }
    }

    /// `None`: never seen, or not seen yet: Alipay wants some ten seconds after a refund before it is asked
    /// about. Sending the same number again is safe. A `Refused` here is about the question, never about
    /// the refund.
    async fn find_refund(&self, number: &RefundId, payment: &PaymentId) -> Result<Option<GatewayRefund>, GatewayError> {
        self.ask_refund(number, payment, self.client.deadline()).await
    }

    fn read_notification(&self, _: &HeaderMap, body: &[u8], _: Timestamp) -> Result<Notification, NotificationError> {
        let Self { client, app_id, seller_id, .. } = self;
        notification::Reader { verifier: &client.verifier, app_id, seller_id }.read(body)
    }

    /// Not asked for before 09:00 of the next day; that there is none is believed from noon. A bill is not
    /// signed and may come over plain HTTP: compare with it, and ask before you act on it. Reading a large one
    /// outlasts the deadline, which is for each wait; the stream ends with an error when a wait is longer.
    async fn bill(&self, day: Date) -> Result<BillStream, GatewayError> {
        bill::fetch(&self.client, &self.seller_id, day, self.clock.now()).await
    }
}

fn unreadable(why: &'static str) -> GatewayError {
    GatewayError::Unknown(format!("verified, but {why}"))
}
