mod sets;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use domain::Timestamp;
use futures_util::FutureExt;
use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{NewToken, TokenError, TokenKeys, TokenVerifier, bearer, mint};
use crate::graphql::{ApiError, code};
use crate::payments::ports::{BoxFuture, Clock};
use crate::payments::{Caller, Role};

const SECRET: &str = "a-secret-of-enough-bytes-for-HS256";
const NOW: i64 = 1_790_000_000;

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::from_timestamp(NOW, 999_999_000).unwrap()
    }
    fn sleep_until(&self, _: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

impl TokenVerifier {
    /// Keys that are known here are not waited for.
    fn verify_now(&self, token: &str) -> Result<Caller, TokenError> {
        let verified = self.verify(token).now_or_never().expect("waits for something");
        verified.map(|verified| verified.caller)
    }
}

fn verifier(keys: TokenKeys) -> Result<TokenVerifier, String> {
    TokenVerifier::new(keys, "us".into(), "payonce".into(), Arc::new(Stopped))
}

fn shared() -> TokenVerifier {
    verifier(TokenKeys::Hs256(SECRET.into())).unwrap()
}

fn claims() -> Value {
    json!({"iss": "us", "aud": "payonce", "sub": "alice", "iat": NOW - 10, "exp": NOW + 60, "roles": ["customer", "pope"]})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn signed(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let signature = sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn hs256(header: Value, claims: Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    signed(&header.to_string(), &claims.to_string(), &key, Algorithm::HS256)
}

fn plain() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

fn refused(verifier: &TokenVerifier, token: &str) -> &'static str {
    ApiError::from(verifier.verify_now(token).unwrap_err()).code()
}

#[test]
fn a_good_token_names_its_holder() {
    let caller = shared().verify_now(&hs256(plain(), claims())).unwrap();
    let expected = Caller {
        subject: "alice".into(),
        roles: vec![Role::Customer],
        expires_at: Timestamp::from_timestamp(NOW + 60, 0).unwrap(),
    };
    assert_eq!(caller, expected);
}

#[test]
fn claims_are_judged_one_by_one() {
    let good = [
        ("aud with others", with("aud", json!(["other", "payonce"]))),
        ("no roles", without("roles")),
        ("29 s over", with("exp", json!(NOW - 29)).clone()),
        ("iat 29 s ahead", with("iat", json!(NOW + 29))),
        ("nbf 29 s ahead", with("nbf", json!(NOW + 29))),
        ("jti", with("jti", json!("x"))),
        ("sub of 255 bytes", with("sub", json!("é".repeat(127)))),
        ("unknown claim", with("scope", json!({"a": [1]}))),
    ];
    for (what, mut claims) in good {
        if claims["exp"] == json!(NOW - 29) {
            claims["iat"] = json!(NOW - 100);
        }
        assert!(shared().verify_now(&hs256(plain(), claims)).is_ok(), "{what}");
    }
    let mut over = with("exp", json!(NOW - 31));
    over["iat"] = json!(NOW - 100);
    assert_eq!(refused(&shared(), &hs256(plain(), over)), code::TOKEN_EXPIRED);
    for (name, wrong) in [
        (
            "aud",
            vec![
                json!(1),
                json!({}),
                json!(null),
                json!("other"),
                json!([]),
                json!(["other"]),
                json!(["payonce", 1]),
                json!("Payonce"),
            ],
        ),
        ("iss", vec![json!(1), json!(null), json!(["us"]), json!("them"), json!("US")]),
        (
            "exp",
            vec![
                json!("9999999999"),
                json!(-1),
                json!(0),
                json!(1e300),
                json!(1.79e9 + 60.5),
                json!(null),
                json!(u64::MAX),
                json!(i64::MAX),
                json!([NOW]),
            ],
        ),
        ("exp", vec![json!(NOW + 10 * 365 * 86_400), json!(NOW - 11)]),
        ("nbf", vec![json!(NOW + 31), json!("1"), json!(1.5), json!(null), json!(-5)]),
        ("iat", vec![json!(NOW + 31), json!("1"), json!(1.5), json!(null)]),
        (
            "sub",
            vec![
                json!(1),
                json!(""),
                json!(null),
                json!("x".repeat(256)),
                json!(" a"),
                json!("a\n"),
                json!("a\u{0}b"),
                json!("a\u{202e}b"),
                json!("\u{200b}"),
                json!(["a"]),
            ],
        ),
        ("roles", vec![json!("admin"), json!([1]), json!(null), json!({"admin": true}), json!(["admin", null])]),
        ("jti", vec![json!(1), json!(null)]),
    ] {
        for value in wrong {
            let token = hs256(plain(), with(name, value.clone()));
            assert_eq!(refused(&shared(), &token), code::UNAUTHENTICATED, "{name} {value}");
        }
    }
    for name in ["iss", "aud", "sub", "iat", "exp"] {
        assert_eq!(refused(&shared(), &hs256(plain(), without(name))), code::UNAUTHENTICATED, "no {name}");
    }
}

#[test]
fn headers_that_ask_for_trust_are_refused() {
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT"] {
        assert!(
            shared().verify_now(&hs256(json!({"alg": "HS256", "typ": typ, "kid": "any"}), claims())).is_ok(),
            "{typ}"
        );
    }
    assert!(shared().verify_now(&hs256(json!({"alg": "HS256"}), claims())).is_ok());
    let names =
        ["none", "nOnE", "HS384", "HS512", "hs256", "RS256", "", "EdDSA"].map(|alg| json!({"alg": alg, "typ": "JWT"}));
    let others = [
        json!({"alg": "HS256", "typ": "id+jwt"}),
        json!({"alg": "HS256", "typ": 1}),
        json!({"alg": "HS256", "crit": ["exp"]}),
        json!({"alg": "HS256", "crit": ["b64"], "b64": false}),
        json!({"alg": "HS256", "crit": []}),
        json!({"alg": "HS256", "b64": false}),
        json!({"alg": "HS256", "jku": "https://example.org"}),
        json!({"alg": "HS256", "x5u": "https://example.org"}),
        json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "AA"}}),
        json!({"alg": "HS256", "x5c": ["AA"]}),
        json!({"alg": "HS256", "jku": null}),
        json!({"alg": "HS256", "cty": "JWT"}),
        json!({"alg": "HS256", "enc": "A256GCM"}),
        json!({"alg": "HS256", "zip": "DEF"}),
        json!({"alg": "HS256", "kid": null}),
        json!({"alg": "HS256", "kid": "x".repeat(300)}),
        json!({"typ": "JWT"}),
        json!({"alg": null}),
        json!(["HS256"]),
    ];
    for header in names.into_iter().chain(others) {
        assert_eq!(refused(&shared(), &hs256(header.clone(), claims())), code::UNAUTHENTICATED, "{header}");
    }
}

#[test]
fn mangled_tokens_are_refused() {
    let good = hs256(plain(), claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, body) = message.split_once('.').unwrap();
    let mut flipped = URL_SAFE_NO_PAD.decode(signature).unwrap();
    flipped[0] ^= 1;
    let deep = format!("{{\"sub\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let odd = |header: &str, claims: &str| signed(header, claims, &key, Algorithm::HS256);
    let text = claims().to_string();
    let wrong = [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        "Bearer".into(),
        format!("{message}."),
        message.to_owned(),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(flipped)),
        format!("{message}.{}", &signature[..signature.len() - 1]),
        format!("{message}.{signature}="),
        format!("{message}.{}", STANDARD.encode(b"\xfb\xff\xfe").repeat(11)),
        format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(with("sub", json!("bob")).to_string())),
        format!("{}.{body}.{signature}", URL_SAFE_NO_PAD.encode(json!({"alg": "none"}).to_string())),
        format!("{}.{body}.", URL_SAFE_NO_PAD.encode(json!({"alg": "none"}).to_string())),
        format!("{header}..{signature}"),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{good}{}", "A".repeat(8_192)),
        "A".repeat(1 << 20),
        odd("{\"alg\":\"HS256\",\"alg\":\"HS256\"}", &text),
        odd("{\"alg\":\"HS256\"}", &text.replacen('{', "{\"sub\":\"bob\",", 1)),
        odd("{\"alg\":\"HS256\"}", &format!("{text}{text}")),
        odd("{\"alg\":\"HS256\"}", &deep),
        odd("{\"alg\":\"HS256\"}", "[]"),
        odd("{\"alg\":\"HS256\"}", "\"alice\""),
        odd("{\"alg\":\"HS256\"}", ""),
        odd("{\"alg\":\"HS256\"}", &good),
        signed("{\"alg\":\"HS256\"}", &text, &EncodingKey::from_secret(b""), Algorithm::HS256),
        signed("{\"alg\":\"HS384\"}", &text, &key, Algorithm::HS384),
        signed("{\"alg\":\"HS256\"}", &text, &key, Algorithm::HS384),
    ];
    for token in wrong {
        assert_eq!(refused(&shared(), &token), code::UNAUTHENTICATED, "{}", &token[..token.len().min(200)]);
    }
    for weak in ["secret", "password", "changeme", "jwt", "your-256-bit-secret", "payonce"] {
        let token = signed("{\"alg\":\"HS256\"}", &text, &EncodingKey::from_secret(weak.as_bytes()), Algorithm::HS256);
        assert_eq!(refused(&shared(), &token), code::UNAUTHENTICATED, "{weak}");
        assert!(verifier(TokenKeys::Hs256(weak.into())).is_err(), "{weak}");
    }
    assert!(verifier(TokenKeys::Hs256("".into())).is_err());
}

#[test]
fn what_is_minted_is_accepted() {
    let roles = ["support".to_owned(), "refunder".to_owned()];
    let new = |sub, ttl| NewToken {
        sub,
        roles: &roles,
        issuer: "us",
        audience: "payonce",
        ttl: Duration::from_secs(ttl),
        now: Stopped.now(),
    };
    let secret = SecretString::from(SECRET);
    let caller = shared().verify_now(&mint(&secret, new("bob", 3_600)).unwrap()).unwrap();
    assert_eq!((caller.subject.as_str(), caller.roles), ("bob", vec![Role::Support, Role::Refunder]));
    assert_eq!(caller.expires_at.timestamp(), NOW + 3_600);
    assert!(mint(&SecretString::from("short"), new("bob", 60)).is_err());
    assert!(mint(&secret, new("", 60)).is_err());
    assert!(mint(&secret, new("bob", 0)).is_err());
    assert!(mint(&secret, new("bob", u64::MAX)).is_err());
    assert!(mint(&secret, NewToken { roles: &["pope".to_owned()], ..new("bob", 60) }).is_err());
}

#[test]
fn one_authorization_header_carries_the_token() {
    let read = |values: &[&'static [u8]]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("authorization", HeaderValue::from_bytes(value).unwrap());
        }
        bearer(&headers).map(|t| t.map(str::to_owned))
    };
    assert_eq!(read(&[]), Ok(None));
    for good in [b"Bearer a.b.c" as &[u8], b"bearer a.b.c", b"BEARER  a.b.c"] {
        assert_eq!(read(&[good]), Ok(Some("a.b.c".to_owned())));
    }
    for wrong in
        [b"" as &[u8], b"Bearer", b"Bearer ", b"Basic a.b.c", b"a.b.c", b"Bearer a b", b"Bearer a,b\t", b"Bearer \xff"]
    {
        assert!(matches!(read(&[wrong]), Err(TokenError::Invalid(_))), "{wrong:?}");
    }
    assert!(read(&[b"Bearer a.b.c", b"Bearer a.b.c"]).is_err());
}
