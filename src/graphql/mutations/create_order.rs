use async_graphql::{Context, InputObject, Object, SimpleObject};
use domain::OperationName;

use crate::graphql::Asked;
use crate::graphql::arguments::{called, client_address};
use crate::graphql::enums::{Gateway, PaymentProduct};
use crate::graphql::error::ApiError;
use crate::graphql::order::OrderView;
use crate::graphql::payment::PaymentView;
use crate::graphql::scalars::IdempotencyKey;
use crate::payments::{CreateOrder, Lines, Outcome, PaymentMethod};

/// What is to be ordered. Send exactly one of `lines` and `quoteToken`.
#[derive(InputObject)]
pub struct CreateOrderInput {
    /// Priced by the server, from the catalogue. 1 to 50.
    lines: Option<Vec<OrderLineInput>>,
    /// A signed quote of the shop's pricing service: what is bought and at which prices. It makes one order, of the
    /// customer it was made for, until it expires; anything else is QUOTE_INVALID. A retry with the same key is
    /// answered even when the quote has expired since.
    quote_token: Option<String>,
    /// How it will be paid. Left out: pay later with repayOrder.
    payment: Option<PaymentMethodInput>,
    /// The customer's own words, at most 500 characters.
    note: Option<String>,
    /// The same content again within 5 s, on purpose.
    #[graphql(default_with = "Some(false)")]
    allow_duplicate: Option<bool>,
}

/// What and how many.
#[derive(InputObject)]
pub struct OrderLineInput {
    /// The product's code.
    sku: String,
    /// 1 to 10,000.
    quantity: i32,
}

/// How an order is to be paid.
#[derive(InputObject)]
pub struct PaymentMethodInput {
    /// At which provider.
    gateway: Gateway,
    /// How the payer gets there.
    product: PaymentProduct,
    /// The openid, for JSAPI.
    payer_id: Option<String>,
    /// Where PAGE, WAP and H5 send the payer back.
    return_url: Option<String>,
}

impl PaymentMethodInput {
    /// The method, if it makes sense.
    pub(super) fn parse(self) -> Result<PaymentMethod, ApiError> {
        let too_long = |text: &Option<String>, most| text.as_ref().is_some_and(|t| t.len() > most || t.contains('\0'));
        if too_long(&self.payer_id, 128) {
            return Err(ApiError::bad_input("payerId has at most 128 bytes."));
        }
        let web = |url: &String| url.starts_with("https://") || url.starts_with("http://");
        if too_long(&self.return_url, 256) || self.return_url.as_ref().is_some_and(|u| !web(u)) {
            return Err(ApiError::bad_input("returnUrl is an http(s) URL of at most 256 bytes."));
        }
        Ok(PaymentMethod {
            gateway: self.gateway.into(),
            product: self.product.into(),
            payer_id: self.payer_id,
            return_url: self.return_url,
            payer_address: None,
        })
    }
}

impl CreateOrderInput {
    fn parse(self, content: String) -> Result<CreateOrder, ApiError> {
        let lines = match (self.lines, self.quote_token) {
            (Some(lines), None) => Lines::Listed(lines.into_iter().map(|l| (l.sku, i64::from(l.quantity))).collect()),
            (None, Some(token)) => Lines::Quoted(token.into()),
            _ => return Err(ApiError::bad_input("Send exactly one of lines and quoteToken.")),
        };
        Ok(CreateOrder {
            lines,
            payment: self.payment.map(PaymentMethodInput::parse).transpose()?,
            note: self.note,
            allow_duplicate: self.allow_duplicate.unwrap_or(false),
            content,
        })
    }
}

/// The order, and its payment if one was asked for.
#[derive(SimpleObject)]
pub struct CreateOrderPayload {
    /// The order as it is now.
    order: OrderView,
    /// The payment that this call opened, as it is now.
    payment: Option<PaymentView>,
    /// This key was answered before; nothing was done again.
    replayed: bool,
}

impl From<Outcome> for CreateOrderPayload {
    fn from(o: Outcome) -> Self {
        Self {
            payment: o.payment.map(|id| PaymentView { order: o.order.clone(), id }),
            order: OrderView(o.order),
            replayed: o.replayed,
        }
    }
}

#[derive(Default)]
pub struct CreateOrderMutation;

#[Object]
impl CreateOrderMutation {
    /// Places an order and, if asked to, opens its first payment. Repeat with the same key to retry safely.
    /// LIMIT_EXCEEDED: the shop allows less, or more; `extensions.limit` says what, and `remaining` what is left of a
    /// customer's day.
    async fn create_order(
        &self,
        ctx: &Context<'_>,
        idempotency_key: IdempotencyKey,
        input: CreateOrderInput,
    ) -> Result<CreateOrderPayload, ApiError> {
        let call = called(ctx, OperationName::CreateOrder, idempotency_key)?;
        let mut command = input.parse(call.content)?;
        if let Some(method) = &mut command.payment {
            method.payer_address = client_address(ctx);
        }
        let outcome = ctx.payments()?.create_order(ctx.caller()?, call.operation, command).await?;
        Ok(outcome.into())
    }
}
