//! createOrder: price, claim and place in one transaction; with a payment, ask the gateway then.

use std::collections::HashMap;

use domain::{
    Currency, Gateway, IdempotencyKey, LimitName, NewOrder, OpenPayment, Operation, OperationName, Order, OrderLine,
    PaymentId, PaymentProduct, RuleError,
};
use secrecy::SecretString;

use super::change::retried;
use super::guard::{Worked, random_token};
use super::next_number::Running;
use super::ports::Memory;
use super::quote::{Quote, invalid, places};
use super::{Caller, Outcome, PaymentError, Payments, Role};
use crate::store::{Lease, NewClaim, StoreError};

/// What is to be ordered.
#[derive(Clone, Debug)]
pub struct CreateOrder {
    /// What is bought.
    pub lines: Lines,
    /// How it will be paid; `None`: later, by repayOrder.
    pub payment: Option<PaymentMethod>,
    /// Free words.
    pub note: Option<String>,
    /// The same content again within the window is meant.
    pub allow_duplicate: bool,
    /// SHA-256 of the content, for the double-click window.
    pub content: String,
}

/// What is bought, and who says at which price. The client never does.
#[derive(Clone, Debug)]
pub enum Lines {
    /// Codes and quantities; priced here.
    Listed(Vec<(String, i64)>),
    /// A signed quote of the shop's pricing service.
    Quoted(SecretString),
}

/// How an order is to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentMethod {
    /// At which provider.
    pub gateway: Gateway,
    /// How the payer gets there.
    pub product: PaymentProduct,
    /// The payer's id at the provider, for JSAPI.
    pub payer_id: Option<String>,
    /// Where browsers come back to.
    pub return_url: Option<String>,
    /// Where the payer asks from, if that is known. Not part of what is asked: a retry may come from elsewhere.
    pub payer_address: Option<std::net::IpAddr>,
}

pub(super) const MAX_LINES: usize = 50;
pub(super) const MAX_QUANTITY: i64 = 10_000;
const MAX_NOTE: usize = 500;

impl Payments {
    /// Places an order, at most once per key.
    pub async fn create_order(
        &self,
        caller: &Caller,
        operation: Operation,
        command: CreateOrder,
    ) -> Result<Outcome, PaymentError> {
        let caller = match command.lines {
            Lines::Listed(_) => caller.may(Role::Customer)?,
            Lines::Quoted(_) => caller.may(Role::Customer).or_else(|_| caller.may(Role::Service))?,
        };
        let click = (!command.allow_duplicate).then(|| Memory {
            name: format!("double-click:{}", command.content),
            value: format!("{}:{}", operation.key.as_str(), command.content),
            window: self.0.settings.duplicate_window,
        });
        let by = caller.clone();
        self.guarded_once(operation, places(caller), click, |payments, operation, first| async move {
            payments.place(&by, operation, command, first).await
        })
        .await
    }

    /// `first` is what the first click on the same content left, be it this one or an earlier one.
    async fn place(
        &self,
        caller: &Caller,
        operation: Operation,
        command: CreateOrder,
        first: Option<String>,
    ) -> Result<Worked, PaymentError> {
        let (order, quote) = match self.price(caller, &operation, &command).await {
            Ok(priced) => priced,
            Err(no) => return self.refuse(&operation, &command, no).await,
        };
        if let Some(first) = first {
            self.refuse_double_click(&operation, &command.content, &first).await?;
        }
        let payment = order.payments.first().map(|p| p.id.clone());
        let holder = random_token();
        let Some(lease) = retried(|| self.commit_order(&operation, &order, quote.as_ref(), &holder)).await? else {
            return Ok(Worked::Taken);
        };
        crash_point!("after_intent");
        // Nobody can watch the order yet. From here on there is no error: whatever the gateway says, the payment's state tells it.
        let payment = match payment {
            Some(payment) => {
                let running = Running { lease: &lease, operation: &operation };
                let Some(came_to) = self.ask(running, &order.id, payment).await else { return Ok(Worked::Taken) };
                Some(came_to)
            }
            None => None,
        };
        Ok(Worked::New { order: order.id, payment, refund: None })
    }

    /// Claims the key and writes the order in one transaction; `None`: the key is taken.
    async fn commit_order(
        &self,
        operation: &Operation,
        order: &Order,
        quote: Option<&Quote>,
        holder: &str,
    ) -> Result<Option<Lease>, PaymentError> {
        let now = self.now();
        let payment = order.payments.first().map(|p| &p.id);
        let tx = self.0.store.begin().await?;
        let claim = NewClaim {
            operation,
            order: &order.id,
            payment,
            refund: None,
            lease: payment.map(|_| (holder, self.0.settings.lease)),
            now,
        };
        let Some(lease) = tx.claim(claim).await? else { return Ok(None) };
        match tx.insert_order(order, now).await {
            Ok(()) => {}
            // The claim was purged long ago; the id it made is still taken.
            Err(StoreError::IdTaken) => {
                return Err(PaymentError::KeyExpired {
                    order: Some(order.id.clone()),
                    payment: payment.cloned(),
                    refund: None,
                });
            }
            Err(e) => return Err(e.into()),
        }
        if let Some(quote) = quote {
            tx.use_quote(&quote.issuer, &quote.jti, &order.id, now).await.map_err(|e| match e {
                StoreError::IdTaken => invalid("The quote has been used. Ask the pricing service for a new one."),
                e => e.into(),
            })?;
        }
        if let Some(limit) = self.0.settings.limits.customer_daily_max.of(order.total.currency)
            && let Some(left) = tx.count_in_day(order, limit).await?
        {
            return Err(RuleError::Limit { name: LimitName::CustomerDailyMax, limit, left: Some(left) }.into());
        }
        tx.commit().await?;
        Ok(Some(lease))
    }

    /// A no to what is to be ordered, unless the key was used so long ago that its claim is purged: what it was used
    /// with, an expired quote say, need not make sense any more.
    async fn refuse(
        &self,
        operation: &Operation,
        command: &CreateOrder,
        no: PaymentError,
    ) -> Result<Worked, PaymentError> {
        let order = self.0.number_key.order(operation);
        if self.0.store.order(&order).await?.is_none() {
            return Err(no);
        }
        let payment = command.payment.as_ref().map(|m| self.0.number_key.payment(operation, m.gateway, 0));
        self.used_before(operation, PaymentError::KeyExpired { order: Some(order), payment, refund: None }).await
    }

    /// The lines with today's prices.
    async fn priced(&self, lines: &[(String, i64)]) -> Result<Vec<OrderLine>, PaymentError> {
        check(lines)?;
        let skus: Vec<String> = lines.iter().map(|(sku, _)| sku.clone()).collect();
        let products = self.0.store.products_by_sku(&skus).await?;
        let products: HashMap<&str, _> = products.iter().map(|p| (p.sku.as_str(), p)).collect();
        let mut priced = Vec::with_capacity(lines.len());
        for (sku, quantity) in lines {
            let product = products.get(sku.as_str()).ok_or_else(|| PaymentError::UnknownSku(sku.clone()))?;
            let (name, unit_price) = (product.name.clone(), product.price);
            priced.push(OrderLine { sku: sku.clone(), name, quantity: *quantity, unit_price });
        }
        Ok(priced)
    }

    /// The order with its prices, its first attempt if one is wanted, and the quote that it is made of.
    async fn price(
        &self,
        caller: &Caller,
        operation: &Operation,
        command: &CreateOrder,
    ) -> Result<(Order, Option<Quote>), PaymentError> {
        check_note(command)?;
        let (lines, quote) = match &command.lines {
            Lines::Listed(lines) => (self.priced(lines).await?, None),
            Lines::Quoted(token) => {
                let quote = self.read_quote(caller, token).await?;
                (quote.lines.clone(), Some(quote))
            }
        };
        let now = self.now();
        let ttl = domain::Duration::from_std(self.0.settings.order_ttl).unwrap_or(domain::Duration::minutes(30));
        let mut order = Order::place(NewOrder {
            id: self.0.number_key.order(operation),
            customer: quote.as_ref().map_or(&operation.subject, |q| &q.customer).clone(),
            lines,
            note: command.note.clone(),
            created_at: now,
            expires_at: domain::to_stored(now + ttl),
        })?
        .placed_by(&operation.subject);
        let limits = &self.0.settings.limits;
        limits.order(order.total)?;
        order.counted_on = limits.customer_daily_max.of(order.total.currency).map(|_| domain::customer_day(now));
        if let Some(method) = &command.payment {
            let request = self.open_payment(&order, method, self.0.number_key.payment(operation, method.gateway, 0))?;
            order.begin_attempt(request, now, self.seconds_from_now(20), &operation.subject)?;
        }
        Ok((order, quote))
    }

    /// The whole unsigned request for an attempt at paying `order`.
    pub(super) fn open_payment(
        &self,
        order: &Order,
        method: &PaymentMethod,
        number: PaymentId,
    ) -> Result<OpenPayment, PaymentError> {
        let PaymentMethod { gateway, product, .. } = *method;
        if !gateway.offers(product) {
            let words = format!(
                "{gateway:?} does not offer {product:?}: NATIVE JSAPI H5 APP are WeChat Pay's, PRECREATE PAGE WAP APP are Alipay's"
            );
            return Err(PaymentError::BadInput(words));
        }
        if product == PaymentProduct::Jsapi && method.payer_id.as_ref().is_none_or(String::is_empty) {
            return Err(PaymentError::BadInput("JSAPI needs payerId, the payer's openid".to_owned()));
        }
        if order.total.currency != Currency::CNY {
            return Err(PaymentError::BadInput(format!(
                "{gateway:?} takes CNY only, the order is in {}",
                order.total.currency
            )));
        }
        self.gateway(gateway)?;
        Ok(OpenPayment {
            product,
            payer_id: method.payer_id.clone(),
            return_url: method.return_url.clone(),
            payer_address: method.payer_address.filter(|_| product == PaymentProduct::H5),
            ..self.lost_request(order, gateway, number)
        })
    }

    /// What is known of the request for a payment that the store has lost: all but the product, for which the
    /// gateway's QR code stands, and what the payer's client said.
    pub(super) fn lost_request(&self, order: &Order, gateway: Gateway, number: PaymentId) -> OpenPayment {
        OpenPayment {
            number,
            order: order.id.clone(),
            gateway,
            product: match gateway {
                Gateway::WechatPay => PaymentProduct::Native,
                Gateway::Alipay => PaymentProduct::Precreate,
            },
            amount: order.total,
            description: description(order),
            expires_at: order.expires_at,
            notify_url: format!("{}/notify/{}", self.0.settings.public_url, gateway.name()),
            payer_id: None,
            return_url: None,
            payer_address: None,
        }
    }

    /// The same subject with the same content under another key a moment ago: a double click.
    async fn refuse_double_click(&self, operation: &Operation, content: &str, first: &str) -> Result<(), PaymentError> {
        // What is remembered names the content too: a lie about another order does not stop this one.
        let Some((first, _)) = first.split_once(':').filter(|(_, of)| *of == content) else { return Ok(()) };
        let Ok(first) = IdempotencyKey::parse(first) else { return Ok(()) };
        if first == operation.key {
            return Ok(());
        }
        let first = Operation { key: first, name: OperationName::CreateOrder, ..operation.clone() };
        // The first click may not have committed yet; one that never does was refused and does not count.
        for _ in 0..20 {
            if let Some(claim) = self.0.store.claim_of(&first.subject, first.key.as_str()).await? {
                return Err(PaymentError::DuplicateOrder { order: claim.order });
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

fn check(lines: &[(String, i64)]) -> Result<(), PaymentError> {
    if lines.is_empty() || lines.len() > MAX_LINES {
        return Err(PaymentError::BadInput(format!("an order has 1 to {MAX_LINES} lines")));
    }
    if let Some((sku, quantity)) = lines.iter().find(|(_, q)| !(1..=MAX_QUANTITY).contains(q)) {
        return Err(PaymentError::BadInput(format!(
            "the quantity of {sku:?} is {quantity}; 1 to {MAX_QUANTITY} are allowed"
        )));
    }
    Ok(())
}

fn check_note(command: &CreateOrder) -> Result<(), PaymentError> {
    if command.note.as_ref().is_some_and(|n| n.chars().count() > MAX_NOTE || n.contains('\0')) {
        return Err(PaymentError::BadInput(format!("a note has at most {MAX_NOTE} characters and no NUL")));
    }
    Ok(())
}

/// What the payer reads at the gateway.
fn description(order: &Order) -> String {
    let names: Vec<&str> = order.lines.iter().map(|l| l.name.as_str()).collect();
    let mut text = names.join(", ");
    while text.len() > 127 {
        text.pop();
    }
    text
}
