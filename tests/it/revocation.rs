//! Tokens that are no longer taken: by every process, over every way in, within seconds.

use std::process::Command;

use jsonwebtoken::Algorithm;
use serde_json::json;

use crate::support::event_stream::EventStream;
use crate::support::issuer::{DEV_SECRET, Key, claims};
use crate::support::shop::eventually;
use crate::support::watcher::Watcher;
use crate::support::{Backend, Shop, on_every_store};
use payonce::app::{self, Revoke};
use payonce::payments::ports::Clock;

on_every_store!(
    a_subjects_tokens_end_everywhere_and_a_new_one_works,
    one_token_ends_by_its_jti_and_its_jti_is_never_taken_again,
);

const ORDERS: &str = "{ orders { nodes { id } } }";

async fn is_refused(shop: &Shop, token: &str) -> bool {
    let answer = shop.ask(token, ORDERS, json!({})).await;
    assert!(["", "UNAUTHENTICATED"].contains(&answer.code().as_str()), "{}", answer.body);
    answer.status == 401
}

async fn a_subjects_tokens_end_everywhere_and_a_new_one_works(backend: Backend) {
    let shop = Shop::open(backend).await;
    let other = Shop::open_on(backend, shop.database_url.clone(), shop.clock.clone(), &[]).await;
    let (order, _) = shop.open_order("TEA").await;
    let (alice, bob) = (shop.token("alice", "customer"), shop.token("bob", "customer"));
    let mut socket = Watcher::join(&shop, "alice", &order).await;
    socket.event().await;
    let status = "subscription($id: ID!) { paymentStatus(orderId: $id) { version } }";
    let mut stream = EventStream::open(&shop, &alice, status, json!({"id": order})).await;
    stream.response().await;

    let now = shop.clock.turn(domain::Duration::seconds(1));
    app::revoke_tokens_at(&shop.config, Revoke::Subject("alice".into(), None), now).await.unwrap();
    for process in [&shop, &other] {
        eventually("the token to be refused", async || is_refused(process, &alice).await).await;
        assert!(!is_refused(process, &bob).await);
    }
    assert_eq!(socket.hear().await, json!({"closed": 4403}));
    while stream.next().await.is_some_and(|event| event.name != "complete") {}
    let mut again = Watcher::connect(&shop).await;
    again.say(json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {alice}")}})).await;
    assert_eq!(again.hear().await, json!({"closed": 4403}));

    shop.clock.turn(domain::Duration::seconds(1));
    assert!(!is_refused(&shop, &shop.token("alice", "customer")).await, "issued after it");
    let earlier = now - domain::Duration::days(1);
    app::revoke_tokens_at(&shop.config, Revoke::Subject("bob".into(), Some(earlier)), now).await.unwrap();
    app::revoke_tokens_at(&shop.config, Revoke::Subject("BOB".into(), None), now).await.unwrap();
    shop.app.payments.read_revocations().await.unwrap();
    assert!(!is_refused(&shop, &bob).await, "issued later than that, and nobody else's");
    shop.close().await;
    other.close().await;
}

async fn one_token_ends_by_its_jti_and_its_jti_is_never_taken_again(backend: Backend) {
    let shop = Shop::open(backend).await;
    let key = Key::secret(DEV_SECRET, Algorithm::HS256);
    let token = |sub: &str, jti: &str| {
        let mut claims = claims(sub, shop.clock.now());
        claims["jti"] = json!(jti);
        key.sign(r#"{"alg":"HS256"}"#, &claims.to_string())
    };
    assert!(!is_refused(&shop, &token("alice", "t-1")).await);
    app::revoke_tokens_at(&shop.config, Revoke::Jti("t-1".into()), shop.clock.now()).await.unwrap();
    eventually("the token to be refused", async || is_refused(&shop, &token("alice", "t-1")).await).await;
    assert!(!is_refused(&shop, &token("alice", "t-2")).await && !is_refused(&shop, &token("alice", "T-1")).await);
    assert!(is_refused(&shop, &token("bob", "t-1")).await, "reused");
    shop.clock.turn(domain::Duration::hours(1));
    assert!(is_refused(&shop, &token("alice", "t-1")).await, "issued later");
    // A process that starts knows it before it serves.
    let other = Shop::open_on(backend, shop.database_url.clone(), shop.clock.clone(), &[]).await;
    assert!(is_refused(&other, &token("alice", "t-1")).await);
    other.close().await;
    shop.close().await;
}

#[tokio::test]
async fn what_was_revoked_is_forgotten_when_no_token_is_left_that_it_was_about() {
    let shop = Shop::open(Backend::Sqlite).await;
    let now = shop.clock.now();
    app::revoke_tokens_at(&shop.config, Revoke::Jti("old".into()), now).await.unwrap();
    shop.app.payments.read_revocations().await.unwrap();
    let covers = || shop.app.payments.revoked().borrow().covers("x", now, Some("old"));
    assert!(covers());
    shop.clock.turn(domain::Duration::days(369));
    eventually("the revocation to be forgotten", async || {
        shop.app.payments.read_revocations().await.unwrap();
        !covers()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_revokes_and_still_mints() {
    let url = Backend::Sqlite.fresh().await;
    let payonce = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
        let output = command.args(arguments).env_clear().env("PAYONCE_DATABASE_URL", &url).output().unwrap();
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
        (output.status.success(), said)
    };
    assert!(payonce(&["migrate"]).0);
    let (minted, token) = payonce(&["token", "--sub", "alice", "--role", "customer"]);
    assert!(minted && token.split('.').count() == 3, "{token}");
    for (arguments, sentence) in [
        (&["token", "revoke", "--sub", "alice"][..], "issued before"),
        (&["token", "revoke", "--sub", "alice", "--before", "2026-11-20T12:00:00Z"], "2026-11-20T12:00:00"),
        (&["token", "revoke", "--jti", "t-1"], "\"t-1\""),
    ] {
        let (done, said) = payonce(arguments);
        assert!(done && said.contains(sentence), "{arguments:?}: {said}");
    }
    for (arguments, sentence) in [
        (&["token"][..], "--sub"),
        (&["token", "--sub", "alice"], "--role"),
        (&["token", "revoke"], "--sub"),
        (&["token", "revoke", "--sub", "a", "--jti", "b"], "cannot be used with"),
        (&["token", "revoke", "--jti", "b", "--before", "2026-11-20T12:00:00Z"], "cannot be used with"),
        (&["token", "revoke", "--sub", "a", "--before", "noon"], "2026-11-20T12:00:00Z"),
        (&["token", "revoke", "--sub", "a", "--before", "2999-01-01T00:00:00Z"], "in the future"),
        (&["token", "revoke", "--jti", ""], "--jti"),
    ] {
        let (done, said) = payonce(arguments);
        assert!(!done && said.contains(sentence), "{arguments:?}: {said}");
    }
    // What was revoked is known to a server from its start.
    let clock = std::sync::Arc::new(crate::support::clock::TurnedClock::at_now());
    let shop = Shop::open_on(Backend::Sqlite, url.clone(), clock, &[]).await;
    assert!(is_refused(&shop, token.trim()).await);
}
