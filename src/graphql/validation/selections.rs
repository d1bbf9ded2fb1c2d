//! Selections: fields, fragments, arguments, directives.

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::FragmentSpread;
use async_graphql::parser::types::{Directive, ExecutableDocument, Field, Selection, SelectionSet};
use async_graphql::registry::{__DirectiveLocation, MetaInputValue, MetaType, MetaTypeName, Registry};
use async_graphql::{Name, Pos, Positioned};
use async_graphql_value::Value;

use super::values::literal;
use super::{Checked, Uses, wrong};

/// The walk through one definition.
pub(super) struct Walk<'a> {
    pub registry: &'a Registry,
    document: &'a ExecutableDocument,
    pub uses: Uses<'a>,
}

impl<'a> Walk<'a> {
    pub fn new(registry: &'a Registry, document: &'a ExecutableDocument) -> Self {
        Self { registry, document, uses: Uses::default() }
    }

    pub fn selections(&mut self, parent: &'a MetaType, set: &'a SelectionSet) -> Checked {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => self.field(parent, &field.node, field.pos)?,
                Selection::FragmentSpread(spread) => self.spread(parent, spread)?,
                Selection::InlineFragment(fragment) => {
                    let fragment = &fragment.node;
                    let on = match &fragment.type_condition {
                        Some(condition) => self.possible(parent, &condition.node.on)?,
                        None => parent,
                    };
                    self.directives(&fragment.directives, __DirectiveLocation::INLINE_FRAGMENT)?;
                    self.selections(on, &fragment.selection_set.node)?;
                }
            }
        }
        Ok(())
    }

    fn spread(&mut self, parent: &'a MetaType, spread: &'a Positioned<FragmentSpread>) -> Checked {
        let name = &spread.node.fragment_name.node;
        let Some(fragment) = self.document.fragments.get(name) else {
            return wrong(spread.pos, format!("There is no fragment {name}."));
        };
        self.possible(parent, &fragment.node.type_condition.node.on)?;
        self.uses.spreads.push(name);
        self.directives(&spread.node.directives, __DirectiveLocation::FRAGMENT_SPREAD)
    }

    /// The type that a fragment is on.
    pub fn composite(&self, on: &Positioned<Name>) -> Checked<&'a MetaType> {
        match self.registry.types.get(on.node.as_str()) {
            None => wrong(on.pos, format!("There is no type {}.", on.node)),
            Some(found) if !found.is_composite() => wrong(on.pos, format!("{} has no fields.", on.node)),
            Some(found) => Ok(found),
        }
    }

    /// The same, if an object of the parent's type can ever be one.
    fn possible(&self, parent: &MetaType, on: &Positioned<Name>) -> Checked<&'a MetaType> {
        let found = self.composite(on)?;
        if parent.type_overlap(found) {
            Ok(found)
        } else {
            wrong(on.pos, format!("{} is never {}, on which the fragment is.", parent.name(), on.node))
        }
    }

    fn field(&mut self, parent: &'a MetaType, field: &'a Field, at: Pos) -> Checked {
        let name = field.name.node.as_str();
        let leaf = if name == "__typename" {
            if matches!(parent, MetaType::Object { is_subscription: true, .. }) {
                return wrong(at, "A subscription has one field of its own, and not __typename.");
            }
            if let Some((argument, _)) = field.arguments.first() {
                return wrong(argument.pos, "__typename has no arguments.");
            }
            true
        } else {
            let Some(definition) = parent.field_by_name(name) else {
                return wrong(at, format!("{} has no field {name}.", parent.name()));
            };
            self.arguments(&definition.args, &field.arguments, at, name)?;
            self.registry.concrete_type_by_name(&definition.ty).is_none_or(|of| !of.is_composite())
        };
        self.directives(&field.directives, __DirectiveLocation::FIELD)?;
        let set = &field.selection_set.node;
        match (leaf, set.items.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => wrong(at, format!("{name} has no fields to select.")),
            (false, true) => wrong(at, format!("Say which fields of {name} you want: {name} {{ … }}.")),
            (false, false) => {
                let of = parent.field_by_name(name).and_then(|f| self.registry.concrete_type_by_name(&f.ty));
                of.map_or(Ok(()), |of| self.selections(of, set))
            }
        }
    }

    pub fn directives(&mut self, given: &'a [Positioned<Directive>], place: __DirectiveLocation) -> Checked {
        for (n, directive) in given.iter().enumerate() {
            let name = &directive.node.name.node;
            let Some(known) = self.registry.directives.get(name.as_str()) else {
                return wrong(directive.pos, format!("There is no directive @{name}."));
            };
            if !known.locations.contains(&place) {
                return wrong(directive.pos, format!("@{name} has no business here."));
            }
            if !known.is_repeatable && given[..n].iter().any(|d| d.node.name.node == *name) {
                return wrong(directive.pos, format!("@{name} stands here twice."));
            }
            self.arguments(&known.args, &directive.node.arguments, directive.pos, name)?;
        }
        Ok(())
    }

    fn arguments(
        &mut self,
        known: &'a IndexMap<String, MetaInputValue>,
        given: &'a [(Positioned<Name>, Positioned<Value>)],
        at: Pos,
        of: &str,
    ) -> Checked {
        for (n, (name, value)) in given.iter().enumerate() {
            let Some(input) = known.get(name.node.as_str()) else {
                return wrong(name.pos, format!("{of} has no argument {}.", name.node));
            };
            if given[..n].iter().any(|(other, _)| other.node == name.node) {
                return wrong(name.pos, format!("The argument {} stands here twice.", name.node));
            }
            literal(self.registry, input, &value.node, value.pos, &mut self.uses.variables)?;
        }
        let missing = known.values().find(|input| {
            MetaTypeName::create(&input.ty).is_non_null()
                && input.default_value.is_none()
                && !given.iter().any(|(name, _)| name.node.as_str() == input.name)
        });
        match missing {
            Some(input) => wrong(at, format!("{of} needs the argument {}: {}.", input.name, input.ty)),
            None => Ok(()),
        }
    }
}
