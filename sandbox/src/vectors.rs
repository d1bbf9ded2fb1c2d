//! The workspace's test vectors.

use serde_json::Value;

pub(crate) fn read(file: &str) -> Value {
    let path = format!("{}/../tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(&path).expect(&path);
    serde_json::from_slice(&text).expect(&path)
}
