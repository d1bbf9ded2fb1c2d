//! `application/x-www-form-urlencoded`, UTF-8: how Alipay's parameters travel, both ways.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Parameters by name, in the order of their bytes: the order they are signed in.
pub(super) type Fields = BTreeMap<String, String>;

/// A real notification has some 30 fields.
const FIELDS_LIMIT: usize = 128;

/// One value, every byte but letters, digits and `-._~` escaped: fits a query, a form's body and the order
/// string of an app, which takes no `+` for a space.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// `a=1&b=2`, names in their order.
pub(super) fn encode<'a>(fields: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let pair = |(name, value): (&String, &String)| format!("{}={}", escape(name), escape(value));
    fields.into_iter().map(pair).collect::<Vec<_>>().join("&")
}

/// Decodes once; what is escaped twice stays escaped once. Stricter than browsers: a name that is there
/// twice, a broken escape and what is not UTF-8 are refused, for nobody says what was meant.
pub(super) fn decode(body: &[u8]) -> Result<Fields, &'static str> {
    let mut fields = Fields::new();
    for pair in body.split(|byte| *byte == b'&') {
        let equals = pair.iter().position(|byte| *byte == b'=').ok_or("a field has no value")?;
        let (name, value) = (unescape(&pair[..equals])?, unescape(&pair[equals + 1..])?);
        if name.is_empty() {
            return Err("a field has no name");
        }
        if fields.insert(name, value).is_some() {
            return Err("a field is there twice");
        }
        if fields.len() > FIELDS_LIMIT {
            return Err("there are more than 128 fields");
        }
    }
    Ok(fields)
}

fn unescape(text: &[u8]) -> Result<String, &'static str> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = after;
        plain.push(match byte {
            b'+' => b' ',
            b'%' => {
                let [high, low, after @ ..] = rest else { return Err("an escape is broken") };
                rest = after;
                nibble(*high)? << 4 | nibble(*low)?
            }
            byte => *byte,
        });
    }
    String::from_utf8(plain).map_err(|_| "a field is not UTF-8")
}

fn nibble(digit: u8) -> Result<u8, &'static str> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err("an escape is broken"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let sent = fields(&[("b", "大乐透2.1 A+B & 50%"), ("a", "https://h/n?x=1&y=2"), ("c", "")]);
        let text = encode(&sent);
        assert!(text.starts_with("a=https%3A%2F%2Fh%2Fn%3Fx%3D1%26y%3D2&b=%E5%A4%A7"), "{text}");
        assert!(!text.contains('+'), "{text}");
        assert_eq!(decode(text.as_bytes()), Ok(sent));
    }

    #[test]
    fn decoding_is_done_once_and_both_spaces_are_known() {
        assert_eq!(decode(b"a=x+y%20z&b=%253d%3d=%26"), Ok(fields(&[("a", "x y z"), ("b", "%3d==&")])));
    }

    #[test]
    fn what_nobody_can_have_meant_is_refused() {
        for (body, why) in [
            (&b"a=1&a=1"[..], "a field is there twice"),
            (b"a=1&%61=2", "a field is there twice"),
            (b"a", "a field has no value"),
            (b"", "a field has no value"),
            (b"a=1&", "a field has no value"),
            (b"=1", "a field has no name"),
            (b"a=%4", "an escape is broken"),
            (b"a=%", "an escape is broken"),
            (b"a=%zz", "an escape is broken"),
            (b"a=%+1", "an escape is broken"),
            (b"a=%b4%f3", "a field is not UTF-8"),
            (b"a=\xff", "a field is not UTF-8"),
        ] {
            assert_eq!(decode(body), Err(why), "{}", String::from_utf8_lossy(body));
        }
        let many = (0..=FIELDS_LIMIT).map(|i| format!("f{i}=1")).collect::<Vec<_>>().join("&");
        assert_eq!(decode(many.as_bytes()), Err("there are more than 128 fields"));
    }
}
