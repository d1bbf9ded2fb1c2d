//! Numbers that the gateway gives out. Random, so that those of two sandboxes never meet.

use std::hash::{BuildHasher, Hasher, RandomState};

use chrono::{DateTime, FixedOffset, Utc};

/// `wx…`, 36 characters.
pub(super) fn prepay_id(now: DateTime<Utc>) -> String {
    format!("wx{}{:016x}0000", moment(now, "%Y%m%d%H%M%S"), random())
}

/// 28 digits.
pub(super) fn transaction_id(now: DateTime<Utc>) -> String {
    format!("4200000{}{}", moment(now, "%Y%m%d"), digits::<13>())
}

/// 29 digits.
pub(super) fn refund_id(now: DateTime<Utc>) -> String {
    format!("5030000{}{}", moment(now, "%Y%m%d"), digits::<14>())
}

/// `EV-…`, at most 36 characters.
pub(super) fn event_id(now: DateTime<Utc>) -> String {
    format!("EV-{}{}", moment(now, "%Y%m%d%H%M%S"), digits::<13>())
}

fn moment(now: DateTime<Utc>, format: &str) -> String {
    match FixedOffset::east_opt(8 * 3600) {
        Some(zone) => now.with_timezone(&zone).format(format).to_string(),
        None => now.format(format).to_string(),
    }
}

fn digits<const COUNT: usize>() -> String {
    let all = format!("{:020}", random());
    all[all.len() - COUNT..].to_owned()
}

/// The standard library's hash seeds are random and, unlike a generator's, cannot fail.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
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
