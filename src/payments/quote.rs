//! Quotes: prices that the shop's pricing service has signed, for one customer and one order.

use std::fmt;

use async_trait::async_trait;
use domain::{OrderLine, RuleError};
use secrecy::{ExposeSecret, SecretString};

use super::create_order::{MAX_LINES, MAX_QUANTITY};
use super::guard::May;
use super::{Caller, PaymentError, Payments, Role};

/// Reads quotes: checks who signed them, for whom, and until when. The keys are configuration of the door in that
/// reads tokens.
#[async_trait]
pub trait Quotes: fmt::Debug + Send + Sync {
    /// What a quote says, once its signature and its claims fit.
    async fn read(&self, token: &str) -> Result<Quote, QuoteError>;
}

/// Why a quote is not taken: a whole sentence that may be shown. It holds nothing of the quote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuoteError(pub String);

/// What a pricing service has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Who signed it.
    pub issuer: String,
    /// Its number: an issuer never gives one twice.
    pub jti: String,
    /// Whose order it is for.
    pub customer: String,
    /// What is bought, and at which prices.
    pub lines: Vec<OrderLine>,
}

impl Payments {
    /// The quote, if it may become an order of this caller's. Whether it was used before, the store says.
    pub(super) async fn read_quote(&self, caller: &Caller, token: &SecretString) -> Result<Quote, PaymentError> {
        let Some(quotes) = &self.0.settings.quotes else {
            return Err(invalid("Quotes are not accepted here: no pricing service is configured. Send lines."));
        };
        let quote =
            quotes.read(token.expose_secret()).await.map_err(|QuoteError(why)| PaymentError::QuoteInvalid(why))?;
        if quote.customer != caller.subject && caller.may(Role::Service).is_err() {
            return Err(invalid("The quote is for another customer. Ask the pricing service for one of your own."));
        }
        check(&quote.lines)?;
        Ok(quote)
    }
}

/// Who may repeat a createOrder: who sees the order, and the service that placed it, for the key is its own.
pub(super) fn places(caller: &Caller) -> May {
    let caller = caller.clone();
    Box::new(move |order| caller.sees(order) || caller.may(Role::Service).is_ok())
}

pub(super) fn invalid(sentence: &str) -> PaymentError {
    PaymentError::QuoteInvalid(sentence.to_owned())
}

/// What the catalogue promises of its products, a quote must keep too.
fn check(lines: &[OrderLine]) -> Result<(), PaymentError> {
    if lines.is_empty() || lines.len() > MAX_LINES {
        return Err(PaymentError::QuoteInvalid(format!("The quote has no lines, or more than {MAX_LINES}.")));
    }
    let visible =
        |text: &str, most: usize| !text.is_empty() && text.chars().count() <= most && !text.contains(char::is_control);
    if lines.iter().any(|l| !visible(&l.sku, 64) || l.sku.len() > 64 || !visible(&l.name, 200)) {
        return Err(invalid(
            "The quote has a sku that is not 1 to 64 bytes or a name that is not 1 to 200 characters.",
        ));
    }
    if lines.iter().any(|l| !(1..=MAX_QUANTITY).contains(&l.quantity)) {
        return Err(PaymentError::QuoteInvalid(format!("The quote has a quantity that is not 1 to {MAX_QUANTITY}.")));
    }
    if lines.iter().any(|l| l.unit_price.minor < 1) {
        return Err(RuleError::AmountOutOfRange.into());
    }
    Ok(())
}
