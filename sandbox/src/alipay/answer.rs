//! What `gateway.do` answers: one node, whose raw text is signed.

use std::collections::BTreeMap;

use aws_lc_rs::{error::Unspecified, rsa::KeyPair};
use serde_json::{Value, json};

use super::signature::Seal;

/// Fields of a node beside its code.
pub(super) type Fields = BTreeMap<&'static str, Value>;

/// A definite no, in Alipay's words. Callers branch on code and sub-code, never on the message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) sub_code: &'static str,
    pub(super) sub_msg: String,
    /// A refusal can carry fields too; they are not to be read as data.
    pub(super) fields: Fields,
    /// Whoever names an app that is none is answered without a signature.
    pub(super) signed: bool,
}

impl Refusal {
    fn new(code: &'static str, sub_code: &'static str, sub_msg: impl Into<String>) -> Self {
        Self { code, sub_code, sub_msg: sub_msg.into(), fields: Fields::new(), signed: true }
    }

    /// 40001: a common parameter is not there.
    pub(super) fn missing(sub_code: &'static str, sub_msg: &str) -> Self {
        Self::new("40001", sub_code, sub_msg)
    }

    /// 40002: a common parameter is wrong.
    pub(super) fn invalid(sub_code: &'static str, sub_msg: impl Into<String>) -> Self {
        Self::new("40002", sub_code, sub_msg)
    }

    /// 40004: the business says no.
    pub(super) fn business(sub_code: &'static str, sub_msg: impl Into<String>) -> Self {
        Self::new("40004", sub_code, sub_msg)
    }

    pub(super) fn parameter(name: &str, issue: &str) -> Self {
        Self::business("ACQ.INVALID_PARAMETER", format!("参数无效：{name}{issue}"))
    }

    pub(super) fn no_such_trade() -> Self {
        Self::business("ACQ.TRADE_NOT_EXIST", "交易不存在")
    }

    pub(super) fn closed() -> Self {
        Self::business("ACQ.TRADE_HAS_CLOSE", "交易已经关闭")
    }

    pub(super) fn wrong_status() -> Self {
        Self::business("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
    }

    pub(super) fn finished() -> Self {
        Self::business("ACQ.TRADE_HAS_FINISHED", "交易已经完结")
    }

    /// Whether anything happened is left open.
    pub(super) fn system_error() -> Self {
        Self::new("20000", "aop.ACQ.SYSTEM_ERROR", "系统异常")
    }

    /// Not executed.
    pub(super) fn too_often() -> Self {
        Self::new("40005", "isv.app-call-limited", "应用调用次数超限")
    }

    pub(super) fn unsigned(mut self) -> Self {
        self.signed = false;
        self
    }

    pub(super) fn with(mut self, fields: Fields) -> Self {
        self.fields.extend(fields);
        self
    }

    /// The text of the node.
    pub(super) fn text(&self) -> String {
        let words = match self.code {
            "20000" => "Service Currently Unavailable",
            "40001" => "Missing Required Arguments",
            "40002" => "Invalid Arguments",
            "40005" => "Call Limited",
            _ => "Business Failed",
        };
        let head = [
            ("code", json!(self.code)),
            ("msg", json!(words)),
            ("sub_code", json!(self.sub_code)),
            ("sub_msg", json!(self.sub_msg)),
        ];
        object(&head, &self.fields)
    }
}

impl From<Unspecified> for Refusal {
    fn from(_: Unspecified) -> Self {
        Self::system_error()
    }
}

/// The text of a node that says yes.
pub(super) fn success(fields: &Fields) -> String {
    object(&[("code", json!("10000")), ("msg", json!("Success"))], fields)
}

/// Some clients can only verify an answer whose node comes first and whose signature comes last. In certificate
/// mode the number of the gateway's certificate stands between.
pub(super) fn envelope(
    node: &str,
    text: &str,
    key: &KeyPair,
    cert_sn: Option<&str>,
    seal: Seal,
) -> Result<String, Unspecified> {
    let certificate = cert_sn.map(|sn| format!(r#""alipay_cert_sn":"{sn}","#)).unwrap_or_default();
    Ok(match seal.sign(key, text)? {
        Some(sign) => format!(r#"{{"{node}":{text},{certificate}"sign":"{sign}"}}"#),
        None => format!(r#"{{"{node}":{text}}}"#),
    })
}

fn object(head: &[(&'static str, Value)], fields: &Fields) -> String {
    let head = head.iter().map(|(name, value)| (*name, value));
    let fields = fields.iter().map(|(name, value)| (*name, value));
    let members: Vec<_> = head.chain(fields).map(|(name, value)| format!(r#""{name}":{value}"#)).collect();
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{alipay::Keys, vectors};

    #[test]
    fn answers_are_those_of_the_vectors_byte_for_byte() {
        let (keys, vectors) = (Keys::of_vectors(), vectors::read("alipay-response.json"));
        let mut built = 0;
        for case in vectors["cases"].as_array().expect("a list") {
            let text = |name: &str| case[name].as_str().unwrap_or_default();
            let Ok(whole) = serde_json::from_str::<Value>(text("raw")) else { continue };
            let Some(node) = whole[text("node")].as_object() else { continue };
            let is_head = |name: &str| ["code", "msg", "sub_code", "sub_msg"].contains(&name);
            let fields: Vec<_> = node.iter().filter(|(name, _)| !is_head(name)).collect();
            let fields: Fields =
                fields.into_iter().map(|(name, value)| (&*name.clone().leak(), value.clone())).collect();
            let rebuilt = match node.get("code").and_then(Value::as_str) {
                Some("10000") => success(&fields),
                Some("40004") => Refusal::no_such_trade().with(fields).text(),
                Some("20000") => Refusal::system_error().text(),
                _ => continue,
            };
            if rebuilt != text("signed_content") || text("expect") != "valid" {
                continue;
            }
            let sn = keys.merchant.certificates.alipay_cert_sn.as_str();
            let sn = (text("id") == "cert_mode_with_alipay_cert_sn").then_some(sn);
            let raw = envelope(text("node"), &rebuilt, keys.alipay_key(), sn, Seal::Good).expect("signed");
            if text("id") != "sign_before_node" {
                assert_eq!(raw, text("raw"), "{}", text("id"));
                built += 1;
            }
        }
        assert!(built >= 8, "{built} answers compared");
    }

    #[test]
    fn every_signed_substring_of_the_vectors_signs_to_their_signature() {
        let (keys, vectors) = (Keys::of_vectors(), vectors::read("alipay-response.json"));
        for case in vectors["cases"].as_array().expect("a list").iter().filter(|case| case["expect"] == "valid") {
            let signed = case["signed_content"].as_str().expect("text");
            let sign = Seal::Good.sign(keys.alipay_key(), signed).expect("signed");
            assert_eq!(sign.as_deref(), case["sign"].as_str(), "{}", case["id"]);
        }
    }
}
