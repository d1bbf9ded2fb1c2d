//! Keys that tokens are checked with; each is for one algorithm, whatever a token says.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::TokenKeys;
use super::strict::Object;

const SECRET_BYTES: usize = 32;
/// Modulus of 2,048 bits.
const RSA_BYTES: usize = 256;

/// Keys, by name.
pub(super) struct Keys {
    keys: Vec<(Option<String>, (DecodingKey, Algorithm))>,
    /// The one shared secret: a token may call it what it likes.
    unnamed: bool,
}

pub(super) fn check_secret(secret: &SecretString) -> Result<(), String> {
    let found = secret.expose_secret().len();
    if found < SECRET_BYTES {
        return Err(format!("the tokens' secret has {found} bytes; it needs at least {SECRET_BYTES}"));
    }
    Ok(())
}

impl Keys {
    /// An error is a sentence for the operator.
    pub fn read(keys: &TokenKeys) -> Result<Self, String> {
        match keys {
            TokenKeys::Hs256(secret) => {
                check_secret(secret)?;
                let key = DecodingKey::from_secret(secret.expose_secret().as_bytes());
                Ok(Self { keys: vec![(None, (key, Algorithm::HS256))], unnamed: true })
            }
            TokenKeys::Jwks(json) => Self::read_set(json),
            TokenKeys::JwksUrl(_) => Err("a JWKS by URL is read where it is published".to_owned()),
        }
    }

    /// The key of that name; without a name, the only one.
    pub fn find(&self, kid: Option<&str>) -> Option<&(DecodingKey, Algorithm)> {
        match (kid, self.keys.as_slice()) {
            (None, [(_, only)]) => Some(only),
            (Some(_), [(_, only)]) if self.unnamed => Some(only),
            (None, _) => None,
            (Some(kid), all) => all.iter().find(|(name, _)| name.as_deref() == Some(kid)).map(|(_, key)| key),
        }
    }

    fn read_set(json: &str) -> Result<Self, String> {
        let set = Object::read(json.as_bytes()).ok_or("the JWKS is not a JSON object")?;
        let listed = set.get("keys").and_then(Value::as_array).ok_or("the JWKS has no array `keys`")?;
        let mut keys: Vec<(Option<String>, (DecodingKey, Algorithm))> = Vec::new();
        for (at, jwk) in listed.iter().enumerate() {
            let Some(key) = read_key(jwk).map_err(|why| format!("key {at} of the JWKS {why}"))? else { continue };
            let kid = match jwk.get("kid") {
                None => None,
                Some(Value::String(kid)) => Some(kid.clone()),
                Some(_) => return Err(format!("key {at} of the JWKS has a kid that is not text")),
            };
            if keys.iter().any(|(other, _)| *other == kid) {
                return Err(format!("key {at} of the JWKS has the same kid as another, or like another none"));
            }
            keys.push((kid, key));
        }
        if keys.is_empty() {
            return Err("the JWKS has no key for EdDSA, ES256 or RS256".to_owned());
        }
        Ok(Self { keys, unnamed: false })
    }
}

/// `None`: a key for something else.
fn read_key(jwk: &Value) -> Result<Option<(DecodingKey, Algorithm)>, &'static str> {
    let member = |name: &str| jwk.get(name).and_then(Value::as_str);
    let algorithm = match (member("kty"), member("crv")) {
        (Some("RSA"), _) => Algorithm::RS256,
        (Some("EC"), Some("P-256")) => Algorithm::ES256,
        (Some("OKP"), Some("Ed25519")) => Algorithm::EdDSA,
        (Some("oct"), _) => return Err("is a shared secret, which has no place in a set of public keys"),
        _ => return Ok(None),
    };
    if jwk.get("d").is_some() {
        return Err("is a private key; publish its public half only");
    }
    let for_another_use = jwk.get("use").is_some_and(|u| u != "sig")
        || jwk.get("alg").is_some_and(|a| a != super::name(algorithm))
        || jwk.get("key_ops").is_some_and(|ops| !ops.as_array().is_some_and(|ops| ops.iter().any(|op| op == "verify")));
    if for_another_use {
        return Ok(None);
    }
    let bytes = |name: &str| member(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let (key, fits) = match algorithm {
        Algorithm::RS256 => {
            let (n, e) = (bytes("n").unwrap_or_default(), bytes("e").unwrap_or_default());
            let long = n.iter().skip_while(|b| **b == 0).count() >= RSA_BYTES;
            (DecodingKey::from_rsa_raw_components(&n, &e), long && !e.is_empty())
        }
        Algorithm::ES256 => {
            let (x, y) = (bytes("x").unwrap_or_default(), bytes("y").unwrap_or_default());
            let point = [&[4], x.as_slice(), y.as_slice()].concat();
            (DecodingKey::from_ec_der(&point), x.len() == 32 && y.len() == 32)
        }
        _ => {
            let x = bytes("x").unwrap_or_default();
            (DecodingKey::from_ed_der(&x), x.len() == 32)
        }
    };
    if !fits {
        return Err("lacks a part, or is too short (RSA needs 2,048 bits)");
    }
    Ok(Some((key, algorithm)))
}
