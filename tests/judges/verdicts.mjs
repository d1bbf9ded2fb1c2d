// What a judge says: one line per check, in sections, and a total. A failed check is said and counted; what
// cannot go on ends its section, and the next one begins.
import { isDeepStrictEqual } from 'node:util';

let passed = 0;
let failed = 0;

export async function section(title, judge) {
  console.log(title);
  try {
    await judge();
  } catch (error) {
    const where = (error.stack ?? String(error)).split('\n').filter((line) => !line.includes('node_modules')).slice(0, 3);
    fail('this section cannot go on', where.join('\n    '));
  }
}

/** A check that two things are equal, deeply. */
export function same(what, wanted, got) {
  if (isDeepStrictEqual(wanted, got)) return pass(what);
  fail(what, `wanted: ${shown(wanted)}\n        got:    ${shown(got)}`);
}

/** A check that something is so; `seen` is shown when it is not. */
export function so(what, holds, seen = holds) {
  if (holds) return pass(what);
  fail(what, `got: ${shown(seen)}`);
}

/** A check that this is refused, for this reason: a judge that cannot refuse judges nothing. */
export async function refused(what, reason, attempt) {
  try {
    const accepted = await attempt();
    fail(what, `it was accepted: ${shown(accepted)}`);
  } catch (error) {
    const said = [error.code, error.response?.data?.code, error.message].filter(Boolean).join(' ');
    so(what, reason.test(said), said);
  }
}

/** Prints the total; true when nothing failed. */
export function total() {
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0;
}

/** A value as a line that can be read. */
function shown(value) {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 600 ? `${text.slice(0, 600)}…` : text;
}

function pass(what) {
  passed += 1;
  console.log(`ok      ${what}`);
}

function fail(what, why) {
  failed += 1;
  console.log(`FAILED  ${what}\n        ${why}`);
}
