//! The same limits for variables.

use serde_json::Value;

use super::{Limits, too_complex, too_deep, too_large};
use crate::graphql::{ApiError, code};

/// Counts what the variables hold, without recursion.
pub(in crate::http) fn check_variables(variables: &Value, limits: &Limits) -> Result<(), ApiError> {
    if !matches!(variables, Value::Object(_) | Value::Null) {
        return Err(ApiError::new(code::GRAPHQL_PARSE_FAILED, "The variables are not an object."));
    }
    let mut bytes = 0_usize;
    let mut left = vec![(variables, 1_usize)];
    while let Some((value, depth)) = left.pop() {
        bytes += match value {
            Value::Null | Value::Bool(_) => 4,
            Value::Number(number) => number.to_string().len(),
            Value::String(text) => {
                check_string(text, limits)?;
                text.len() + 2
            }
            Value::Array(values) => {
                if values.len() > limits.list_length {
                    return Err(too_complex("values in a list of the variables", values.len(), limits.list_length));
                }
                left.extend(values.iter().map(|v| (v, depth + 1)));
                values.len() + 2
            }
            Value::Object(members) => {
                left.extend(members.values().map(|v| (v, depth + 1)));
                members.keys().map(|name| name.len() + 4).sum::<usize>() + 2
            }
        };
        if matches!(value, Value::Array(_) | Value::Object(_)) && depth > limits.nesting {
            return Err(too_deep("Values in the variables", limits.nesting));
        }
        if bytes > limits.variables_bytes {
            let limit = limits.variables_bytes;
            return Err(too_large(format!("The variables have more than {limit} bytes; {limit} are allowed.")));
        }
    }
    Ok(())
}

/// A string is short, unless it is a signed token such as a quote, and holds no NUL, written out or not: no
/// database of ours keeps one.
pub(super) fn check_string(text: &str, limits: &Limits) -> Result<(), ApiError> {
    if text.contains('\0') || text.contains("\\u0000") {
        return Err(ApiError::bad_input("A string holds a NUL character; none is allowed."));
    }
    if text.len() <= limits.string {
        return Ok(());
    }
    let limit = if is_token(text) { limits.token_string } else { limits.string };
    let found = text.chars().count();
    if found > limit {
        return Err(too_large(format!("A string has {found} characters; {limit} are allowed.")));
    }
    Ok(())
}

/// Three parts in URL-safe base64.
fn is_token(text: &str) -> bool {
    text.bytes().filter(|b| *b == b'.').count() == 2
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}
