//! Whoever signs tokens: key pairs, and a server that publishes their public halves.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// The secret of the dev profile, which everybody knows.
pub const DEV_SECRET: &str = "payonce-dev-secret-not-for-production-use";

/// A key pair, or a shared secret.
pub struct Key {
    pub kid: &'static str,
    pub algorithm: Algorithm,
    pub private: EncodingKey,
    /// As it is published.
    pub public: Value,
}

impl Key {
    pub fn ed25519(kid: &'static str) -> Key {
        let pair = Ed25519KeyPair::generate().unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        Key {
            kid,
            algorithm: Algorithm::EdDSA,
            private: EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref()),
            public: json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "alg": "EdDSA", "x": x}),
        }
    }

    /// A pair that is in the vectors, and its public half in PEM.
    pub fn rsa(kid: &'static str) -> (Key, String) {
        let vectors: Value = serde_json::from_str(include_str!("../../vectors/keys.json")).unwrap();
        let pair = &vectors["wechat"]["merchant"];
        let private = EncodingKey::from_rsa_pem(pair["private_pkcs8_pem"].as_str().unwrap().as_bytes()).unwrap();
        let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&private, Algorithm::RS256).unwrap();
        let mut public = serde_json::to_value(jwk).unwrap();
        public["kid"] = json!(kid);
        let pem = pair["public_spki_pem"].as_str().unwrap().to_owned();
        (Key { kid, algorithm: Algorithm::RS256, private, public }, pem)
    }

    pub fn secret(secret: &str, algorithm: Algorithm) -> Key {
        Key { kid: "", algorithm, private: EncodingKey::from_secret(secret.as_bytes()), public: Value::Null }
    }

    /// What the header says when nobody wants anything else.
    pub fn header(&self) -> Value {
        let alg = format!("{:?}", self.algorithm);
        if self.kid.is_empty() { json!({"alg": alg}) } else { json!({"alg": alg, "kid": self.kid}) }
    }

    pub fn sign(&self, header: &str, claims: &str) -> String {
        let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.private, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }

    /// A token of alice's as a shop's own login makes it.
    pub fn token(&self, now: Timestamp) -> String {
        self.sign(&self.header().to_string(), &claims("alice", now).to_string())
    }
}

/// What a good token claims.
pub fn claims(sub: &str, now: Timestamp) -> Value {
    let now = now.timestamp();
    json!({"iss": "payonce-dev", "aud": "payonce", "sub": sub, "roles": ["customer"], "iat": now - 10, "exp": now + 30 * 86_400})
}

pub fn set(keys: &[&Key]) -> String {
    json!({"keys": keys.iter().map(|key| &key.public).collect::<Vec<_>>()}).to_string()
}

/// Publishes keys, or says whatever the test wants.
pub struct Issuer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Mutex<(StatusCode, String)>,
    /// Where it sends everybody who asks.
    elsewhere: Mutex<Option<String>>,
    asked: AtomicUsize,
}

impl Issuer {
    pub async fn start() -> Issuer {
        let shared = Arc::new(Shared {
            answer: Mutex::new((StatusCode::OK, set(&[]))),
            elsewhere: Mutex::default(),
            asked: AtomicUsize::new(0),
        });
        let answer = |State(shared): State<Arc<Shared>>| async move {
            shared.asked.fetch_add(1, Ordering::SeqCst);
            let (status, body) = shared.answer.lock().unwrap().clone();
            let location = shared.elsewhere.lock().unwrap().clone().unwrap_or_default();
            (status, [(header::CONTENT_TYPE, "application/json".to_owned()), (header::LOCATION, location)], body)
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Issuer { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}/jwks.json", self.address)
    }

    pub fn publishes(&self, keys: &[&Key]) {
        self.says(200, &set(keys));
    }

    pub fn says(&self, status: u16, body: &str) {
        *self.shared.answer.lock().unwrap() = (StatusCode::from_u16(status).unwrap(), body.to_owned());
    }

    pub fn sends_to(&self, url: &str) {
        self.says(302, "");
        *self.shared.elsewhere.lock().unwrap() = Some(url.to_owned());
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }
}
