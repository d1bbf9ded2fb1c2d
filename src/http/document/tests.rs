use std::time::{Duration, Instant};

use async_graphql::parser::parse_query;
use serde_json::json;

use super::{Kind, Limits, check, check_variables};
use crate::graphql::code;

/// All options on: what GraphiQL, graphql-js and code generators send is a part of it.
const INTROSPECTION: &str = include_str!("introspection.graphql");

fn verdict(document: &str) -> Result<(), &'static str> {
    check(document, &Limits::default()).map(drop).map_err(|e| {
        assert!(e.message().len() < 256, "{}", e.message());
        e.code()
    })
}

#[test]
fn hostile_documents_are_refused_with_their_code() {
    let many = |n: usize, text: &dyn Fn(usize) -> String| (0..n).map(text).collect::<String>();
    let bomb = |levels: usize, each: usize| {
        let fragments =
            many(levels, &|n| format!("fragment F{n} on T {{ {} }} ", format!("...F{} ", n + 1).repeat(each)));
        format!("{{ ...F0 }} {fragments} fragment F{levels} on T {{ a }}")
    };
    // 20 spreads in all and 16 fragments, within every limit but what they come to.
    let slim_bomb = {
        let links = many(6, &|n| format!("fragment F{n} on T {{ {} }} ", format!("...F{} ", n + 1).repeat(3)));
        format!("{{ ...F0 }} {links} fragment F6 on T {{ {} }}", "a ".repeat(20))
    };
    let table: Vec<(&str, String, &str)> = vec![
        ("list nest 1,350", format!("{{ a(b: {}1{}) }}", "[".repeat(1_350), "]".repeat(1_350)), code::QUERY_TOO_DEEP),
        ("list nest 100k", format!("{{ a(b: {}", "[".repeat(100_000)), code::QUERY_TOO_LARGE),
        ("object nest", format!("{{ a(b: {}1{}) }}", "{c:".repeat(1_350), "}".repeat(1_350)), code::QUERY_TOO_DEEP),
        (
            "nest in a default",
            format!("query ($a: T = {}1{}) {{ a }}", "[".repeat(40), "]".repeat(40)),
            code::QUERY_TOO_DEEP,
        ),
        ("nest in a directive", format!("{{ a @b(c: {}1{}) }}", "[".repeat(40), "]".repeat(40)), code::QUERY_TOO_DEEP),
        (
            "list type nest",
            format!("query ($a: {}T{}) {{ a }}", "[".repeat(1_350), "]".repeat(1_350)),
            code::QUERY_TOO_DEEP,
        ),
        ("selection nest", format!("{}{}", "{a".repeat(64), "}".repeat(64)), code::QUERY_TOO_DEEP),
        ("selection nest 10k", "{a".repeat(8_000), code::QUERY_TOO_DEEP),
        ("inline fragments", format!("{}a{}", "{...".repeat(40), "}".repeat(40)), code::QUERY_TOO_DEEP),
        ("inline fragments on", format!("{{ {}a{} }}", "...on T{".repeat(40), "}".repeat(40)), code::QUERY_TOO_DEEP),
        ("parentheses", format!("{{ a{}", "(".repeat(1_350)), code::GRAPHQL_PARSE_FAILED),
        ("braces", "{".repeat(16_000), code::QUERY_TOO_DEEP),
        ("a megabyte of braces", "{".repeat(1_000_000), code::QUERY_TOO_LARGE),
        ("bomb 7 x 10", bomb(7, 10), code::QUERY_TOO_COMPLEX),
        ("bomb 15 x 10", bomb(15, 10), code::QUERY_TOO_COMPLEX),
        ("bomb 100 x 6", bomb(100, 6), code::QUERY_TOO_COMPLEX),
        ("slim bomb", slim_bomb, code::QUERY_TOO_COMPLEX),
        (
            "fragments in depth",
            {
                let links = many(5, &|n| {
                    format!("fragment F{n} on T {{ a {{ b {{ c {{ d {{ e {{ f {{ ...F{} }} }} }} }} }} }} }} ", n + 1)
                });
                format!("{{ ...F0 }} {links} fragment F5 on T {{ a }}")
            },
            code::QUERY_TOO_DEEP,
        ),
        (
            "circle",
            "{ ...A } fragment A on T { ...B } fragment B on T { ...A }".into(),
            code::GRAPHQL_VALIDATION_FAILED,
        ),
        ("self", "{ ...A } fragment A on T { a ...A }".into(), code::GRAPHQL_VALIDATION_FAILED),
        ("unused circle", "{ a } fragment A on T { a { ...A } }".into(), code::GRAPHQL_VALIDATION_FAILED),
        (
            "unused fragments",
            format!("{{ a }} {}", many(400, &|n| format!("fragment F{n} on T{{a}}"))),
            code::QUERY_TOO_COMPLEX,
        ),
        ("20k aliases", format!("{{ {} }}", many(20_000, &|n| format!("a{n}:b "))), code::QUERY_TOO_LARGE),
        ("21 aliases", format!("{{ t {{ {} }} }}", many(21, &|n| format!("a{n}:b "))), code::QUERY_TOO_COMPLEX),
        (
            "aliased __typename",
            format!("{{ {} }}", many(100, &|n| format!("a{n}:__typename "))),
            code::QUERY_TOO_COMPLEX,
        ),
        ("duplicate fields", format!("{{ t {{ {} }} }}", "a ".repeat(5_000)), code::QUERY_TOO_COMPLEX),
        ("root fields", format!("{{ {} }}", "a ".repeat(11)), code::QUERY_TOO_COMPLEX),
        (
            "root fields in fragments",
            "{ ...A ...A ... { a a a } } fragment A on T { a a ... on T { a a } }".into(),
            code::QUERY_TOO_COMPLEX,
        ),
        ("two mutations", "mutation { a b }".into(), code::QUERY_TOO_COMPLEX),
        (
            "100 aliased mutations",
            format!("mutation {{ {} }}", many(100, &|n| format!("a{n}:pay "))),
            code::QUERY_TOO_COMPLEX,
        ),
        ("mutations in a fragment", "mutation { ...A } fragment A on Mutation { a b }".into(), code::QUERY_TOO_COMPLEX),
        ("mutations beside a fragment", "mutation { a ... on Mutation { ... { b } } }".into(), code::QUERY_TOO_COMPLEX),
        ("two subscriptions", "subscription { a { x } b { x } }".into(), code::QUERY_TOO_COMPLEX),
        ("3 directives on a field", "{ a @x @y(z: [1]) @z }".into(), code::QUERY_TOO_COMPLEX),
        ("directives on the operation", format!("query {}{{ a }}", "@x ".repeat(3)), code::QUERY_TOO_COMPLEX),
        ("directives on a spread", "{ ...A @x @y @z } fragment A on T { a }".into(), code::QUERY_TOO_COMPLEX),
        ("directives on an inline fragment", "{ ... @x @y @z { a } }".into(), code::QUERY_TOO_COMPLEX),
        ("11 directives", format!("{{ t {{ {} }} }}", "a @x ".repeat(11)), code::QUERY_TOO_COMPLEX),
        ("operations", many(5, &|n| format!("query Q{n}{{a}} ")), code::QUERY_TOO_COMPLEX),
        ("variables", format!("query ({}) {{ a }}", many(31, &|n| format!("$v{n}: Int "))), code::QUERY_TOO_COMPLEX),
        ("long list", format!("{{ a(b: [{}]) }}", "1 ".repeat(51)), code::QUERY_TOO_COMPLEX),
        ("long list of lists", format!("{{ a(b: [{}]) }}", "[] {} $x ".repeat(17)), code::QUERY_TOO_COMPLEX),
        ("a list of glued words", format!("{{ a(b: [{}]) }}", "null".repeat(60)), code::GRAPHQL_PARSE_FAILED),
        ("a list of glued zeros", format!("{{ a(b: [{}]) }}", "0".repeat(60)), code::GRAPHQL_PARSE_FAILED),
        ("duplicate arguments", format!("{{ a({}) }}", "b:1 ".repeat(1_000)), code::QUERY_TOO_COMPLEX),
        ("long string", format!("{{ a(b: \"{}\") }}", "x".repeat(1_025)), code::QUERY_TOO_LARGE),
        ("long block string", format!("{{ a(b: \"\"\"{}\"\"\") }}", "x".repeat(1_025)), code::QUERY_TOO_LARGE),
        ("long token", format!("{{ a(b: \"{}.x.x\") }}", "x".repeat(4_093)), code::QUERY_TOO_LARGE),
        ("comments", format!("{{ a }}{}", "#,\n".repeat(20_000)), code::QUERY_TOO_LARGE),
        ("SDL", "type Q { a: Int }".into(), code::GRAPHQL_VALIDATION_FAILED),
        ("SDL beside an operation", "{ a } extend type Q { a: Int }".into(), code::GRAPHQL_VALIDATION_FAILED),
        ("two operations of a name", "query A { a } mutation A { a }".into(), code::GRAPHQL_VALIDATION_FAILED),
        ("two without a name", "{ a } { b }".into(), code::GRAPHQL_VALIDATION_FAILED),
        ("anonymous beside named", "query A { a } { b }".into(), code::GRAPHQL_VALIDATION_FAILED),
        (
            "two fragments of a name",
            "{ ...A } fragment A on T { a } fragment A on T { b }".into(),
            code::GRAPHQL_VALIDATION_FAILED,
        ),
        ("a name twice in an object", "{ a(b: {c: 1, d: {c: c}, c: 2}) }".into(), code::GRAPHQL_VALIDATION_FAILED),
        ("a name twice in a list", "{ a(b: [{c: x}, {c: $c, c: x}]) }".into(), code::GRAPHQL_VALIDATION_FAILED),
        ("a name twice in a default", "query ($a: T = {b: 1 b: 2}) { a }".into(), code::GRAPHQL_VALIDATION_FAILED),
        ("empty", "".into(), code::GRAPHQL_PARSE_FAILED),
        ("blank", " \u{feff},\n# { a }".into(), code::GRAPHQL_PARSE_FAILED),
        ("fragments only", "fragment A on T { a }".into(), code::GRAPHQL_PARSE_FAILED),
    ];
    for (what, document, expected) in table {
        let started = Instant::now();
        assert_eq!(verdict(&document), Err(expected), "{what}");
        assert!(started.elapsed() < Duration::from_millis(50), "{what}");
    }
}

#[test]
fn what_is_not_graphql_is_refused_as_such() {
    let wrong = [
        "{",
        "}",
        "{ a",
        "{ a }}",
        "{ a(b: 1 }",
        "{ a(b: [1) }",
        "{ a(b: \"x) }",
        "{ a(b: \"\"\"x\") }",
        "{ a(b: \"\\x\") }",
        "{ a(b: \"\\ud800\") }",
        "{ a(b: \"\\u+123\") }",
        "{ a(b: \"\0\") }",
        "{ a(b: \"\n\") }",
        "{ a(b: 01) }",
        "{ a(b: 1.) }",
        "{ a(b: 1e) }",
        "{ a(b: -) }",
        "{ a(b: 1x) }",
        "{ a ..b }",
        "{ \u{202e}a }",
        "{ a\u{200b} }",
        "{ a ? }",
        "query",
        "query A",
        "query ($a: Int)",
        "fragment on on T { a } { a }",
        "{ ... on { a } }",
        "{ a @ }",
        "{ a @(b: 1) }",
        "[",
        "(",
        "{ [ }",
        "\"x\"",
        "fragmentA on T { a }",
        "{ a((",
        "a",
        "{ é }",
        "\u{0}{ a }",
    ];
    for document in wrong {
        assert_eq!(verdict(document), Err(code::GRAPHQL_PARSE_FAILED), "{document:?}");
    }
    let e = check("{ a\n  b(c: 01) }", &Limits::default()).unwrap_err();
    assert_eq!(e.message(), "The document is not GraphQL: not a number, at line 2, column 8.");
}

#[test]
fn ordinary_documents_pass() {
    let token = format!("{}.{}.{}", "e".repeat(100), "f".repeat(3_900), "g".repeat(90));
    let pass = [
        "{ __typename }".to_owned(),
        "\u{feff}query Q($a: [ID!]! = [\"x\", \"\"], $b: In = {c: {d: [1, -2.5e+3]}}) @x { a: b(c: $a, d: $b) @skip(if: true) @y { c } }".into(),
        "{ ...A ... on T @include(if: true) { a } ... { b } ... @x { c } } fragment A on T @x(y: 1) { ...B } fragment B on T { a }".into(),
        "query A { a } query B { b } mutation C { c } subscription D { d { e } }".into(),
        "{ a(b: \"\\\"\\u00e9 # { [ (\" c: \"\"\"x \\\"\"\" \"y\" { \n\"\"\" d: \"\") } # { ( [ \"".into(),
        format!("{{ a(quote: \"{token}\") }}"),
        format!("{{ t {{ {} }} }}", "a ".repeat(1_900)),
        format!("{}a{}", "{a".repeat(31) + "{", "}".repeat(32)),
        format!("{{ a(b: [{}]) }}", "\"\" ".repeat(50)),
        format!("query A({}) {{ a }} query B({0}) {{ a }}", "$v: Int ".repeat(30)),
        "query A { a } fragment A on T { a }".into(),
        "{ a(b: {c: c, d: {c: $c, d: [c, c]}, e: {c: true}}) }".into(),
        "query B($w: Boolean!) { b: __typename @include(if: $w) }".into(),
        "{ query: mutation fragment on type { null true subscription(fragment: null) } }".into(),
    ];
    for document in pass {
        assert_eq!(verdict(&document), Ok(()), "{document}");
        assert!(parse_query(&document).is_ok(), "{document}");
    }
}

#[test]
fn the_standard_introspection_passes_and_is_seen() {
    let counted = check(INTROSPECTION, &Limits::default()).unwrap();
    assert!(counted.introspection);
    assert!(parse_query(INTROSPECTION).is_ok());
    for document in
        ["{ __type(name: \"X\") { name } }", "{ x: __schema { x } }", "{ ...A } fragment A on Query { __schema { x } }"]
    {
        assert!(check(document, &Limits::default()).unwrap().introspection, "{document}");
    }
    for document in ["{ __typename }", "{ a(b: \"__schema\" __type: 1) } # __schema"] {
        assert!(!check(document, &Limits::default()).unwrap().introspection, "{document}");
    }
}

#[test]
fn the_console_and_the_shop_pass() {
    let shown = "fragment Shown on Order { id version total { minor currency decimal } payments { id action { __typename ... on QrCode { url } } } }";
    for document in [
        format!("mutation ($key: IdempotencyKey!, $input: CreateOrderInput!) {{ createOrder(idempotencyKey: $key, input: $input) {{ replayed order {{ ...Shown }} }} }} {shown}"),
        format!("subscription ($id: ID!) {{ paymentStatus(orderId: $id) {{ order {{ ...Shown }} }} }} {shown}"),
        "# 1. Find\nquery FindOrder {\n  orders(\n    first: 10\n    # also\n    filter: { status: [PAID, PARTIALLY_REFUNDED] }\n  ) { nodes { id lines { name quantity } } pageInfo { hasNextPage endCursor } }\n}\n".to_owned(),
    ] {
        assert_eq!(verdict(&document), Ok(()), "{document}");
    }
}

#[test]
fn whatever_passes_is_cheap_to_parse_and_never_aborts_the_parser() {
    let brackets = [
        "{",
        "[",
        "(",
        "}",
        "]",
        ")",
        "a",
        "a:",
        "...",
        "... on T",
        "@x",
        "$a",
        "1",
        "\"\"",
        "\"\"\"",
        "query ",
        "fragment F on T",
        "#\n",
        "0",
    ];
    let mut seed = 7_u64;
    for _ in 0..20_000 {
        let document: String = (0..40)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                brackets[(seed >> 33) as usize % brackets.len()]
            })
            .collect();
        if let Ok(counted) = check(&document, &Limits::default()) {
            let started = Instant::now();
            let parsed = parse_query(&document);
            assert!(started.elapsed() < Duration::from_millis(50), "{document}");
            let Ok(parsed) = parsed else { continue };
            let fields = parsed.operations.iter().count();
            assert_eq!(fields, counted.operations.len(), "{document}");
        }
    }
}

#[test]
fn the_selected_operation_has_a_kind() {
    let several = "query A { a } mutation B { b } subscription C { c } fragment D on T { d }";
    for (document, name, kind) in [
        ("{ a }", None, Some(Kind::Query)),
        ("{ a }", Some("A"), None),
        ("{ a }", Some(""), None),
        ("mutation { a }", None, Some(Kind::Mutation)),
        ("subscription S { a }", None, Some(Kind::Subscription)),
        ("subscription S { a }", Some("S"), Some(Kind::Subscription)),
        (several, None, None),
        (several, Some("A"), Some(Kind::Query)),
        (several, Some("B"), Some(Kind::Mutation)),
        (several, Some("C"), Some(Kind::Subscription)),
        (several, Some("D"), None),
        ("# mutation { a }\n{ mutation }", None, Some(Kind::Query)),
        ("query($a: S = \"mutation { b }\") { mutation(query: $a) { b } }", None, Some(Kind::Query)),
    ] {
        assert_eq!(check(document, &Limits::default()).unwrap().kind(document, name), kind, "{document} {name:?}");
    }
}

#[test]
fn hostile_variables_are_refused_and_ordinary_ones_pass() {
    let nest = |n: usize| (0..n).fold(json!(1), |inner, _| json!([inner]));
    let limits = Limits::default();
    for (what, variables, expected) in [
        ("list", json!([1]), code::GRAPHQL_PARSE_FAILED),
        ("text", json!("x"), code::GRAPHQL_PARSE_FAILED),
        ("nest", json!({ "a": nest(32) }), code::QUERY_TOO_DEEP),
        ("nest 120", json!({ "a": nest(120) }), code::QUERY_TOO_DEEP),
        ("list length", json!({ "a": vec![1; 51] }), code::QUERY_TOO_COMPLEX),
        ("string", json!({ "a": "x".repeat(1_025) }), code::QUERY_TOO_LARGE),
        ("token", json!({ "a": format!("{}.x.y", "x".repeat(4_093)) }), code::QUERY_TOO_LARGE),
        ("bytes", json!({ "a": vec!["x".repeat(1_000); 40] }), code::QUERY_TOO_LARGE),
        ("names", json!({ "x".repeat(33_000): 1 }), code::QUERY_TOO_LARGE),
    ] {
        assert_eq!(check_variables(&variables, &limits).unwrap_err().code(), expected, "{what}");
    }
    let quote = format!("{}.{}.{}", "a".repeat(40), "b".repeat(4_000), "c".repeat(43));
    for variables in [json!(null), json!({}), json!({ "a": nest(31), "quote": quote, "text": "é".repeat(1_024) })] {
        assert_eq!(check_variables(&variables, &limits).map_err(|e| e.code()), Ok(()));
    }
}
