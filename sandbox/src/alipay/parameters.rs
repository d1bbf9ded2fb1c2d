//! The common parameters of a call, and who may make it.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;

use super::{
    AlipayCertificates, Keys,
    answer::Refusal,
    form,
    signature::{content, is_signed_by},
};

/// How Alipay writes a time; it is always Beijing's.
pub(super) const TIME: &str = "%Y-%m-%d %H:%M:%S";

/// Every parameter of a request, known or not: the unknown ones are signed too.
#[derive(Debug, Default)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Query and body merged: clients share the parameters out between them as they like.
    pub(super) fn read(query: &str, body: &[u8]) -> Self {
        let mut fields = BTreeMap::new();
        form::decode_into(&mut fields, query.as_bytes());
        form::decode_into(&mut fields, body);
        Self(fields)
    }

    /// A parameter; an empty one is the same as none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Refuses what this app has not signed, in the order of the real one: the app first, then the
    /// signature, then the rest.
    pub(super) fn check(&self, keys: &Keys) -> Result<(), Refusal> {
        let (app_id, key) = (keys.merchant.app_id.as_str(), keys.app_public_key());
        match self.get("app_id") {
            Some(named) if named == app_id => {}
            Some(_) => return Err(Refusal::invalid("isv.invalid-app-id", "无效的AppID参数").unsigned()),
            None => return Err(Refusal::missing("isv.missing-app-id", "缺少AppID参数").unsigned()),
        }
        match self.get("sign_type") {
            Some("RSA2") => {}
            Some(_) => return Err(Refusal::invalid("isv.invalid-signature-type", "无效签名类型")),
            None => return Err(Refusal::missing("isv.missing-signature-type", "缺少签名类型参数")),
        }
        let sign = self.get("sign").ok_or_else(|| Refusal::missing("isv.missing-signature", "缺少签名参数"))?;
        if ![false, true].iter().any(|with_empty| is_signed_by(key, &self.signed_content(*with_empty), sign)) {
            return Err(wrong_signature(&self.signed_content(false)));
        }
        self.check_certificates(&keys.merchant.certificates)?;
        self.check_the_rest()
    }

    /// Whoever names a certificate names both, and the right ones; the answer then names the gateway's.
    fn check_certificates(&self, ours: &AlipayCertificates) -> Result<(), Refusal> {
        let wrong = |name: &str| Refusal::invalid("isv.invalid-parameter", format!("参数无效：{name}"));
        match (self.get("app_cert_sn"), self.get("alipay_root_cert_sn")) {
            (None, None) => Ok(()),
            (Some(app), _) if app != ours.app_cert_sn => Err(wrong("app_cert_sn")),
            (Some(_), Some(root)) if root == ours.root_cert_sn => Ok(()),
            (Some(_), _) => Err(wrong("alipay_root_cert_sn")),
            (None, Some(_)) => Err(wrong("app_cert_sn")),
        }
    }

    /// Whether the merchant speaks in certificate mode.
    pub(super) fn names_certificate(&self) -> bool {
        self.get("app_cert_sn").is_some()
    }

    /// What the client should have signed: all but the signature. The documents leave out what is
    /// empty, some clients do not.
    fn signed_content(&self, with_empty: bool) -> String {
        let signed = self.0.iter().filter(|(name, value)| *name != "sign" && (with_empty || !value.is_empty()));
        content(signed.map(|(name, value)| (name.as_str(), value.as_str())))
    }

    fn check_the_rest(&self) -> Result<(), Refusal> {
        match self.get("charset") {
            Some(charset) if charset.eq_ignore_ascii_case("utf-8") => {}
            Some(_) => return Err(Refusal::invalid("isv.invalid-charset", "字符集错误，本沙箱只支持utf-8")),
            None => return Err(Refusal::missing("isv.missing-charset", "缺少字符集参数")),
        }
        if self.get("format").is_some_and(|format| !format.eq_ignore_ascii_case("json")) {
            return Err(Refusal::invalid("isv.invalid-format", "无效的数据格式"));
        }
        match self.get("version") {
            Some("1.0") => {}
            Some(_) => return Err(Refusal::invalid("isv.invalid-parameter", "参数无效：version")),
            None => return Err(Refusal::missing("isv.missing-version", "缺少版本参数")),
        }
        match self.get("timestamp") {
            Some(time) if NaiveDateTime::parse_from_str(time, TIME).is_ok() => {}
            Some(_) => return Err(Refusal::invalid("isv.invalid-timestamp", "非法的时间戳参数")),
            None => return Err(Refusal::missing("isv.missing-timestamp", "缺少时间戳参数")),
        }
        if self.get("encrypt_type").is_some() {
            return Err(Refusal::invalid("isv.invalid-parameter", "参数无效：本沙箱不支持encrypt_type"));
        }
        Ok(())
    }
}

/// Shows the text that the gateway built, as the real one does.
fn wrong_signature(built: &str) -> Refusal {
    let words = "验签出错，建议检查签名字符串或签名私钥与应用公钥是否匹配，网关生成的验签字符串为：";
    Refusal::invalid("isv.invalid-signature", format!("{words}{}", built.replace('&', "&amp;")))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{alipay::signature, keys::private_key, vectors};

    const APP: &str = "2021000000000001";

    /// The wire form of a case: query and body, or the order string that an app posts.
    fn wire(case: &Value) -> (String, String) {
        let text = |name: &str| case[name].as_str().unwrap_or_default().to_owned();
        match case["order_string"].as_str() {
            Some(order) => (String::new(), order.to_owned()),
            None => (text("target").split_once('?').expect("a query").1.to_owned(), text("body")),
        }
    }

    #[test]
    fn requests_of_every_sdk_are_read_and_verified() {
        let (keys, vectors) = (Keys::of_vectors(), vectors::read("alipay-request.json"));
        let cases = vectors["cases"].as_array().expect("a list");
        for case in cases {
            let (query, body) = wire(case);
            let whole = [query.as_str(), body.as_str()].join("&");
            // As sent, and again with everything in one place or the other.
            for (query, body) in [(&*query, &*body), (&*whole, ""), ("", &*whole)] {
                let parameters = Parameters::read(query, body.as_bytes());
                let read: Value = serde_json::to_value(&parameters.0).expect("JSON");
                assert_eq!(read, case["params"], "{}", case["id"]);
                assert_eq!(parameters.signed_content(false), case["sign_content"].as_str().expect("text"));
                let checked = parameters.check(&keys);
                if case["params"]["encrypt_type"].is_string() {
                    assert_eq!(checked.expect_err("encrypted").sub_code, "isv.invalid-parameter");
                } else {
                    assert_eq!(checked, Ok(()), "{}", case["id"]);
                }
            }
        }
        assert_eq!(cases.len(), 18);
    }

    fn signed(change: impl FnOnce(&mut BTreeMap<String, String>), with_empty: bool) -> Parameters {
        let keys = Keys::of_vectors();
        let key = private_key(keys.merchant.private_key_pem.as_bytes()).expect("a key");
        let fields = [
            ("app_id", APP),
            ("method", "alipay.trade.query"),
            ("charset", "utf-8"),
            ("sign_type", "RSA2"),
            ("timestamp", "2026-01-01 08:00:00"),
            ("version", "1.0"),
            ("notify_url", ""),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut parameters = Parameters(BTreeMap::from(fields));
        change(&mut parameters.0);
        let sign = signature::sign(&key, &parameters.signed_content(with_empty)).expect("signed");
        parameters.0.insert("sign".to_owned(), sign);
        parameters
    }

    #[test]
    fn empty_parameters_may_be_signed_or_left_out() {
        let keys = Keys::of_vectors();
        for with_empty in [false, true] {
            assert_eq!(signed(|_| {}, with_empty).check(&keys), Ok(()));
        }
    }

    #[test]
    fn each_wrong_parameter_has_its_code() {
        let keys = Keys::of_vectors();
        for (name, value, sub_code) in [
            ("app_id", "2021000000000002", "isv.invalid-app-id"),
            ("app_id", "", "isv.missing-app-id"),
            ("sign_type", "RSA", "isv.invalid-signature-type"),
            ("charset", "gbk", "isv.invalid-charset"),
            ("format", "xml", "isv.invalid-format"),
            ("version", "", "isv.missing-version"),
            ("timestamp", "2026-01-01T08:00:00Z", "isv.invalid-timestamp"),
            ("app_cert_sn", "0", "isv.invalid-parameter"),
            ("app_cert_sn", &keys.merchant.certificates.app_cert_sn, "isv.invalid-parameter"),
            ("alipay_root_cert_sn", &keys.merchant.certificates.root_cert_sn, "isv.invalid-parameter"),
        ] {
            let wrong = signed(|fields| drop(fields.insert(name.to_owned(), value.to_owned())), false);
            let refusal = wrong.check(&keys).expect_err(name);
            assert_eq!((refusal.sub_code, refusal.signed), (sub_code, name != "app_id"));
        }
        let mut altered = signed(|_| {}, false);
        altered.0.insert("method".to_owned(), "alipay.trade.close".to_owned());
        let refusal = altered.check(&keys).expect_err("altered");
        assert_eq!(refusal.sub_code, "isv.invalid-signature");
        assert!(refusal.sub_msg.contains("&amp;method=alipay.trade.close&amp;"), "{}", refusal.sub_msg);
    }
}
