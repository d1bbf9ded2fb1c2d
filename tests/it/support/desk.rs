//! The workflows alone, without HTTP, before a gateway that does what the test says: it panics, hangs or is silent.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use domain::{
    ClientAction, Date, Evidence, Fingerprint, IdempotencyKey, Money, NumberKey, OpenPayment, Operation, OperationName,
    Order, OrderId, PaymentId, PaymentProduct, RefundId, RefundRequest, Timestamp,
};
use payonce::app;
use payonce::config::Config;
use payonce::coordination::InProcessCoordination;
use payonce::payments::ports::{
    BillStream, Clock, Closed, Gateway, GatewayError, GatewayPayment, GatewayRefund, GatewayRefundState, News,
    Notification, NotificationError, Opened, Refusal,
};
use payonce::payments::{
    Caller, CreateOrder, Lines, Outcome, PaymentError, PaymentMethod, Payments, Role, Settings, Taken,
};
use payonce::store::{Product, Store};
use sea_orm::{ConnectionTrait, Database};

use super::Backend;
use super::clock::TurnedClock;

/// One process's workflows.
pub struct Desk {
    pub payments: Payments,
    pub clock: Arc<TurnedClock>,
    pub gateway: Arc<TestGateway>,
    pub store: Store,
    database_url: String,
}

impl Desk {
    pub async fn open(backend: Backend) -> Desk {
        Self::open_with(backend, |_| {}).await
    }

    pub async fn open_with(backend: Backend, change: impl FnOnce(&mut Settings)) -> Desk {
        let database_url = backend.fresh().await;
        let environment = BTreeMap::from([("PAYONCE_DATABASE_URL".to_owned(), database_url.clone())]);
        let config = Config::from(BTreeMap::new(), environment).unwrap();
        app::migrate(&config).await.unwrap();
        let store = app::connect(&config).await.unwrap();
        let tx = store.begin().await.unwrap();
        let price = Money::new(10_000, domain::Currency::CNY);
        tx.put_products(&[Product { sku: "MUG".into(), name: "Mug".into(), price }]).await.unwrap();
        tx.commit().await.unwrap();
        let clock = Arc::new(TurnedClock::at_now());
        let gateway = Arc::new(TestGateway::new(clock.clone()));
        let mut settings = Settings {
            order_ttl: std::time::Duration::from_secs(1_800),
            repay_margin: std::time::Duration::from_secs(60),
            lease: std::time::Duration::from_millis(300),
            duplicate_window: std::time::Duration::from_secs(5),
            deadline: std::time::Duration::from_secs(10),
            public_url: "http://127.0.0.1".into(),
            key_retention: std::time::Duration::from_secs(30 * 86_400),
            max_operations: 1_024,
            limits: domain::Limits::default(),
            quotes: None,
        };
        change(&mut settings);
        let gateways = [(domain::Gateway::WechatPay, gateway.clone() as Arc<dyn Gateway>)].into();
        let coordination = Arc::new(InProcessCoordination::new());
        let key = NumberKey::new(&[7; 32]).unwrap();
        let payments = Payments::new(store.clone(), gateways, coordination, clock.clone(), key, settings);
        Desk { payments, clock, gateway, store, database_url }
    }

    pub fn operation(key: &str) -> Operation {
        let fingerprint = Fingerprint::of("alice", OperationName::CreateOrder, &serde_json::json!({"n": 1}));
        let key = IdempotencyKey::parse(key).unwrap();
        Operation { subject: "alice".into(), name: OperationName::CreateOrder, key, fingerprint }
    }

    pub fn alice(&self) -> Caller {
        let expires_at = self.clock.now() + domain::Duration::days(30);
        Caller { subject: "alice".into(), roles: vec![Role::Customer], expires_at }
    }

    pub async fn create(&self, key: &str) -> Result<Outcome, PaymentError> {
        let method = PaymentMethod {
            gateway: domain::Gateway::WechatPay,
            product: PaymentProduct::Native,
            payer_id: None,
            return_url: None,
            payer_address: None,
        };
        let command = CreateOrder {
            lines: Lines::Listed(vec![("MUG".into(), 1)]),
            payment: Some(method),
            note: None,
            allow_duplicate: true,
            content: String::new(),
        };
        self.payments.create_order(&self.alice(), Self::operation(key), command).await
    }

    /// The leases of all who are gone run out.
    pub async fn leases_end(&self) {
        let db = Database::connect(&self.database_url).await.unwrap();
        let sql = "UPDATE operations SET lease_until = '2020-01-01 00:00:00' WHERE state = 'RUNNING'";
        db.execute_unprepared(sql).await.unwrap();
        db.close().await.unwrap();
    }

    pub async fn order(&self, id: &OrderId) -> Arc<Order> {
        self.payments.order(&self.alice(), id).await.unwrap()
    }

    /// The gateway tells this.
    pub async fn told(&self, id: &str, news: &News) -> Taken {
        let body = serde_json::to_vec(&(id, news)).unwrap();
        self.payments.take_notification(domain::Gateway::WechatPay, &Default::default(), &body).await.unwrap()
    }

    pub async fn quiet(&self) {
        let now = self.clock.now();
        let mut quiet = self.payments.quiet_until();
        quiet.wait_for(|until| until.is_some_and(|until| until >= now)).await.unwrap();
    }

    pub async fn advance(&self, by: domain::Duration) {
        self.clock.turn(by);
        self.quiet().await;
    }
}

/// A gateway in memory. One number has one content; what happens to a call is up to the test.
pub struct TestGateway {
    clock: Arc<TurnedClock>,
    payments: Mutex<HashMap<PaymentId, (Option<OpenPayment>, GatewayPayment)>>,
    refunds: Mutex<HashMap<RefundId, GatewayRefund>>,
    trouble: Mutex<Vec<(&'static str, Trouble)>>,
    later: Mutex<Option<(&'static str, &'static str, Trouble)>>,
    pub calls: Mutex<Vec<(&'static str, String)>>,
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    PanicBefore,
    PanicAfter,
    Hang,
    Silence,
}

impl TestGateway {
    fn new(clock: Arc<TurnedClock>) -> Self {
        Self {
            clock,
            payments: Mutex::default(),
            refunds: Mutex::default(),
            trouble: Mutex::default(),
            later: Mutex::default(),
            calls: Mutex::default(),
        }
    }

    /// The next such call goes wrong.
    pub fn trouble(&self, call: &'static str, trouble: Trouble) {
        self.trouble.lock().unwrap().push((call, trouble));
    }

    /// After the next call `first`, the next call `call` goes wrong.
    pub fn trouble_after(&self, first: &'static str, call: &'static str, trouble: Trouble) {
        *self.later.lock().unwrap() = Some((first, call, trouble));
    }

    /// It knows this number with other content than ours.
    pub fn knows(&self, number: PaymentId, as_what: GatewayPayment) {
        self.payments.lock().unwrap().insert(number, (None, as_what));
    }

    pub fn stands(&self, number: &PaymentId) -> Option<GatewayPayment> {
        self.payments.lock().unwrap().get(number).map(|p| p.1.clone())
    }

    pub fn pay(&self, number: &PaymentId) -> Evidence {
        let evidence = evidence(self.clock.now(), 10_000);
        let mut payments = self.payments.lock().unwrap();
        let payment = payments.get_mut(number).expect("a payment");
        assert_eq!(payment.1, GatewayPayment::Open);
        payment.1 = GatewayPayment::Paid(evidence.clone());
        evidence
    }

    async fn call<T>(
        &self,
        call: &'static str,
        number: &str,
        effect: impl FnOnce() -> Result<T, GatewayError>,
    ) -> Result<T, GatewayError> {
        self.calls.lock().unwrap().push((call, number.to_owned()));
        let trouble = {
            let mut all = self.trouble.lock().unwrap();
            all.iter().position(|(c, _)| *c == call).map(|at| all.remove(at).1)
        };
        let later = self.later.lock().unwrap().take_if(|(first, ..)| *first == call);
        if let Some((_, next, trouble)) = later {
            self.trouble(next, trouble);
        }
        match trouble {
            Some(Trouble::PanicBefore) => panic!("as the test wants it"),
            Some(Trouble::PanicAfter) => {
                let _ = effect();
                panic!("as the test wants it")
            }
            Some(Trouble::Hang) => std::future::pending().await,
            Some(Trouble::Silence) => Err(GatewayError::Unknown("silence".into())),
            None => effect(),
        }
    }
}

pub fn evidence(at: Timestamp, minor: i64) -> Evidence {
    static COUNT: AtomicU64 = AtomicU64::new(4_200_000_000);
    let transaction_id = COUNT.fetch_add(1, Ordering::Relaxed).to_string();
    Evidence { transaction_id, amount: Money::new(minor, domain::Currency::CNY), paid_at: at }
}

#[async_trait]
impl Gateway for TestGateway {
    async fn open(&self, request: &OpenPayment) -> Result<Opened, GatewayError> {
        let effect = || {
            let mut payments = self.payments.lock().unwrap();
            let new = (Some(request.clone()), GatewayPayment::Open);
            let known = payments.entry(request.number.clone()).or_insert_with(|| new.clone());
            if *known != new {
                let refusal = Refusal { code: "OUT_TRADE_NO_USED".into(), message: "used".into() };
                return Err(GatewayError::Refused(refusal));
            }
            let action = ClientAction::QrCode { url: format!("qr://{}", request.number) };
            Ok(Opened { action, until: request.expires_at })
        };
        self.call("open", request.number.as_str(), effect).await
    }
    async fn find(&self, number: &PaymentId) -> Result<Option<GatewayPayment>, GatewayError> {
        self.call("find", number.as_str(), || Ok(self.stands(number))).await
    }
    async fn close(&self, number: &PaymentId) -> Result<Closed, GatewayError> {
        let effect = || match self.payments.lock().unwrap().get_mut(number) {
            None => Ok(Closed::NotFound),
            Some((_, GatewayPayment::Paid(_) | GatewayPayment::Returned(_))) => {
                Err(GatewayError::Refused(Refusal { code: "ORDERPAID".into(), message: "paid".into() }))
            }
            Some((_, state)) => {
                *state = GatewayPayment::Closed;
                Ok(Closed::Done)
            }
        };
        self.call("close", number.as_str(), effect).await
    }
    async fn refund(&self, request: &RefundRequest) -> Result<GatewayRefund, GatewayError> {
        let effect = || {
            let done = GatewayRefundState::Succeeded { at: self.clock.now() };
            let new = GatewayRefund { amount: request.amount, state: done };
            Ok(self.refunds.lock().unwrap().entry(request.number.clone()).or_insert(new).clone())
        };
        self.call("refund", request.number.as_str(), effect).await
    }
    async fn find_refund(&self, number: &RefundId, _: &PaymentId) -> Result<Option<GatewayRefund>, GatewayError> {
        self.call("find_refund", number.as_str(), || Ok(self.refunds.lock().unwrap().get(number).cloned())).await
    }
    fn read_notification(
        &self,
        _: &http::HeaderMap,
        body: &[u8],
        _: Timestamp,
    ) -> Result<Notification, NotificationError> {
        let (id, news) = serde_json::from_slice(body).map_err(|_| NotificationError::Invalid("no news"))?;
        Ok(Notification { id, news, facts: serde_json::json!({}) })
    }
    async fn bill(&self, _: Date) -> Result<BillStream, GatewayError> {
        Err(GatewayError::NotSent("no bills here".into()))
    }
}
