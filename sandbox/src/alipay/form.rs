//! `application/x-www-form-urlencoded`, as it comes and as it goes.

use std::collections::BTreeMap;

/// Adds the fields of a query or a body, decoded once. Of a name that comes twice, the last counts.
pub(super) fn decode_into(fields: &mut BTreeMap<String, String>, text: &[u8]) {
    for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let equals = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = match equals {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        fields.insert(decode(name), decode(value));
    }
}

/// Writes fields in the order given.
pub(super) fn encode<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<_> =
        fields.into_iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    pairs.join("&")
}

/// What is not UTF-8 is replaced: no signature fits it then.
fn decode(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        match (escaped, first) {
            (Some((high, low)), _) => {
                bytes.push(high * 16 + low);
                rest = &tail[2..];
                continue;
            }
            (None, b'+') => bytes.push(b' '),
            (None, byte) => bytes.push(*byte),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn encoded(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => safe.push('+'),
            byte if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) => safe.push(char::from(byte)),
            byte => safe += &format!("%{byte:02X}"),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded_once_and_only_once() {
        let value = "大乐透 A+B & 50% %26 = \"~*'";
        let text = encode([("subject", value), ("passback_params", "a%3d3C%26b")]);
        let mut fields = BTreeMap::new();
        decode_into(&mut fields, text.as_bytes());
        assert_eq!(fields["subject"], value);
        assert_eq!(fields["passback_params"], "a%3d3C%26b");
        decode_into(&mut fields, b"subject=%zz%2&&alone");
        assert_eq!((fields["subject"].as_str(), fields["alone"].as_str()), ("%zz%2", ""));
    }
}
