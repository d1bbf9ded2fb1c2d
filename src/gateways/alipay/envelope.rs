//! Cuts the signed node out of an answer: `{"<method>_response":{…},"sign":"…"}`.
//!
//! What is signed is the node's text exactly as it was sent, both braces included. So it is cut, never
//! written anew; and what is read afterwards is that text, never the answer around it: with a second node of
//! the same name behind the first, popular SDKs verify the one and read the other.

use serde::de::IgnoredAny;

/// The node of an answer, not verified yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    /// The node's text, from brace to brace.
    pub node: &'a str,
    /// It is an `error_response`: it cannot be a success.
    pub error: bool,
    /// Answers to broken requests have none.
    pub sign: Option<String>,
    /// Which certificate it was signed with (`alipay_cert_sn`); in public-key mode it is not said.
    pub cert_sn: Option<String>,
}

impl<'a> Envelope<'a> {
    /// Finds the one node of this method (`alipay.trade.query`), and its signature wherever it stands. Other
    /// members are passed over; one that is there twice is refused.
    pub(super) fn cut(body: &'a [u8], method: &str) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(body).map_err(|_| "the answer is not UTF-8")?;
        // Once it is known for JSON, finding its members takes no more care than strings need.
        serde_json::from_str::<IgnoredAny>(text).map_err(|_| "the answer is no JSON")?;
        let members = members(text)?;
        let wanted = format!("{}_response", method.replace('.', "_"));
        let said = |value| serde_json::from_str(value).map_err(|_| "the signature is no text");
        let (mut nodes, mut sign, mut cert_sn, mut names) = (Vec::new(), None, None, Vec::new());
        for (name, value) in members {
            if names.contains(&name) {
                return Err("the answer has a member twice");
            }
            match name.as_str() {
                "sign" => sign = Some(said(value)?),
                "alipay_cert_sn" => cert_sn = Some(said(value)?),
                node if node == wanted || node == "error_response" => nodes.push((node == "error_response", value)),
                _ => {}
            }
            names.push(name);
        }
        match nodes[..] {
            [(error, node)] if node.starts_with('{') => Ok(Self { node, error, sign, cert_sn }),
            [_] => Err("the answer's node is no object"),
            [] => Err("the answer has no node of this method"),
            _ => Err("the answer has two nodes"),
        }
    }
}

/// Names, without their escapes, and texts of what is in the outermost object. `text` is JSON.
fn members(text: &str) -> Result<Vec<(String, &str)>, &'static str> {
    let inside =
        text.trim_ascii().strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or("the answer is no object")?;
    let mut members = Vec::new();
    let mut rest = inside.trim_ascii();
    while !rest.is_empty() {
        let (name, after) = rest.split_at(value_length(rest));
        let name = serde_json::from_str(name.trim_ascii()).map_err(|_| "a member's name is no text")?;
        let after = after.strip_prefix(':').ok_or("a member has no value")?;
        let (value, after) = after.split_at(value_length(after));
        members.push((name, value.trim_ascii()));
        rest = after.strip_prefix(',').unwrap_or(after).trim_ascii();
    }
    Ok(members)
}

/// How far the text goes until the `,` or `:` that ends its first value; brackets and strings hide theirs.
fn value_length(text: &str) -> usize {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' | b':' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateways::alipay::signature::{Signer, Verifier};
    use crate::gateways::alipay::vectors::{self, text};

    fn verifier() -> Verifier {
        let config = vectors::config("");
        Verifier::new(&config.mode, &Signer::new(&config.private_key).unwrap(), vectors::now()).unwrap().0
    }

    #[test]
    fn the_signed_text_of_every_vector_is_found_and_the_forged_are_refused() {
        let (verifier, vectors) = (verifier(), vectors::response());
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 19);
        for case in cases {
            let (id, raw) = (text(&case["id"]), text(&case["raw"]));
            let cut = Envelope::cut(raw.as_bytes(), case["method"].as_str().unwrap_or("alipay.trade.pay"));
            if id == "duplicate_node_appended" {
                assert_eq!(cut, Err("the answer has a member twice"));
                continue;
            }
            let cut = cut.unwrap();
            assert_eq!(cut.error, id == "error_response_signed");
            let verified = cut.sign.as_ref().and_then(|sign| verifier.node(cut.node, sign, None).ok());
            match text(&case["expect"]) {
                "valid" => {
                    assert_eq!(cut.node, text(&case["signed_content"]), "{id}");
                    assert_eq!(verified.as_deref(), Some(cut.node), "{id}");
                }
                expect if expect.starts_with("valid only with") => {
                    assert_eq!(verified.as_deref(), Some(cut.node.replace(r"\/", "/").as_str()), "{id}");
                }
                "bad_signature" => assert!(cut.sign.is_some() && verified.is_none(), "{id}"),
                _ => assert_eq!(cut.sign, None, "{id}"),
            }
        }
    }

    #[test]
    fn any_order_any_white_space_and_any_company() {
        let body = "\n{ \"x\" : [ {\"a_b_response\":{}} , \"]\\\"\" ] , \"sign\" :\t\"s\\/\" ,\"a_b_response\": { \"a\" : 1 } ,\"y\":null}\r\n";
        let cut = Envelope::cut(body.as_bytes(), "a.b").unwrap();
        assert_eq!(cut, Envelope { node: "{ \"a\" : 1 }", error: false, sign: Some("s/".to_owned()), cert_sn: None });
    }

    #[test]
    fn what_leaves_a_doubt_is_refused() {
        for (body, why) in [
            ("", "the answer is no JSON"),
            ("<html>", "the answer is no JSON"),
            ("{\"a_b_response\":{}", "the answer is no JSON"),
            ("{\"a_b_response\":{}} {}", "the answer is no JSON"),
            ("[]", "the answer is no object"),
            ("\"{}\"", "the answer is no object"),
            ("{}", "the answer has no node of this method"),
            ("{\"a_c_response\":{}}", "the answer has no node of this method"),
            ("{\"a_b_response\":\"{}\"}", "the answer's node is no object"),
            ("{\"a_b_response\":{},\"error_response\":{}}", "the answer has two nodes"),
            ("{\"a_b_response\":{},\"a_b_respons\\u0065\":{}}", "the answer has a member twice"),
            ("{\"a_b_response\":{},\"sign\":\"a\",\"sign\":\"b\"}", "the answer has a member twice"),
            ("{\"a_b_response\":{},\"sign\":7}", "the signature is no text"),
        ] {
            assert_eq!(Envelope::cut(body.as_bytes(), "a.b"), Err(why), "{body}");
        }
        assert_eq!(Envelope::cut(b"{\"a\":\"\xb4\xf3\"}", "a.b"), Err("the answer is not UTF-8"));
        let deep = format!("{{\"a_b_response\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Envelope::cut(deep.as_bytes(), "a.b"), Err("the answer's node is no object"));
    }
}
