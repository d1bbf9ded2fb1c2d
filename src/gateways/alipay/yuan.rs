//! Alipay's amounts: yuan as a decimal string, exactly, by whole fen.

use std::fmt;

use domain::{Currency, Money};
use serde::{Deserialize, Serialize};

use crate::payments::ports::{GatewayError, Refusal};

/// The most that Alipay takes at once: 100,000,000.00 yuan.
const LIMIT: i64 = 10_000_000_000;

/// An amount on the wire: counted in fen, written `88.88`. Read are also fewer digits after the point
/// (`0.1` is `0.10`); a sign, an exponent, white space, a number that is no string and everything else is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Yuan(i64);

impl Yuan {
    /// What we may ask for: 0.01 to 100,000,000.00 CNY.
    pub(super) fn of(amount: Money) -> Result<Self, GatewayError> {
        let refused = |code: &str, message| Err(GatewayError::Refused(Refusal { code: code.to_owned(), message }));
        if amount.currency != Currency::CNY {
            return refused("UNSUPPORTED_CURRENCY", format!("Alipay takes CNY, not {}", amount.currency));
        }
        if !(1..=LIMIT).contains(&amount.minor) {
            return refused("UNSUPPORTED_AMOUNT", format!("Alipay takes 0.01 to 100000000.00 CNY, not {amount}"));
        }
        Ok(Self(amount.minor))
    }

    /// Reads what Alipay writes.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let wrong = "an amount is not a decimal of yuan";
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits =
            |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole, 12) || !digits(part, 2) || (whole.len() > 1 && whole.starts_with('0')) {
            return Err(wrong);
        }
        // Both are digits only, and few enough.
        let fen: i64 = format!("{whole}{part:0<2}").parse().map_err(|_| wrong)?;
        Ok(Self(fen))
    }

    /// Reads what a bill says, where refunds are negative: in fen.
    pub(super) fn signed_fen(text: &str) -> Result<i64, &'static str> {
        match text.strip_prefix('-') {
            Some(owed) => Self::parse(owed).map(|yuan| -yuan.0),
            None => Self::parse(text).map(|yuan| yuan.0),
        }
    }

    /// The same amount as money; more than nothing.
    pub(super) fn more_than_nothing(self) -> Result<Money, &'static str> {
        if self.is_nothing() { Err("an amount is nothing") } else { Ok(Money::new(self.0, Currency::CNY)) }
    }

    /// `0.00`.
    pub(super) fn is_nothing(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Yuan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Money::new(self.0, Currency::CNY).decimal())
    }
}

impl TryFrom<String> for Yuan {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Yuan> for String {
    fn from(amount: Yuan) -> String {
        amount.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_both_ways() {
        for (fen, text) in [(1, "0.01"), (10, "0.10"), (100, "1.00"), (8888, "88.88"), (LIMIT, "100000000.00")] {
            let yuan = Yuan::of(Money::new(fen, Currency::CNY)).unwrap();
            assert_eq!(yuan.to_string(), text);
            assert_eq!(Yuan::parse(text), Ok(yuan));
            assert_eq!(yuan.more_than_nothing(), Ok(Money::new(fen, Currency::CNY)));
        }
        assert_eq!(Yuan::parse("0.1"), Yuan::parse("0.10"));
        assert_eq!(Yuan::parse("100"), Yuan::parse("100.00"));
        assert_eq!(
            (Yuan::signed_fen("-40.00"), Yuan::signed_fen("0.1"), Yuan::signed_fen("-0.00")),
            (Ok(-4000), Ok(10), Ok(0))
        );
        assert!(["--1.00", "-", "- 1.00", "+1.00"].iter().all(|text| Yuan::signed_fen(text).is_err()));
        assert_eq!(Yuan::parse("0.00").unwrap().more_than_nothing(), Err("an amount is nothing"));
    }

    #[test]
    fn what_is_no_decimal_of_yuan_is_not_read() {
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "1.000",
            "1.001",
            "-1.00",
            "+1.00",
            " 1.00",
            "1.00 ",
            "1,000.00",
            "1e2",
            "1.0.0",
            "01.00",
            "٣.00",
            "NaN",
            "0x1",
            "1234567890123.00",
        ] {
            assert!(Yuan::parse(text).is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Yuan>("1.00").is_err(), "a number is not a string");
    }

    #[test]
    fn what_alipay_does_not_take_is_refused_before_it_is_sent() {
        let code = |fen, currency| match Yuan::of(Money::new(fen, Currency::parse(currency).unwrap())) {
            Err(GatewayError::Refused(refusal)) => refusal.code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(100, "USD"), "UNSUPPORTED_CURRENCY");
        for fen in [0, -1, LIMIT + 1, i64::MAX, i64::MIN] {
            assert_eq!(code(fen, "CNY"), "UNSUPPORTED_AMOUNT");
        }
    }
}
