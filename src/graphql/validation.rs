//! Whether a document fits the schema: every rule of chapter 5 of the GraphQL specification, and the values of
//! the variables.
//!
//! async-graphql 7.2.1 leaves out some of the rules and bends others: it does not look at `__typename`'s
//! arguments and directives (and calls a variable unused that only stands there), takes `$id: ID` and `$id: Int!`
//! for an `ID!`, a string for an enum's value, any literal for an input object, and lets fields overlap that
//! cannot be merged. It is asked for its fast mode, and these rules stand in for the rest.
//! `tests/clients/validation.mjs` compares them with graphql-js.
//!
//! Recursion is as deep as brackets nest, which the guard has bounded before anything is parsed.

mod overlap;
mod selections;
#[cfg(test)]
mod tests;
mod values;
mod variables;

use std::collections::{HashMap, HashSet};

use async_graphql::Pos;
use async_graphql::Variables;
use async_graphql::parser::types::{ExecutableDocument, OperationDefinition, OperationType};
use async_graphql::registry::{__DirectiveLocation, MetaType, Registry};

use selections::Walk;

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Wrong {
    pub message: String,
    pub at: Pos,
}

type Checked<T = ()> = Result<T, Wrong>;

fn wrong<T>(at: Pos, message: impl Into<String>) -> Checked<T> {
    Err(Wrong { message: message.into(), at })
}

/// What a definition uses by itself, without the fragments that it spreads.
#[derive(Default)]
struct Uses<'a> {
    spreads: Vec<&'a str>,
    variables: Vec<Use<'a>>,
}

/// A variable where a value of `expected` belongs; `None`: inside a value of a custom scalar.
#[derive(Clone, Copy)]
struct Use<'a> {
    name: &'a str,
    at: Pos,
    expected: Option<&'a str>,
    has_default: bool,
}

/// Checks a document that was parsed, and the values given for the selected operation's variables. The first thing
/// that is wrong.
pub(super) fn validate(
    registry: &Registry,
    document: &ExecutableDocument,
    selected: Option<&str>,
    given: &Variables,
) -> Result<(), Wrong> {
    let fragments = fragments(registry, document)?;
    let mut operations: Vec<_> = document.operations.iter().collect();
    operations.sort_by_key(|(_, operation)| place(operation.pos));
    let alone = operations.len() == 1;
    let mut reached = HashSet::new();
    for (name, operation) in operations {
        let root = root(registry, &operation.node, operation.pos)?;
        let mut walk = Walk::new(registry, document);
        let location = match operation.node.ty {
            OperationType::Query => __DirectiveLocation::QUERY,
            OperationType::Mutation => __DirectiveLocation::MUTATION,
            OperationType::Subscription => __DirectiveLocation::SUBSCRIPTION,
        };
        variables::declared(&mut walk, &operation.node)?;
        walk.directives(&operation.node.directives, location)?;
        walk.selections(root, &operation.node.selection_set.node)?;
        let mine = reach(&walk.uses, &fragments);
        let uses = mine.iter().filter_map(|name| fragments.get(name)).chain([&walk.uses]);
        variables::used(&operation.node, uses.flat_map(|uses| &uses.variables))?;
        overlap::check(registry, document, root, &operation.node.selection_set.node)?;
        if selected.map_or(alone, |wanted| name.is_some_and(|name| name.as_str() == wanted)) {
            variables::given(registry, &operation.node, given)?;
        }
        reached.extend(mine);
    }
    match document.fragments.iter().find(|(name, _)| !reached.contains(name.as_str())) {
        Some((name, fragment)) => wrong(fragment.pos, format!("The fragment {name} is used by no operation.")),
        None => Ok(()),
    }
}

/// Checks every fragment by itself.
fn fragments<'a>(registry: &'a Registry, document: &'a ExecutableDocument) -> Checked<HashMap<&'a str, Uses<'a>>> {
    let mut found = HashMap::new();
    let mut all: Vec<_> = document.fragments.iter().collect();
    all.sort_by_key(|(_, fragment)| place(fragment.pos));
    for (name, fragment) in all {
        let mut walk = Walk::new(registry, document);
        let on = walk.composite(&fragment.node.type_condition.node.on)?;
        walk.directives(&fragment.node.directives, __DirectiveLocation::FRAGMENT_DEFINITION)?;
        walk.selections(on, &fragment.node.selection_set.node)?;
        found.insert(name.as_str(), walk.uses);
    }
    Ok(found)
}

fn root<'a>(registry: &'a Registry, operation: &OperationDefinition, at: Pos) -> Checked<&'a MetaType> {
    let name = match operation.ty {
        OperationType::Query => Some(&registry.query_type),
        OperationType::Mutation => registry.mutation_type.as_ref(),
        OperationType::Subscription => registry.subscription_type.as_ref(),
    };
    match name.and_then(|name| registry.types.get(name)) {
        Some(root) => Ok(root),
        None => wrong(at, format!("The schema has no {}.", operation.ty)),
    }
}

/// The fragments that a definition spreads, at once or through others.
fn reach<'a>(uses: &Uses<'a>, fragments: &HashMap<&'a str, Uses<'a>>) -> HashSet<&'a str> {
    let mut reached = HashSet::new();
    let mut left = uses.spreads.clone();
    while let Some(name) = left.pop() {
        if reached.insert(name)
            && let Some(fragment) = fragments.get(name)
        {
            left.extend(&fragment.spreads);
        }
    }
    reached
}

fn place(at: Pos) -> (usize, usize) {
    (at.line, at.column)
}
