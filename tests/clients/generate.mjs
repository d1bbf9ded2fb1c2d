// Has code generators introspect the server and work with what they find: graphql-js builds and validates the
// schema, GraphQL Inspector writes it and validates the web pages' documents, GraphQL Code Generator makes their
// types, and TypeScript checks those.
//
//   scripts/with-payonce node tests/clients/generate.mjs
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generate } from '@graphql-codegen/cli';
import {
  buildClientSchema,
  buildSchema,
  findBreakingChanges,
  findDangerousChanges,
  getIntrospectionQuery,
  parse,
  print,
  validate,
  validateSchema,
} from 'graphql';

const { PAYONCE_URL, ADMIN_TOKEN } = process.env;
const url = `${PAYONCE_URL}/graphql`;
const headers = { authorization: `Bearer ${ADMIN_TOKEN}` };
const here = fileURLToPath(new URL('.', import.meta.url));
const root = join(here, '../..');
const out = mkdtempSync(join(tmpdir(), 'payonce-generate-'));
process.on('exit', () => rmSync(out, { recursive: true, force: true }));

let passed = 0;
let failed = 0;
async function check(what, work) {
  try {
    await work();
    passed += 1;
    console.log(`ok    ${what}`);
  } catch (e) {
    failed += 1;
    console.log(`FAIL  ${what}: ${e.stdout ?? ''}${e.stderr ?? ''}${e.stack ?? e}`);
  }
}

/** Every operation that stands as a text in the pages' sources, by the mutation's name where it is filled in. */
function documents() {
  const texts = ['web/shop/api.ts', 'web/admin/refund-story.ts'].flatMap((file) =>
    [...readFileSync(join(root, file), 'utf8').matchAll(/`([^`]*)`|'([^'\n]*)'/g)].map((found) => found[1] ?? found[2]),
  );
  const filled = texts.flatMap((text) =>
    text.includes('${operation}')
      ? ['createOrder', 'repayOrder', 'cancelOrder'].map((operation) =>
          text.replaceAll('${operation}', operation).replaceAll('${type}', operation[0].toUpperCase() + operation.slice(1)),
        )
      : [text],
  );
  const whole = filled
    .map((text) => text.replaceAll('${SHOWN}', ''))
    .filter((text) => /^(\s|#.*\n)*(query|mutation|subscription|fragment)\b|^\{ \w/.test(text))
    .map((text, n) => print(parse(text)).replace(/^(query|mutation|subscription)(?= ?[({])|^(?=\{)/, (kind) => `${kind || 'query'} Web${n}`));
  if (whole.length < 10) throw new Error(`only ${whole.length} documents found in the pages' sources`);
  return whole.join('\n\n');
}

const response = await fetch(url, {
  method: 'POST',
  headers: { 'content-type': 'application/json', ...headers },
  body: JSON.stringify({ query: getIntrospectionQuery({ descriptions: true, inputValueDeprecation: true, specifiedByUrl: true }) }),
});
const schema = buildClientSchema((await response.json()).data);
const pages = documents();
writeFileSync(join(out, 'pages.graphql'), pages);

await check('graphql-js: the schema is valid', () => {
  const errors = validateSchema(schema);
  if (errors.length) throw new Error(errors.join('\n'));
});
await check('graphql-js: it is that of schema.graphql', () => {
  const written = buildSchema(readFileSync(join(root, 'schema.graphql'), 'utf8'));
  const changes = [[written, schema], [schema, written]].flatMap(([a, b]) => [...findBreakingChanges(a, b), ...findDangerousChanges(a, b)]);
  // What graphql-js itself adds to a schema that it builds from text.
  const told = changes.map((change) => change.description).filter((text) => !/^(DIRECTIVE_DEFINITION|Standard scalar) /.test(text));
  if (told.length) throw new Error(told.join('\n'));
});
await check("graphql-js: the pages' documents are valid", () => {
  const errors = validate(schema, parse(pages));
  if (errors.length) throw new Error(errors.join('\n'));
});

const inspector = (...args) => execFileSync(join(here, 'node_modules/.bin/graphql-inspector'), args, { cwd: out, stdio: 'pipe' });
await check('GraphQL Inspector introspects', () => {
  inspector('introspect', url, '--header', `Authorization: ${headers.authorization}`, '--write', 'schema.graphql');
});
await check("GraphQL Inspector validates the pages' documents", () => {
  inspector('validate', 'pages.graphql', 'schema.graphql');
});

await check('GraphQL Code Generator makes the types, and TypeScript takes them', async () => {
  const text = { input: 'string', output: 'string' };
  await generate(
    {
      cwd: here,
      silent: true,
      schema: [{ [url]: { headers } }],
      documents: join(out, 'pages.graphql'),
      generates: {
        [`${out}/generated/`]: {
          preset: 'client',
          config: {
            strictScalars: true,
            scalars: { BigInt: text, Currency: text, DateTime: text, IdempotencyKey: text },
          },
        },
      },
    },
    true,
  );
  symlinkSync(join(here, 'node_modules'), join(out, 'node_modules'));
  const tsc = join(here, 'node_modules/.bin/tsc');
  const options = '--noEmit --strict --target es2022 --module esnext --moduleResolution bundler --types'.split(' ');
  execFileSync(tsc, [...options, '', 'generated/index.ts'], { cwd: out, stdio: 'pipe' });
  const made = readFileSync(join(out, 'generated/graphql.ts'), 'utf8');
  if (!made.includes('export type CreateOrderInput = {')) throw new Error('no type of CreateOrderInput');
});

console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
