//! Alipay's moments: `yyyy-MM-dd HH:mm:ss` on the clocks of Beijing (GMT+8, no summer time), no offset said.

use chrono::{FixedOffset, NaiveDateTime, NaiveTime};
use domain::{Date, Duration, Timestamp};

const OFFSET_HOURS: i64 = 8;

/// `2026-01-01 08:00:00`; parts of a second are cut off.
pub(super) fn write(at: Timestamp) -> String {
    (at.naive_utc() + Duration::hours(OFFSET_HOURS)).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The moment at which this hour begins on the day after `day`.
pub(super) fn next_day_at(day: Date, hour: i64) -> Timestamp {
    day.and_time(NaiveTime::MIN).and_utc() + Duration::hours(24 + hour - OFFSET_HOURS)
}

/// Reads what Alipay writes; `gmt_refund` has milliseconds.
pub(super) fn read(text: &str) -> Result<Timestamp, &'static str> {
    let wrong = "a moment is not yyyy-MM-dd HH:mm:ss";
    let fits = text.is_ascii() && (text.len() == 19 || (text.len() > 20 && text.as_bytes()[19] == b'.'));
    let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok().filter(|_| fits).ok_or(wrong)?;
    let offset = FixedOffset::east_opt(8 * 60 * 60).ok_or(wrong)?;
    let at = local.and_local_timezone(offset).single().ok_or(wrong)?;
    Ok(domain::to_stored(at.to_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateways::alipay::vectors::now;

    #[test]
    fn moments_are_those_of_beijing() {
        assert_eq!(write(now()), "2026-01-01 08:00:00");
        assert_eq!(write(now() + Duration::milliseconds(999)), "2026-01-01 08:00:00");
        assert_eq!(read("2026-01-01 08:00:00"), Ok(now()));
        assert_eq!(read("2026-01-01 08:00:00.123"), Ok(now() + Duration::milliseconds(123)));
        assert_eq!(write(now() - Duration::hours(9)), "2025-12-31 23:00:00");
        let new_years_eve = Date::from_ymd_opt(2025, 12, 31).unwrap();
        assert_eq!(write(next_day_at(new_years_eve, 9)), "2026-01-01 09:00:00");
    }

    #[test]
    fn other_shapes_are_not_read() {
        for text in [
            "",
            "2026-01-01",
            "2026-01-01T08:00:00",
            "2026-01-01 08:00:00+08:00",
            "2026-1-1 8:0:0",
            "2026-02-30 08:00:00",
            "2026-01-01 24:00:00",
            "1767225600",
            "2026-01-01 08:00:00.",
            " 2026-01-01 08:00:00",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
