//! The issuer's keys by URL: rotation, outages, and an issuer that is asked rarely however many tokens come.

use std::sync::Arc;

use serde_json::json;

use crate::support::clock::TurnedClock;
use crate::support::issuer::{Issuer, Key, claims};
use crate::support::shop::eventually;
use crate::support::{Answer, Backend, Shop};
use payonce::http::{TokenKeys, TokenVerifier};
use payonce::payments::ports::Clock;

async fn shop_of(issuer: &Issuer) -> Shop {
    Shop::open_with(Backend::Sqlite, &[("PAYONCE_JWKS_URL", &issuer.url()), ("PAYONCE_WS_PER_SUBJECT", "5")]).await
}

async fn come_in(shop: &Shop, key: &Key) -> Answer {
    shop.ask(&key.token(shop.clock.now()), "{ orders { nodes { id } } }", json!({})).await
}

fn seconds(n: i64) -> domain::Duration {
    domain::Duration::seconds(n)
}

#[tokio::test]
async fn a_key_works_from_its_first_token_on_until_the_issuer_takes_it_back() {
    let (issuer, old, new) = (Issuer::start().await, Key::ed25519("old"), Key::ed25519("new"));
    issuer.publishes(&[&old]);
    let shop = shop_of(&issuer).await;
    assert_eq!(come_in(&shop, &old).await.status, 200);
    assert_eq!(issuer.asked(), 1);

    // Both, for a while.
    issuer.publishes(&[&old, &new]);
    assert_eq!(come_in(&shop, &new).await.code(), "UNAUTHENTICATED", "asked a moment ago");
    shop.clock.turn(seconds(30));
    assert_eq!(come_in(&shop, &new).await.status, 200, "asked for when it is first seen");
    assert_eq!(come_in(&shop, &old).await.status, 200, "the old one is still published");
    assert_eq!(issuer.asked(), 2);

    // The new one only: known at the next calm look.
    issuer.publishes(&[&new]);
    assert_eq!(come_in(&shop, &old).await.status, 200);
    shop.clock.turn(seconds(600));
    eventually("the keys to be read again", async || come_in(&shop, &old).await.status == 401).await;
    assert_eq!(come_in(&shop, &new).await.status, 200);
    assert_eq!(issuer.asked(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_unknown_keys_ask_the_issuer_once_in_thirty_seconds() {
    let (issuer, known) = (Issuer::start().await, Key::ed25519("known"));
    issuer.publishes(&[&known]);
    let clock = Arc::new(TurnedClock::at_now());
    let keys = TokenKeys::JwksUrl(issuer.url());
    let tokens = TokenVerifier::new(keys, "payonce-dev".into(), "payonce".into(), clock.clone()).unwrap();
    tokens.read_keys().await.unwrap();
    let claims = claims("alice", clock.now()).to_string();
    for round in 1..=3 {
        let refused = (0..10_000).map(|n| {
            let token =
                known.sign(&json!({"alg": "EdDSA", "kid": format!("unknown {round} {n}")}).to_string(), &claims);
            let tokens = tokens.clone();
            async move { tokens.verify(&token).await.is_err() }
        });
        assert!(futures_util::future::join_all(refused).await.into_iter().all(|refused| refused));
        assert!(tokens.verify(&known.token(clock.now())).await.is_ok());
        assert_eq!(issuer.asked(), round);
        clock.turn(seconds(30));
    }
}

#[tokio::test]
async fn the_last_good_keys_stay_for_a_day_while_the_issuer_talks_nonsense() {
    let (issuer, elsewhere, key) = (Issuer::start().await, Issuer::start().await, Key::ed25519("key"));
    issuer.publishes(&[&key]);
    let shop = shop_of(&issuer).await;
    let evil = Key::ed25519("evil");
    elsewhere.publishes(&[&evil]);
    let oct = json!({"keys": [key.public, {"kty": "oct", "kid": "shared", "k": "c2VjcmV0"}]}).to_string();
    let private = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "evil", "x": evil.public["x"], "d": "AA"}]});
    let long = format!("{}{}", crate::support::issuer::set(&[&evil]), " ".repeat(70_000));
    let mut asked = issuer.asked();
    for nonsense in ["", "[]", "{\"keys\": []}", "<html>", &oct, &private.to_string(), &long] {
        issuer.says(200, nonsense);
        shop.clock.turn(seconds(3_600));
        eventually("the issuer to be asked", async || issuer.asked() > asked).await;
        asked = issuer.asked();
        assert_eq!(come_in(&shop, &key).await.status, 200, "{nonsense:.40}");
        assert_eq!(come_in(&shop, &evil).await.status, 401, "{nonsense:.40}");
    }
    for status in [500, 404, 204] {
        issuer.says(status, &crate::support::issuer::set(&[&evil]));
        shop.clock.turn(seconds(3_600));
        assert_eq!(come_in(&shop, &evil).await.status, 401, "{status}");
        assert_eq!(come_in(&shop, &key).await.status, 200, "{status}");
    }
    issuer.sends_to(&elsewhere.url());
    shop.clock.turn(seconds(3_600));
    assert_eq!(come_in(&shop, &evil).await.status, 401);
    assert_eq!(elsewhere.asked(), 0, "redirects are not followed");

    // A day later the issuer may have taken any of them back.
    shop.clock.turn(seconds(14 * 3_600));
    let answer = come_in(&shop, &key).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "INTERNAL"), "{}", answer.body);
    assert!(answer.extension("retryAfterMs").is_u64());
    assert_eq!(shop.http().get(shop.url("/readyz")).send().await.unwrap().status(), 503);

    issuer.publishes(&[&key]);
    shop.clock.turn(seconds(30));
    eventually("the keys to be read", async || come_in(&shop, &key).await.status == 200).await;
    assert_eq!(shop.http().get(shop.url("/readyz")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_issuer_that_is_away_at_the_start_is_waited_for_and_everything_else_works() {
    let (issuer, key) = (Issuer::start().await, Key::ed25519("key"));
    issuer.says(503, "");
    let shop = shop_of(&issuer).await;
    let status = async |path: &str| shop.http().get(shop.url(path)).send().await.unwrap().status().as_u16();
    assert_eq!((status("/healthz").await, status("/readyz").await), (200, 503));
    assert_eq!(shop.ask("", "{ products { nodes { sku } } }", json!({})).await.status, 200, "needs no token");
    assert_eq!(come_in(&shop, &key).await.status, 503, "not the token's fault");
    issuer.publishes(&[&key]);
    shop.clock.turn(seconds(30));
    eventually("the keys to be read", async || status("/readyz").await == 200).await;
    assert_eq!(come_in(&shop, &key).await.status, 200);
}
