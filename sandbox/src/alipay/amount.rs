//! Yuan on the wire, fen inside; exact both ways.

const MOST: i64 = 10_000_000_000;

/// `"88.88"`, `"88.8"` or `"88"` as fen, from 0.01 to 100000000.00.
pub(super) fn fen(yuan: &str) -> Option<i64> {
    let (whole, cents) = yuan.split_once('.').unwrap_or((yuan, "00"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(cents) || whole.len() > 9 || cents.len() > 2 {
        return None;
    }
    let tenfold = if cents.len() == 1 { 10 } else { 1 };
    let fen = whole.parse::<i64>().ok()? * 100 + cents.parse::<i64>().ok()? * tenfold;
    (1..=MOST).contains(&fen).then_some(fen)
}

/// `88.88`; always two digits behind the point.
pub(super) fn yuan(fen: i64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_wrong_ones_are_none() {
        for (text, expected) in
            [("0.01", 1), ("0.1", 10), ("0.10", 10), ("12", 1200), ("88.88", 8888), ("100000000.00", MOST)]
        {
            assert_eq!(fen(text), Some(expected), "{text}");
        }
        for text in ["", "0", "0.00", "-1", "1.", ".5", "1.234", "1e3", "+1", "100000000.01", "9999999999", "１"] {
            assert_eq!(fen(text), None, "{text}");
        }
        assert_eq!([yuan(0), yuan(1), yuan(8888), yuan(MOST)], ["0.00", "0.01", "88.88", "100000000.00"]);
    }
}
