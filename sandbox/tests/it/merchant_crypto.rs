//! The merchant's side of signatures and encryption, written anew: nothing of it is the sandbox's.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey},
};
use axum::http::HeaderMap;
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use reqwest::Method;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject};
use sandbox::Merchant;
use serde_json::Value;

pub fn authorization(merchant: &Merchant, now: DateTime<Utc>, method: &Method, target: &str, body: &str) -> String {
    let der = PrivatePkcs8KeyDer::from_pem_slice(merchant.private_key_pem.as_bytes());
    let key = KeyPair::from_pkcs8(der.expect("PEM").secret_pkcs8_der()).expect("PKCS#8");
    let (timestamp, nonce) = (now.timestamp(), "5K8264ILTKCH16CQ2502SI8ZNMTM67VS");
    let message = format!("{method}\n{target}\n{timestamp}\n{nonce}\n{body}\n");
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).expect("signed");
    format!(
        "WECHATPAY2-SHA256-RSA2048 mchid=\"{}\",nonce_str=\"{nonce}\",signature=\"{}\",timestamp=\"{timestamp}\",serial_no=\"{}\"",
        merchant.mchid,
        BASE64_STANDARD.encode(signature),
        merchant.serial_no,
    )
}

pub fn is_signed(merchant: &Merchant, headers: &HeaderMap, body: &str) -> bool {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().expect("text"));
    let (Some(timestamp), Some(nonce), Some(signature)) =
        (header("wechatpay-timestamp"), header("wechatpay-nonce"), header("wechatpay-signature"))
    else {
        return false;
    };
    assert_eq!(header("wechatpay-serial"), Some(merchant.public_key_id.as_str()));
    assert_eq!(header("wechatpay-signature-type"), Some("WECHATPAY2-SHA256-RSA2048"));
    let key = SubjectPublicKeyInfoDer::from_pem_slice(merchant.public_key_pem.as_bytes());
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.expect("PEM"));
    let Ok(signature) = BASE64_STANDARD.decode(signature) else {
        return false;
    };
    key.verify(format!("{timestamp}\n{nonce}\n{body}\n").as_bytes(), &signature).is_ok()
}

pub fn decrypt(merchant: &Merchant, resource: &Value) -> Value {
    let text = |name: &str| resource[name].as_str().expect(name);
    assert_eq!(text("algorithm"), "AEAD_AES_256_GCM");
    let key = UnboundKey::new(&AES_256_GCM, merchant.api_v3_key.as_bytes()).expect("32 bytes");
    let nonce = Nonce::try_assume_unique_for_key(text("nonce").as_bytes()).expect("12 bytes");
    let mut data = BASE64_STANDARD.decode(text("ciphertext")).expect("base64");
    let plain = LessSafeKey::new(key)
        .open_in_place(nonce, Aad::from(text("associated_data").as_bytes()), &mut data)
        .expect("the tag is right");
    serde_json::from_slice(plain).expect("JSON")
}
