//! Limits on amounts: what one order, one customer's day and one refund may come to.

use crate::{Currency, Date, Duration, Money, RuleError, Timestamp};

/// Amounts by currency. A currency that is not named has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts(Vec<Money>);

impl Amounts {
    /// Reads `CNY:5000000,JPY:600000`: minor units from 1, each currency once. `None`: it says something else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut amounts: Vec<Money> = Vec::new();
        for part in text.split(',') {
            let (code, minor) = part.trim().split_once(':')?;
            let currency = Currency::parse(code).ok()?;
            let digits = !minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit());
            let minor = minor.parse().ok().filter(|m| digits && *m > 0)?;
            if amounts.iter().any(|a| a.currency == currency) {
                return None;
            }
            amounts.push(Money::new(minor, currency));
        }
        Some(Self(amounts))
    }

    /// The amount in this currency.
    pub fn of(&self, currency: Currency) -> Option<Money> {
        self.0.iter().find(|a| a.currency == currency).copied()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Money> + '_ {
        self.0.iter().copied()
    }
}

/// Every limit, each by currency; all off by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// An order comes to at least this.
    pub order_min: Amounts,
    /// An order comes to at most this.
    pub order_max: Amounts,
    /// A customer's orders of one [`customer_day`] come to at most this; those that were closed unpaid do not count.
    pub customer_daily_max: Amounts,
    /// One refund gives back at most this.
    pub refund_max: Amounts,
    /// A refund from this amount on waits for another person's approval.
    pub refund_approval: Amounts,
}

/// Which limit said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the limits are described at Limits")]
pub enum LimitName {
    OrderMin,
    OrderMax,
    CustomerDailyMax,
    RefundMax,
}

impl LimitName {
    /// The permanent name that callers see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OrderMin => "ORDER_MIN",
            Self::OrderMax => "ORDER_MAX",
            Self::CustomerDailyMax => "CUSTOMER_DAILY_MAX",
            Self::RefundMax => "REFUND_MAX",
        }
    }
}

impl Limits {
    /// Whether an order may come to this.
    pub fn order(&self, total: Money) -> Result<(), RuleError> {
        let no = |name, limit| Err(RuleError::Limit { name, limit, left: None });
        match (self.order_min.of(total.currency), self.order_max.of(total.currency)) {
            (Some(least), _) if total.minor < least.minor => no(LimitName::OrderMin, least),
            (_, Some(most)) if total.minor > most.minor => no(LimitName::OrderMax, most),
            _ => Ok(()),
        }
    }

    /// Whether one refund may give this back.
    pub fn refund(&self, amount: Money) -> Result<(), RuleError> {
        match self.refund_max.of(amount.currency) {
            Some(limit) if amount.minor > limit.minor => {
                // What was asked for is there to be given back, and is more than this.
                Err(RuleError::Limit { name: LimitName::RefundMax, limit, left: Some(limit) })
            }
            _ => Ok(()),
        }
    }

    /// Whether a refund of this amount waits for another person.
    pub fn needs_approval(&self, amount: Money) -> bool {
        self.refund_approval.of(amount.currency).is_some_and(|from| amount.minor >= from.minor)
    }
}

/// The day that an order of this moment counts in: by the clocks of Asia/Shanghai, eight hours ahead of UTC all
/// year, as the days of the gateways' bills.
pub fn customer_day(at: Timestamp) -> Date {
    (at + Duration::hours(8)).date_naive()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yuan(minor: i64) -> Money {
        Money::new(minor, Currency::CNY)
    }

    #[test]
    fn amounts_are_read_by_currency_or_not_at_all() {
        let read = Amounts::parse("CNY:5000000, JPY:600000").unwrap();
        assert_eq!(read.of(Currency::CNY), Some(yuan(5_000_000)));
        assert_eq!(read.of(Currency::parse("JPY").unwrap()).unwrap().minor, 600_000);
        assert_eq!(read.of(Currency::parse("USD").unwrap()), None);
        for wrong in [
            "",
            "5",
            "CNY",
            "CNY:",
            "CNY:0",
            "CNY:-1",
            "CNY:+1",
            "CNY:1.5",
            "CNY:1e3",
            "cny:1",
            "XXX:1",
            "CNY:1,CNY:2",
            "CNY:1,",
            "CNY:9223372036854775808",
            "CNY:1:2",
            "CNY 1",
        ] {
            assert_eq!(Amounts::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn limits_hold_to_the_last_unit_and_only_in_their_currency() {
        let amounts = |text| Amounts::parse(text).unwrap();
        let limits = Limits {
            order_min: amounts("CNY:100"),
            order_max: amounts("CNY:1000"),
            refund_max: amounts("CNY:500"),
            refund_approval: amounts("CNY:300"),
            ..Limits::default()
        };
        let named = |result: Result<(), RuleError>| match result {
            Ok(()) => None,
            Err(RuleError::Limit { name, limit, left }) => Some((name.name(), limit.minor, left.map(|l| l.minor))),
            Err(e) => panic!("{e}"),
        };
        for (total, no) in [
            (99, Some(("ORDER_MIN", 100, None))),
            (100, None),
            (1_000, None),
            (1_001, Some(("ORDER_MAX", 1_000, None))),
        ] {
            assert_eq!(named(limits.order(yuan(total))), no, "{total}");
        }
        assert_eq!(named(limits.order(Money::new(1, Currency::parse("JPY").unwrap()))), None);
        assert_eq!(named(limits.refund(yuan(500))), None);
        assert_eq!(named(limits.refund(yuan(501))), Some(("REFUND_MAX", 500, Some(500))));
        assert!(limits.needs_approval(yuan(300)) && !limits.needs_approval(yuan(299)));
        assert!(!Limits::default().needs_approval(yuan(i64::MAX)) && Limits::default().order(yuan(1)).is_ok());
    }

    #[test]
    fn a_customers_day_begins_at_midnight_in_shanghai() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(customer_day(at("2026-11-20T15:59:59.999999Z")).to_string(), "2026-11-20");
        assert_eq!(customer_day(at("2026-11-20T16:00:00Z")).to_string(), "2026-11-21");
    }
}
