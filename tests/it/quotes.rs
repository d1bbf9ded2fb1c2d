//! Quotes: prices that the shop's pricing service has signed. A frontend never sets one.

use std::sync::Arc;

use domain::Duration;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use payonce::payments::ports::Clock;
use serde_json::{Value, json};

use crate::support::pricing::Pricing;
use crate::support::{Backend, Shop, on_every_store};

on_every_store!(
    a_quote_makes_one_order_at_its_prices,
    of_many_orders_at_once_from_one_quote_one_is_made,
    a_retry_with_a_quote_that_has_expired_since_is_answered,
    a_quote_that_does_not_fit_is_refused_and_leaves_nothing,
);

async fn a_quote_makes_one_order_at_its_prices(backend: Backend) {
    let pricing = Pricing::open();
    let shop = pricing.shop(backend).await;
    for kid in ["rsa", "ec", "ed"] {
        let quote = pricing.sign_with(kid, &pricing.claims(&shop));
        let key = Shop::key();
        let made = shop.create_quoted("alice", "customer", &key, &quote).await;
        let order = made.at("/createOrder/order");
        assert_eq!(
            (&order["total"]["minor"], &order["total"]["currency"]),
            (&json!("24690"), &json!("CNY")),
            "{kid}: {order}"
        );
        let line = json!({"sku": "POT", "name": "Teapot, carved", "quantity": 2, "unitPrice": {"minor": "12345"}});
        assert_eq!(order["lines"], json!([line]));
        // The same key is the same order; another key finds the quote used.
        let again = shop.create_quoted("alice", "customer", &key, &quote).await;
        assert_eq!(
            (again.at("/createOrder/replayed"), &again.at("/createOrder/order/id")),
            (json!(true), &order["id"])
        );
        let second = shop.create_quoted("alice", "customer", &Shop::key(), &quote).await;
        assert_eq!((second.code().as_str(), second.extension("retryable")), ("QUOTE_INVALID", json!(false)));
        assert!(second.body["errors"][0]["message"].as_str().unwrap().contains("has been used"), "{}", second.body);
    }
    shop.check_invariants().await;
}

async fn of_many_orders_at_once_from_one_quote_one_is_made(backend: Backend) {
    let pricing = Pricing::open();
    let shop = Arc::new(pricing.shop(backend).await);
    let quote = pricing.sign(&pricing.claims(&shop));
    let calls: Vec<_> = (0..30)
        .map(|_| {
            let (shop, quote) = (shop.clone(), quote.clone());
            tokio::spawn(async move { shop.create_quoted("alice", "customer", &Shop::key(), &quote).await })
        })
        .collect();
    let mut made = 0;
    for call in calls {
        let answer = call.await.unwrap();
        match answer.code().as_str() {
            "" => made += 1,
            "QUOTE_INVALID" => {}
            code => panic!("{code}: {}", answer.body),
        }
    }
    assert_eq!(made, 1);
    assert_eq!(shop.number("SELECT COUNT(*) FROM orders").await, 1);
    assert_eq!(shop.number("SELECT COUNT(*) FROM operations").await, 1, "a refused key is not kept");
    shop.check_invariants().await;
}

async fn a_retry_with_a_quote_that_has_expired_since_is_answered(backend: Backend) {
    let pricing = Pricing::open();
    let shop = pricing.shop(backend).await;
    let quote = pricing.sign(&pricing.claims(&shop));
    let unused = pricing.sign(&pricing.claims(&shop));
    let key = Shop::key();
    let order = shop.create_quoted("alice", "customer", &key, &quote).await.text("/createOrder/order/id");
    shop.advance(Duration::minutes(6)).await;
    let again = shop.create_quoted("alice", "customer", &key, &quote).await;
    assert_eq!((again.at("/createOrder/replayed"), again.text("/createOrder/order/id")), (json!(true), order.clone()));
    // A new intent gets nothing for it, nor for one that has never been used.
    for quote in [&quote, &unused] {
        let late = shop.create_quoted("alice", "customer", &Shop::key(), quote).await;
        assert_eq!(late.code(), "QUOTE_INVALID");
        assert!(late.body.to_string().contains("has expired"), "{}", late.body);
    }
    // Once the claim is purged, the key says what it made, whatever has become of the quote.
    assert_eq!(shop.number("SELECT COUNT(*) FROM operations").await, 1);
    shop.run("DELETE FROM operations").await;
    let purged = shop.create_quoted("alice", "customer", &key, &quote).await;
    assert_eq!((purged.code().as_str(), purged.extension("orderId")), ("IDEMPOTENCY_KEY_EXPIRED", json!(order)));
}

async fn a_quote_that_does_not_fit_is_refused_and_leaves_nothing(backend: Backend) {
    let pricing = Pricing::open();
    let shop = pricing.shop(backend).await;
    let good = pricing.claims(&shop);
    let now = shop.clock.now().timestamp();
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        pricing.sign(&claims)
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        pricing.sign(&claims)
    };
    let line = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims["lines"][0][name] = value;
        pricing.sign(&claims)
    };
    let header = |header: Value| pricing.sign_text("ed", &header, &good.to_string());
    let signed = pricing.sign(&good);
    let parts: Vec<&str> = signed.split('.').collect();
    let hs256 = |secret: &[u8]| {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &good, &EncodingKey::from_secret(secret)).unwrap()
    };
    let twice = good.to_string().replacen("\"jti\":", "\"jti\":\"other\",\"jti\":", 1);
    let price_twice = good.to_string().replacen("\"unit_minor\":", "\"unit_minor\":1,\"unit_minor\":", 1);
    let big = with("lines", json!([{"sku": "POT", "name": "x".repeat(3_300), "quantity": 1, "unit_minor": 1}]));
    let mut expired = good.clone();
    (expired["iat"], expired["exp"]) = (json!(now - 600), json!(now - 32));
    let expired = pricing.sign(&expired);
    let cases: Vec<(&str, String, &str)> = vec![
        ("nothing", String::new(), "QUOTE_INVALID"),
        ("no token", "x".into(), "QUOTE_INVALID"),
        ("two parts", format!("{}.{}", parts[0], parts[1]), "QUOTE_INVALID"),
        ("no signature", format!("{}.{}.", parts[0], parts[1]), "QUOTE_INVALID"),
        ("another's signature", format!("{}.{}.{}", parts[0], parts[1], "A".repeat(86)), "QUOTE_INVALID"),
        ("alg none", header(json!({"alg": "none"})), "QUOTE_INVALID"),
        ("another alg than the key's", header(json!({"alg": "ES256", "kid": "ed"})), "QUOTE_INVALID"),
        ("a key of its own", header(json!({"alg": "EdDSA", "kid": "ed", "jwk": {"kty": "OKP"}})), "QUOTE_INVALID"),
        ("keys elsewhere", header(json!({"alg": "EdDSA", "kid": "ed", "jku": "https://x"})), "QUOTE_INVALID"),
        ("crit", header(json!({"alg": "EdDSA", "kid": "ed", "crit": ["exp"]})), "QUOTE_INVALID"),
        ("another typ", header(json!({"alg": "EdDSA", "kid": "ed", "typ": "secevent+jwt"})), "QUOTE_INVALID"),
        ("an unknown key", header(json!({"alg": "EdDSA", "kid": "gone"})), "QUOTE_INVALID"),
        ("a login's secret", hs256(b"payonce-dev-secret-not-for-production-use"), "QUOTE_INVALID"),
        ("a login", shop.token("alice", "customer"), "QUOTE_INVALID"),
        ("another issuer", with("iss", json!("payonce-dev")), "QUOTE_INVALID"),
        ("another audience", with("aud", json!("another shop")), "QUOTE_INVALID"),
        ("no audience", without("aud"), "QUOTE_INVALID"),
        ("no subject", without("sub"), "QUOTE_INVALID"),
        ("another customer", with("sub", json!("bob")), "QUOTE_INVALID"),
        ("no end", without("exp"), "QUOTE_INVALID"),
        ("an end in words", with("exp", json!("tomorrow")), "QUOTE_INVALID"),
        ("expired", expired, "QUOTE_INVALID"),
        ("not yet", with("nbf", json!(now + 120)), "QUOTE_INVALID"),
        ("no number", without("jti"), "QUOTE_INVALID"),
        ("a number that is none", with("jti", json!(7)), "QUOTE_INVALID"),
        ("an empty number", with("jti", json!("")), "QUOTE_INVALID"),
        ("a long number", with("jti", json!("x".repeat(256))), "QUOTE_INVALID"),
        ("a claim twice", pricing.sign_text("ed", &json!({"alg": "EdDSA", "kid": "ed"}), &twice), "QUOTE_INVALID"),
        (
            "a price twice",
            pricing.sign_text("ed", &json!({"alg": "EdDSA", "kid": "ed"}), &price_twice),
            "QUOTE_INVALID",
        ),
        ("no currency", without("currency"), "QUOTE_INVALID"),
        ("an unknown currency", with("currency", json!("XXX")), "QUOTE_INVALID"),
        ("a currency in small letters", with("currency", json!("cny")), "QUOTE_INVALID"),
        ("no lines", with("lines", json!([])), "QUOTE_INVALID"),
        (
            "51 lines",
            with("lines", json!(vec![json!({"sku": "P", "name": "P", "quantity": 1, "unit_minor": 1}); 51])),
            "QUOTE_INVALID",
        ),
        ("a discount that nobody reads", line("discount", json!(5)), "QUOTE_INVALID"),
        ("no name", line("name", json!("")), "QUOTE_INVALID"),
        ("a long name", line("name", json!("x".repeat(201))), "QUOTE_INVALID"),
        ("a long sku", line("sku", json!("x".repeat(65))), "QUOTE_INVALID"),
        ("a NUL", line("name", json!("a\u{0}b")), "QUOTE_INVALID"),
        ("quantity 0", line("quantity", json!(0)), "QUOTE_INVALID"),
        ("quantity -1", line("quantity", json!(-1)), "QUOTE_INVALID"),
        ("a huge quantity", line("quantity", json!(10_001)), "QUOTE_INVALID"),
        ("half a quantity", line("quantity", json!(1.5)), "QUOTE_INVALID"),
        ("price 0", line("unit_minor", json!(0)), "AMOUNT_OUT_OF_RANGE"),
        ("price -1", line("unit_minor", json!(-1)), "AMOUNT_OUT_OF_RANGE"),
        ("price beyond 64 bits once multiplied", line("unit_minor", json!(i64::MAX)), "AMOUNT_OUT_OF_RANGE"),
        ("price beyond 64 bits", line("unit_minor", json!(u64::MAX)), "QUOTE_INVALID"),
        ("a price with a fraction", line("unit_minor", json!(128.5)), "QUOTE_INVALID"),
        ("a price that is text", line("unit_minor", json!("12345")), "QUOTE_INVALID"),
        ("longer than 4 KiB", big, "QUERY_TOO_LARGE"),
    ];
    let before = shop.rows().await;
    for (what, quote, code) in cases {
        let answer = shop.create_quoted("alice", "customer", &Shop::key(), &quote).await;
        assert_eq!(answer.code(), code, "{what}: {}", answer.body);
        assert!(
            quote.len() < 20 || !answer.body.to_string().contains(&quote[..20]),
            "{what} is shown: {}",
            answer.body
        );
    }
    assert_eq!(shop.rows().await, before);
    // The one that all of them were made from is good.
    shop.create_quoted("alice", "customer", &Shop::key(), &signed).await.at("/createOrder/order");
    // With lines beside it, nobody knows which of them is meant.
    let both = json!({"quoteToken": pricing.sign(&pricing.claims(&shop)), "lines": [{"sku": "TEA", "quantity": 1}]});
    assert_eq!(shop.create_with("alice", &Shop::key(), both).await.code(), "BAD_USER_INPUT");
    shop.check_invariants().await;
}

#[tokio::test]
async fn a_service_orders_for_the_customer_of_a_quote_and_for_nobody_else() {
    let pricing = Pricing::open();
    let shop = pricing.shop(Backend::Sqlite).await;
    let quote = pricing.sign(&pricing.claims(&shop));
    let key = Shop::key();
    let made = shop.create_quoted("checkout", "service", &key, &quote).await;
    let order = made.at("/createOrder/order");
    assert_eq!((&order["customerId"], &order["events"]["nodes"][0]["actor"]), (&json!("alice"), &json!("checkout")));
    let again = shop.create_quoted("checkout", "service", &key, &quote).await;
    assert_eq!((again.at("/createOrder/replayed"), &again.at("/createOrder/order/id")), (json!(true), &order["id"]));
    // Its customer sees it and may cancel it; the service has no right to lines, nor staff without its role to a quote.
    let id = order["id"].as_str().unwrap();
    shop.cancel("alice", &Shop::key(), id).await.at("/cancelOrder");
    let document = "mutation($key: IdempotencyKey!) { createOrder(idempotencyKey: $key, input: {lines: [{sku: \"TEA\", quantity: 1}]}) { replayed } }";
    let listed = shop.ask(&shop.token("checkout", "service"), document, json!({"key": Shop::key()})).await;
    assert_eq!(listed.code(), "FORBIDDEN");
    for role in ["support", "refunder", "approver"] {
        let quote = pricing.sign(&pricing.claims(&shop));
        assert_eq!(shop.create_quoted("sam", role, &Shop::key(), &quote).await.code(), "FORBIDDEN", "{role}");
    }
    // A closed order does not free its quote.
    assert_eq!(shop.create_quoted("alice", "customer", &Shop::key(), &quote).await.code(), "QUOTE_INVALID");
    shop.check_invariants().await;
}

#[tokio::test]
async fn without_a_pricing_service_quotes_are_refused_with_a_way_out() {
    let pricing = Pricing::open();
    let shop = Shop::open(Backend::Sqlite).await;
    let refused = shop.create_quoted("alice", "customer", &Shop::key(), &pricing.sign(&pricing.claims(&shop))).await;
    assert_eq!(refused.code(), "QUOTE_INVALID");
    assert!(refused.body.to_string().contains("Send lines."), "{}", refused.body);
}

#[tokio::test]
async fn a_quote_logs_nobody_in() {
    let pricing = Pricing::open();
    let shop = pricing.shop(Backend::Sqlite).await;
    let quote = pricing.sign(&pricing.claims(&shop));
    let answer = shop.ask(&quote, "{ orders { nodes { id } } }", json!({})).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "UNAUTHENTICATED"));
}

#[tokio::test]
async fn a_quote_keeps_within_the_limits() {
    let pricing = Pricing::open();
    let shop = pricing.shop_with(Backend::Sqlite, &[("PAYONCE_ORDER_MAX_MINOR", "CNY:24689,JPY:1")]).await;
    let quote = pricing.sign(&pricing.claims(&shop));
    let refused = shop.create_quoted("alice", "customer", &Shop::key(), &quote).await;
    assert_eq!((refused.code().as_str(), &refused.extension("limit")["minor"]), ("LIMIT_EXCEEDED", &json!("24689")));
    // It was not used up: no order came of it.
    assert_eq!(shop.number("SELECT COUNT(*) FROM quotes").await, 0);
}
