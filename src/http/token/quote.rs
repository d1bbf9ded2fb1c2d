//! Quotes: tokens of the shop's pricing service, under keys and an issuer of their own.
//!
//! A quote is checked as every token is (`super`), and then says more: its number, what is bought and the prices.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use domain::{Currency, Money, OrderLine};
use serde::Deserialize;
use serde_json::Value;

use super::strict::Object;
use super::{TokenError, TokenKeys, TokenVerifier, decode, is_subject};
use crate::payments::ports::Clock;
use crate::payments::{Quote, QuoteError, Quotes};

/// Checks quotes.
pub struct QuoteVerifier {
    tokens: TokenVerifier,
    issuer: String,
}

impl fmt::Debug for QuoteVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuoteVerifier").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// What a quote says besides what every token does.
#[derive(Deserialize)]
struct Priced {
    lines: Vec<Line>,
    currency: String,
}

/// A member that is not understood might be part of the price: it is refused, and so is one that stands twice.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    sku: String,
    name: String,
    quantity: i64,
    unit_minor: i64,
}

impl QuoteVerifier {
    /// Takes the pricing service's JWKS and what `iss` and `aud` must say. An error is a sentence for the operator.
    pub fn new(jwks: String, issuer: String, audience: String, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let tokens = TokenVerifier::new(TokenKeys::Jwks(jwks), issuer.clone(), audience, clock)?;
        Ok(Self { tokens, issuer })
    }
}

#[async_trait]
impl Quotes for QuoteVerifier {
    async fn read(&self, token: &str) -> Result<Quote, QuoteError> {
        let customer = self.tokens.verify(token).await.map_err(said)?.caller.subject;
        // Its signature fits: from here on it is the pricing service that may be wrong.
        let json = decode(token.split('.').nth(1).unwrap_or_default()).map_err(said)?;
        let claims = Object::read(&json).ok_or_else(|| wrong("has claims that are not one JSON object"))?;
        let jti = claims.get("jti").and_then(Value::as_str).filter(|jti| is_subject(jti));
        let jti = jti.ok_or_else(|| wrong("has no jti of 1 to 255 bytes of visible text"))?;
        let Priced { lines, currency } = serde_json::from_slice(&json).map_err(|_| {
            wrong("does not have a currency, and lines of sku, name, quantity and unit_minor (whole numbers) alone")
        })?;
        let currency =
            Currency::parse(&currency).map_err(|_| wrong("has a currency that is not an ISO 4217 code in use"))?;
        let line = |l: Line| {
            let unit_price = Money::new(l.unit_minor, currency);
            OrderLine { sku: l.sku, name: l.name, quantity: l.quantity, unit_price }
        };
        Ok(Quote {
            issuer: self.issuer.clone(),
            jti: jti.to_owned(),
            customer,
            lines: lines.into_iter().map(line).collect(),
        })
    }
}

fn said(e: TokenError) -> QuoteError {
    match e {
        TokenError::Invalid(why) => wrong(why),
        TokenError::Unchecked => QuoteError("Quotes cannot be checked right now. Send the same key again.".to_owned()),
        TokenError::Expired => QuoteError("The quote has expired. Ask the pricing service for a new one.".to_owned()),
    }
}

fn wrong(why: &str) -> QuoteError {
    QuoteError(format!("The quote {why}."))
}
