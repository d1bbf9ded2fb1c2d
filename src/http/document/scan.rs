//! The pass over a document's tokens.

use super::lexer::{Lexer, Token};
use super::spread::{Definition, Spread, spread};
use super::variables::check_string;
use super::{Counted, Kind, Limits, count, too_complex, too_deep};
use crate::graphql::{ApiError, code};

/// Counts a document's parts and refuses the first that is one too many, or is not GraphQL.
pub(super) fn scan(document: &str, limits: &Limits) -> Result<Counted, ApiError> {
    let mut scan = Scan {
        limits,
        lexer: Lexer::new(document),
        open: Vec::with_capacity(limits.nesting.min(64)),
        selections: 0,
        definitions: Vec::new(),
        header: Header::None,
        before: Before::Other,
        inline: false,
        place: 0,
        counts: Counts::default(),
        introspection: false,
    };
    while let Some(token) = scan.lexer.next().map_err(|wrong| scan.wrong(wrong))? {
        scan.take(token)?;
    }
    scan.finish()
}

struct Scan<'a> {
    limits: &'a Limits,
    lexer: Lexer<'a>,
    open: Vec<Open<'a>>,
    /// How many of `open` are selections.
    selections: usize,
    definitions: Vec<Definition<'a>>,
    header: Header,
    before: Before,
    /// The latest selection is `...` without a name, so that what it opens is still its parent's level.
    inline: bool,
    /// Directives of the current place so far.
    place: usize,
    counts: Counts,
    introspection: bool,
}

/// An open bracket.
enum Open<'a> {
    /// `{ field }`; `root`: what is in it is the definition's own.
    Selection { root: bool },
    /// `(name: value)`; with the number of directives in its place when it is a directive's.
    Arguments { place: Option<usize> },
    /// `($name: Type)`
    Variables,
    /// `[value]` with its values so far, or `[Type]`.
    List { length: usize },
    /// `{name: value}` with its names so far.
    Object { names: Vec<&'a str> },
}

/// How far a definition was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    None,
    Keyword,
    Named,
    Body,
}

/// The token before, as far as it decides what the next one means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Other,
    At,
    /// A directive's name.
    Directive,
    DirectiveArguments,
    Spread,
    On,
    Colon,
    Dollar,
}

#[derive(Default)]
struct Counts {
    tokens: usize,
    operations: usize,
    fragments: usize,
    spreads: usize,
    aliases: usize,
    directives: usize,
    variables: usize,
}

impl<'a> Scan<'a> {
    fn take(&mut self, token: Token<'a>) -> Result<(), ApiError> {
        count(&mut self.counts.tokens, self.limits.tokens, "tokens")?;
        let before = std::mem::replace(&mut self.before, Before::Other);
        let named = matches!(token, Token::Name(_));
        match before {
            Before::At if !named => return Err(self.wrong("a directive without a name")),
            Before::On if !named => return Err(self.wrong("`on` without a type")),
            _ => {}
        }
        match token {
            Token::Name(name) => self.name(name, before),
            Token::Text(text) => {
                check_string(text, self.limits)?;
                self.value()
            }
            Token::Number => self.value(),
            Token::Spread => {
                self.inline = true;
                self.before = Before::Spread;
                Ok(())
            }
            Token::Mark(b'@') => self.directive(before),
            Token::Mark(b'$') => {
                self.before = Before::Dollar;
                match self.open.last() {
                    Some(Open::Variables) => count(&mut self.counts.variables, self.limits.variables, "variables"),
                    _ => self.value(),
                }
            }
            Token::Mark(b':') => {
                self.before = Before::Colon;
                match self.open.last() {
                    Some(Open::Selection { .. }) => count(&mut self.counts.aliases, self.limits.aliases, "aliases"),
                    _ => Ok(()),
                }
            }
            Token::Mark(mark @ (b'(' | b'[' | b'{')) => self.opens(mark, before),
            Token::Mark(mark @ (b')' | b']' | b'}')) => self.closes(mark),
            Token::Mark(_) => Ok(()),
        }
    }

    fn name(&mut self, name: &'a str, before: Before) -> Result<(), ApiError> {
        match (before, self.open.last_mut()) {
            (Before::At, _) => {
                self.before = Before::Directive;
                Ok(())
            }
            (Before::On | Before::Dollar, _) => Ok(()),
            (_, None) => self.head(name),
            (_, Some(&mut Open::Selection { root })) => self.selected(name, before, root),
            (_, Some(Open::Object { names })) if before != Before::Colon => {
                // async-graphql would take the latter.
                if names.contains(&name) {
                    return Err(invalid("A name stands twice in an input object."));
                }
                names.push(name);
                Ok(())
            }
            // async-graphql would read `nullnull` as two values.
            (_, Some(Open::List { .. })) if is_glued(name) => {
                Err(self.wrong("a name that begins like true, false or null"))
            }
            _ => self.value(),
        }
    }

    /// A name outside of all brackets.
    fn head(&mut self, name: &'a str) -> Result<(), ApiError> {
        match (self.header, self.definitions.last_mut()) {
            (Header::Keyword, Some(definition)) => {
                if definition.kind.is_none() && name == "on" {
                    return Err(self.wrong("a fragment without a name"));
                }
                let at = self.lexer.at();
                definition.name = Some((name, at - name.len()..at));
                self.header = Header::Named;
                Ok(())
            }
            (Header::None, _) => {
                self.header = Header::Keyword;
                match name {
                    "query" => self.begin(Some(Kind::Query)),
                    "mutation" => self.begin(Some(Kind::Mutation)),
                    "subscription" => self.begin(Some(Kind::Subscription)),
                    "fragment" => self.begin(None),
                    "schema" | "scalar" | "type" | "interface" | "union" | "enum" | "input" | "directive"
                    | "extend" => {
                        Err(invalid("The document defines a type; only operations and fragments can be executed."))
                    }
                    _ => Err(self.wrong("neither an operation nor a fragment")),
                }
            }
            // A fragment's type and its `on`.
            _ => Ok(()),
        }
    }

    fn begin(&mut self, kind: Option<Kind>) -> Result<(), ApiError> {
        match kind {
            Some(_) => count(&mut self.counts.operations, self.limits.operations, "operations")?,
            None => count(&mut self.counts.fragments, self.limits.fragments, "fragments")?,
        }
        self.counts.variables = 0;
        self.definitions.push(Definition::new(kind));
        Ok(())
    }

    /// A name in a selection: a field, the field behind an alias, or what is spread.
    fn selected(&mut self, name: &'a str, before: Before, root: bool) -> Result<(), ApiError> {
        if before == Before::Spread && name == "on" {
            self.before = Before::On;
            return Ok(());
        }
        self.inline = false;
        let depth = self.selections;
        let Some(definition) = self.definitions.last_mut() else { return Ok(()) };
        match before {
            Before::Spread => {
                definition.spreads.push(Spread { name, root, depth });
                return count(&mut self.counts.spreads, self.limits.spreads, "fragment spreads");
            }
            // The alias before it was counted.
            Before::Colon => {}
            _ => {
                definition.size.fields += 1;
                definition.size.root_fields += usize::from(root);
            }
        }
        self.introspection |= matches!(name, "__schema" | "__type");
        Ok(())
    }

    fn directive(&mut self, before: Before) -> Result<(), ApiError> {
        self.before = Before::At;
        if !matches!(before, Before::Directive | Before::DirectiveArguments) {
            self.place = 0;
        }
        count(&mut self.counts.directives, self.limits.directives, "directives")?;
        count(&mut self.place, self.limits.directives_per_place, "directives in one place")
    }

    /// A value begins: only lists are counted.
    fn value(&mut self) -> Result<(), ApiError> {
        match self.open.last_mut() {
            Some(Open::List { length }) => count(length, self.limits.list_length, "values in a list"),
            _ => Ok(()),
        }
    }

    fn opens(&mut self, mark: u8, before: Before) -> Result<(), ApiError> {
        if self.open.len() >= self.limits.nesting {
            return Err(too_deep("Brackets", self.limits.nesting));
        }
        let of_directive = before == Before::Directive;
        let place = of_directive.then_some(self.place);
        let open = match (mark, self.open.last()) {
            (b'{', None) => {
                if self.header == Header::None {
                    self.begin(Some(Kind::Query))?;
                }
                self.header = Header::Body;
                Open::Selection { root: true }
            }
            (b'{', Some(Open::Selection { root })) => Open::Selection { root: *root && self.inline },
            (b'(', Some(Open::Selection { .. })) => Open::Arguments { place },
            (b'(', None | Some(Open::Variables)) if of_directive => Open::Arguments { place },
            (b'(', None) if self.header != Header::None => Open::Variables,
            (b'(' | b'[', None) | (b'[', Some(Open::Selection { .. })) | (b'(', Some(_)) => {
                return Err(self.wrong("a bracket in the wrong place"));
            }
            (b'[', Some(_)) => {
                self.value()?;
                Open::List { length: 0 }
            }
            (_, Some(_)) => {
                self.value()?;
                Open::Object { names: Vec::new() }
            }
            (_, None) => return Err(self.wrong("a bracket in the wrong place")),
        };
        if matches!(open, Open::Selection { .. }) {
            self.selections += 1;
            if let Some(definition) = self.definitions.last_mut() {
                definition.size.depth = definition.size.depth.max(self.selections);
            }
        }
        self.open.push(open);
        Ok(())
    }

    fn closes(&mut self, mark: u8) -> Result<(), ApiError> {
        match (mark, self.open.pop()) {
            (b'}', Some(Open::Selection { .. })) => {
                self.selections -= 1;
                if self.open.is_empty() {
                    self.header = Header::None;
                }
            }
            (b')', Some(Open::Arguments { place: Some(place) })) => {
                self.place = place;
                self.before = Before::DirectiveArguments;
            }
            (b')', Some(Open::Arguments { place: None } | Open::Variables))
            | (b']', Some(Open::List { .. }))
            | (b'}', Some(Open::Object { .. })) => {}
            _ => return Err(self.wrong("a bracket that closes another one")),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Counted, ApiError> {
        if !self.open.is_empty() || self.header != Header::None {
            return Err(self.wrong("the end, too early"));
        }
        if self.definitions.iter().all(|d| d.kind.is_none()) {
            return Err(ApiError::new(code::GRAPHQL_PARSE_FAILED, "The document holds no operation."));
        }
        unique(&self.definitions)?;
        spread(&mut self.definitions, self.limits)?;
        let mut operations = Vec::with_capacity(self.counts.operations);
        for definition in &self.definitions {
            let Some(kind) = definition.kind else { continue };
            let (limit, what) = match kind {
                Kind::Query => (self.limits.root_fields, "fields at the top of a query"),
                Kind::Mutation => (self.limits.mutation_root_fields, "fields at the top of a mutation"),
                Kind::Subscription => (self.limits.subscription_root_fields, "fields at the top of a subscription"),
            };
            if definition.size.root_fields > limit {
                return Err(too_complex(what, definition.size.root_fields, limit));
            }
            operations.push((kind, definition.name.as_ref().map(|(_, at)| at.clone())));
        }
        Ok(Counted { operations, introspection: self.introspection })
    }

    fn wrong(&self, what: &str) -> ApiError {
        let (line, column) = self.lexer.position();
        let message = format!("The document is not GraphQL: {what}, at line {line}, column {column}.");
        ApiError::new(code::GRAPHQL_PARSE_FAILED, message)
    }
}

/// A name selects one operation or one fragment, and an operation without a name stands alone.
fn unique(definitions: &[Definition<'_>]) -> Result<(), ApiError> {
    let several = definitions.iter().filter(|d| d.kind.is_some()).count() > 1;
    for (n, one) in definitions.iter().enumerate() {
        let name = one.name.as_ref().map(|(name, _)| *name);
        if several && one.kind.is_some() && name.is_none() {
            return Err(invalid("An operation without a name is the only one of its document."));
        }
        let same = |d: &Definition<'_>| {
            d.kind.is_some() == one.kind.is_some() && d.name.as_ref().is_some_and(|(other, _)| Some(*other) == name)
        };
        if definitions[..n].iter().any(same) {
            return Err(invalid("Two operations or two fragments have the same name."));
        }
    }
    Ok(())
}

fn invalid(message: &str) -> ApiError {
    ApiError::new(code::GRAPHQL_VALIDATION_FAILED, message)
}

fn is_glued(name: &str) -> bool {
    ["true", "false", "null"].iter().any(|word| name.len() > word.len() && name.starts_with(word))
}
