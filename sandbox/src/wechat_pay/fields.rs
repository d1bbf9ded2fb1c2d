//! The rules that WeChat Pay has for single fields of a request.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::refusal::Refusal;

/// A request's JSON body, read field by field. Each field is named by its JSON pointer; `null` is
/// the same as absent. Lengths count characters.
pub(super) struct Fields<'a>(&'a Value);

impl<'a> Fields<'a> {
    pub(super) fn of(body: &'a Value) -> Result<Self, Refusal> {
        match body {
            Value::Object(_) => Ok(Self(body)),
            _ => Err(Refusal::parameter("body", "", &Value::Null, "不是JSON对象")),
        }
    }

    pub(super) fn get(&self, pointer: &str) -> Option<&'a Value> {
        self.0.pointer(pointer).filter(|value| !value.is_null())
    }

    /// A required string.
    pub(super) fn text(&self, pointer: &str, length: RangeInclusive<usize>) -> Result<&'a str, Refusal> {
        self.optional_text(pointer, length)?.ok_or_else(|| self.wrong(pointer, "缺少必填参数"))
    }

    pub(super) fn optional_text(
        &self,
        pointer: &str,
        length: RangeInclusive<usize>,
    ) -> Result<Option<&'a str>, Refusal> {
        let Some(value) = self.get(pointer) else {
            return Ok(None);
        };
        let text = value.as_str().ok_or_else(|| self.wrong(pointer, "应为字符串"))?;
        if !length.contains(&text.chars().count()) {
            return Err(self.wrong(pointer, "字符串长度不符合规则"));
        }
        Ok(Some(text))
    }

    /// A required whole number of fen, at least 1.
    pub(super) fn amount(&self, pointer: &str) -> Result<i64, Refusal> {
        let value = self.get(pointer).ok_or_else(|| self.wrong(pointer, "缺少必填参数"))?;
        match value.as_i64() {
            Some(fen) if fen >= 1 => Ok(fen),
            _ => Err(self.wrong(pointer, "应为不小于1的整数")),
        }
    }

    pub(super) fn optional_flag(&self, pointer: &str) -> Result<(), Refusal> {
        match self.get(pointer) {
            None | Some(Value::Bool(_)) => Ok(()),
            Some(_) => Err(self.wrong(pointer, "应为布尔值")),
        }
    }

    pub(super) fn optional_object(&self, pointer: &str) -> Result<bool, Refusal> {
        match self.get(pointer) {
            None => Ok(false),
            Some(Value::Object(_)) => Ok(true),
            Some(_) => Err(self.wrong(pointer, "应为对象")),
        }
    }

    pub(super) fn optional_choice(&self, pointer: &str, of: &[&str]) -> Result<(), Refusal> {
        match self.optional_text(pointer, 1..=32)? {
            Some(choice) if !of.contains(&choice) => Err(self.wrong(pointer, "不在枚举范围内")),
            _ => Ok(()),
        }
    }

    /// A merchant's number of an order: 6 to 32 of `[0-9A-Za-z_\-|*]`.
    pub(super) fn order_number(&self, pointer: &str) -> Result<&'a str, Refusal> {
        let number = self.text(pointer, 6..=32)?;
        if !is_order_number(number) {
            return Err(self.wrong(pointer, "含有不允许的字符"));
        }
        Ok(number)
    }

    /// A merchant's number of a refund: up to 64 of `[0-9A-Za-z_\-|*@]`.
    pub(super) fn refund_number(&self, pointer: &str) -> Result<&'a str, Refusal> {
        let number = self.text(pointer, 1..=64)?;
        if !is_refund_number(number) {
            return Err(self.wrong(pointer, "含有不允许的字符"));
        }
        Ok(number)
    }

    /// Where to notify: absolute and without a query. The real gateway wants https and a public
    /// host; a sandbox also takes http and this machine.
    pub(super) fn optional_notify_url(
        &self,
        pointer: &str,
        length: RangeInclusive<usize>,
    ) -> Result<Option<String>, Refusal> {
        let Some(url) = self.optional_text(pointer, length)? else {
            return Ok(None);
        };
        let rest = url.strip_prefix("https://").or(url.strip_prefix("http://"));
        let has_host = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', ':']));
        let plain = url.bytes().all(|byte| byte.is_ascii_graphic()) && !url.contains(['?', '#']);
        if !has_host || !plain || reqwest::Url::parse(url).is_err() {
            return Err(self.wrong(pointer, "通知地址不合法，须为不带参数的URL"));
        }
        Ok(Some(url.to_owned()))
    }

    pub(super) fn optional_time(&self, pointer: &str) -> Result<Option<DateTime<Utc>>, Refusal> {
        let Some(text) = self.optional_text(pointer, 1..=64)? else {
            return Ok(None);
        };
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| self.wrong(pointer, "时间格式不符合RFC 3339"))?;
        Ok(Some(time.to_utc()))
    }

    /// The refusal of what stands at `pointer`.
    pub(super) fn wrong(&self, pointer: &str, issue: &str) -> Refusal {
        let value = self.0.pointer(pointer).unwrap_or(&Value::Null);
        Refusal::parameter("body", pointer, value, issue)
    }
}

pub(super) fn is_order_number(number: &str) -> bool {
    (6..=32).contains(&number.len()) && number.bytes().all(is_number_byte)
}

pub(super) fn is_refund_number(number: &str) -> bool {
    (1..=64).contains(&number.len()) && number.bytes().all(|byte| byte == b'@' || is_number_byte(byte))
}

fn is_number_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-|*".contains(&byte)
}
