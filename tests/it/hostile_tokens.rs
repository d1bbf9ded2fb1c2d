//! Every way we know to come in with a token that is none.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::issuer::{DEV_SECRET, Issuer, Key, claims, set};
use crate::support::{Backend, Shop};
use payonce::payments::ports::Clock;

/// Status and code of a request with this token.
async fn come_in(shop: &Shop, token: &str) -> (u16, String) {
    let sent = shop
        .http()
        .post(shop.url("/graphql"))
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"))
        .body(json!({"query": "{ __typename }"}).to_string());
    let response = sent.send().await.unwrap();
    let status = response.status().as_u16();
    let challenged = response.headers().get("www-authenticate").is_some_and(|v| v == "Bearer");
    assert_eq!(challenged, status == 401, "a 401 says how to come in");
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default();
    (status, body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned())
}

async fn all_refused(shop: &Shop, cases: Vec<(&str, String)>) {
    for (name, token) in cases {
        assert_eq!(come_in(shop, &token).await, (401, "UNAUTHENTICATED".to_owned()), "{name}: {token}");
    }
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().unwrap().remove(name);
    object
}

#[tokio::test]
async fn a_token_that_nobody_signed_with_the_secret_is_none() {
    let shop = Shop::open(Backend::Sqlite).await;
    let key = Key::secret(DEV_SECRET, Algorithm::HS256);
    let claims = claims("alice", shop.clock.now()).to_string();
    let good = key.sign(r#"{"alg":"HS256"}"#, &claims);
    assert_eq!(come_in(&shop, &good).await.0, 200);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let parts: Vec<&str> = good.split('.').collect();
    let unsigned = |alg: &str, signature: &str| {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": "JWT"}).to_string());
        format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(&claims))
    };
    let flipped = match signature.strip_prefix('A') {
        Some(rest) => format!("B{rest}"),
        None => format!("A{}", &signature[1..]),
    };
    let by = |secret: &str, algorithm| {
        let key = Key::secret(secret, algorithm);
        key.sign(&key.header().to_string(), &claims)
    };
    let mut cases = vec![
        ("nothing", "x".to_owned()),
        ("alg none", unsigned("none", "")),
        ("alg none with a signature", unsigned("none", signature)),
        ("alg nOnE", unsigned("nOnE", "")),
        ("alg NONE", unsigned("NONE", "")),
        ("alg empty", unsigned("", signature)),
        ("alg in lower case", unsigned("hs256", signature)),
        ("HS512 that is HS256", key.sign(r#"{"alg":"HS512"}"#, &claims)),
        ("hs256 that is HS256", key.sign(r#"{"alg":"hs256"}"#, &claims)),
        ("no alg", key.sign("{}", &claims)),
        ("alg a number", key.sign(r#"{"alg":256}"#, &claims)),
        ("HS384 with the secret", by(DEV_SECRET, Algorithm::HS384)),
        ("HS512 with the secret", by(DEV_SECRET, Algorithm::HS512)),
        ("signature stripped", format!("{head}.")),
        ("signature and dot stripped", head.to_owned()),
        ("signature flipped", format!("{head}.{flipped}")),
        ("signature cut", format!("{head}.{}", &signature[..signature.len() - 4])),
        ("extra segment", format!("{good}.{signature}")),
        ("trailing dot", format!("{good}.")),
        ("leading dot", format!(".{good}")),
        ("padded", format!("{head}.{signature}=")),
        ("standard base64", format!("{}.{}.{}", parts[0], STANDARD.encode(format!("{claims}   ")), parts[2])),
        ("claims of another token", format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode("{}"), parts[2])),
        ("empty secret", by("", Algorithm::HS256)),
        ("8 KB", format!("{good}{}", "a".repeat(8_000))),
        ("JWE", format!("{}.{}.{}.{}.{}", parts[0], "a", "b", "c", "d")),
        ("JWE's header", key.sign(r#"{"alg":"HS256","enc":"A256GCM"}"#, &claims)),
        ("JWE's alg", key.sign(r#"{"alg":"dir","enc":"A256GCM"}"#, &claims)),
        ("nested JWT", key.sign(r#"{"alg":"HS256","cty":"JWT"}"#, &good)),
        ("a JWT for claims", key.sign(r#"{"alg":"HS256"}"#, &good)),
        ("deep header", key.sign(&format!(r#"{{"alg":"HS256","x":{}}}"#, "[".repeat(1_500)), &claims)),
        ("deep claims", key.sign(r#"{"alg":"HS256"}"#, &format!("{}{}", "[".repeat(1_200), "]".repeat(1_200)))),
        ("header with a name twice", key.sign(r#"{"alg":"HS256","alg":"HS256"}"#, &claims)),
        ("header an array", key.sign(r#"["HS256"]"#, &claims)),
        ("claims cut", key.sign(r#"{"alg":"HS256"}"#, &claims[..claims.len() - 1])),
        ("claims with more behind", key.sign(r#"{"alg":"HS256"}"#, &format!("{claims}{{}}"))),
        ("crit unknown", key.sign(r#"{"alg":"HS256","crit":["x"],"x":1}"#, &claims)),
        ("crit empty", key.sign(r#"{"alg":"HS256","crit":[]}"#, &claims)),
        ("b64 false", key.sign(r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#, &claims)),
        ("b64 false, not critical", key.sign(r#"{"alg":"HS256","b64":false}"#, &claims)),
        ("zip", key.sign(r#"{"alg":"HS256","zip":"DEF"}"#, &claims)),
        ("typ id+jwt", key.sign(r#"{"alg":"HS256","typ":"id+jwt"}"#, &claims)),
        ("typ a number", key.sign(r#"{"alg":"HS256","typ":1}"#, &claims)),
        ("kid null", key.sign(r#"{"alg":"HS256","kid":null}"#, &claims)),
        ("kid 5 KB", key.sign(&json!({"alg": "HS256", "kid": "k".repeat(5_000)}).to_string(), &claims)),
        ("kid 2 KB", key.sign(&json!({"alg": "HS256", "kid": "k".repeat(2_000)}).to_string(), &claims)),
    ];
    for weak in ["secret", "password", "changeme", "payonce", "jwt", "your-256-bit-secret", "0123456789", "key"] {
        cases.push(("weak secret", by(weak, Algorithm::HS256)));
    }
    all_refused(&shop, cases).await;
    // Longer than the head of any request.
    let long =
        shop.http().post(shop.url("/graphql")).header("authorization", format!("Bearer {}", "a".repeat(1 << 20)));
    assert!(long.send().await.is_ok_and(|r| r.status() == 431) || come_in(&shop, &good).await.0 == 200);
    assert_eq!(come_in(&shop, &good).await.0, 200, "the next request is served");
}

#[tokio::test]
async fn each_claim_is_of_its_type_and_says_what_it_must() {
    let shop = Shop::open(Backend::Sqlite).await;
    let key = Key::secret(DEV_SECRET, Algorithm::HS256);
    let now = shop.clock.now().timestamp();
    let base = || with(claims("alice", shop.clock.now()), "exp", json!(now + 600));
    let sign = |claims: Value| key.sign(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string());
    for (name, claims) in [
        ("aud an array with ours in it", with(base(), "aud", json!(["other", "payonce"]))),
        ("exp 29 s ago", with(with(base(), "exp", json!(now - 29)), "iat", json!(now - 100))),
        ("iat 29 s ahead", with(base(), "iat", json!(now + 29))),
        ("a jti", with(base(), "jti", json!("t-1"))),
    ] {
        assert_eq!(come_in(&shop, &sign(claims)).await.0, 200, "{name}");
    }
    let over = sign(with(with(base(), "exp", json!(now - 31)), "iat", json!(now - 100)));
    assert_eq!(come_in(&shop, &over).await, (401, "TOKEN_EXPIRED".to_owned()));
    let mut cases = vec![
        ("lifetime of ten years", with(base(), "exp", json!(now + 3_650 * 86_400))),
        ("exp before iat", with(base(), "exp", json!(now - 20))),
        ("iat in the future", with(base(), "iat", json!(now + 31))),
        ("nbf in the future", with(base(), "nbf", json!(now + 31))),
        ("sub of 5 KB", with(base(), "sub", json!("s".repeat(5_000)))),
        ("sub of 256 bytes", with(base(), "sub", json!("s".repeat(256)))),
        ("sub with a line break", with(base(), "sub", json!("alice\r\n"))),
        ("sub that looks like another", with(base(), "sub", json!("alice\u{200b}"))),
        ("aud of others", with(base(), "aud", json!(["other"]))),
        ("aud an array with a number", with(base(), "aud", json!(["payonce", 1]))),
        ("aud in another case", with(base(), "aud", json!("Payonce"))),
        ("roles not an array", with(base(), "roles", json!("admin"))),
        ("roles with a number", with(base(), "roles", json!(["customer", 1]))),
        ("jti too long to be revoked", with(base(), "jti", json!("j".repeat(256)))),
    ];
    for claim in ["aud", "iss", "exp", "iat", "sub"] {
        cases.push((claim, without(base(), claim)));
        for wrong in
            [json!(null), json!(1.5), json!({"a": 1}), json!(""), json!("other"), json!(-1), json!([]), json!(true)]
        {
            // Any text is somebody's name.
            if claim != "sub" || wrong != json!("other") {
                cases.push((claim, with(base(), claim, wrong)));
            }
        }
    }
    for claim in ["exp", "iat", "nbf"] {
        for wrong in [json!(now.to_string()), json!(1e300), json!(now as f64 + 0.5), json!(0)] {
            cases.push((claim, with(base(), claim, wrong)));
        }
    }
    for (claim, wrong) in
        [("iss", json!(7)), ("sub", json!(7)), ("jti", json!(7)), ("jti", json!(null)), ("nbf", json!(null))]
    {
        cases.push((claim, with(base(), claim, wrong)));
    }
    all_refused(&shop, cases.into_iter().map(|(name, claims)| (name, sign(claims))).collect()).await;
    let twice = base().to_string().replace("\"sub\":\"alice\"", "\"sub\":\"alice\",\"sub\":\"admin\"");
    all_refused(&shop, vec![("sub twice", key.sign(r#"{"alg":"HS256"}"#, &twice))]).await;
}

#[tokio::test]
async fn a_public_key_is_for_one_algorithm_and_comes_from_nowhere_but_our_set() {
    let (rsa, pem) = Key::rsa("rsa");
    let ed = Key::ed25519("ed");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, set(&[&rsa, &ed])).unwrap();
    let shop = Shop::open_with(Backend::Sqlite, &[("PAYONCE_JWKS_FILE", file.to_str().unwrap())]).await;
    let now = shop.clock.now();
    let claims = claims("alice", now).to_string();
    for key in [&rsa, &ed] {
        assert_eq!(come_in(&shop, &key.token(now)).await.0, 200, "{}", key.kid);
    }
    let elsewhere = Issuer::start().await;
    let evil = Key::ed25519("evil");
    elsewhere.publishes(&[&evil]);
    let url = elsewhere.url();
    let der = STANDARD.decode(pem.lines().filter(|l| !l.starts_with('-')).collect::<String>()).unwrap();
    let n = rsa.public["n"].as_str().unwrap();
    let hs = |secret: &[u8], kid: &str| {
        let key = Key { private: jsonwebtoken::EncodingKey::from_secret(secret), ..Key::secret("", Algorithm::HS256) };
        key.sign(&json!({"alg": "HS256", "kid": kid}).to_string(), &claims)
    };
    let forged = |header: Value| evil.sign(&header.to_string(), &claims);
    let rsa_as = |algorithm, kid: &str| {
        let key = Key { algorithm, ..Key::rsa("rsa").0 };
        key.sign(&json!({"alg": format!("{algorithm:?}"), "kid": kid}).to_string(), &claims)
    };
    let unsigned = |alg: &str, kid: &str, signature: &[u8]| {
        let header = json!({"alg": alg, "kid": kid}).to_string();
        [header.as_bytes(), claims.as_bytes(), signature].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
    };
    let mut cases = vec![
        ("HS256 with the RSA key's PEM", hs(pem.as_bytes(), "rsa")),
        ("HS256 with the trimmed PEM", hs(pem.trim().as_bytes(), "rsa")),
        ("HS256 with the DER", hs(&der, "rsa")),
        ("HS256 with the modulus", hs(n.as_bytes(), "rsa")),
        ("HS256 with the dev secret", hs(DEV_SECRET.as_bytes(), "rsa")),
        ("HS256 with the Ed25519 key", hs(ed.public["x"].as_str().unwrap().as_bytes(), "ed")),
        ("RS384", rsa_as(Algorithm::RS384, "rsa")),
        ("RS512", rsa_as(Algorithm::RS512, "rsa")),
        ("PS256", rsa_as(Algorithm::PS256, "rsa")),
        ("RS256 under the other's name", rsa_as(Algorithm::RS256, "ed")),
        ("EdDSA under the other's name", ed.sign(r#"{"alg":"EdDSA","kid":"rsa"}"#, &claims)),
        ("EdDSA that says RS256", ed.sign(r#"{"alg":"RS256","kid":"rsa"}"#, &claims)),
        ("RS256 that is EdDSA by its key", ed.sign(r#"{"alg":"RS256","kid":"ed"}"#, &claims)),
        ("none that is EdDSA by its key", ed.sign(r#"{"alg":"none","kid":"ed"}"#, &claims)),
        ("none under a known name", unsigned("none", "ed", b"")),
        ("an EdDSA signature of zeros", unsigned("EdDSA", "ed", &[0; 64])),
        ("an ES256 signature of zeros", unsigned("ES256", "ed", &[0; 64])),
        ("no kid, and two keys", ed.sign(r#"{"alg":"EdDSA"}"#, &claims)),
        ("an unknown key", forged(json!({"alg": "EdDSA", "kid": "evil"}))),
        ("another's key under a known name", forged(json!({"alg": "EdDSA", "kid": "ed"}))),
        ("jwk embedded", forged(json!({"alg": "EdDSA", "jwk": evil.public}))),
        ("jwk embedded under a known name", forged(json!({"alg": "EdDSA", "kid": "ed", "jwk": evil.public}))),
        ("x5c embedded", forged(json!({"alg": "EdDSA", "kid": "ed", "x5c": [STANDARD.encode(&der)]}))),
    ];
    for pointer in ["jku", "x5u"] {
        cases.push((pointer, forged(json!({"alg": "EdDSA", "kid": "evil", pointer: url}))));
        // Good but for the pointer.
        cases.push((pointer, ed.sign(&json!({"alg": "EdDSA", "kid": "ed", pointer: url}).to_string(), &claims)));
    }
    for kid in
        ["../../etc/passwd", "/dev/null", "ed' OR '1'='1", "ed\u{0}", "ED", "ed ", "", "ed\r\n", "http://127.0.0.1/"]
    {
        cases.push(("kid", ed.sign(&json!({"alg": "EdDSA", "kid": kid}).to_string(), &claims)));
    }
    for kid in [json!(null), json!(0), json!(["ed"]), json!("k".repeat(2_500))] {
        cases.push(("kid", ed.sign(&json!({"alg": "EdDSA", "kid": kid}).to_string(), &claims)));
    }
    all_refused(&shop, cases).await;
    assert_eq!(elsewhere.asked(), 0, "nothing that a token says is asked for");
    assert_eq!(come_in(&shop, &ed.token(now)).await.0, 200, "the next request is served");
}
