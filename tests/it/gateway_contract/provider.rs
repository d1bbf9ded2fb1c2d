//! A provider under the contract: its connectors, its payer, its faults and its notifications.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use domain::{
    ClientAction, Currency, Duration, Gateway, Money, OpenPayment, OrderId, PaymentId, PaymentProduct, RefundId,
    Timestamp,
};
use payonce::payments::ports::{self, BoxFuture, Clock, GatewayPayment, Notification, RefundRequest};
use sandbox::{Call, Fault, FaultKind, Sandbox, SandboxConfig};
use tokio::sync::{Mutex, mpsc};

use crate::support::clock::TurnedClock;
use crate::support::form;

/// Which connector is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Configured as it should be.
    Usual,
    /// With 300 ms of patience for a call.
    Hurried,
    /// With an address where nobody listens.
    CutOff,
    /// With the same keys and another merchant's number: what is meant for the usual one is not for it.
    OfAnotherMerchant,
}

type Connect = fn(Which, &Sandbox, Arc<dyn Clock>) -> Arc<dyn ports::Gateway>;

/// What arrived at the shop, as it came.
pub type Notice = (HeaderMap, Bytes);

/// One provider: the connector and its other side, both at the clock's time.
pub struct Provider {
    pub connector: Arc<dyn ports::Gateway>,
    pub hurried: Arc<dyn ports::Gateway>,
    pub cut_off: Arc<dyn ports::Gateway>,
    pub of_another_merchant: Arc<dyn ports::Gateway>,
    pub sandbox: Sandbox,
    pub clock: Arc<TurnedClock>,
    gateway: Gateway,
    /// Where the provider's app sends what it was handed; `None`: it asks nobody.
    app_address: Option<String>,
    notify_url: String,
    notices: Mutex<mpsc::UnboundedReceiver<Notice>>,
    http: reqwest::Client,
    count: AtomicU32,
}

impl Provider {
    pub async fn start(gateway: Gateway, connect: Connect, app_address: Option<fn(&Sandbox) -> String>) -> Self {
        let clock = Arc::new(TurnedClock::at_now());
        let config = SandboxConfig { clock: Arc::new(SandboxClock(clock.clone())), ..SandboxConfig::default() };
        let sandbox = Sandbox::start(config).await.unwrap();
        let (notify_url, notices) = listen().await;
        let connector = |which| connect(which, &sandbox, clock.clone());
        Self {
            connector: connector(Which::Usual),
            hurried: connector(Which::Hurried),
            cut_off: connector(Which::CutOff),
            of_another_merchant: connector(Which::OfAnotherMerchant),
            app_address: app_address.map(|of| of(&sandbox)),
            sandbox,
            clock,
            gateway,
            notify_url,
            notices: Mutex::new(notices),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            count: AtomicU32::new(0),
        }
    }

    /// What it sells.
    pub fn products(&self) -> impl Iterator<Item = PaymentProduct> {
        let gateway = self.gateway;
        PaymentProduct::ALL.into_iter().filter(move |product| gateway.offers(*product))
    }

    /// The product that the promises about money are tried with.
    pub fn a_product(&self) -> PaymentProduct {
        self.products().next().unwrap()
    }

    /// A request under a number of its own, to be paid within half an hour.
    pub fn request(&self, product: PaymentProduct, minor: i64) -> OpenPayment {
        OpenPayment {
            number: self.number(),
            order: OrderId::parse(&format!("{}{:026}", OrderId::PREFIX, 7)).unwrap(),
            gateway: self.gateway,
            product,
            amount: yuan(minor),
            description: "一只杯子 & a mug".to_owned(),
            expires_at: self.clock.now() + Duration::minutes(30),
            notify_url: self.notify_url.clone(),
            payer_id: Some("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o".to_owned()),
            return_url: Some("https://shop.example/paid?a=1&b=2".to_owned()),
            payer_address: None,
        }
    }

    /// A number that nobody has used.
    pub fn number(&self) -> PaymentId {
        PaymentId::parse(&format!("{}{:026}", PaymentId::PREFIX, self.next())).unwrap()
    }

    pub fn refund_number(&self) -> RefundId {
        RefundId::parse(&format!("{}{:026}", RefundId::PREFIX, self.next())).unwrap()
    }

    fn next(&self) -> u32 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    /// Opens a payment and brings the payer to its cashier.
    pub async fn opened(&self, product: PaymentProduct, minor: i64) -> OpenPayment {
        let request = self.request(product, minor);
        let opened = self.connector.open(&request).await.unwrap();
        self.comes(&opened.action).await;
        request
    }

    /// A payment of this much that was paid.
    pub async fn paid(&self, minor: i64) -> OpenPayment {
        let request = self.opened(self.a_product(), minor).await;
        self.pays(&request.number).await;
        request
    }

    /// A refund of a paid payment, under a number of its own.
    pub fn refund_of(&self, payment: &OpenPayment, minor: i64) -> RefundRequest {
        RefundRequest {
            number: self.refund_number(),
            payment: payment.number.clone(),
            amount: yuan(minor),
            paid: payment.amount,
            reason: "客户要求 & more".to_owned(),
            notify_url: self.notify_url.clone(),
        }
    }

    /// The payer follows what the frontend was handed: to the cashier, where there is one to go to.
    pub async fn comes(&self, action: &ClientAction) {
        let post = |address: &str, body: String| {
            self.http.post(address).header("content-type", "application/x-www-form-urlencoded").body(body)
        };
        let request = match (action, &self.app_address) {
            (ClientAction::QrCode { url } | ClientAction::Redirect { url }, _) => self.http.get(url),
            (ClientAction::HtmlForm { html }, _) => {
                let (address, fields) = form::submitted(html);
                post(&address, fields)
            }
            (ClientAction::AppInvocation { parameters }, Some(address)) => post(address, parameters.clone()),
            (ClientAction::AppInvocation { .. }, None) | (ClientAction::WechatJsapi { .. }, _) => return,
        };
        // A browser sends no empty Referer and follows redirects of its own; that the page opens is enough.
        assert!(request.send().await.unwrap().status().is_success());
    }

    /// The payer pays, and the provider has told the shop, if it could.
    pub async fn pays(&self, number: &PaymentId) {
        self.sandbox.pay(number.as_str()).await.unwrap();
        self.sandbox.settled().await;
    }

    pub async fn declines(&self, number: &PaymentId) {
        let button = format!("{}/cashier/{number}/decline", self.sandbox.url());
        assert!(self.http.post(button).send().await.unwrap().status().is_success());
    }

    /// Time goes by, and what the provider does meanwhile is done.
    pub async fn waits(&self, time: Duration) {
        self.clock.turn(time);
        self.sandbox.settled().await;
    }

    /// The next such call goes wrong.
    pub fn fault(&self, call: Call, kind: FaultKind) {
        self.sandbox.fault(Fault::new(call, kind).unwrap());
    }

    /// What arrived at the shop since the last look.
    pub async fn notices(&self) -> Vec<Notice> {
        self.sandbox.settled().await;
        let mut notices = self.notices.lock().await;
        std::iter::from_fn(|| notices.try_recv().ok()).collect()
    }

    pub fn reads(&self, (headers, body): &Notice) -> Result<Notification, ports::NotificationError> {
        self.connector.read_notification(headers, body, self.clock.now())
    }

    /// What payers paid under this number, in minor units, by the provider's ledger.
    pub fn charges(&self, number: &PaymentId) -> Vec<i64> {
        let charges = self.sandbox.ledger().charges.into_iter();
        charges.filter(|charge| charge.number == number.as_str()).map(|charge| charge.minor).collect()
    }

    /// What was given back of this payment, by the provider's ledger.
    pub fn given_back(&self, number: &PaymentId) -> Vec<i64> {
        let refunds = self.sandbox.ledger().refunds.into_iter();
        refunds.filter(|refund| refund.payment_number == number.as_str()).map(|refund| refund.minor).collect()
    }

    /// Where the payment stands; asking twice says the same.
    pub async fn finds(&self, number: &PaymentId) -> Option<GatewayPayment> {
        let found = self.connector.find(number).await.unwrap();
        assert_eq!(self.connector.find(number).await.unwrap(), found);
        found
    }
}

pub fn yuan(minor: i64) -> Money {
    Money { minor, currency: Currency::CNY }
}

async fn listen() -> (String, mpsc::UnboundedReceiver<Notice>) {
    let (sender, notices) = mpsc::unbounded_channel();
    let take = async move |headers: HeaderMap, body: Bytes| {
        sender.send((headers, body)).unwrap();
        "success"
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/notify", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/notify", post(take))).await });
    (url, notices)
}

/// The same clock for the sandbox, which has a word of its own for it.
struct SandboxClock(Arc<TurnedClock>);

impl sandbox::Clock for SandboxClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep_until<'a>(&'a self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let slept: BoxFuture<'a, ()> = self.0.sleep_until(at);
        slept
    }
}
