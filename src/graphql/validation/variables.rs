//! An operation's variables: declared, used, given.

use async_graphql::Variables;
use async_graphql::parser::types::{BaseType, OperationDefinition, Type, VariableDefinition};
use async_graphql::registry::{__DirectiveLocation, MetaTypeName, Registry};
use async_graphql_value::ConstValue;

use super::selections::Walk;
use super::values::constant;
use super::{Checked, Use, wrong};

/// Each has a name of its own, a type of input, and a default of that type.
pub(super) fn declared<'a>(walk: &mut Walk<'a>, operation: &'a OperationDefinition) -> Checked {
    for (n, variable) in operation.variable_definitions.iter().enumerate() {
        let VariableDefinition { name, var_type, directives, default_value } = &variable.node;
        let name = &name.node;
        if operation.variable_definitions[..n].iter().any(|v| v.node.name.node == *name) {
            return wrong(variable.pos, format!("The variable ${name} is declared twice."));
        }
        match walk.registry.types.get(named(&var_type.node)) {
            None => return wrong(variable.pos, format!("There is no type {}.", named(&var_type.node))),
            Some(found) if !found.is_input() => {
                return wrong(variable.pos, format!("{} is not a type of input.", named(&var_type.node)));
            }
            Some(_) => {}
        }
        if let Some(default) = default_value {
            let value = default.node.clone().into_value();
            constant(walk.registry, &var_type.node.to_string(), &value, default.pos, false)?;
        }
        walk.directives(directives, __DirectiveLocation::VARIABLE_DEFINITION)?;
    }
    Ok(())
}

fn named(of: &Type) -> &str {
    let mut of = of;
    loop {
        match &of.base {
            BaseType::Named(name) => return name,
            BaseType::List(inner) => of = inner,
        }
    }
}

/// Whatever is used is declared and fits its place, and whatever is declared is used.
pub(super) fn used<'a>(operation: &OperationDefinition, uses: impl Iterator<Item = &'a Use<'a>>) -> Checked {
    let declared = &operation.variable_definitions;
    let mut unused = vec![true; declared.len()];
    for Use { name, at, expected, has_default } in uses {
        let Some(n) = declared.iter().position(|v| v.node.name.node.as_str() == *name) else {
            return wrong(*at, format!("The variable ${name} is not declared."));
        };
        unused[n] = false;
        let variable = &declared[n].node;
        if let Some(expected) = expected
            && !is_allowed(variable, expected, *has_default)
        {
            let of = &variable.var_type.node;
            return wrong(*at, format!("${name} is {of}; {expected} is wanted here."));
        }
    }
    match unused.iter().position(|unused| *unused) {
        Some(n) => wrong(declared[n].pos, format!("The variable ${} is not used.", declared[n].node.name.node)),
        None => Ok(()),
    }
}

/// A variable that may be null can stand where null may not, if one of both has a default.
fn is_allowed(variable: &VariableDefinition, expected: &str, has_default: bool) -> bool {
    let of = variable.var_type.node.to_string();
    match MetaTypeName::create(expected) {
        MetaTypeName::NonNull(inner) if variable.var_type.node.nullable => {
            let defaults = variable.default_value.as_ref().is_some_and(|value| value.node != ConstValue::Null);
            (defaults || has_default) && fits(&of, inner)
        }
        _ => fits(&of, expected),
    }
}

/// Every value of the one type is a value of the other.
fn fits(of: &str, expected: &str) -> bool {
    match (MetaTypeName::create(of), MetaTypeName::create(expected)) {
        (MetaTypeName::NonNull(of), MetaTypeName::NonNull(expected))
        | (MetaTypeName::List(of), MetaTypeName::List(expected)) => fits(of, expected),
        (MetaTypeName::NonNull(of), _) => fits(of, expected),
        (MetaTypeName::Named(of), MetaTypeName::Named(expected)) => of == expected,
        _ => false,
    }
}

/// What came beside the document is there where it must be, and of its type.
pub(super) fn given(registry: &Registry, operation: &OperationDefinition, given: &Variables) -> Checked {
    for variable in &operation.variable_definitions {
        let VariableDefinition { name, var_type, default_value, .. } = &variable.node;
        let of = &var_type.node;
        match given.get(&name.node) {
            None if !of.nullable && default_value.is_none() => {
                return wrong(variable.pos, format!("The variable ${} is missing: {of}.", name.node));
            }
            None => {}
            Some(value) => constant(registry, &of.to_string(), &value.clone().into_value(), variable.pos, true)
                .map_err(|mut e| {
                    e.message = format!("The variable ${}: {}", name.node, e.message);
                    e
                })?,
        }
    }
    Ok(())
}
