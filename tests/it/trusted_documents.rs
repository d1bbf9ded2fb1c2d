//! Trusted documents: what everybody but staff must choose from.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::event_stream::EventStream;
use crate::support::watcher::Watcher;
use crate::support::{Backend, Shop};
use payonce::app::App;
use payonce::config::Config;

const PRODUCTS: &str = "query Products { products { nodes { sku } } }\n";
const STATUS: &str = "subscription Status($id: ID!) { paymentStatus(orderId: $id) { version } }";
const OTHER: &str = "{ products { nodes { name } } }";

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

async fn shop() -> (Shop, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("products.graphql"), PRODUCTS).unwrap();
    std::fs::write(folder.path().join("shop.json"), json!({hash(STATUS): STATUS}).to_string()).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "not a document").unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    (Shop::open_with(Backend::Sqlite, &[("PAYONCE_TRUSTED_DOCUMENTS", &path)]).await, folder)
}

async fn post(shop: &Shop, token: &str, body: Value) -> (u16, Value) {
    let mut request = shop.http().post(shop.url("/graphql")).header("content-type", "application/json");
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    read(request.body(body.to_string()).send().await.unwrap()).await
}

async fn read(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

fn not_trusted((status, body): (u16, Value)) {
    assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (400, &json!("DOCUMENT_NOT_TRUSTED")), "{body}");
}

fn served((status, body): (u16, Value)) {
    assert!(status == 200 && body["data"]["products"]["nodes"][0]["sku"].is_string(), "{status} {body}");
}

#[tokio::test]
async fn a_known_document_is_served_by_its_text_and_by_its_id() {
    let (shop, _folder) = shop().await;
    let id = hash(PRODUCTS);
    let persisted = json!({"persistedQuery": {"version": 1, "sha256Hash": id}});
    for body in [
        json!({"query": PRODUCTS}),
        json!({"documentId": format!("sha256:{id}")}),
        json!({"documentId": id}),
        json!({"extensions": persisted}),
        json!({"extensions": persisted, "query": null, "operationName": "Products", "variables": {}}),
        json!({"extensions": persisted, "query": PRODUCTS}),
    ] {
        served(post(&shop, "", body).await);
    }
    let get = async |parameters: &[(&str, &str)]| {
        let url = reqwest::Url::parse_with_params(&shop.url("/graphql"), parameters).unwrap();
        read(shop.http().get(url).send().await.unwrap()).await
    };
    served(get(&[("query", PRODUCTS)]).await);
    served(get(&[("documentId", &format!("sha256:{id}"))]).await);
    served(get(&[("extensions", &persisted.to_string())]).await);
    not_trusted(get(&[("query", OTHER)]).await);
    not_trusted(get(&[("documentId", &hash(OTHER))]).await);
}

#[tokio::test]
async fn everything_else_is_for_staff() {
    let (shop, _folder) = shop().await;
    let alice = shop.token("alice", "customer");
    for token in ["", &alice] {
        for body in [
            json!({"query": OTHER}),
            json!({"query": PRODUCTS.trim()}),
            json!({"query": format!("{PRODUCTS}#")}),
            json!({"query": "{ __schema { types { name } } }"}),
            json!({"query": "{".repeat(10_000)}),
            json!({"documentId": hash(OTHER)}),
            json!({"documentId": "Products"}),
            json!({"documentId": hash(PRODUCTS), "query": OTHER}),
            json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash(PRODUCTS)}}, "query": OTHER}),
        ] {
            not_trusted(post(&shop, token, body).await);
        }
    }
    // As clients that register their documents would: nothing is added.
    let register = json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash(OTHER)}}, "query": OTHER});
    not_trusted(post(&shop, &alice, register.clone()).await);
    for role in ["support", "refunder", "approver", "admin"] {
        let staff = shop.token("sam", role);
        assert!(post(&shop, &staff, register.clone()).await.1["data"]["products"]["nodes"][0]["name"].is_string());
        assert!(post(&shop, &staff, json!({"query": "{ __schema { types { name } } }"})).await.1["data"].is_object());
    }
    not_trusted(post(&shop, &shop.token("machine", "service"), json!({"query": OTHER})).await);
    not_trusted(post(&shop, "", json!({"documentId": hash(OTHER)})).await);
    for nothing in
        [json!({}), json!({"query": null}), json!({"extensions": {"persistedQuery": "x"}}), json!({"documentId": 7})]
    {
        let (status, body) = post(&shop, "", nothing).await;
        assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (400, &json!("GRAPHQL_PARSE_FAILED")), "{body}");
    }
}

#[tokio::test]
async fn sockets_and_streams_take_the_same_documents() {
    let (shop, _folder) = shop().await;
    let admin = shop.token("admin", "admin");
    let input = "mutation { createOrder(idempotencyKey: \"0123456789abcdef\", input: {lines: [{sku: \"TEA\", quantity: 1}]}) { order { id } } }";
    let order = post(&shop, &admin, json!({"query": input})).await.1["data"]["createOrder"]["order"]["id"].clone();
    let mut socket = Watcher::connect(&shop).await;
    socket.say(json!({"type": "connection_init"})).await;
    assert_eq!(socket.hear().await["type"], "connection_ack");
    socket.say(json!({"id": "1", "type": "subscribe", "payload": {"query": OTHER}})).await;
    assert_eq!(socket.hear().await["payload"][0]["extensions"]["code"], "DOCUMENT_NOT_TRUSTED");
    let by_id = json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash(PRODUCTS)}}});
    socket.say(json!({"id": "2", "type": "subscribe", "payload": by_id})).await;
    assert!(socket.hear().await["payload"]["data"]["products"].is_object());

    let refused = EventStream::open(&shop, "", OTHER, json!({})).await.response().await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "DOCUMENT_NOT_TRUSTED");
    let body = json!({"documentId": hash(STATUS), "variables": {"id": order}}).to_string();
    let request = shop.http().post(shop.url("/graphql")).header("content-type", "application/json");
    let request = request
        .header("accept", "text/event-stream")
        .header("authorization", format!("Bearer {}", shop.token("admin", "customer")));
    let mut stream = EventStream::of(request.body(body).send().await.unwrap());
    assert_eq!(stream.response().await["data"]["paymentStatus"]["version"], 1);
}

#[tokio::test]
async fn where_every_document_is_taken_none_is_known_by_an_id() {
    let shop = Shop::open(Backend::Sqlite).await;
    served(post(&shop, "", json!({"query": PRODUCTS, "documentId": "x"})).await);
    not_trusted(post(&shop, "", json!({"documentId": hash(PRODUCTS)})).await);
}

#[tokio::test]
async fn a_document_that_is_none_stops_the_start_and_names_its_file() {
    let (shop, folder) = shop().await;
    let start = async || {
        let config: Config = shop.config.clone();
        let environment = [
            ("PAYONCE_LISTEN", "127.0.0.1:0"),
            ("PAYONCE_SANDBOX_LISTEN", "off"),
            ("PAYONCE_DATABASE_URL", config.database_url.as_str()),
            ("PAYONCE_TRUSTED_DOCUMENTS", folder.path().to_str().unwrap()),
        ];
        let environment = environment.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let config = Config::from(Default::default(), environment).unwrap();
        App::start(&config, shop.clock.clone()).await.err().map(|e| e.to_string())
    };
    for (name, text) in [("bad.graphql", "query {"), ("bad.json", "{\"00\": \"{ __typename }\"}")] {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        let line = start().await.expect("it starts");
        assert!(line.starts_with("PAYONCE_TRUSTED_DOCUMENTS: ") && line.contains(name), "{line}");
        std::fs::remove_file(file).unwrap();
    }
}
