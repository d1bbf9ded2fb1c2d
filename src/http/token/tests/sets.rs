//! Key sets.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::super::{TokenKeys, TokenVerifier};
use super::{claims, refused, signed, verifier};
use crate::graphql::code;

/// A key pair of each kind, and the set of their public halves.
struct Pairs {
    set: Value,
    rsa: EncodingKey,
    rsa_public: String,
    ec: EncodingKey,
    ed: EncodingKey,
}

fn pairs() -> Pairs {
    let vectors: Value = serde_json::from_str(include_str!("../../../../tests/vectors/keys.json")).unwrap();
    let pair = &vectors["wechat"]["merchant"];
    let rsa_pem = pair["private_pkcs8_pem"].as_str().unwrap();
    let rsa = EncodingKey::from_rsa_pem(rsa_pem.as_bytes()).unwrap();
    let public = jsonwebtoken::jwk::Jwk::from_encoding_key(&rsa, Algorithm::RS256).unwrap();
    let mut rsa_jwk = serde_json::to_value(public).unwrap();
    rsa_jwk["kid"] = json!("rsa");
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = ec.public_key().as_ref().to_vec();
    let ed = Ed25519KeyPair::generate().unwrap();
    let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let set = json!({"keys": [
        rsa_jwk,
        {"kty": "EC", "crv": "P-256", "kid": "ec", "x": b64(&point[1..33]), "y": b64(&point[33..])},
        {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "alg": "EdDSA", "x": b64(ed.public_key().as_ref())},
        {"kty": "EC", "crv": "P-384", "kid": "unused", "x": "AA", "y": "AA"},
        {"kty": "RSA", "use": "enc", "kid": "unused too", "n": "AA", "e": "AQAB"},
    ]});
    Pairs {
        set,
        rsa,
        rsa_public: pair["public_spki_pem"].as_str().unwrap().to_owned(),
        ec: EncodingKey::from_ec_der(ec.to_pkcs8v1().unwrap().as_ref()),
        ed: EncodingKey::from_ed_der(ed.to_pkcs8v1().unwrap().as_ref()),
    }
}

fn jwks(set: &Value) -> Result<TokenVerifier, String> {
    verifier(TokenKeys::Jwks(set.to_string()))
}

#[test]
fn a_set_of_public_keys_checks_each_algorithm_with_its_own_key_only() {
    let pairs = pairs();
    let verifier = jwks(&pairs.set).unwrap();
    let text = claims().to_string();
    let token = |alg: &str, kid: Value, key: &EncodingKey, algorithm| {
        let mut header = json!({"alg": alg, "typ": "JWT"});
        if kid != json!("") {
            header["kid"] = kid;
        }
        signed(&header.to_string(), &text, key, algorithm)
    };
    for (alg, kid, key, algorithm) in [
        ("RS256", "rsa", &pairs.rsa, Algorithm::RS256),
        ("ES256", "ec", &pairs.ec, Algorithm::ES256),
        ("EdDSA", "ed", &pairs.ed, Algorithm::EdDSA),
    ] {
        assert_eq!(verifier.verify_now(&token(alg, json!(kid), key, algorithm)).unwrap().subject, "alice", "{alg}");
        for wrong in [
            json!(""),
            json!("other"),
            json!("unused"),
            json!("../../dev/null"),
            json!("' OR 1=1 --"),
            json!(null),
            json!("RSA"),
            json!("x".repeat(3_000)),
        ] {
            assert_eq!(
                refused(&verifier, &token(alg, wrong.clone(), key, algorithm)),
                code::UNAUTHENTICATED,
                "{alg} {wrong}"
            );
        }
        for other in ["rsa", "ec", "ed"].into_iter().filter(|other| *other != kid) {
            assert_eq!(
                refused(&verifier, &token(alg, json!(other), key, algorithm)),
                code::UNAUTHENTICATED,
                "{alg} {other}"
            );
        }
        let only = pairs.set["keys"].as_array().unwrap().iter().find(|k| k["kid"] == json!(kid)).unwrap();
        let single = jwks(&json!({"keys": [only]})).unwrap();
        assert!(single.verify_now(&token(alg, json!(""), key, algorithm)).is_ok(), "{alg} without kid");
        assert!(single.verify_now(&token(alg, json!("other"), key, algorithm)).is_err(), "{alg} with another kid");
    }
    assert_eq!(refused(&verifier, &token("RS384", json!("rsa"), &pairs.rsa, Algorithm::RS384)), code::UNAUTHENTICATED);
    assert_eq!(refused(&verifier, &token("PS256", json!("rsa"), &pairs.rsa, Algorithm::PS256)), code::UNAUTHENTICATED);
}

#[test]
fn a_public_key_is_no_shared_secret() {
    let pairs = pairs();
    let verifier = jwks(&pairs.set).unwrap();
    let pem = pairs.rsa_public.as_str();
    let der: Vec<u8> = STANDARD.decode(pem.lines().filter(|l| !l.starts_with('-')).collect::<String>()).unwrap();
    let n = pairs.set["keys"][0]["n"].as_str().unwrap();
    for secret in [pem.as_bytes(), pem.trim().as_bytes(), &der, n.as_bytes(), b""] {
        for alg in ["HS256", "RS256"] {
            let header = json!({"alg": alg, "kid": "rsa"}).to_string();
            let token = signed(&header, &claims().to_string(), &EncodingKey::from_secret(secret), Algorithm::HS256);
            assert_eq!(refused(&verifier, &token), code::UNAUTHENTICATED);
        }
    }
}

#[test]
fn sets_that_cannot_be_trusted_stop_the_start() {
    let ed = json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": URL_SAFE_NO_PAD.encode([7; 32])});
    let other = |name: &str, value: Value| {
        let mut key = ed.clone();
        key[name] = value;
        key
    };
    for set in [
        json!([]),
        json!({}),
        json!({"keys": {}}),
        json!({"keys": []}),
        json!({"keys": [1]}),
        json!({"keys": [ed, ed]}),
        json!({"keys": [other("d", json!("AA"))]}),
        json!({"keys": [other("x", json!("AA"))]}),
        json!({"keys": [other("x", json!("not base64!"))]}),
        json!({"keys": [other("kid", json!(1))]}),
        json!({"keys": [other("use", json!("enc"))]}),
        json!({"keys": [other("alg", json!("RS256"))]}),
        json!({"keys": [{"kty": "oct", "k": URL_SAFE_NO_PAD.encode([7; 32])}]}),
        json!({"keys": [{"kty": "RSA", "n": URL_SAFE_NO_PAD.encode([7; 128]), "e": "AQAB"}]}),
        json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}),
    ] {
        assert!(jwks(&set).is_err(), "{set}");
    }
    assert!(verifier(TokenKeys::Jwks("nonsense".into())).is_err());
    assert!(jwks(&json!({"keys": [ed]})).is_ok());
}
