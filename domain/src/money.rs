//! Money: whole minor units and a currency, added and taken away with checks only.

use std::fmt;

use serde::{Deserialize, Serialize};

/// ISO 4217 codes by the number of digits after the point (amendment 177; funds and metals left out).
const TWO: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN \
    BZD CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD \
    GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL \
    MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN \
    QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY \
    TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG";
const ZERO: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF";
const THREE: &str = "BHD IQD JOD KWD LYD OMR TND";

/// An ISO 4217 currency in use, three capital letters. Anything else is refused when parsed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// Chinese yuan: what both gateways settle in.
    pub const CNY: Currency = Currency(*b"CNY");

    /// Reads a code; case matters, as in ISO 4217.
    pub fn parse(code: &str) -> Result<Self, MoneyError> {
        let known = |list: &str| list.split_ascii_whitespace().any(|c| c == code);
        match code.as_bytes() {
            &[a, b, c] if known(TWO) || known(ZERO) || known(THREE) => Ok(Self([a, b, c])),
            _ => Err(MoneyError::UnknownCurrency),
        }
    }

    /// The three letters.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// How many digits stand after the point: JPY 0, CNY 2, KWD 3.
    pub fn exponent(&self) -> u32 {
        let listed = |list: &str| list.split_ascii_whitespace().any(|c| c == self.code());
        if listed(ZERO) {
            0
        } else if listed(THREE) {
            3
        } else {
            2
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = MoneyError;
    fn try_from(code: String) -> Result<Self, MoneyError> {
        Self::parse(&code)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        currency.code().to_owned()
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount in minor units (fen, cents, yen) of one currency. Never a fraction, never a float.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Minor units.
    pub minor: i64,
    /// What they are units of.
    pub currency: Currency,
}

/// What is wrong with an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The result does not fit 64 bits.
    #[error("the amount is too large")]
    Overflow,
    /// Two amounts of different currencies met.
    #[error("the currencies differ")]
    CurrencyMismatch,
    /// Not an ISO 4217 code in use.
    #[error("not an ISO 4217 currency code")]
    UnknownCurrency,
}

impl Money {
    /// `minor` units of `currency`.
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Nothing, in this currency.
    pub const fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// The sum; refused across currencies and beyond 64 bits.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        let minor = self.minor.checked_add(other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Self::new(minor, self.currency))
    }

    /// This amount so many times; refused beyond 64 bits.
    pub fn times(self, count: i64) -> Result<Self, MoneyError> {
        let minor = self.minor.checked_mul(count).ok_or(MoneyError::Overflow)?;
        Ok(Self::new(minor, self.currency))
    }

    /// The amount in major units with the currency's digits: `12.80`, `500` (JPY), `-0.05`.
    pub fn decimal(&self) -> String {
        let digits = self.currency.exponent() as usize;
        let sign = if self.minor < 0 { "-" } else { "" };
        let text = format!("{:0>width$}", self.minor.unsigned_abs(), width = digits + 1);
        match digits {
            0 => format!("{sign}{text}"),
            _ => {
                let (major, minor) = text.split_at(text.len() - digits);
                format!("{sign}{major}.{minor}")
            }
        }
    }

    fn same_currency(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency { Ok(()) } else { Err(MoneyError::CurrencyMismatch) }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.decimal(), self.currency)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_follow_the_currency() {
        let cases = [
            (1280, "CNY", "12.80"),
            (1, "CNY", "0.01"),
            (-5, "CNY", "-0.05"),
            (500, "JPY", "500"),
            (0, "KWD", "0.000"),
            (i64::MIN, "KWD", "-9223372036854775.808"),
            (i64::MAX, "JPY", "9223372036854775807"),
        ];
        for (minor, code, text) in cases {
            assert_eq!(Money::new(minor, Currency::parse(code).unwrap()).decimal(), text);
        }
    }

    #[test]
    fn sums_are_checked() {
        let yuan = |n| Money::new(n, Currency::CNY);
        assert_eq!(yuan(1).plus(yuan(2)), Ok(yuan(3)));
        assert_eq!(yuan(i64::MAX).plus(yuan(1)), Err(MoneyError::Overflow));
        assert_eq!(yuan(i64::MAX).times(2), Err(MoneyError::Overflow));
        assert_eq!(yuan(7).times(3), Ok(yuan(21)));
        let yen = Money::new(1, Currency::parse("JPY").unwrap());
        assert_eq!(yuan(1).plus(yen), Err(MoneyError::CurrencyMismatch));
    }

    #[test]
    fn only_real_currencies_are_read() {
        for wrong in ["", "cny", "CNYX", "AAA", "C Y", "人民币", "XXX"] {
            assert_eq!(Currency::parse(wrong), Err(MoneyError::UnknownCurrency), "{wrong}");
        }
    }
}
