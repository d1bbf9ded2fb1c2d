//! graphql-js is the judge (`tests/clients/validation.mjs`); here is a case of each rule that async-graphql lacks.

use async_graphql::{
    EmptyMutation, Object, Request, Schema, SimpleObject, Subscription, Union, ValidationMode, Variables,
};
use futures_util::Stream;
use serde_json::{Value, json};

use crate::graphql::codes::Codes;

#[derive(SimpleObject)]
struct Cat {
    name: String,
    lives: i32,
}

#[derive(SimpleObject)]
struct Dog {
    name: String,
    barks: Option<String>,
}

#[derive(Union)]
enum Pet {
    Cat(Cat),
    Dog(Dog),
}

#[derive(async_graphql::Enum, Clone, Copy, PartialEq, Eq)]
enum Size {
    Small,
    Large,
}

#[derive(async_graphql::InputObject)]
struct Wish {
    size: Option<Size>,
    names: Option<Vec<String>>,
}

struct Query;

#[Object]
impl Query {
    async fn pet(&self, id: async_graphql::ID, #[graphql(default = 3)] age: i32, wish: Option<Wish>) -> Option<Pet> {
        let small = wish.is_some_and(|w| w.size == Some(Size::Small) && w.names.is_none());
        match (id.as_str(), age) {
            ("cat", lives) => Some(Pet::Cat(Cat { name: "Tom".into(), lives })),
            _ if small => Some(Pet::Dog(Dog { name: "Rex".into(), barks: None })),
            _ => None,
        }
    }

    async fn cat(&self) -> Cat {
        Cat { name: "Tom".into(), lives: 9 }
    }
}

struct Events;

#[Subscription]
impl Events {
    async fn ticks(&self) -> impl Stream<Item = i32> {
        futures_util::stream::iter([1])
    }
}

/// The code of the first error, or the data.
async fn asked(document: &str, variables: Value) -> Result<Value, String> {
    let schema =
        Schema::build(Query, EmptyMutation, Events).validation_mode(ValidationMode::Fast).extension(Codes).finish();
    let response = schema.execute(Request::new(document).variables(Variables::from_json(variables))).await;
    match response.errors.first() {
        None => Ok(response.data.into_json().unwrap()),
        Some(e) => Err(e.extensions.as_ref().and_then(|x| x.get("code")).unwrap().to_string().replace('"', "")),
    }
}

#[tokio::test]
async fn what_the_library_lets_through_is_refused() {
    for document in [
        "{ cat }",
        "{ cat { name { x } } }",
        "{ __typename { x } }",
        "{ __typename(a: 1) }",
        "{ __typename @nothing }",
        "{ __typename @skip }",
        "{ __typename @skip(if: 1) }",
        "{ __typename @skip(if: true) @skip(if: true) }",
        "{ __typename @skip(if: $b) }",
        "query ($b: Boolean! @skip(if: true)) { cat { name @skip(if: $b) } }",
        "query ($id: ID) { pet(id: $id) { __typename } }",
        "query ($id: Int!) { pet(id: $id) { __typename } }",
        "query ($id: ID = null) { pet(id: $id) { __typename } }",
        "query ($ids: [ID!]!) { pet(id: $ids) { __typename } }",
        "query ($n: [String]) { pet(id: 1, wish: {names: $n}) { __typename } }",
        "query ($a: Int!, $b: Int!) { pet(id: 1, age: $a) { __typename } }",
        "{ pet(id: 1, wish: 1) { __typename } }",
        "{ pet(id: 1, wish: {size: \"SMALL\"}) { __typename } }",
        "{ pet(id: 1, wish: {size: HUGE}) { __typename } }",
        "{ pet(id: 1, wish: {names: [1]}) { __typename } }",
        "query ($absent: [String!]) { pet(id: 1, wish: {names: $absent, more: 1}) { __typename } }",
        "query ($w: Wish = {more: 1}) { pet(id: 1, wish: $w) { __typename } }",
        "{ pet(id: 1, age: 3000000000) { __typename } }",
        "{ pet(id: 1, age: null) { __typename } x: pet(id: 1.5) { __typename } }",
        "{ cat { x: name } ... { cat { x: lives } } }",
        "{ cat { x: name ...C } } fragment C on Cat { x: lives }",
        "{ x: cat { name } x: pet(id: 1) { __typename } }",
        "{ pet(id: 1) { ... on Cat { x: name } ... on Dog { x: barks } } }",
        "{ pet(id: 1) { ... on Cat { x: lives } ... on Dog { x: name } } }",
        "{ pet(id: 1) { ... on Cat { x: name } x: __typename } }",
        "{ pet(id: 1) { __typename } pet(id: 2) { __typename } }",
        "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
        "subscription { __typename }",
        "subscription { ...T } fragment T on Events { __typename }",
    ] {
        let refused = asked(document, json!({"id": 1, "a": 1, "b": 1})).await;
        assert_eq!(refused, Err("GRAPHQL_VALIDATION_FAILED".to_owned()), "{document}");
    }
}

#[tokio::test]
async fn what_the_library_refuses_without_need_runs() {
    let tom = json!({"__typename": "Cat", "name": "Tom"});
    for (document, data) in [
        ("query ($b: Boolean!) { __typename @include(if: $b) }", json!({"__typename": "Query"})),
        (
            "query ($id: String!, $b: Boolean!) { cat { ...C @include(if: $b) } x: cat { name @skip(if: $b) lives } pet(id: 1, wish: {names: [$id]}) { __typename } } fragment C on Cat { __typename name }",
            json!({"cat": tom, "x": {"lives": 9}, "pet": null}),
        ),
        ("{ pet(id: \"cat\") { ... on Cat { x: name } ... on Dog { x: name } } }", json!({"pet": {"x": "Tom"}})),
        ("{ cat { name name } cat { lives } }", json!({"cat": {"name": "Tom", "lives": 9}})),
    ] {
        assert_eq!(asked(document, json!({"b": true, "id": "x"})).await, Ok(data), "{document}");
    }
}

#[tokio::test]
async fn variables_are_of_their_types_or_nothing_runs() {
    const ASKED: &str = "query ($w: Wish, $age: Int!) { pet(id: 1, age: $age, wish: $w) { __typename } }";
    for wrong in [
        json!({}),
        json!({"age": null}),
        json!({"age": "1"}),
        json!({"age": 1.5}),
        json!({"age": 3_000_000_000_i64}),
        json!({"age": [1]}),
        json!({"age": 1, "w": []}),
        json!({"age": 1, "w": "x"}),
        json!({"age": 1, "w": {"more": 1}}),
        json!({"age": 1, "w": {"size": "HUGE"}}),
        json!({"age": 1, "w": {"size": 1}}),
        json!({"age": 1, "w": {"names": [null]}}),
    ] {
        assert_eq!(asked(ASKED, wrong.clone()).await, Err("GRAPHQL_VALIDATION_FAILED".to_owned()), "{wrong}");
    }
    for right in
        [json!({"age": 1}), json!({"age": -1, "w": null}), json!({"age": 1, "w": {"names": "x", "size": null}})]
    {
        assert_eq!(asked(ASKED, right.clone()).await, Ok(json!({"pet": null})), "{right}");
    }
    let small = asked(ASKED, json!({"age": 1, "w": {"size": "SMALL"}, "more": 1})).await;
    assert_eq!(small, Ok(json!({"pet": {"__typename": "Dog"}})));
}
