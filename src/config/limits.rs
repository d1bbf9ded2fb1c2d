//! `PAYONCE_…_MIN_MINOR`, `PAYONCE_…_MAX_MINOR` and `PAYONCE_REFUND_APPROVAL_MINOR`: limits, each as
//! `CNY:5000000,JPY:600000`.

use domain::{Amounts, Limits};

use super::{ConfigError, Values, wrong};

impl Values {
    pub(super) fn limits(&self) -> Result<Limits, ConfigError> {
        let limits = Limits {
            order_min: self.amounts("order_min_minor")?,
            order_max: self.amounts("order_max_minor")?,
            customer_daily_max: self.amounts("customer_daily_max_minor")?,
            refund_max: self.amounts("refund_max_minor")?,
            refund_approval: self.amounts("refund_approval_minor")?,
        };
        let above =
            |least: &domain::Money, most: &Amounts| most.of(least.currency).is_some_and(|m| least.minor > m.minor);
        for (key, most) in
            [("order_max_minor", &limits.order_max), ("customer_daily_max_minor", &limits.customer_daily_max)]
        {
            if let Some(least) = limits.order_min.iter().find(|least| above(least, most)) {
                let words = format!("is below PAYONCE_ORDER_MIN_MINOR in {}: nothing could be ordered", least.currency);
                return Err(wrong(key, words));
            }
        }
        Ok(limits)
    }

    fn amounts(&self, key: &str) -> Result<Amounts, ConfigError> {
        let Some(text) = self.get(key) else { return Ok(Amounts::default()) };
        Amounts::parse(&text).ok_or_else(|| {
            wrong(key, format!("{text:?} is not a list of limits in minor units; right is like CNY:5000000,JPY:600000"))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::config::{Config, ConfigError};

    fn from(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::from(BTreeMap::new(), environment)
    }

    #[test]
    fn limits_are_off_until_they_are_set() {
        assert_eq!(from(&[]).unwrap().limits, domain::Limits::default());
        assert!(from(&[]).unwrap().quotes.is_none());
        let config = from(&[("PAYONCE_ORDER_MAX_MINOR", "CNY:5000000,JPY:600000")]).unwrap();
        assert_eq!(config.limits.order_max.of(domain::Currency::CNY).unwrap().minor, 5_000_000);
        assert_eq!(config.limits.order_min, domain::Amounts::default());
    }

    #[test]
    fn a_wrong_limit_or_half_a_pricing_service_names_its_variable() {
        let file = file!();
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("PAYONCE_ORDER_MIN_MINOR", "1")], "PAYONCE_ORDER_MIN_MINOR: \"1\" is not a list"),
            (&[("PAYONCE_ORDER_MAX_MINOR", "CNY:12.80")], "PAYONCE_ORDER_MAX_MINOR: "),
            (&[("PAYONCE_CUSTOMER_DAILY_MAX_MINOR", "CNY:0")], "PAYONCE_CUSTOMER_DAILY_MAX_MINOR: "),
            (&[("PAYONCE_REFUND_MAX_MINOR", "yuan:1")], "PAYONCE_REFUND_MAX_MINOR: "),
            (&[("PAYONCE_REFUND_APPROVAL_MINOR", "CNY:1,CNY:2")], "PAYONCE_REFUND_APPROVAL_MINOR: "),
            (
                &[("PAYONCE_ORDER_MIN_MINOR", "CNY:10"), ("PAYONCE_ORDER_MAX_MINOR", "CNY:9")],
                "PAYONCE_ORDER_MAX_MINOR: is below PAYONCE_ORDER_MIN_MINOR in CNY",
            ),
            (
                &[("PAYONCE_ORDER_MIN_MINOR", "CNY:10"), ("PAYONCE_CUSTOMER_DAILY_MAX_MINOR", "CNY:9")],
                "PAYONCE_CUSTOMER_DAILY_MAX_MINOR: is below",
            ),
            (&[("PAYONCE_QUOTE_ISSUER", "prices")], "PAYONCE_QUOTE_KEYS_FILE: is missing"),
            (&[("PAYONCE_QUOTE_KEYS_FILE", file)], "PAYONCE_QUOTE_ISSUER: is missing"),
            (
                &[("PAYONCE_QUOTE_KEYS_FILE", file), ("PAYONCE_QUOTE_ISSUER", "payonce-dev")],
                "PAYONCE_QUOTE_ISSUER: is PAYONCE_JWT_ISSUER too",
            ),
            (
                &[("PAYONCE_QUOTE_KEYS_FILE", "/nowhere/q.json"), ("PAYONCE_QUOTE_ISSUER", "prices")],
                "PAYONCE_QUOTE_KEYS_FILE: /nowhere/q.json",
            ),
        ];
        for (given, sentence) in cases {
            let line = from(given).unwrap_err().to_string();
            assert!(line.starts_with(sentence) && !line.contains('\n'), "{line}");
        }
    }
}
