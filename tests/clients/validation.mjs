// Holds the server's validation against graphql-js: whatever graphql-js refuses must be refused here, with
// GRAPHQL_VALIDATION_FAILED, and whatever it accepts must get past validation. First a list with cases for each
// rule, then documents that are broken by chance (SEED=1 N=3000).
//
//   scripts/with-payonce node tests/clients/validation.mjs
import { buildClientSchema, getIntrospectionQuery, parse, specifiedRules, validate } from 'graphql';
import { INVALID, VALID } from './documents.mjs';
import { broken } from './broken.mjs';

const url = `${process.env.PAYONCE_URL}/graphql`;
const VARIABLES = { id: 'ord_0', key: 'validation-0000001', n: 1, b: true, s: 'x', input: { orderId: 'ord_0' } };

/** Sends a document as nobody: whatever runs is refused by its resolvers. Subscriptions go as event streams. */
async function ask(query) {
  const subscription = /(^|[\s}])subscription\b/.test(query);
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: subscription ? 'text/event-stream' : 'application/json',
    },
    body: JSON.stringify({ query, operationName: operation(query), variables: VARIABLES }),
  });
  const text = await response.text();
  const json = text.startsWith('event: next') ? text.slice(text.indexOf('data:') + 5, text.indexOf('\n\n')) : text;
  try {
    return { status: response.status, body: JSON.parse(json) };
  } catch {
    return { status: response.status, body: { errors: [{ message: text.slice(0, 200), extensions: { code: 'NOT_JSON' } }] } };
  }
}

/** One of several operations must be named. */
function operation(query) {
  try {
    const names = parse(query, { noLocation: true }).definitions.filter((d) => d.kind === 'OperationDefinition');
    return names.length > 1 ? names[0].name?.value : undefined;
  } catch {
    return undefined;
  }
}

/** `null`: graphql-js accepts it. */
function verdict(schema, query) {
  let document;
  try {
    document = parse(query);
  } catch (e) {
    return { code: 'GRAPHQL_PARSE_FAILED', rule: e.message };
  }
  for (const rule of specifiedRules) {
    const [error] = validate(schema, document, [rule]);
    if (error) return { code: 'GRAPHQL_VALIDATION_FAILED', rule: rule.name, message: error.message };
  }
  return null;
}

// The guard counts before anything is validated.
const LIMITS = ['QUERY_TOO_COMPLEX', 'QUERY_TOO_DEEP', 'QUERY_TOO_LARGE'];
/** Descriptions before a definition, and blanks within a type or after `$` and `@`. */
const UNREADABLE = /"\s*(query|mutation|subscription|fragment)\b|[\w\]]\s+!|[$@]\s/;
const REFUSED = ['GRAPHQL_PARSE_FAILED', 'GRAPHQL_VALIDATION_FAILED'];

/** What is wrong with the answer, if anything. */
function differs(expected, { body }, limited) {
  const codes = (body.errors ?? []).map((e) => e.extensions?.code);
  if (codes.some((code) => code === 'INTERNAL' || code === 'NOT_JSON' || !code)) return `broke: ${JSON.stringify(body)}`;
  const about = codes.find((code) => [...REFUSED, ...LIMITS].includes(code));
  if (limited && LIMITS.includes(about)) return null;
  if (!expected) return about ? `refused without need: ${JSON.stringify(body.errors)}` : null;
  if (about === expected.code || (limited && about)) return null;
  return `${expected.rule} (${expected.message ?? ''}) says ${expected.code}; here: ${about ?? JSON.stringify(body).slice(0, 200)}`;
}

const answer = await (
  await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query: getIntrospectionQuery() }),
  })
).json();
const schema = buildClientSchema(answer.data);

let failed = 0;
let asked = 0;
const fail = (what, query) => {
  failed += 1;
  if (failed <= (Number(process.env.SHOW) || 40)) console.log(`FAIL  ${what}\n      ${query}`);
};

const rules = new Set();
for (const [rule, documents] of Object.entries(INVALID)) {
  for (const query of documents) {
    asked += 1;
    const refused = specifiedRules.find((r) => r.name === rule && validate(schema, parse(query), [r]).length);
    if (!refused) fail(`${rule} does not refuse this: the case is wrong`, query);
    rules.add(rule);
    const wrong = differs({ code: 'GRAPHQL_VALIDATION_FAILED', rule }, await ask(query), false);
    if (wrong) fail(wrong, query);
  }
}
for (const { name } of specifiedRules) if (!rules.has(name)) fail(`no case for ${name}`, '');
for (const query of VALID) {
  asked += 1;
  const [error] = validate(schema, parse(query));
  if (error) fail(`graphql-js refuses it: the case is wrong: ${error.message}`, query);
  const wrong = differs(null, await ask(query), false);
  if (wrong) fail(wrong, query);
}
console.log(`${asked} documents of ${rules.size} rules`);

const seed = Number(process.env.SEED) || 1;
const n = Number(process.env.N) || 3000;
const tally = {};
for (const query of broken(VALID, seed, n)) {
  asked += 1;
  const expected = verdict(schema, query);
  const rule = expected?.code === 'GRAPHQL_VALIDATION_FAILED' ? expected.rule : (expected?.code ?? 'valid');
  tally[rule] = (tally[rule] ?? 0) + 1;
  const wrong = differs(expected, await ask(query), true);
  // What the library cannot read, though the specification can (docs/contract.md, section 9).
  if (wrong?.includes('GRAPHQL_PARSE_FAILED') && UNREADABLE.test(query)) continue;
  if (wrong) fail(wrong, query);
}
console.log(`${n} documents by chance (seed ${seed}): ${Object.entries(tally).map(([rule, n]) => `${rule} ${n}`).join(', ')}`);
console.log(`${asked - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
