//! Fields that answer under the same name must be able to be merged: the same field with the same arguments
//! wherever an object could have both, and values of the same shape everywhere. On the same way through the
//! document: introspection that asks for lists in lists.

use std::collections::HashSet;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{ExecutableDocument, Field, Selection, SelectionSet};
use async_graphql::registry::{MetaType, MetaTypeName, Registry};
use async_graphql::{Name, Positioned};

use super::{Checked, wrong};

/// Fields to look at; far more than the guard lets come together. Fields of several types in each other could come
/// to more than the fields of the document.
const FIELDS: usize = 50_000;

/// Lists of `__Type` in each other, each of which multiplies the answer; what tools ask for has one.
const LISTS: [&str; 4] = ["fields", "interfaces", "possibleTypes", "inputFields"];
const LISTS_DEEP: usize = 2;

/// Selections that are merged into one answer.
struct Merged<'a> {
    parts: Vec<(&'a MetaType, &'a SelectionSet)>,
    /// Only shapes are compared: no object has them all.
    shapes: bool,
    /// How many of [`LISTS`] they are in.
    lists: usize,
}

/// A field, of objects of a type.
struct Selected<'a> {
    parent: &'a MetaType,
    field: &'a Positioned<Field>,
    ty: &'a str,
}

/// Checks an operation with its fragments.
pub(super) fn check<'a>(
    registry: &'a Registry,
    document: &'a ExecutableDocument,
    root: &'a MetaType,
    set: &'a SelectionSet,
) -> Checked {
    let mut looked_at = 0;
    let mut left = vec![Merged { parts: vec![(root, set)], shapes: false, lists: 0 }];
    while let Some(Merged { parts, shapes, lists }) = left.pop() {
        for (name, fields) in collect(registry, document, parts) {
            looked_at += fields.len();
            if looked_at > FIELDS {
                return wrong(fields[0].field.pos, "Too many fields overlap.");
            }
            if let [one] = fields.as_slice()
                && one.field.node.selection_set.node.items.is_empty()
            {
                continue;
            }
            same_shapes(registry, name, &fields)?;
            let classes = if shapes { vec![(0..fields.len()).collect()] } else { classes(&fields) };
            if !shapes {
                classes.iter().try_for_each(|class| same_fields(name, &fields, class))?;
            }
            let first = &fields[0];
            let is_list = first.parent.name() == "__Type" && LISTS.contains(&first.field.node.name.node.as_str());
            let lists = lists + usize::from(is_list);
            if lists > LISTS_DEEP {
                return wrong(first.field.pos, "The introspection nests too deep.");
            }
            let mut merge = |class: &[usize], shapes| {
                let parts: Vec<_> = class
                    .iter()
                    .filter(|n| !fields[**n].field.node.selection_set.node.items.is_empty())
                    .filter_map(|n| {
                        let of = registry.concrete_type_by_name(fields[*n].ty)?;
                        Some((of, &fields[*n].field.node.selection_set.node))
                    })
                    .collect();
                if !parts.is_empty() {
                    left.push(Merged { parts, shapes, lists });
                }
            };
            if classes.len() > 1 {
                merge(&(0..fields.len()).collect::<Vec<_>>(), true);
            }
            classes.iter().for_each(|class| merge(class, shapes));
        }
    }
    Ok(())
}

/// All fields by the name they answer under, fragments spread.
fn collect<'a>(
    registry: &'a Registry,
    document: &'a ExecutableDocument,
    parts: Vec<(&'a MetaType, &'a SelectionSet)>,
) -> IndexMap<&'a str, Vec<Selected<'a>>> {
    let mut found: IndexMap<&str, Vec<Selected<'_>>> = IndexMap::new();
    let mut spread = HashSet::new();
    let on = |name: &Name| registry.types.get(name.as_str());
    let mut left = parts;
    while let Some((parent, set)) = left.pop() {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    let name = field.node.name.node.as_str();
                    let ty = parent.field_by_name(name).map_or("String!", |definition| &definition.ty);
                    let key = field.node.response_key().node.as_str();
                    found.entry(key).or_default().push(Selected { parent, field, ty });
                }
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.node.type_condition.as_ref();
                    let parent = condition.map_or(Some(parent), |c| on(&c.node.on.node));
                    left.extend(parent.map(|parent| (parent, &fragment.node.selection_set.node)));
                }
                Selection::FragmentSpread(one) => {
                    let name = &one.node.fragment_name.node;
                    if !spread.insert(name.as_str()) {
                        continue;
                    }
                    let Some(fragment) = document.fragments.get(name) else { continue };
                    let parent = on(&fragment.node.type_condition.node.on.node);
                    left.extend(parent.map(|parent| (parent, &fragment.node.selection_set.node)));
                }
            }
        }
    }
    found
}

/// Which of the fields one object can have: those of each object type, with all those of unions and interfaces.
fn classes(fields: &[Selected<'_>]) -> Vec<Vec<usize>> {
    let mut by_type: IndexMap<&str, Vec<usize>> = IndexMap::new();
    let mut anywhere = Vec::new();
    for (n, selected) in fields.iter().enumerate() {
        if selected.parent.is_abstract() {
            anywhere.push(n);
        } else {
            by_type.entry(selected.parent.name()).or_default().push(n);
        }
    }
    if by_type.is_empty() {
        return vec![anywhere];
    }
    by_type.into_values().map(|class| class.into_iter().chain(anywhere.iter().copied()).collect()).collect()
}

fn same_fields(name: &str, fields: &[Selected<'_>], class: &[usize]) -> Checked {
    let Some((first, rest)) = class.split_first() else { return Ok(()) };
    let first = &fields[*first].field.node;
    for n in rest {
        let other = fields[*n].field;
        if other.node.name.node != first.name.node {
            let (one, two) = (&first.name.node, &other.node.name.node);
            return wrong(other.pos, format!("{name} would be {one} and {two}: give one of them another alias."));
        }
        let same = other.node.arguments.len() == first.arguments.len()
            && first
                .arguments
                .iter()
                .all(|(name, value)| other.node.get_argument(&name.node).is_some_and(|v| v.node == value.node));
        if !same {
            let message = format!("{name} is asked for with different arguments: give one of them another alias.");
            return wrong(other.pos, message);
        }
    }
    Ok(())
}

fn same_shapes(registry: &Registry, name: &str, fields: &[Selected<'_>]) -> Checked {
    let Some((first, rest)) = fields.split_first() else { return Ok(()) };
    for other in rest {
        if !same_shape(registry, first.ty, other.ty) {
            let message = format!("{name} would be {} and {}: give one of them another alias.", first.ty, other.ty);
            return wrong(other.field.pos, message);
        }
    }
    Ok(())
}

fn same_shape(registry: &Registry, one: &str, two: &str) -> bool {
    match (MetaTypeName::create(one), MetaTypeName::create(two)) {
        (MetaTypeName::NonNull(one), MetaTypeName::NonNull(two))
        | (MetaTypeName::List(one), MetaTypeName::List(two)) => same_shape(registry, one, two),
        (MetaTypeName::Named(one), MetaTypeName::Named(two)) => {
            let composite = |name| registry.types.get(name).is_some_and(MetaType::is_composite);
            one == two || (composite(one) && composite(two))
        }
        _ => false,
    }
}
