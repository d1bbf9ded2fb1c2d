//! docs/events.schema.json is what is sent. The words of JSON Schema that it uses are few: they are read here, and
//! one that is not known fails.

use domain::EventType;
use serde_json::Value;

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../docs/events.schema.json")).unwrap()
}

/// Fails when the schema does not describe this event.
pub fn check(event: &Value) {
    let schema = schema();
    if let Err(why) = fits(&schema, &schema, event) {
        panic!("{why}\n{event:#}");
    }
}

fn fits(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    for (word, says) in schema.as_object().unwrap() {
        let so = match word.as_str() {
            "$schema" | "title" | "$defs" => true,
            "$ref" => {
                let pointer = says.as_str().unwrap().trim_start_matches('#');
                fits(root, root.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}")), value)?;
                true
            }
            "type" => match says.as_str().unwrap() {
                "object" => value.is_object(),
                "string" => value.is_string(),
                "integer" => value.is_i64(),
                "boolean" => value.is_boolean(),
                other => panic!("type {other}"),
            },
            "const" => value == says,
            "enum" => says.as_array().unwrap().contains(value),
            "required" => says.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some()),
            "additionalProperties" => {
                let known = schema["properties"].as_object().unwrap();
                value.as_object().is_none_or(|members| members.keys().all(|name| known.contains_key(name)))
            }
            "properties" => {
                for (name, inner) in says.as_object().unwrap() {
                    if let Some(member) = value.get(name) {
                        fits(root, inner, member).map_err(|why| format!("{name}: {why}"))?;
                    }
                }
                true
            }
            "oneOf" => says.as_array().unwrap().iter().filter(|one| fits(root, one, value).is_ok()).count() == 1,
            "pattern" => matches(says.as_str().unwrap(), value.as_str().unwrap_or_default()),
            "format" => chrono::DateTime::parse_from_rfc3339(value.as_str().unwrap()).is_ok(),
            other => panic!("{other} is not read here"),
        };
        if !so {
            return Err(format!("{value} is not as {word} says: {says}"));
        }
    }
    Ok(())
}

/// The patterns of ids, numbers and currencies.
fn matches(pattern: &str, text: &str) -> bool {
    let crockford = |b: u8| b.is_ascii_digit() || (b.is_ascii_uppercase() && !b"ILOU".contains(&b));
    match pattern {
        "^[0-9]+$" => !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()),
        "^[A-Z]{3}$" => text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase()),
        _ => {
            let prefix = pattern.strip_prefix('^').and_then(|p| p.strip_suffix("[0-9A-HJKMNP-TV-Z]{26}$"));
            let rest = text.strip_prefix(prefix.unwrap_or_else(|| panic!("{pattern} is not read here")));
            rest.is_some_and(|rest| rest.len() == 26 && rest.bytes().all(crockford))
        }
    }
}

#[test]
fn it_names_every_type_once() {
    let schema = schema();
    let names: Vec<&str> = schema["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["properties"]["type"]["const"].as_str().unwrap())
        .collect();
    let mut all: Vec<&str> = EventType::ALL.iter().map(|kind| kind.name()).collect();
    let mut named = names.clone();
    named.sort_unstable();
    all.sort_unstable();
    assert_eq!(named, all);
    let words = include_str!("../../../docs/events.md");
    for name in names {
        assert!(words.contains(&format!("`{name}`")), "docs/events.md does not speak of {name}");
    }
}
