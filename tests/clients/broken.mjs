// Valid documents, broken by chance: the same seed breaks them the same way.
import { Lexer, Source, TokenKind, parse } from 'graphql';

/** Names that mean something in some place of this schema, and few that never do. */
const NAMES = [
  'id', 'note', 'order', 'orders', 'payments', 'payment', 'action', 'url', 'total', 'minor', 'nodes', 'events', 'sku', 'product',
  'Order', 'Payment', 'Query', 'Mutation', 'QrCode', 'Redirect', 'ClientAction', 'Money', 'OrderStatus', 'OrderFilter', 'ID', 'Int',
  'String', 'Boolean', 'F', 'P', 'x', 'y', 'PAID', 'true', 'null', 'status', 'filter', 'first', 'include', 'skip', 'if', '__typename',
  '__schema', 'nothing',
];
const PIECES = [
  '{ __typename }', '{ id }', '(id: "x")', '(first: 1)', '@include(if: true)', '@skip(if: $b)', '...F', '... on Order { id }',
  '... on QrCode { url }', 'x: id', 'x: note', 'id', 'total { minor }', '!', '[', ']', '$b', '$id', '"x"', '1', '1.5', 'null', '{}',
  '[]', '{ status: PAID }', 'fragment F on Order { note }', '($b: Boolean!)', '$b: Boolean', '= 1', 'query A { __typename }',
];

/** The tokens of a document as they are written. */
function tokens(text) {
  const lexer = new Lexer(new Source(text));
  const found = [];
  // async-graphql takes no blanks within types, variables and directives' names.
  const before = [TokenKind.DOLLAR, TokenKind.AT, TokenKind.BRACKET_L];
  const after = [TokenKind.BANG, TokenKind.BRACKET_R];
  for (let token = lexer.advance(); token.kind !== TokenKind.EOF; token = lexer.advance()) {
    if (before.includes(token.prev?.kind) || after.includes(token.kind)) found.push(found.pop() + text.slice(token.start, token.end));
    else found.push(text.slice(token.start, token.end));
  }
  return found;
}

function isGraphql(text) {
  try {
    return Boolean(parse(text, { noLocation: true }));
  } catch {
    return false;
  }
}

export function* broken(documents, seed, n) {
  let state = seed >>> 0 || 1;
  const below = (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
  const one = (list) => list[below(list.length)];
  for (let at = 0; at < n; at += 1) {
    const of = tokens(one(documents));
    const other = tokens(one(documents));
    for (let changes = 1 + below(2); changes > 0; changes -= 1) {
      const where = below(of.length);
      const isName = /^[A-Za-z_]/.test(of[where]);
      switch (below(6)) {
        case 0:
          of.splice(where, 1);
          break;
        case 1:
          of.splice(where, 0, one(PIECES));
          break;
        case 2:
          of.splice(where, 0, of[below(of.length)]);
          break;
        case 3:
          of[where] = one(other);
          break;
        default:
          if (isName) of[where] = one(NAMES);
          else of.splice(where, 0, one(PIECES));
      }
    }
    const text = of.join(' ');
    // Most of it is not GraphQL any more, of which few will do. Descriptions are younger than async-graphql.
    if (!text || /"x" (\$|\{|query|mutation|subscription|fragment)/.test(text) || (below(20) > 0 && !isGraphql(text))) at -= 1;
    else yield text;
  }
}
