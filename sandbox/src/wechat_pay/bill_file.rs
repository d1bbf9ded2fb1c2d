//! Bills that wait to be downloaded, for five minutes, under a token.

use std::{
    collections::HashMap,
    io::Write,
    sync::{Mutex, PoisonError},
};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use chrono::{DateTime, TimeDelta, Utc};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use super::refusal::Refusal;
use crate::keys::random_hex;

pub(super) const PATH: &str = "/v3/billdownload/file";
const LIFETIME: TimeDelta = TimeDelta::minutes(5);

/// The files, by token, each with the end of its time.
#[derive(Debug, Default)]
pub(crate) struct BillFiles(Mutex<HashMap<String, File>>);

type File = (DateTime<Utc>, Vec<u8>);

impl BillFiles {
    /// Keeps a file and says where it is. The hash is that of the text, however it is packed.
    pub(super) fn offer(
        &self,
        text: String,
        packing: Option<&str>,
        base: &str,
        now: DateTime<Utc>,
    ) -> Result<Value, Refusal> {
        let hash = hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()));
        let bytes = match packing {
            None => text.into_bytes(),
            Some("GZIP") => gzip(text.as_bytes()).map_err(|_| Refusal::system_error())?,
            Some(other) => return Err(Refusal::parameter("query", "/tar_type", &Value::from(other), "不在枚举范围内")),
        };
        let token = random_hex(24)?;
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|_, (until, _)| now < *until);
        files.insert(token.clone(), (now + LIFETIME, bytes));
        Ok(json!({
            "hash_type": "SHA1",
            "hash_value": hash,
            "download_url": format!("{base}{PATH}?token={token}"),
        }))
    }

    /// The file, while the token lives.
    pub(super) fn take(&self, token: &str, now: DateTime<Utc>) -> Option<Vec<u8>> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.get(token).filter(|(until, _)| now < *until).map(|(_, bytes)| bytes.clone())
    }
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes)?;
    packer.finish()
}
