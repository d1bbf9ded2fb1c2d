//! Trusted documents: what everybody may send, known by the SHA-256 of its exact text. Nobody adds one while the
//! server runs.

use std::collections::HashMap;

use async_graphql::parser::parse_query;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::document::{self, Limits};

/// The documents, by the SHA-256 of their text in lower-case hex.
#[derive(Debug, Default)]
pub struct TrustedDocuments(HashMap<String, String>);

impl TrustedDocuments {
    /// Takes files by path and text: `.graphql` is one document; `.json` is a manifest, Apollo's
    /// (`{"format": "apollo-persisted-query-manifest", "operations": [{"id", "body"}]}`) or a map from hash to text,
    /// as GraphQL Code Generator writes it. An error begins with the path, and is a sentence for the operator.
    pub fn read<'a>(files: impl IntoIterator<Item = (&'a std::path::Path, &'a str)>) -> Result<Self, String> {
        let mut documents = Self::default();
        for (path, text) in files {
            let added = match path.extension().is_some_and(|e| e == "json") {
                true => documents.add_manifest(text),
                false => documents.add(None, text),
            };
            added.map_err(|why| format!("{}: {why}", path.display()))?;
        }
        Ok(documents)
    }

    fn add_manifest(&mut self, text: &str) -> Result<(), String> {
        const RIGHT: &str =
            "is no manifest; right is Apollo's persisted query manifest, or an object from SHA-256 to document";
        let manifest: Value = serde_json::from_str(text).map_err(|e| format!("is not JSON: {e}"))?;
        let manifest = manifest.as_object().ok_or(RIGHT)?;
        if let Some(operations) = manifest.get("operations") {
            for operation in operations.as_array().ok_or(RIGHT)? {
                let member = |name: &str| operation.get(name).and_then(Value::as_str).ok_or(RIGHT);
                self.add(Some(member("id")?), member("body")?)?;
            }
            return Ok(());
        }
        manifest.iter().try_for_each(|(id, text)| self.add(Some(id), text.as_str().ok_or(RIGHT)?))
    }

    /// A document that could never be executed is refused: it is a mistake of whoever put it there.
    fn add(&mut self, id: Option<&str>, text: &str) -> Result<(), String> {
        let hash = hash(text);
        if let Some(id) = id.filter(|id| normal(id) != hash) {
            return Err(format!("the id {id:?} is not the SHA-256 of its document, which is {hash}"));
        }
        document::check(text, &Limits::default()).map_err(|e| format!("the document {hash}: {}", e.message()))?;
        parse_query(text).map_err(|e| format!("the document {hash} is not GraphQL: {e}"))?;
        self.0.insert(hash, text.to_owned());
        Ok(())
    }

    /// This text is one of them.
    pub(super) fn contains(&self, text: &str) -> bool {
        self.0.contains_key(&hash(text))
    }

    /// The document of an id: its hash, with `sha256:` before it or without.
    pub(super) fn get(&self, id: &str) -> Option<&str> {
        self.0.get(&normal(id)).map(String::as_str)
    }
}

fn normal(id: &str) -> String {
    id.strip_prefix("sha256:").unwrap_or(id).to_ascii_lowercase()
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    const TEXT: &str = "query Products { products { nodes { sku } } }";

    fn read(name: &str, text: &str) -> Result<TrustedDocuments, String> {
        TrustedDocuments::read([(Path::new(name), text)])
    }

    #[test]
    fn documents_are_known_by_their_exact_text_and_by_its_hash() {
        let id = hash(TEXT);
        for documents in [
            read("a.graphql", TEXT),
            read("a.json", &json!({&id: TEXT}).to_string()),
            read("a.json", &json!({format!("sha256:{id}"): TEXT}).to_string()),
            read("a.json", &json!({"format": "apollo-persisted-query-manifest", "version": 1, "operations": [{"id": id, "name": "Products", "type": "query", "body": TEXT}]}).to_string()),
        ] {
            let documents = documents.unwrap();
            assert!(documents.contains(TEXT) && !documents.contains(&format!("{TEXT}\n")));
            for known in [id.clone(), format!("sha256:{id}"), id.to_uppercase()] {
                assert_eq!(documents.get(&known), Some(TEXT));
            }
            assert_eq!(documents.get("Products"), None);
        }
    }

    #[test]
    fn what_is_no_document_is_refused_with_its_file() {
        let deep = format!("{{ product(sku: {}1{}) {{ sku }} }}", "[".repeat(40), "]".repeat(40));
        for (name, text) in [
            ("a.graphql", "query {"),
            ("a.graphql", ""),
            ("a.graphql", deep.as_str()),
            ("a.json", "{"),
            ("a.json", "[]"),
            ("a.json", r#"{"operations": {}}"#),
            ("a.json", r#"{"operations": [{"id": "x"}]}"#),
            ("a.json", r#"{"0123": "{ __typename }"}"#),
        ] {
            let why = read(name, text).unwrap_err();
            assert!(why.starts_with(name), "{text}: {why}");
        }
    }
}
