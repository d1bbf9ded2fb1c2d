//! Certificate mode: reads the three files, says their numbers, and what is wrong with them.
//!
//! A number (`app_cert_sn`, `alipay_cert_sn`, `alipay_root_cert_sn`) is the MD5 of the issuer's name, its parts in
//! reverse, and the serial in decimal; that of the roots joins those of every root whose signature is an RSA one.
//!
//! Alipay's certificate must lead to one of the roots. The app's own need not: Alipay hands it out without its
//! issuer's, judges it by itself, and to us it proves nothing. That it fits the app's private key is checked, and
//! where its issuer is at hand, that this one signed it.
//!
//! Source: Alipay's open platform, "certificate signing", and the official SDKs.

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey,
};
use chrono::DateTime;
use domain::Timestamp;
use md5::{Digest, Md5};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer;

use super::config::ConfigError;
use super::signature::{AlipayKey, Signer, rsa_key};

/// Longer chains are not followed: Alipay's have three.
const CHAIN_LIMIT: usize = 6;
/// Begins the name of every RSA signature.
const RSA: &str = "1.2.840.113549.1.1.";

/// The numbers that requests carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub app: String,
    pub root: String,
}

/// How far a certificate could be followed.
enum Chain {
    /// To one of the roots.
    Rooted,
    /// To a certificate whose issuer, of this name, is in none of the files.
    BrokenOff(String),
}

/// Reads and checks the three files.
pub(super) fn read(
    app: &str,
    alipay: &str,
    root: &str,
    signer: &Signer,
    now: Timestamp,
) -> Result<(Numbers, Vec<AlipayKey>), ConfigError> {
    let wrong_app = |why: String| ConfigError::AppCertificate(why);
    let wrong_alipay = |why: String| ConfigError::AlipayCertificate(why);
    let (app, alipay, root) = (ders(app), ders(alipay), ders(root));
    let app = app
        .as_deref()
        .map_err(|why| wrong_app((*why).to_owned()))
        .and_then(|ders| parse(ders).map_err(|why| wrong_app(why.to_owned())))?;
    let alipay = alipay
        .as_deref()
        .map_err(|why| wrong_alipay((*why).to_owned()))
        .and_then(|ders| parse(ders).map_err(|why| wrong_alipay(why.to_owned())))?;
    let root = root.as_deref().map_err(|why| *why).and_then(parse).map_err(ConfigError::RootCertificates)?;

    let root_sn = root.iter().filter(|root| is_rsa(root)).map(number).collect::<Vec<_>>().join("_");
    if root_sn.is_empty() {
        return Err(ConfigError::RootCertificates("none has an RSA signature"));
    }
    let files: Vec<&X509Certificate<'_>> = app.iter().chain(&alipay).chain(&root).collect();

    let ours =
        |certificate: &&X509Certificate<'_>| rsa_key(certificate.public_key().raw).is_ok_and(|key| signer.owns(&key));
    let leaf = app.iter().find(ours).ok_or_else(|| wrong_app("does not belong to the app's private key".to_owned()))?;
    follow(leaf, &files, &root, now).map_err(wrong_app)?;

    let mut keys = Vec::new();
    for leaf in alipay.iter().filter(|one| !one.is_ca() && !alipay.iter().any(|other| is_issuer(one, other))) {
        let key = rsa_key(leaf.public_key().raw).map_err(|why| wrong_alipay(format!("has a key that {why}")))?;
        if signer.owns(&key) {
            return Err(wrong_alipay("is the app's own".to_owned()));
        }
        if let Chain::BrokenOff(issuer) = follow(leaf, &files, &root, now).map_err(wrong_alipay)? {
            return Err(wrong_alipay(format!("does not lead to a root: that of its issuer, {issuer}, is missing")));
        }
        keys.push(AlipayKey { cert_sn: Some(number(leaf)), key });
    }
    if keys.is_empty() {
        return Err(wrong_alipay("is not there: only those of authorities are".to_owned()));
    }
    Ok((Numbers { app: number(leaf), root: root_sn }, keys))
}

/// The certificates of a file in PEM, one after the other.
fn ders(text: &str) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    if text.contains("PRIVATE KEY-----") {
        return Err("is a private key");
    }
    if text.contains("BEGIN PUBLIC KEY") {
        return Err("is a public key without a certificate, which belongs to public-key mode");
    }
    let ders: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    ders.ok().filter(|ders| !ders.is_empty()).ok_or("is not a certificate in PEM")
}

fn parse<'a>(ders: &'a [CertificateDer<'static>]) -> Result<Vec<X509Certificate<'a>>, &'static str> {
    let one = |der: &'a CertificateDer<'static>| match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err("is damaged"),
    };
    ders.iter().map(one).collect()
}

/// Follows a certificate by those that signed it, as far as the files go. All on the way must be valid now.
fn follow(
    leaf: &X509Certificate<'_>,
    files: &[&X509Certificate<'_>],
    roots: &[X509Certificate<'_>],
    now: Timestamp,
) -> Result<Chain, String> {
    let mut at = leaf;
    for _ in 0..CHAIN_LIMIT {
        in_time(at, now)?;
        if roots.iter().any(|root| root.as_raw() == at.as_raw()) {
            return Ok(Chain::Rooted);
        }
        if at.subject().as_raw() == at.issuer().as_raw() {
            return Err(format!("leads to {}, which is none of the roots", at.subject()));
        }
        let mut named = files.iter().filter(|one| is_issuer(one, at)).peekable();
        if named.peek().is_none() {
            return Ok(Chain::BrokenOff(at.issuer().to_string()));
        }
        let may_issue =
            |one: &X509Certificate<'_>| one.is_ca() || roots.iter().any(|root| root.as_raw() == one.as_raw());
        at = named
            .find(|one| may_issue(one) && is_signed_by(at, one))
            .ok_or_else(|| format!("was not signed by {}, as it says", at.issuer()))?;
    }
    Err("leads to no root".to_owned())
}

fn in_time(certificate: &X509Certificate<'_>, now: Timestamp) -> Result<(), String> {
    let (from, until) = (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
    let whose = certificate.subject();
    let day = |at| DateTime::from_timestamp(at, 0).map_or(String::new(), |at| at.date_naive().to_string());
    if now.timestamp() < from {
        return Err(format!("is not valid before {} ({whose})", day(from)));
    }
    if now.timestamp() > until {
        return Err(format!("ran out on {} ({whose})", day(until)));
    }
    Ok(())
}

/// By name.
fn is_issuer(issuer: &X509Certificate<'_>, of: &X509Certificate<'_>) -> bool {
    issuer.subject().as_raw() == of.issuer().as_raw() && issuer.as_raw() != of.as_raw()
}

/// By signature. Only RSA with SHA-2: Alipay's SM2 chain is not ours.
fn is_signed_by(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    let algorithm = match certificate.signature_algorithm.algorithm.to_id_string().strip_prefix(RSA) {
        Some("11") => &RSA_PKCS1_2048_8192_SHA256,
        Some("12") => &RSA_PKCS1_2048_8192_SHA384,
        Some("13") => &RSA_PKCS1_2048_8192_SHA512,
        _ => return false,
    };
    let key = UnparsedPublicKey::new(algorithm, issuer.public_key().raw);
    key.verify(certificate.tbs_certificate.as_ref(), &certificate.signature_value.data).is_ok()
}

fn is_rsa(certificate: &&X509Certificate<'_>) -> bool {
    certificate.signature_algorithm.algorithm.to_id_string().starts_with(RSA)
}

/// The number that Alipay knows a certificate by.
fn number(certificate: &X509Certificate<'_>) -> String {
    let mut parts: Vec<String> = certificate
        .issuer()
        .iter_attributes()
        .map(|part| {
            let name =
                oid2abbrev(part.attr_type(), oid_registry()).map_or(part.attr_type().to_id_string(), str::to_owned);
            format!("{name}={}", part.as_str().unwrap_or_default())
        })
        .collect();
    parts.reverse();
    hex::encode(Md5::digest(format!("{}{}", parts.join(","), certificate.tbs_certificate.serial)))
}
