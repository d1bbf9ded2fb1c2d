//! Tokens: who is asking.
//!
//! jsonwebtoken checks the signature and nothing else. Its own checks accept a missing or mistyped `aud`,
//! an `nbf` in the future, an unknown `crit`; so header and claims are read here, strictly.

mod keys;
mod published;
mod quote;
mod strict;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::graphql::{ApiError, code};
use crate::payments::ports::Clock;
use crate::payments::{Caller, Revoked, Role};
use keys::Keys;
use published::Published;
pub use quote::QuoteVerifier;
use strict::Object;

/// Clocks may differ by so many seconds.
const LEEWAY: i64 = 30;
/// Longer tokens are not read.
const TOKEN_BYTES: usize = 4 * 1024;
const SUBJECT_BYTES: usize = 255;
/// A token that lives longer is a mistake of its issuer.
const LIFETIME: i64 = 366 * 24 * 60 * 60;

/// Where the keys come from.
pub enum TokenKeys {
    /// One shared secret of at least 32 bytes.
    Hs256(SecretString),
    /// A JSON Web Key Set with public keys (Ed25519, P-256, RSA from 2,048 bits).
    Jwks(String),
    /// Where such a set is published.
    JwksUrl(String),
}

/// Why a token is not accepted: 401, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// What is wrong with it, as the end of a sentence that begins with "The token".
    Invalid(&'static str),
    /// It was good once.
    Expired,
    /// There are no keys to check it with now: not the token's fault, and no 401.
    Unchecked,
}

use TokenError::{Expired, Invalid, Unchecked};

impl TokenError {
    /// What it is over HTTP.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Invalid(_) | Expired => StatusCode::UNAUTHORIZED,
            Unchecked => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl From<TokenError> for ApiError {
    fn from(e: TokenError) -> Self {
        match e {
            Invalid(why) => ApiError::new(code::UNAUTHENTICATED, format!("The token {why}.")),
            Expired => ApiError::new(code::TOKEN_EXPIRED, "The token has expired. Get a new one."),
            Unchecked => {
                let words =
                    "Tokens cannot be checked right now: the issuer's keys cannot be read. Send the same again.";
                ApiError::new(code::INTERNAL, words).again_after(5_000)
            }
        }
    }
}

enum Source {
    Known(Arc<Keys>),
    Published(Arc<Published>),
}

/// A token that was checked: whose it is, and what it may be revoked by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its holder.
    pub caller: Caller,
    /// Its `iat`.
    pub issued_at: Timestamp,
    /// Its name, if it has one.
    pub jti: Option<String>,
}

impl Verified {
    /// It is among what is no longer taken.
    pub(super) fn is_covered_by(&self, revoked: &Revoked) -> bool {
        revoked.covers(&self.caller.subject, self.issued_at, self.jti.as_deref())
    }
}

/// Checks tokens. Cheap to clone.
#[derive(Clone)]
pub struct TokenVerifier(Arc<Rules>);

struct Rules {
    keys: Source,
    issuer: String,
    audience: String,
    clock: Arc<dyn Clock>,
}

impl TokenVerifier {
    /// Takes the keys and what `iss` and `aud` must say. An error is a sentence for the operator.
    pub fn new(keys: TokenKeys, issuer: String, audience: String, clock: Arc<dyn Clock>) -> Result<Self, String> {
        if issuer.is_empty() || audience.is_empty() {
            return Err("the tokens' issuer and audience must not be empty".to_owned());
        }
        let keys = match keys {
            TokenKeys::JwksUrl(url) => Source::Published(Published::new(&url, clock.clone())?),
            known => Source::Known(Arc::new(Keys::read(&known)?)),
        };
        Ok(Self(Arc::new(Rules { keys, issuer, audience, clock })))
    }

    /// Reads keys that are published, now; those that are configured are there. An error is the end of a sentence
    /// for the operator; they are read again by themselves.
    pub async fn read_keys(&self) -> Result<(), String> {
        match &self.0.keys {
            Source::Known(_) => Ok(()),
            Source::Published(published) => published.read().await,
        }
    }

    /// Whether there are keys to check tokens with.
    pub fn is_ready(&self) -> bool {
        match &self.0.keys {
            Source::Known(_) => true,
            Source::Published(published) => published.is_ready(),
        }
    }

    /// The token's holder. Waits for the issuer, at most five seconds, when the token names a key that is not known
    /// yet.
    pub async fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        let token = Parts::read(token)?;
        let keys = match &self.0.keys {
            Source::Known(keys) => keys.clone(),
            Source::Published(published) => published.keys_for(token.kid.as_deref()).await.ok_or(Unchecked)?,
        };
        token.check_signature(&keys)?;
        self.read_claims(&decode(token.claims)?)
    }

    /// The clock that tokens go by.
    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        self.0.clock.clone()
    }

    fn read_claims(&self, json: &[u8]) -> Result<Verified, TokenError> {
        let claims = Object::read(json).ok_or(Invalid("has claims that are not one JSON object"))?;
        if text(&claims, "iss", Invalid("has no iss"))? != self.0.issuer {
            return Err(Invalid("has another iss"));
        }
        if !self.is_for_us(claims.get("aud")) {
            return Err(Invalid("has no aud of ours"));
        }
        let subject = text(&claims, "sub", Invalid("has no sub"))?;
        if !is_subject(subject) {
            return Err(Invalid("has a sub that is not 1 to 255 bytes of visible text"));
        }
        let jti = match claims.get("jti") {
            None => None,
            Some(Value::String(jti)) if jti.len() <= SUBJECT_BYTES => Some(jti.clone()),
            Some(_) => return Err(Invalid("has a jti that is not a short text")),
        };
        let now = self.0.clock.now().timestamp();
        let expires = whole(&claims, "exp")?.ok_or(Invalid("has no exp"))?;
        let issued = whole(&claims, "iat")?.ok_or(Invalid("has no iat"))?;
        let not_before = whole(&claims, "nbf")?.unwrap_or(issued);
        if issued.max(not_before) > now.saturating_add(LEEWAY) {
            return Err(Invalid("is not valid yet"));
        }
        if expires <= issued || expires.saturating_sub(issued) > LIFETIME {
            return Err(Invalid("has an exp that is not within a year after its iat"));
        }
        if now.saturating_sub(LEEWAY) > expires {
            return Err(Expired);
        }
        let expires_at = Timestamp::from_timestamp(expires, 0).ok_or(Invalid("has an exp out of range"))?;
        let issued_at = Timestamp::from_timestamp(issued, 0).ok_or(Invalid("has an iat out of range"))?;
        let caller = Caller { subject: subject.to_owned(), roles: roles(claims.get("roles"))?, expires_at };
        Ok(Verified { caller, issued_at, jti })
    }

    fn is_for_us(&self, audience: Option<&Value>) -> bool {
        match audience {
            Some(Value::String(one)) => *one == self.0.audience,
            Some(Value::Array(several)) => {
                several.iter().all(Value::is_string) && several.iter().any(|a| a.as_str() == Some(&self.0.audience))
            }
            _ => false,
        }
    }
}

/// A token whose header was read: what it says about its key is known, and nothing is believed yet.
struct Parts<'a> {
    kid: Option<String>,
    algorithm: String,
    /// Header and claims, as they were signed.
    signed: &'a str,
    claims: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn read(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES {
            return Err(Invalid("is longer than 4 KiB"));
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Invalid("does not have three parts"));
        };
        let (kid, algorithm) = read_header(&decode(header)?)?;
        let signed = &token[..header.len() + 1 + claims.len()];
        Ok(Self { kid, algorithm, signed, claims, signature })
    }

    /// By the key that it names, in the one way that the key is for.
    fn check_signature(&self, keys: &Keys) -> Result<(), TokenError> {
        let (key, fixed) =
            keys.find(self.kid.as_deref()).ok_or(Invalid("is signed with a key that is not known here"))?;
        if self.algorithm != name(*fixed) {
            return Err(Invalid("is signed in a way that its key is not for"));
        }
        match jsonwebtoken::crypto::verify(self.signature, self.signed.as_bytes(), key, *fixed) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Invalid("has a signature that does not fit")),
        }
    }
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Invalid("is not in URL-safe base64 without padding"))
}

/// The key's name, if it is given, and the algorithm's.
fn read_header(json: &[u8]) -> Result<(Option<String>, String), TokenError> {
    let header = Object::read(json).ok_or(Invalid("has a header that is not one JSON object"))?;
    // Keys come from our configuration only, never from the token; what must be understood is not.
    for refused in ["crit", "b64", "jku", "jwk", "x5u", "x5c", "enc", "zip", "cty"] {
        if header.get(refused).is_some() {
            return Err(Invalid("has a header that is not allowed here"));
        }
    }
    let fits = |typ: &str| typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt");
    if header.get("typ").is_some_and(|typ| !typ.as_str().is_some_and(fits)) {
        return Err(Invalid("has a typ that is not JWT or at+jwt"));
    }
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) if kid.len() <= SUBJECT_BYTES => Some(kid.clone()),
        Some(_) => return Err(Invalid("has a kid that is not a short text")),
    };
    Ok((kid, text(&header, "alg", Invalid("has no alg"))?.to_owned()))
}

fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HS256 => "HS256",
        Algorithm::RS256 => "RS256",
        Algorithm::ES256 => "ES256",
        Algorithm::EdDSA => "EdDSA",
        // No key is for any of the others.
        _ => "",
    }
}

fn text<'a>(object: &'a Object, name: &str, missing: TokenError) -> Result<&'a str, TokenError> {
    object.get(name).and_then(Value::as_str).ok_or(missing)
}

/// A point in time; floats, text and negative numbers are none.
fn whole(claims: &Object, name: &str) -> Result<Option<i64>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_i64() {
            Some(seconds) if seconds > 0 => Ok(Some(seconds)),
            _ => Err(Invalid("has an exp, iat or nbf that is not a positive whole number")),
        },
    }
}

/// Unknown roles are none of ours; anything but text is a mistake.
fn roles(claim: Option<&Value>) -> Result<Vec<Role>, TokenError> {
    const WRONG: TokenError = Invalid("has roles that are not an array of texts");
    let Some(claim) = claim else { return Ok(Vec::new()) };
    let mut roles = Vec::new();
    for name in claim.as_array().ok_or(WRONG)? {
        match Role::from_name(name.as_str().ok_or(WRONG)?) {
            Some(role) if !roles.contains(&role) => roles.push(role),
            _ => {}
        }
    }
    Ok(roles)
}

/// Text that looks the same only if it is the same, as far as that can be had.
fn is_subject(text: &str) -> bool {
    let invisible = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    (1..=SUBJECT_BYTES).contains(&text.len()) && text.trim() == text && !text.contains(invisible)
}

/// What a new token says.
pub struct NewToken<'a> {
    /// Whose it is.
    pub sub: &'a str,
    /// What they may.
    pub roles: &'a [String],
    /// By whom.
    pub issuer: &'a str,
    /// For whom.
    pub audience: &'a str,
    /// How long it lives: at least a second, at most 366 days.
    pub ttl: Duration,
    /// From when on.
    pub now: Timestamp,
}

/// Signs a token with the shared secret. An error is a sentence for the operator.
pub fn mint(secret: &SecretString, new: NewToken<'_>) -> Result<String, String> {
    keys::check_secret(secret)?;
    if !is_subject(new.sub) {
        return Err("a token's sub is 1 to 255 bytes of visible text without white space around it".to_owned());
    }
    if let Some(unknown) = new.roles.iter().find(|r| Role::from_name(r).is_none()) {
        return Err(format!(
            "there is no role {unknown:?}: use customer, support, refunder, approver, admin or service"
        ));
    }
    let lifetime = i64::try_from(new.ttl.as_secs()).unwrap_or(i64::MAX);
    if !(1..=LIFETIME).contains(&lifetime) {
        return Err("a token lives for at least a second and at most 366 days".to_owned());
    }
    let issued = new.now.timestamp();
    let claims = serde_json::json!({
        "sub": new.sub, "roles": new.roles, "iss": new.issuer, "aud": new.audience, "iat": issued, "exp": issued + lifetime,
    });
    let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
        .map_err(|e| format!("the token could not be signed: {e}"))?;
    if token.len() > TOKEN_BYTES {
        return Err("the token would be longer than 4 KiB: give it fewer roles".to_owned());
    }
    Ok(token)
}

/// The token of a request: one `Authorization: Bearer …`, or none.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, TokenError> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    match (given.next(), given.next()) {
        (None, _) => Ok(None),
        (Some(one), None) => one.to_str().ok().and_then(bearer_token).map(Some).ok_or(NOT_BEARER),
        (Some(_), Some(_)) => Err(Invalid("is sent more than once")),
    }
}

pub(super) const NOT_BEARER: TokenError = Invalid("is not sent as `Bearer …`");

/// What stands behind `Bearer`.
pub(super) fn bearer_token(credentials: &str) -> Option<&str> {
    let (scheme, token) = credentials.trim_matches(' ').split_once(' ')?;
    let token = token.trim_start_matches(' ');
    let well_formed = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    (scheme.eq_ignore_ascii_case("bearer") && well_formed).then_some(token)
}
