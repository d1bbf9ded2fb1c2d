//! Every hostile request that we could think of, one by one: a code, few bytes, and the next request is served.

use crate::support::watcher::Watcher;
use crate::support::{Backend, Shop};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// No answer is longer.
const ANSWER: usize = 64 * 1024;

const DEEP: &str = "QUERY_TOO_DEEP";
const COMPLEX: &str = "QUERY_TOO_COMPLEX";
const LARGE: &str = "QUERY_TOO_LARGE";
const PARSE: &str = "GRAPHQL_PARSE_FAILED";
const INVALID: &str = "GRAPHQL_VALIDATION_FAILED";
const INPUT: &str = "BAD_USER_INPUT";

fn many(n: usize, text: impl Fn(usize) -> String) -> String {
    (0..n).map(text).collect()
}

/// `levels` fragments, each of which spreads the next one `each` times.
fn bomb(levels: usize, each: usize) -> String {
    let links = many(levels, |n| format!("fragment F{n} on Query {{ {} }} ", format!("...F{} ", n + 1).repeat(each)));
    format!("{{ ...F0 }} {links} fragment F{levels} on Query {{ __typename }}")
}

/// Names, documents and the code each is refused with.
fn documents() -> Vec<(&'static str, String, &'static str)> {
    let nest = |n: usize, open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(n), close.repeat(n));
    let product = |argument: String| format!("{{ product(sku: {argument}) {{ sku }} }}");
    let first = |argument: &str| format!("{{ products(first: {argument}) {{ nodes {{ sku }} }} }}");
    vec![
        ("lists nested 1,350 deep", product(nest(1_350, "[", "1", "]")), DEEP),
        ("lists nested 100,000 deep", product(nest(100_000, "[", "1", "]")), LARGE),
        ("objects nested", product(nest(1_350, "{a:", "1", "}")), DEEP),
        (
            "a nest in a variable's default",
            format!("query ($a: Int = {}) {{ __typename }}", nest(40, "[", "1", "]")),
            DEEP,
        ),
        ("a nest in a directive's argument", format!("{{ __typename @skip(if: {}) }}", nest(40, "[", "1", "]")), DEEP),
        ("list types nested", format!("query ($a: {}) {{ __typename }}", nest(1_350, "[", "Int", "]")), DEEP),
        ("selections nested 64 deep", nest(64, "{a", "", "}"), DEEP),
        ("selections nested 65 deep", nest(65, "{a", "", "}"), DEEP),
        ("selections nested 10,000 deep", nest(10_000, "{a", "", "}"), LARGE),
        ("inline fragments nested", nest(40, "{...", "{a}", "}"), DEEP),
        ("a fragment bomb 7 x 10", bomb(7, 10), COMPLEX),
        ("a fragment bomb 15 x 10", bomb(15, 10), COMPLEX),
        ("a fragment bomb 100 x 6", bomb(100, 6), COMPLEX),
        ("fragments in a circle", "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }".into(), INVALID),
        ("a fragment in itself", "{ ...A } fragment A on Query { __typename ...A }".into(), INVALID),
        ("20,000 fragments unused", format!("{{ a }}{}", many(20_000, |n| format!("fragment F{n} on Q{{a}}"))), LARGE),
        ("17 fragments unused", format!("{{ a }}{}", many(17, |n| format!("fragment F{n} on Query{{a}}"))), COMPLEX),
        ("a fragment unused", "{ __typename } fragment F on Query { __typename }".into(), INVALID),
        ("a fragment undefined", "{ ...Nothing }".into(), INVALID),
        ("20,000 aliases of a field", format!("{{ {} }}", many(20_000, |n| format!("a{n}:products "))), LARGE),
        ("900 aliases of a field", format!("{{ {} }}", many(900, |n| format!("a{n}:products "))), COMPLEX),
        ("900 aliases of __typename", format!("{{ {} }}", many(900, |n| format!("a{n}:__typename "))), COMPLEX),
        ("20,000 times the same field", format!("{{ {} }}", "__typename ".repeat(20_000)), LARGE),
        ("1,400 times the same field", format!("{{ {} }}", "__typename ".repeat(1_400)), COMPLEX),
        ("20,000 directives on a field", format!("{{ __typename {} }}", "@skip(if: true) ".repeat(20_000)), LARGE),
        ("900 directives on a field", format!("{{ __typename {} }}", "@skip(if: true) ".repeat(900)), COMPLEX),
        ("a directive twice on a field", "{ __typename @skip(if: true) @skip(if: true) }".into(), INVALID),
        ("directives on an operation", "query @skip(if: true) { __typename }".into(), INVALID),
        ("many directives on an operation", format!("query {} {{ __typename }}", "@a ".repeat(20)), COMPLEX),
        ("directives on a spread", "{ ...A @a @a } fragment A on Query { __typename }".into(), INVALID),
        ("directives on an inline fragment", "{ ... @a @b @c { __typename } }".into(), COMPLEX),
        ("20,000 operations", many(20_000, |n| format!("query Q{n}{{a}}")), LARGE),
        ("900 operations", many(900, |n| format!("query Q{n}{{a}}")), COMPLEX),
        ("two operations of one name", "query A { __typename } query A { __typename }".into(), INVALID),
        ("an operation without a name beside one", "{ __typename } query A { __typename }".into(), INVALID),
        ("several operations and none selected", "query A { __typename } query B { __typename }".into(), INVALID),
        ("20,000 variables", format!("query ({}) {{ a }}", many(20_000, |n| format!("$v{n}:Int"))), LARGE),
        ("500 variables", format!("query ({}) {{ a }}", many(500, |n| format!("$v{n}:Int "))), COMPLEX),
        ("a variable undefined", product("$sku".into()), INVALID),
        ("a variable unused", "query ($a: Int) { __typename }".into(), INVALID),
        ("20,000 times the same argument", format!("{{ product({}) {{ sku }} }}", "sku:1 ".repeat(20_000)), LARGE),
        ("the same argument twice", "{ product(sku: \"A\", sku: \"B\") { sku } }".into(), INVALID),
        (
            "a name twice in an input object",
            "{ orders(filter: {customerId: 1, customerId: 2}) { nodes { id } } }".into(),
            INVALID,
        ),
        (
            "fields that cannot be merged",
            "{ x: product(sku: \"A\") { sku } x: product(sku: \"B\") { sku } }".into(),
            INVALID,
        ),
        ("an integer of 20 KB", first(&"9".repeat(20_000)), LARGE),
        ("an integer of 10 KB", first(&"9".repeat(10_000)), PARSE),
        ("1e999999", first("1e999999"), PARSE),
        ("minus zero", first("-0"), INVALID),
        ("an Int beyond 32 bits", first("2147483648"), INVALID),
        ("a negative Int", first("-1"), INPUT),
        ("zero", first("0"), INPUT),
        ("a float", first("1.5"), INVALID),
        ("a string for an Int", first("\"1\""), INVALID),
        ("a NUL in a string", product("\"a\\u0000\"".into()), INPUT),
        ("a raw NUL", "{ product(sku: \"a\u{0}\") { sku } }".into(), PARSE),
        ("bidirectional marks outside strings", "{ \u{202e}product }".into(), PARSE),
        ("a zero-width space in a name", "{ pro\u{200b}duct }".into(), PARSE),
        ("a string unterminated", "{ product(sku: \"A) { sku } }".into(), PARSE),
        ("a block string unterminated", "{ product(sku: \"\"\"A) { sku } }".into(), PARSE),
        ("60 KB of comments", format!("{{ __typename }}{}", "#\n".repeat(30_000)), LARGE),
        ("60 KB of commas", format!("{{ __typename{} }}", ",".repeat(60_000)), LARGE),
        ("nothing", String::new(), PARSE),
        ("blanks", " \n\t,".into(), PARSE),
        ("a brace", "{".into(), PARSE),
        ("16 KB of braces", "{".repeat(16_000), DEEP),
        ("type definitions", "type Q { a: Int }".into(), INVALID),
        ("a field that does not exist", "{ producs { sku } }".into(), INVALID),
        ("@defer", "{ products { nodes { sku ... @defer { name } } } }".into(), INVALID),
        ("@stream", "{ products { nodes @stream { sku } } }".into(), INVALID),
        (
            "two mutations at the root",
            "mutation { a: syncOrder(orderId: \"x\") { id } b: syncOrder(orderId: \"x\") { id } }".into(),
            COMPLEX,
        ),
        ("100 aliased mutations", format!("mutation {{ {} }}", many(100, |n| format!("a{n}: createOrder "))), COMPLEX),
        (
            "introspection in lists of lists",
            "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }".into(),
            INVALID,
        ),
    ]
}

/// One request and what it was answered; then an ordinary one, which must be served.
async fn hostile(shop: &Shop, name: &str, request: reqwest::RequestBuilder, status: &[u16], code: &str) -> Value {
    let response = request.send().await.unwrap();
    let got = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert!(text.len() <= ANSWER, "{name}: {} bytes", text.len());
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{name}: not JSON: {text}"));
    assert_eq!(body["errors"][0]["extensions"]["code"], code, "{name}: {body}");
    assert!(status.contains(&got), "{name}: {got}");
    let errors = body["errors"].as_array().unwrap();
    assert!(
        errors.len() <= 5 && errors.iter().all(|e| e["message"].as_str().unwrap().chars().count() <= 256),
        "{body}"
    );
    let next = shop.ask("", "{ __typename }", json!({})).await;
    assert_eq!(next.at("/__typename"), "Query", "after: {name}");
    body
}

fn post(shop: &Shop, body: String) -> reqwest::RequestBuilder {
    shop.http().post(shop.url("/graphql")).header("content-type", "application/json").body(body)
}

#[tokio::test]
async fn each_document_gets_its_code_over_http() {
    let shop = Shop::open(Backend::Sqlite).await;
    for (name, document, code) in documents() {
        let body = json!({"query": document}).to_string();
        // Bodies beyond 64 KiB are not read to their end.
        let status = if code == LARGE { [413, 413] } else { [200, 400] };
        hostile(&shop, name, post(&shop, body), &status, code).await;
    }
}

#[tokio::test]
async fn each_document_gets_its_code_over_a_socket() {
    let shop = Shop::open(Backend::Sqlite).await;
    let mut socket = Watcher::connect(&shop).await;
    socket.say(json!({"type": "connection_init"})).await;
    assert_eq!(socket.hear().await["type"], "connection_ack");
    for (name, document, code) in documents() {
        let message = json!({"id": name, "type": "subscribe", "payload": {"query": document}});
        if message.to_string().len() > 32 * 1024 {
            continue;
        }
        socket.say(message).await;
        let heard = socket.hear().await;
        // A negative number is a value of its type: the field says no.
        let errors = if heard["type"] == "next" { &heard["payload"]["errors"] } else { &heard["payload"] };
        assert_eq!(errors[0]["extensions"]["code"], code, "{name}: {heard}");
        assert!(heard.to_string().len() <= ANSWER, "{name}");
        if heard["type"] == "next" {
            assert_eq!(socket.hear().await["type"], "complete", "{name}");
        }
        socket.say(json!({"id": "next", "type": "subscribe", "payload": {"query": "{ __typename }"}})).await;
        assert_eq!(socket.hear().await["payload"]["data"]["__typename"], "Query", "after: {name}");
        assert_eq!(socket.hear().await["type"], "complete");
    }
}

#[tokio::test]
async fn each_request_gets_its_code() {
    let shop = Shop::open(Backend::Sqlite).await;
    let query = json!({"query": "{ __typename }"});
    let with = |name: &str, value: Value| {
        let mut body = query.clone();
        body[name] = value;
        body.to_string()
    };
    let deep =
        format!(r#"{{"query":"{{ __typename }}","variables":{{"a":{}1{}}}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let deep_100 =
        format!(r#"{{"query":"{{ __typename }}","variables":{{"a":{}1{}}}}}"#, "[".repeat(100), "]".repeat(100));
    let mutation = "mutation { syncOrder(orderId: \"x\") { id } }";
    let json_type = "application/json";
    for (name, content_type, body, status, code) in [
        ("a wrong operationName", json_type, with("operationName", json!("Nothing")), 200, INVALID),
        ("operationName as a number", json_type, with("operationName", json!(1)), 400, PARSE),
        ("variables nested 10,000 deep", json_type, deep, 400, PARSE),
        ("variables nested 100 deep", json_type, deep_100, 400, DEEP),
        ("variables as an array", json_type, with("variables", json!([1])), 400, PARSE),
        ("variables as a string", json_type, with("variables", json!("{}")), 400, PARSE),
        ("variables of 33 KB", json_type, with("variables", json!({"a": vec!["x".repeat(1_000); 33]})), 413, LARGE),
        ("a megabyte of braces", json_type, json!({"query": "{".repeat(1_000_000)}).to_string(), 413, LARGE),
        ("a body of 50 MB", json_type, " ".repeat(50_000_000), 413, LARGE),
        ("extensions of 60 KB as text", json_type, with("extensions", json!("x".repeat(60_000))), 400, PARSE),
        ("a batch of 2", json_type, json!([query, query]).to_string(), 400, "BATCHING_DISABLED"),
        ("a batch of 1,000", json_type, json!(vec![&query; 1_000]).to_string(), 400, "BATCHING_DISABLED"),
        ("a query as a number", json_type, json!({"query": 1}).to_string(), 400, PARSE),
        ("a query twice", json_type, r#"{"query":"{ a }","query":"{ b }"}"#.into(), 400, PARSE),
        ("not JSON", json_type, "{".into(), 400, PARSE),
        ("no body", json_type, String::new(), 400, PARSE),
        ("a byte order mark before the JSON", json_type, format!("\u{feff}{query}"), 400, PARSE),
        ("text/plain", "text/plain", json!({"query": mutation}).to_string(), 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("a form", "application/x-www-form-urlencoded", format!("query={mutation}"), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (
            "multipart",
            "multipart/form-data; boundary=x",
            format!(
                "--x\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n{}\r\n--x--",
                json!({"query": mutation})
            ),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (
            "a bomb in a multipart's map",
            "multipart/form-data; boundary=x",
            format!(
                "--x\r\nContent-Disposition: form-data; name=\"map\"\r\n\r\n{{\"0\":[{}]}}\r\n--x--",
                "\"variables.a\",".repeat(4_000)
            ),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        ("another charset", "application/json; charset=utf-7", query.to_string(), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (
            "a subscription by POST",
            json_type,
            json!({"query": "subscription { paymentStatus(orderId: \"x\") { at } }"}).to_string(),
            405,
            "METHOD_NOT_ALLOWED",
        ),
        ("an amount too large", json_type, amount(json!("9223372036854775808")), 200, "AMOUNT_OUT_OF_RANGE"),
    ] {
        let request = shop.http().post(shop.url("/graphql")).header("content-type", content_type).body(body);
        hostile(&shop, name, request, &[status], code).await;
    }
    let no_type = shop.http().post(shop.url("/graphql")).body(json!({"query": mutation}).to_string());
    hostile(&shop, "no content type", no_type, &[415], "UNSUPPORTED_MEDIA_TYPE").await;
    let multipart = post(&shop, json!({"query": mutation}).to_string()).header("accept", "multipart/mixed");
    assert_eq!(multipart.send().await.unwrap().headers()["content-type"], "application/json; charset=utf-8");
    for (name, method, query, code) in [
        ("a mutation by GET", "GET", "mutation { syncOrder(orderId: \"x\") { id } }", "METHOD_NOT_ALLOWED"),
        ("a subscription by GET", "GET", "subscription { paymentStatus(orderId: \"x\") { at } }", "METHOD_NOT_ALLOWED"),
        ("a query by PUT", "PUT", "{ __typename }", "METHOD_NOT_ALLOWED"),
        ("a query by DELETE", "DELETE", "{ __typename }", "METHOD_NOT_ALLOWED"),
    ] {
        let mut url = reqwest::Url::parse(&shop.url("/graphql")).unwrap();
        url.query_pairs_mut().append_pair("query", query);
        let request = shop.http().request(method.parse().unwrap(), url);
        hostile(&shop, name, request, &[405], code).await;
    }
    // What is not known means nothing, however much it is.
    for body in [with("extensions", json!({"x": "x".repeat(60_000)})), with("more", json!([1]))] {
        let answer = post(&shop, body).send().await.unwrap().text().await.unwrap();
        assert_eq!(answer, r#"{"data":{"__typename":"Query"}}"#);
    }
}

fn amount(minor: Value) -> String {
    let document = "mutation ($a: MoneyInput!) { refundOrder(idempotencyKey: \"hostile-00000001\", input: {orderId: \"x\", reason: OTHER, amount: $a}) { replayed } }";
    json!({"query": document, "variables": {"a": {"minor": minor, "currency": "CNY"}}}).to_string()
}

#[tokio::test]
async fn amounts_that_are_none_are_refused() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, _) = shop.paid_order("TEA").await;
    let token = shop.token("admin", "admin");
    for (name, minor, code) in [
        ("beyond 64 bits", json!("9223372036854775808"), "AMOUNT_OUT_OF_RANGE"),
        ("negative", json!("-1"), "AMOUNT_OUT_OF_RANGE"),
        ("zero", json!("0"), "AMOUNT_OUT_OF_RANGE"),
        ("a float", json!(1.5), "AMOUNT_OUT_OF_RANGE"),
        ("minus zero", json!("-0"), "AMOUNT_OUT_OF_RANGE"),
        ("blanks", json!(" 1"), "AMOUNT_OUT_OF_RANGE"),
        ("words", json!("one"), "AMOUNT_OUT_OF_RANGE"),
        ("null", json!(null), INVALID),
    ] {
        let mut body: Value = serde_json::from_str(&amount(minor)).unwrap();
        body["query"] = json!(body["query"].as_str().unwrap().replace("\"x\"", &format!("\"{order}\"")));
        let request = post(&shop, body.to_string()).header("authorization", format!("Bearer {token}"));
        hostile(&shop, name, request, &[200], code).await;
    }
    assert_eq!(shop.ledger().refunds.len(), 0);
}

/// Everything that takes an id, with another's and with none's: the same words.
#[tokio::test]
async fn what_is_another_customers_is_not_told_from_what_does_not_exist() {
    let shop = Shop::open(Backend::Sqlite).await;
    let (order, payment) = shop.paid_order("TEA").await;
    let refund = shop.refund(&Shop::key(), &order, Some(100)).await.text("/refundOrder/refund/id");
    let mallory = shop.token("mallory", "customer");
    for (document, real) in [
        ("query ($id: ID!) { order(id: $id) { id } }", &order),
        ("query ($id: ID!) { payment(id: $id) { id } }", &payment),
        ("query ($id: ID!) { refund(id: $id) { id } }", &refund),
        ("mutation ($id: ID!) { syncOrder(orderId: $id) { id } }", &order),
        (
            "mutation ($id: ID!, $key: IdempotencyKey!) { cancelOrder(idempotencyKey: $key, input: {orderId: $id}) { replayed } }",
            &order,
        ),
        (
            "mutation ($id: ID!, $key: IdempotencyKey!) { repayOrder(idempotencyKey: $key, input: {orderId: $id, payment: {gateway: ALIPAY, product: PAGE}}) { replayed } }",
            &order,
        ),
        (
            "mutation ($id: ID!, $key: IdempotencyKey!) { refundOrder(idempotencyKey: $key, input: {orderId: $id, reason: OTHER}) { replayed } }",
            &order,
        ),
    ] {
        let ask = async |id: &str| {
            let variables = json!({"id": id, "key": Shop::key()});
            shop.ask(&mallory, document, variables).await
        };
        let foreign = ask(real).await;
        let mut nobodys = real.clone();
        nobodys.replace_range(real.len() - 4.., "ZZZZ");
        let absent = ask(&nobodys).await;
        assert_eq!((foreign.status, &foreign.body), (absent.status, &absent.body), "{document}");
        assert!(["NOT_FOUND", "FORBIDDEN"].contains(&foreign.code().as_str()), "{document}: {}", foreign.body);
    }
}

/// Strings that mean something elsewhere are only strings here, and come back as they went in.
#[tokio::test]
async fn strings_are_only_strings() {
    let shop = Shop::open(Backend::Sqlite).await;
    let token = shop.token("alice", "customer");
    for text in [
        "'; DROP TABLE orders; --",
        "\" OR 1=1 --",
        "a\r\nSet-Cookie: x=1",
        "\u{1b}[2J\u{1b}]0;x\u{7}",
        "<script>alert(1)</script>",
        "{{7*7}} ${7*7} %s %n",
        "\u{202e}\u{200b}\u{feff}\u{1f600}",
        "../../etc/passwd",
    ] {
        let input = json!({"lines": [{"sku": "TEA", "quantity": 1}], "note": text, "allowDuplicate": true});
        let document = "mutation ($k: IdempotencyKey!, $i: CreateOrderInput!) { createOrder(idempotencyKey: $k, input: $i) { order { note } } }";
        let placed = shop.ask(&token, document, json!({"k": Shop::key(), "i": input})).await;
        if placed.body.get("errors").is_none() {
            assert_eq!(placed.at("/createOrder/order/note"), text);
        } else {
            assert_eq!(placed.code(), INPUT, "{text:?}: {}", placed.body);
        }
        for (document, what) in [
            ("query ($t: ID!) { order(id: $t) { id } }", "order"),
            ("query ($t: ID!) { payment(id: $t) { id } }", "payment"),
            ("query ($t: ID!) { refund(id: $t) { id } }", "refund"),
            ("query ($t: String!) { product(sku: $t) { name } }", "product"),
        ] {
            let answer = shop.ask(&token, document, json!({"t": text})).await;
            assert!(answer.body["data"][what].is_null(), "{}", answer.body);
        }
        for document in [
            "query ($t: ID!) { orders(filter: {customerId: $t}) { nodes { id } } }",
            "query ($t: String!) { orders(after: $t) { nodes { id } } }",
            "mutation ($t: IdempotencyKey!) { cancelOrder(idempotencyKey: $t, input: {orderId: \"x\"}) { replayed } }",
        ] {
            let answer = shop.ask(&token, document, json!({"t": text})).await;
            assert!(!["INTERNAL", "STORE_UNAVAILABLE"].contains(&answer.code().as_str()), "{}", answer.body);
            assert!(answer.body["data"]["orders"]["nodes"].as_array().is_none_or(Vec::is_empty), "{}", answer.body);
        }
    }
    let count = shop.ask(&token, "{ orders { nodes { id } } }", json!({})).await;
    assert!(!count.at("/orders/nodes").as_array().unwrap().is_empty(), "the table is still there");
}

/// A wrong name is not put right. That production's introspection is for staff, `scripts/strangers` tries.
#[tokio::test]
async fn a_wrong_name_is_not_put_right() {
    let shop = Shop::open(Backend::Sqlite).await;
    for document in [
        "{ prodct(sku: \"x\") { sku } }",
        "{ product(sk: \"x\") { sku } }",
        "{ product(sku: \"x\") { sk } }",
        "{ orders(filter: {statuss: PAID}) { nodes { id } } }",
        "{ orders(filter: {status: PAI}) { nodes { id } } }",
        "{ products { nodes { ... on Produc { sku } } } }",
    ] {
        let text = shop.ask("", document, json!({})).await.body["errors"][0]["message"].as_str().unwrap().to_owned();
        for right in ["product(", " product ", "sku", "status,", "PAID", "Product,", "ean"] {
            assert!(!text.contains(right), "{text}");
        }
    }
}

/// A body without an end, and one that comes a byte at a time: both end, and others are served meanwhile.
#[tokio::test]
async fn bodies_that_do_not_end_are_not_waited_for() {
    let shop = Shop::open(Backend::Sqlite).await;
    let head =
        |how: &str| format!("POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{how}\r\n\r\n");
    let connect = async || tokio::net::TcpStream::connect(shop.app.address).await.unwrap();

    let mut endless = connect().await;
    endless.write_all(head("transfer-encoding: chunked").as_bytes()).await.unwrap();
    let chunk = format!("400\r\n{}\r\n", " ".repeat(1_024));
    for _ in 0..70 {
        if endless.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    assert!(answered(endless).await.starts_with("HTTP/1.1 413"));

    let mut slow = connect().await;
    slow.write_all(format!("{}{{", head("content-length: 100")).as_bytes()).await.unwrap();
    assert_eq!(shop.ask("", "{ __typename }", json!({})).await.status, 200);
    assert!(answered(slow).await.starts_with("HTTP/1.1 408"));
}

async fn answered(mut connection: tokio::net::TcpStream) -> String {
    let mut text = vec![0; 1_024];
    let read = tokio::time::timeout(std::time::Duration::from_secs(15), connection.read(&mut text)).await;
    String::from_utf8_lossy(&text[..read.expect("no answer within 15 s").unwrap_or(0)]).into_owned()
}
