//! Products and money.

use async_graphql::{InputObject, Object, SimpleObject};

use super::error::{ApiError, code};
use super::scalars::{BigInt, Currency};
use crate::payments::Product;

/// An amount of money.
pub struct Money(pub domain::Money);

#[Object]
impl Money {
    /// In minor units: fen, cents, yen.
    async fn minor(&self) -> BigInt {
        BigInt(self.0.minor)
    }
    /// What they are units of.
    async fn currency(&self) -> Currency {
        Currency(self.0.currency)
    }
    /// In major units with the currency's digits (JPY 0, CNY 2, KWD 3): for showing, not for counting.
    async fn decimal(&self) -> String {
        self.0.decimal()
    }
}

/// An amount of money, in minor units.
#[derive(InputObject)]
pub struct MoneyInput {
    /// In minor units, at least 1.
    minor: BigInt,
    /// What they are units of.
    currency: Currency,
}

impl MoneyInput {
    /// The amount, if it is one: at least one minor unit.
    pub(super) fn parse(&self) -> Result<domain::Money, ApiError> {
        if self.minor.0 < 1 {
            return Err(ApiError::new(code::AMOUNT_OUT_OF_RANGE, "An amount is at least 1 minor unit."));
        }
        Ok(domain::Money::new(self.minor.0, self.currency.0))
    }
}

/// Something that can be bought.
#[derive(SimpleObject)]
#[graphql(name = "Product")]
pub struct ProductView {
    /// Its code, as in createOrder.
    sku: String,
    /// Its name.
    name: String,
    /// The price of one.
    price: Money,
}

impl From<Product> for ProductView {
    fn from(p: Product) -> Self {
        Self { sku: p.sku, name: p.name, price: Money(p.price) }
    }
}
