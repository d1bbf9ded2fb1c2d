//! What a document comes to once its fragments are spread.

use std::ops::Range;

use super::{Kind, Limits, too_complex, too_deep};
use crate::graphql::{ApiError, code};

/// An operation, or a fragment (without a kind).
pub(super) struct Definition<'a> {
    pub kind: Option<Kind>,
    pub name: Option<(&'a str, Range<usize>)>,
    /// Its own numbers while it is scanned; with fragments spread once [`spread`] is through with it.
    pub size: Size,
    pub spreads: Vec<Spread<'a>>,
    spread: bool,
}

/// How much a selection holds.
#[derive(Clone, Copy, Default)]
pub(super) struct Size {
    pub fields: usize,
    /// Fields that are the operation's own, not a field's.
    pub root_fields: usize,
    /// Selections within each other.
    pub depth: usize,
}

/// `...Name`
pub(super) struct Spread<'a> {
    pub name: &'a str,
    /// Among the definition's own fields.
    pub root: bool,
    /// How many selections it stands in.
    pub depth: usize,
}

impl Definition<'_> {
    pub fn new(kind: Option<Kind>) -> Self {
        Self { kind, name: None, size: Size::default(), spreads: Vec::new(), spread: false }
    }
}

/// Adds up fragments, innermost first, and refuses what comes to too much. A few spreads can come to
/// millions of fields, and a circle of them to no end.
pub(super) fn spread(definitions: &mut [Definition<'_>], limits: &Limits) -> Result<(), ApiError> {
    let mut left = definitions.len();
    while left > 0 {
        let before = left;
        for at in 0..definitions.len() {
            if definitions[at].spread {
                continue;
            }
            let Some(size) = sum(definitions, at) else { continue };
            if size.depth > limits.nesting {
                return Err(too_deep("Selections with their fragments", limits.nesting));
            }
            if size.fields > limits.spread_fields {
                return Err(too_complex("fields with their fragments", size.fields, limits.spread_fields));
            }
            definitions[at].size = size;
            definitions[at].spread = true;
            left -= 1;
        }
        if left == before {
            return Err(ApiError::new(
                code::GRAPHQL_VALIDATION_FAILED,
                "A fragment spreads itself, at once or through others.",
            ));
        }
    }
    Ok(())
}

/// A definition's size with its fragments; `None` while one of them is not known yet. A fragment that
/// does not exist adds nothing: validation will say so.
fn sum(definitions: &[Definition<'_>], at: usize) -> Option<Size> {
    let mut size = definitions[at].size;
    for spread in &definitions[at].spreads {
        let named =
            |d: &&Definition<'_>| d.kind.is_none() && d.name.as_ref().is_some_and(|(name, _)| *name == spread.name);
        let Some(fragment) = definitions.iter().find(named) else { continue };
        if !fragment.spread {
            return None;
        }
        size.fields += fragment.size.fields;
        size.depth = size.depth.max(spread.depth + fragment.size.depth);
        if spread.root {
            size.root_fields += fragment.size.root_fields;
        }
    }
    Some(size)
}
