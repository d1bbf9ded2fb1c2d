//! The platform certificates: downloaded, kept while they are good, looked for when one is missing.
//!
//! Source: WeChat Pay API v3, `GET /v3/certificates`: refresh at least every 12 hours. The list may be signed
//! with a certificate that is in it: the APIv3 key, which sealed it, vouches for that one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::DateTime;
use domain::{Duration, Timestamp};
use http::{HeaderMap, Method, StatusCode};
use tokio::time::Instant;

use super::certificate::PlatformCertificate;
use super::cipher::Cipher;
use super::client::Client;
use super::config::is_certificate_serial;
use super::signature::{SignatureError, Signed, Verifier};
use super::wire::{CertificateList, ListedCertificate};
use crate::gateways::transport::{Failure, within_limit};
use crate::payments::ports::GatewayError;

/// By capital serial.
pub(super) type Certificates = HashMap<String, PlatformCertificate>;

/// What we have is looked at again after this time.
const FRESH: Duration = Duration::hours(12);
/// One download in this time, however many serials nobody knows.
const PAUSE: Duration = Duration::seconds(30);
/// The same while there is no key at all, and nothing can be done without.
const PAUSE_WITHOUT_KEYS: Duration = Duration::seconds(1);

/// When was downloaded.
#[derive(Default)]
pub(super) struct Downloads {
    /// When the last one was over; held by the one that is under way.
    ended: tokio::sync::Mutex<Option<Instant>>,
    times: Mutex<Times>,
}

#[derive(Clone, Copy, Default)]
struct Times {
    tried: Option<Timestamp>,
    succeeded: Option<Timestamp>,
}

impl Client {
    /// Whether answers can be verified; if not, the certificates are waited for.
    pub(super) async fn has_keys(self: &Arc<Self>) -> bool {
        let now = self.clock.now();
        if !self.verifier.has_keys(now) {
            self.download_certificates().await;
            return self.verifier.has_keys(self.clock.now());
        }
        if self.times().succeeded.is_some_and(|at| now - at >= FRESH) {
            self.download_in_background();
        }
        true
    }

    /// Verifies; a certificate that we do not know yet is looked for once, and the same bytes verified again.
    pub(super) async fn verify_answer(
        self: &Arc<Self>,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), SignatureError> {
        let verify = || self.verifier.verify(Signed::Answer, headers, body, self.clock.now());
        match verify() {
            Err(SignatureError::UnknownCertificate) => {
                self.download_certificates().await;
                verify()
            }
            verified => verified,
        }
    }

    /// Downloads the certificates behind the caller's back, if that is due; without a runtime nothing happens.
    pub(super) fn download_in_background(self: &Arc<Self>) {
        if let (true, Ok(runtime)) = (self.may_download(), tokio::runtime::Handle::try_current()) {
            let this = self.clone();
            runtime.spawn(async move { this.download_if_due().await });
        }
    }

    /// Downloads the certificates unless that was tried a moment ago, and waits for who is at it. The download
    /// goes on when the caller gives up.
    async fn download_certificates(self: &Arc<Self>) {
        let this = self.clone();
        if tokio::spawn(async move { this.download_if_due().await }).await.is_err() {
            tracing::error!("the download of WeChat Pay's certificates broke off");
        }
    }

    async fn download_if_due(self: Arc<Self>) {
        let came = Instant::now();
        let mut ended = self.downloads.ended.lock().await;
        // Who had to wait takes what the one before them came to.
        if ended.is_some_and(|at| at >= came) || !self.may_download() {
            return;
        }
        let now = self.clock.now();
        self.change_times(|times| times.tried = Some(now));
        match self.downloaded().await {
            Ok(certificates) => {
                let mut serials: Vec<&String> = certificates.keys().collect();
                serials.sort_unstable();
                tracing::info!(?serials, "WeChat Pay's certificates");
                self.verifier.replace(certificates);
                self.change_times(|times| times.succeeded = Some(now));
            }
            Err(why) => tracing::warn!(%why, "WeChat Pay's certificates were not downloaded; what is known stays"),
        }
        *ended = Some(Instant::now());
    }

    fn may_download(&self) -> bool {
        let now = self.clock.now();
        let pause = if self.verifier.has_keys(now) { PAUSE } else { PAUSE_WITHOUT_KEYS };
        self.times().tried.is_none_or(|at| now - at >= pause)
    }

    fn times(&self) -> Times {
        *self.downloads.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_times(&self, change: impl FnOnce(&mut Times)) {
        change(&mut self.downloads.times.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn downloaded(&self) -> Result<Certificates, GatewayError> {
        let ask = async {
            let mut response = self.send(&Method::GET, "/v3/certificates", &bytes::Bytes::new()).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = within_limit(&mut response).await?;
            if status != StatusCode::OK {
                return Err(Failure::Untrusted(format!("{status} in the place of certificates")));
            }
            read(&self.verifier, &self.cipher, &headers, &body, self.clock.now()).map_err(Failure::Untrusted)
        };
        // Whoever waits for it must still have the time to say that nothing was sent.
        let within = self.timeout / 2;
        match tokio::time::timeout(within, ask).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(GatewayError::Unknown(format!("no answer within {} ms", within.as_millis()))),
        }
    }
}

/// Opens the list, and believes it when it is signed with a key that we know or with one that is in it. One that
/// cannot be read, or is of another algorithm, is passed over.
fn read(
    known: &Verifier,
    cipher: &Cipher,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Certificates, String> {
    let list: CertificateList = serde_json::from_slice(body).map_err(|_| "not a list of certificates")?;
    let mut certificates = Certificates::new();
    for listed in &list.data {
        match opened(cipher, listed) {
            Ok(certificate) => {
                certificates.insert(listed.serial_no.to_ascii_uppercase(), certificate);
            }
            Err(why) => tracing::warn!(serial = listed.serial_no, why, "passes over a certificate of WeChat Pay"),
        }
    }
    if certificates.is_empty() {
        return Err("no certificate in it that can be read".to_owned());
    }
    match known.verify(Signed::Answer, headers, body, now) {
        Err(SignatureError::UnknownCertificate) => {
            let listed = Verifier::of(certificates);
            listed.verify(Signed::Answer, headers, body, now).map_err(|why| why.to_string())?;
            Ok(listed.into_certificates())
        }
        verified => verified.map(|()| certificates).map_err(|why| why.to_string()),
    }
}

fn opened(cipher: &Cipher, listed: &ListedCertificate) -> Result<PlatformCertificate, &'static str> {
    if !is_certificate_serial(&listed.serial_no) {
        return Err("its serial is not 40 hexadecimal digits");
    }
    if listed.encrypt_certificate.algorithm != "AEAD_AES_256_GCM" {
        return Err("the algorithm is not AEAD_AES_256_GCM");
    }
    let pem = cipher.open(&listed.encrypt_certificate).ok_or("it does not decrypt")?;
    let mut certificate = PlatformCertificate::read(&pem, &listed.serial_no)?;
    let moment = |text: &str| DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).map_err(|_| "no readable time");
    let (from, until) = certificate.valid;
    certificate.valid = (from.max(moment(&listed.effective_time)?), until.min(moment(&listed.expire_time)?));
    Ok(certificate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateways::wechat_pay::vectors::{self, headers, now, text};

    fn read_vector(body: &[u8], at: Timestamp) -> Result<Certificates, String> {
        let vector = vectors::certificates();
        let cipher = Cipher::new(&vectors::config("").api_v3_key).unwrap();
        read(&Verifier::of(Certificates::new()), &cipher, &headers(&vector["headers"]), body, at)
    }

    #[test]
    fn the_list_of_the_vectors_vouches_for_itself() {
        let vector = vectors::certificates();
        let body = text(&vector["body"]);
        let read = read_vector(body.as_bytes(), now()).unwrap();
        let decrypted = vector["decrypted"].as_array().unwrap();
        assert_eq!((read.len(), decrypted.len()), (2, 2));
        for one in decrypted {
            let same = PlatformCertificate::read(text(&one["certificate_pem"]).as_bytes(), text(&one["serial_no"]));
            let (same, ours) = (same.unwrap(), &read[text(&one["serial_no"])]);
            assert_eq!(ours.key.as_ref(), same.key.as_ref());
            assert!(ours.is_valid(now()));
        }
    }

    #[test]
    fn one_changed_byte_and_the_list_is_refused() {
        let vector = vectors::certificates();
        let body = text(&vector["body"]);
        let why = |body: String, at| read_vector(body.as_bytes(), at).err().unwrap();
        assert_eq!(why(body.replace("2049-12-31", "2050-12-31"), now()), "the signature does not fit");
        assert_eq!(why(body.to_owned(), now() + Duration::seconds(300)), SignatureError::Stale.to_string());
        // Not sealed with our key: that certificate is none, and the list is not signed with the other one.
        let other = why(body.replace("2C23SAPw", "2C23SAPx"), now());
        assert_eq!(other, "signed under a certificate that we do not know");
        assert_eq!(
            why(body.replace("\"certificate\"", "\"certificat\""), now()),
            "no certificate in it that can be read"
        );
        assert_eq!(why("{\"data\":[]}".to_owned(), now()), "no certificate in it that can be read");
        assert_eq!(why("[]".to_owned(), now()), "not a list of certificates");
    }

    #[test]
    fn a_certificate_whose_time_is_over_or_has_not_come_verifies_nothing() {
        let vector = vectors::certificates();
        let verify = |from: i64, until: i64| {
            let mut certificates = read_vector(text(&vector["body"]).as_bytes(), now()).unwrap();
            let signs = certificates.get_mut("3775B6A45ACD588826D15E583A95F5DD00000001").unwrap();
            signs.valid = (now() + Duration::seconds(from), now() + Duration::seconds(until));
            Verifier::of(certificates).verify(Signed::Answer, &vectors::signed(b""), b"", now())
        };
        assert_eq!(verify(0, 0), Ok(()));
        assert_eq!(verify(-9, -1), Err(SignatureError::UnknownCertificate));
        assert_eq!(verify(1, 9), Err(SignatureError::UnknownCertificate));
    }
}
