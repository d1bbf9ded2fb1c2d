//! X.509: the certificates that WeChat Pay signs under, and the merchant's own.
//!
//! Nothing here follows a chain: WeChat Pay's come sealed with the APIv3 key, the merchant's from its own disk.

use aws_lc_rs::signature::ParsedPublicKey;
use domain::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::signature::parsed_key;

/// A certificate of WeChat Pay's, as far as verifying needs it.
#[derive(Debug)]
pub(super) struct PlatformCertificate {
    pub key: ParsedPublicKey,
    /// From its first moment to its last.
    pub valid: (Timestamp, Timestamp),
}

impl PlatformCertificate {
    /// Reads it; the serial that it is listed under must be its own.
    pub(super) fn read(pem: &[u8], listed_as: &str) -> Result<Self, &'static str> {
        with(pem, |certificate| {
            if !same_serial(&serial(certificate), listed_as) {
                return Err("its serial is not the one that it is listed under");
            }
            Ok(Self { key: parsed_key(certificate.public_key().raw)?, valid: validity(certificate)? })
        })
    }

    pub(super) fn is_valid(&self, now: Timestamp) -> bool {
        (self.valid.0..=self.valid.1).contains(&now)
    }
}

/// Whether the merchant's certificate belongs to the serial and to the private key (its public half, PKCS#1
/// DER), and is not over. The error says what does not fit.
pub(super) fn check_merchant(pem: &str, serial_no: &str, key: &[u8], now: Timestamp) -> Result<(), String> {
    with(pem.as_bytes(), |certificate| {
        let serial = serial(certificate);
        let (from, until) = validity(certificate)?;
        if !same_serial(&serial, serial_no) {
            return Ok(Err(format!("has the serial {serial}, and the configured one is {serial_no}")));
        }
        if certificate.public_key().subject_public_key.as_ref() != key {
            return Ok(Err("does not belong to the private key".to_owned()));
        }
        if now < from || now > until {
            return Ok(Err(format!("is valid from {from} to {until} only")));
        }
        Ok(Ok(()))
    })?
}

fn with<T>(pem: &[u8], look: impl FnOnce(&X509Certificate<'_>) -> Result<T, &'static str>) -> Result<T, &'static str> {
    let der = CertificateDer::from_pem_slice(pem).map_err(|_| "is not a certificate in PEM")?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| "is damaged or not a certificate")?;
    look(&certificate)
}

/// Its bytes as capital hexadecimal digits: as a number it would lose a zero at its head. A zero byte before a
/// high bit is no part of the serial, but DER's sign.
fn serial(certificate: &X509Certificate<'_>) -> String {
    let raw = match certificate.raw_serial() {
        [0, rest @ ..] if rest.first().is_some_and(|byte| *byte >= 0x80) => rest,
        raw => raw,
    };
    hex::encode_upper(raw)
}

/// DER keeps no zero bytes at the head; whoever prints 40 digits does.
fn same_serial(one: &str, other: &str) -> bool {
    one.trim_start_matches('0').eq_ignore_ascii_case(other.trim_start_matches('0'))
}

fn validity(certificate: &X509Certificate<'_>) -> Result<(Timestamp, Timestamp), &'static str> {
    let moment = |time: ASN1Time| Timestamp::from_timestamp(time.timestamp(), 0).ok_or("has no readable time");
    let validity = certificate.validity();
    Ok((moment(validity.not_before)?, moment(validity.not_after)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateways::wechat_pay::vectors::{self, now, text};

    #[test]
    fn serials_are_read_with_the_zero_at_their_head() {
        let keys = vectors::keys();
        for name in ["platform_cert_1", "platform_cert_2", "merchant"] {
            let key = &keys["wechat"][name];
            let read = with(text(&key["certificate_pem"]).as_bytes(), |certificate| Ok(serial(certificate)));
            assert_eq!(read, Ok(text(&key["serial_no"]).to_owned()));
        }
        assert!(text(&keys["wechat"]["platform_cert_2"]["serial_no"]).starts_with('0'));
    }

    #[test]
    fn a_certificate_counts_under_its_own_serial_and_in_its_time() {
        let key = &vectors::keys()["wechat"]["platform_cert_1"];
        let (pem, serial) = (text(&key["certificate_pem"]), text(&key["serial_no"]));
        let certificate = PlatformCertificate::read(pem.as_bytes(), &serial.to_lowercase()).unwrap();
        assert!(certificate.is_valid(now()));
        assert!(!certificate.is_valid(now() + domain::Duration::days(366 * 30)));
        assert!(!certificate.is_valid(now() - domain::Duration::days(366 * 30)));
        for (pem, serial) in [(pem, "0F75B6A45ACD588826D15E583A95F5DD00000002"), ("-----BEGIN", serial)] {
            assert!(PlatformCertificate::read(pem.as_bytes(), serial).is_err());
        }
    }

    #[test]
    fn a_merchants_certificate_that_is_over_is_refused() {
        let keys = &vectors::keys()["wechat"]["merchant"];
        let connector = vectors::wechat_pay("http://127.0.0.1:1");
        let key = connector.client.signer.public_key();
        let check = |at| check_merchant(text(&keys["certificate_pem"]), text(&keys["serial_no"]), key, at);
        assert_eq!(check(now()), Ok(()));
        let over = check(now() + domain::Duration::days(366 * 30)).unwrap_err();
        assert!(over.starts_with("is valid from 2020-01-01"), "{over}");
    }
}
