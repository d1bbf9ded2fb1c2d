//! Whether a value is one of its type: a literal of the document, or what the variables hold.

use async_graphql::Pos;
use async_graphql::registry::{MetaInputValue, MetaType, MetaTypeName, Registry};
use async_graphql_value::Value;

use super::{Checked, Use, wrong};

/// Checks a literal, and notes the variables in it.
pub(super) fn literal<'a>(
    registry: &'a Registry,
    input: &'a MetaInputValue,
    value: &'a Value,
    at: Pos,
    uses: &mut Vec<Use<'a>>,
) -> Checked {
    let mut check = Check { registry, at, json: false, uses };
    check.value(&input.ty, input.default_value.is_some(), value)
}

/// Checks a value without variables. `json`: it came beside the document, where an enum's value is a string.
pub(super) fn constant(registry: &Registry, ty: &str, value: &Value, at: Pos, json: bool) -> Checked {
    Check { registry, at, json, uses: &mut Vec::new() }.value(ty, false, value)
}

struct Check<'a, 'u> {
    registry: &'a Registry,
    at: Pos,
    json: bool,
    uses: &'u mut Vec<Use<'a>>,
}

impl<'a> Check<'a, '_> {
    fn value(&mut self, ty: &'a str, has_default: bool, value: &'a Value) -> Checked {
        if let Value::Variable(name) = value {
            self.uses.push(Use { name, at: self.at, expected: Some(ty), has_default });
            return Ok(());
        }
        match (MetaTypeName::create(ty), value) {
            (MetaTypeName::NonNull(_), Value::Null) => wrong(self.at, format!("null is not a value of {ty}.")),
            (_, Value::Null) => Ok(()),
            (MetaTypeName::NonNull(inner), _) => self.value(inner, false, value),
            (MetaTypeName::List(inner), Value::List(items)) => {
                items.iter().try_for_each(|item| self.value(inner, false, item))
            }
            (MetaTypeName::List(inner), _) => self.value(inner, false, value),
            (MetaTypeName::Named(name), _) => self.named(name, value),
        }
    }

    fn named(&mut self, name: &'a str, value: &'a Value) -> Checked {
        match (self.registry.types.get(name), value) {
            (Some(MetaType::InputObject { input_fields, oneof, .. }), Value::Object(members)) => {
                for (member, value) in members {
                    let Some(field) = input_fields.get(member.as_str()) else {
                        return wrong(self.at, format!("{name} has no field {member}."));
                    };
                    self.value(&field.ty, field.default_value.is_some(), value)?;
                }
                let missing = input_fields.values().find(|field| {
                    MetaTypeName::create(&field.ty).is_non_null()
                        && field.default_value.is_none()
                        && !members.contains_key(field.name.as_str())
                });
                if let Some(field) = missing {
                    return wrong(self.at, format!("{name} needs the field {}: {}.", field.name, field.ty));
                }
                if *oneof && (members.len() != 1 || members.values().any(|v| *v == Value::Null)) {
                    return wrong(self.at, format!("Give {name} exactly one of its fields."));
                }
                Ok(())
            }
            (Some(MetaType::Enum { enum_values, .. }), Value::Enum(given))
                if enum_values.contains_key(given.as_str()) =>
            {
                Ok(())
            }
            (Some(MetaType::Enum { enum_values, .. }), Value::String(given))
                if self.json && enum_values.contains_key(given) =>
            {
                Ok(())
            }
            (Some(MetaType::Scalar { .. }), _) if is_scalar(name, value) => {
                self.inside(value);
                Ok(())
            }
            _ => wrong(self.at, format!("This is not a value of {name}.")),
        }
    }

    /// A custom scalar takes whatever its own code can read: only the variables in it are noted.
    fn inside(&mut self, value: &'a Value) {
        match value {
            Value::Variable(name) => {
                self.uses.push(Use { name, at: self.at, expected: None, has_default: false });
            }
            Value::List(items) => items.iter().for_each(|item| self.inside(item)),
            Value::Object(members) => members.values().for_each(|member| self.inside(member)),
            _ => {}
        }
    }
}

fn is_scalar(name: &str, value: &Value) -> bool {
    match (name, value) {
        ("Int", Value::Number(number)) => number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
        ("ID", Value::Number(number)) => number.is_i64() || number.is_u64(),
        ("Float", Value::Number(_)) | ("String" | "ID", Value::String(_)) | ("Boolean", Value::Boolean(_)) => true,
        ("Int" | "ID" | "Float" | "String" | "Boolean", _) => false,
        _ => true,
    }
}
