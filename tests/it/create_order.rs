//! createOrder: at most one order per key, priced by the server.

use std::collections::HashSet;
use std::sync::Arc;

use crate::support::{Backend, Shop, on_every_store};
use serde_json::json;

on_every_store!(
    two_hundred_calls_with_one_key_make_one_order,
    the_same_key_with_other_content_is_refused,
    bad_input_is_refused_with_its_code_and_leaves_nothing,
    a_double_click_with_a_new_key_is_refused,
);

async fn two_hundred_calls_with_one_key_make_one_order(backend: Backend) {
    let shop = Arc::new(Shop::open(backend).await);
    let key = Shop::key();
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let (shop, key) = (shop.clone(), key.clone());
            tokio::spawn(async move { shop.create("alice", &key, "MUG", 1, true).await })
        })
        .collect();
    let mut orders = HashSet::new();
    let mut first = 0;
    for call in calls {
        let answer = call.await.unwrap();
        match answer.code().as_str() {
            "" => {
                orders.insert((answer.text("/createOrder/order/id"), answer.text("/createOrder/payment/id")));
                first += usize::from(answer.at("/createOrder/replayed") == false);
            }
            "IDEMPOTENCY_IN_PROGRESS" => assert_eq!(answer.extension("retrySameKey"), true),
            code => panic!("{code}: {}", answer.body),
        }
    }
    assert_eq!((orders.len(), first), (1, 1));
    let again = shop.create("alice", &key, "MUG", 1, true).await;
    assert_eq!(again.at("/createOrder/replayed"), true);
    let all = shop.ask(&shop.token("alice", "customer"), "{ orders { nodes { id } } }", json!({})).await;
    assert_eq!(all.at("/orders/nodes").as_array().unwrap().len(), 1);
    let opened = shop.sandbox().calls().iter().filter(|c| c.call == sandbox::Call::Open).count();
    assert_eq!(opened, 1);
    shop.check_invariants().await;
}

async fn the_same_key_with_other_content_is_refused(backend: Backend) {
    let shop = Shop::open(backend).await;
    let key = Shop::key();
    let first = shop.create("alice", &key, "TEA", 1, false).await;
    let other = shop.create("alice", &key, "TEA", 2, false).await;
    assert_eq!((other.code().as_str(), other.extension("retrySameKey")), ("IDEMPOTENCY_KEY_MISMATCH", json!(false)));
    // Keys of different subjects and of different cases never meet.
    let bob = shop.create("bob", &key, "TEA", 1, false).await;
    assert_ne!(bob.text("/createOrder/order/id"), first.text("/createOrder/order/id"));
    let upper = shop.create("alice", &key.to_uppercase(), "TEA", 2, false).await;
    assert_eq!(upper.at("/createOrder/replayed"), false);
    let capital = shop.create("Alice", &key, "TEA", 2, false).await;
    assert_eq!(capital.at("/createOrder/replayed"), false);
    shop.check_invariants().await;
}

async fn bad_input_is_refused_with_its_code_and_leaves_nothing(backend: Backend) {
    let shop = Shop::open(backend).await;
    let pay = json!({"gateway": "WECHAT_PAY", "product": "NATIVE"});
    let line = |sku: &str, quantity: i64| json!([{"sku": sku, "quantity": quantity}]);
    let cases = [
        (json!({"lines": line("NONE", 1)}), "UNKNOWN_SKU"),
        (json!({"lines": line("tea", 1)}), "UNKNOWN_SKU"),
        (json!({"lines": line("TEA", 0)}), "BAD_USER_INPUT"),
        (json!({"lines": line("TEA", -1)}), "BAD_USER_INPUT"),
        (json!({"lines": line("TEA", 1_000_000_000)}), "BAD_USER_INPUT"),
        (json!({"lines": []}), "BAD_USER_INPUT"),
        (json!({}), "BAD_USER_INPUT"),
        (json!({"lines": line("TEA", 1), "quoteToken": "x"}), "BAD_USER_INPUT"),
        (json!({"quoteToken": "x"}), "QUOTE_INVALID"),
        (json!({"lines": line("TEA", 1), "note": "x\u{0}y"}), "BAD_USER_INPUT"),
        (json!({"lines": line("TEA", 1), "payment": {"gateway": "WECHAT_PAY", "product": "PAGE"}}), "BAD_USER_INPUT"),
        (json!({"lines": line("TEA", 1), "payment": {"gateway": "ALIPAY", "product": "NATIVE"}}), "BAD_USER_INPUT"),
        (json!({"lines": line("TEA", 1), "payment": pay, "surprise": 1}), "GRAPHQL_VALIDATION_FAILED"),
        (json!({"lines": line("TEA", 3_000_000_000)}), "GRAPHQL_VALIDATION_FAILED"),
    ];
    for (input, code) in cases {
        let answer = shop.create_with("alice", &Shop::key(), input.clone()).await;
        assert_eq!(answer.code(), code, "{input}: {}", answer.body);
    }
    for key in ["short", "0123456789abcde ", "-123456789abcdef", &"x".repeat(65)] {
        let answer = shop.create("alice", key, "TEA", 1, false).await;
        assert_eq!(answer.code(), "IDEMPOTENCY_KEY_INVALID", "{}", answer.body);
    }
    let nobody = shop
        .ask(
            "",
            "mutation { createOrder(idempotencyKey: \"0123456789abcdef\", input: {lines: []}) { replayed } }",
            json!({}),
        )
        .await;
    assert_eq!((nobody.status, nobody.code().as_str()), (200, "UNAUTHENTICATED"));
    // Nothing began: a refused key may be used again, now with content that makes sense.
    let key = Shop::key();
    assert_eq!(shop.create("alice", &key, "NONE", 1, false).await.code(), "UNKNOWN_SKU");
    shop.create("alice", &key, "TEA", 1, false).await.at("/createOrder");
    let all = shop.ask(&shop.token("alice", "customer"), "{ orders { nodes { id } } }", json!({})).await;
    assert_eq!(all.at("/orders/nodes").as_array().unwrap().len(), 1);
    shop.check_invariants().await;
}

async fn a_double_click_with_a_new_key_is_refused(backend: Backend) {
    let shop = Shop::open_with(backend, &[("PAYONCE_DUPLICATE_WINDOW", "1h")]).await;
    let input = json!({"lines": [{"sku": "TEA", "quantity": 1}], "note": format!("{backend:?} {}", Shop::key())});
    let key = Shop::key();
    let first = shop.create_with("alice", &key, input.clone()).await;
    let second = shop.create_with("alice", &Shop::key(), input.clone()).await;
    assert_eq!(second.code(), "DUPLICATE_ORDER");
    assert_eq!(second.extension("orderId"), first.at("/createOrder/order/id"));
    // The same key is a retry, never a double click; on purpose is allowed.
    assert_eq!(shop.create_with("alice", &key, input.clone()).await.at("/createOrder/replayed"), true);
    let mut meant = input;
    meant["allowDuplicate"] = json!(true);
    assert_eq!(shop.create_with("alice", &Shop::key(), meant).await.at("/createOrder/replayed"), false);
}

#[tokio::test]
async fn a_key_whose_claim_was_purged_never_executes_again() {
    let shop = Shop::open(Backend::Sqlite).await;
    let key = Shop::key();
    let order = shop.create("alice", &key, "TEA", 1, false).await.text("/createOrder/order/id");
    let db = sea_orm::Database::connect(&shop.database_url).await.unwrap();
    sea_orm::ConnectionTrait::execute_unprepared(&db, "DELETE FROM operations").await.unwrap();
    let again = shop.create("alice", &key, "TEA", 1, false).await;
    assert_eq!((again.code().as_str(), again.extension("orderId")), ("IDEMPOTENCY_KEY_EXPIRED", json!(order)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_waits_for_the_first_while_it_talks_to_the_gateway() {
    let shop = Arc::new(Shop::open(Backend::Sqlite).await);
    shop.fault(sandbox::Call::Open, sandbox::FaultKind::DelayMs(400));
    let key = Shop::key();
    let first = {
        let (shop, key) = (shop.clone(), key.clone());
        tokio::spawn(async move { shop.create("alice", &key, "TEA", 1, true).await })
    };
    crate::support::shop::eventually("the gateway is being asked", async || {
        shop.sandbox().calls().iter().any(|c| c.call == sandbox::Call::Open)
    })
    .await;
    let second = shop.create("alice", &key, "TEA", 1, true).await;
    assert_eq!(second.at("/createOrder/replayed"), true);
    assert_eq!(second.at("/createOrder/payment"), first.await.unwrap().at("/createOrder/payment"));
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_cancel_its_order() {
    let shop = Shop::open(Backend::Sqlite).await;
    shop.fault(sandbox::Call::Open, sandbox::FaultKind::DelayMs(300));
    let key = Shop::key();
    let gone =
        tokio::time::timeout(std::time::Duration::from_millis(100), shop.create("alice", &key, "TEA", 1, true)).await;
    assert!(gone.is_err());
    crate::support::shop::eventually("the order of the client that left is open", async || {
        let again = shop.create("alice", &key, "TEA", 1, true).await;
        again.code().is_empty()
            && again.at("/createOrder/payment/status") == "PENDING"
            && again.at("/createOrder/replayed") == true
    })
    .await;
    shop.check_invariants().await;
}
