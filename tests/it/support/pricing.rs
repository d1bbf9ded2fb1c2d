//! The shop's pricing service: it signs quotes with keys of its own.

use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign};
use payonce::payments::ports::Clock;
use serde_json::{Value, json};

use super::{Answer, Backend, Shop};

pub const ISSUER: &str = "https://prices.example.com";

pub struct Pricing {
    keys: Vec<(&'static str, Algorithm, EncodingKey)>,
    file: std::path::PathBuf,
}

impl Pricing {
    /// With a key of each kind, in a file.
    pub fn open() -> Pricing {
        let vectors: Value = serde_json::from_str(include_str!("../../vectors/keys.json")).unwrap();
        let pem = vectors["wechat"]["merchant"]["private_pkcs8_pem"].as_str().unwrap();
        let rsa = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
        let public = jsonwebtoken::jwk::Jwk::from_encoding_key(&rsa, Algorithm::RS256).unwrap();
        let mut rsa_jwk = serde_json::to_value(public).unwrap();
        rsa_jwk["kid"] = json!("rsa");
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let ed = Ed25519KeyPair::generate().unwrap();
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let point = ec.public_key().as_ref();
        let set = json!({"keys": [
            rsa_jwk,
            {"kty": "EC", "crv": "P-256", "kid": "ec", "x": b64(&point[1..33]), "y": b64(&point[33..])},
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(ed.public_key().as_ref())},
        ]});
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("payonce_quotes_{}_{}.json", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, set.to_string()).unwrap();
        let ec = EncodingKey::from_ec_der(ec.to_pkcs8v1().unwrap().as_ref());
        let ed = EncodingKey::from_ed_der(ed.to_pkcs8v1().unwrap().as_ref());
        Pricing {
            keys: vec![("rsa", Algorithm::RS256, rsa), ("ec", Algorithm::ES256, ec), ("ed", Algorithm::EdDSA, ed)],
            file,
        }
    }

    /// A shop that takes its quotes.
    pub async fn shop(&self, backend: Backend) -> Shop {
        self.shop_with(backend, &[]).await
    }

    pub async fn shop_with(&self, backend: Backend, more: &[(&str, &str)]) -> Shop {
        let mut settings =
            vec![("PAYONCE_QUOTE_KEYS_FILE", self.file.to_str().unwrap()), ("PAYONCE_QUOTE_ISSUER", ISSUER)];
        settings.extend_from_slice(more);
        Shop::open_with(backend, &settings).await
    }

    /// What a quote of two teapots for alice says, good for five minutes, with a number of its own.
    pub fn claims(&self, shop: &Shop) -> Value {
        let now = shop.clock.now().timestamp();
        json!({
            "iss": ISSUER, "aud": "payonce", "sub": "alice", "iat": now, "exp": now + 300, "jti": Shop::key(),
            "currency": "CNY",
            "lines": [{"sku": "POT", "name": "Teapot, carved", "quantity": 2, "unit_minor": 12_345}],
        })
    }

    /// Signed with the Ed25519 key.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with("ed", claims)
    }

    pub fn sign_with(&self, kid: &str, claims: &Value) -> String {
        let (_, algorithm, _) = self.keys.iter().find(|(name, ..)| *name == kid).unwrap();
        let name = match algorithm {
            Algorithm::RS256 => "RS256",
            Algorithm::ES256 => "ES256",
            _ => "EdDSA",
        };
        self.sign_text(kid, &json!({"alg": name, "kid": kid, "typ": "JWT"}), &claims.to_string())
    }

    /// Any header and any text, signed with this key as its algorithm has it.
    pub fn sign_text(&self, kid: &str, header: &Value, claims: &str) -> String {
        let (_, algorithm, key) = self.keys.iter().find(|(name, ..)| *name == kid).unwrap();
        let message = [header.to_string().as_str(), claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let signature = sign(message.as_bytes(), key, *algorithm).unwrap();
        format!("{message}.{signature}")
    }
}

impl Drop for Pricing {
    fn drop(&mut self) {
        std::fs::remove_file(&self.file).ok();
    }
}

impl Shop {
    /// createOrder of a quote, not paid yet, as the holder of a role.
    pub async fn create_quoted(&self, sub: &str, role: &str, key: &str, quote: &str) -> Answer {
        let document = format!(
            "mutation($key: IdempotencyKey!, $input: CreateOrderInput!) {{ createOrder(idempotencyKey: $key, input: $input) {{ replayed order {{ {} lines {{ sku name quantity unitPrice {{ minor }} }} events(first: 5) {{ nodes {{ type actor }} }} }} }} }}",
            super::shop::ORDER
        );
        let input = json!({"quoteToken": quote, "allowDuplicate": true});
        self.ask(&self.token(sub, role), &document, json!({"key": key, "input": input})).await
    }
}
