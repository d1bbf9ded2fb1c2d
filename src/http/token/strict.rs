//! JSON objects in which each name stands once.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

/// A JSON object; a name that stands twice makes it unreadable, for readers differ in which one they take.
pub(super) struct Object(Vec<(String, Value)>);

impl Object {
    /// One object and nothing behind it.
    pub fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut object = Object(Vec::new());
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if object.get(&name).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
            object.0.push((name, value));
        }
        Ok(object)
    }
}
