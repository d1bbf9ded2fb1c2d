// Runs every audit of GraphQL over HTTP that npm's graphql-http has, MUST, SHOULD and MAY: all must pass.
//
//   scripts/with-payonce node tests/clients/audit.mjs
import { auditServer } from 'graphql-http';

const url = `${process.env.PAYONCE_URL}/graphql`;
const results = await auditServer({ url, fetchFn: fetch });
const failed = results.filter(({ status }) => status !== 'ok');
for (const { status, id, name, reason } of failed) console.log(`${status}  ${id} ${name}: ${reason}`);
console.log(`${results.length - failed.length} passed, ${failed.length} failed`);
process.exit(failed.length || !results.length ? 1 : 0);
