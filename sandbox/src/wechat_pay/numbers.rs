//! Numbers that the gateway gives out. Random, so that those of two sandboxes never meet.

use chrono::{DateTime, Utc};

use crate::{
    clock::beijing,
    random::{digits, number as random},
};

/// `wx…`, 36 characters.
pub(super) fn prepay_id(now: DateTime<Utc>) -> String {
    format!("wx{}{:016x}0000", beijing(now, "%Y%m%d%H%M%S"), random())
}

/// 28 digits.
pub(super) fn transaction_id(now: DateTime<Utc>) -> String {
    format!("4200000{}{}", beijing(now, "%Y%m%d"), digits::<13>())
}

/// 29 digits.
pub(super) fn refund_id(now: DateTime<Utc>) -> String {
    format!("5030000{}{}", beijing(now, "%Y%m%d"), digits::<14>())
}

/// `EV-…`, at most 36 characters.
pub(super) fn event_id(now: DateTime<Utc>) -> String {
    format!("EV-{}{}", beijing(now, "%Y%m%d%H%M%S"), digits::<13>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_documented_lengths_and_differ() {
        let now = DateTime::from_timestamp(1_767_225_600, 0).expect("in range");
        assert_eq!(prepay_id(now).len(), 36);
        assert_eq!(transaction_id(now).len(), 28);
        assert!(transaction_id(now).starts_with("420000020260101"));
        assert_eq!(refund_id(now).len(), 29);
        assert!(event_id(now).len() <= 36);
        assert_ne!(transaction_id(now), transaction_id(now));
    }
}
