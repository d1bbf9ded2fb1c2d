//! Numbers that the gateway gives out. Random, so that those of two sandboxes never meet.

use chrono::{DateTime, Utc};

use crate::{clock::beijing, random::digits};

/// 28 digits.
pub(super) fn trade_no(now: DateTime<Utc>) -> String {
    format!("{}22001{}", beijing(now, "%Y%m%d"), digits::<15>())
}

/// 34 digits.
pub(super) fn notify_id(now: DateTime<Utc>) -> String {
    format!("{}00222{}{}", beijing(now, "%Y%m%d"), beijing(now, "%H%M%S"), digits::<15>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_documented_lengths_and_differ() {
        let now = DateTime::from_timestamp(1_767_225_600, 0).expect("in range");
        assert_eq!((trade_no(now).len(), notify_id(now).len()), (28, 34));
        assert!(trade_no(now).starts_with("2026010122001"));
        assert_ne!(trade_no(now), trade_no(now));
    }
}
