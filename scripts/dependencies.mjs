// Whether every direct dependency says in docs/dependencies.md why it is here, and every package that is built in has
// a licence that deny.toml allows, comes from crates.io and is none of those that deny.toml bans.
//
//   node scripts/dependencies.mjs
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const read = (file) => readFileSync(file, 'utf8');
const wrong = [];

const options = { encoding: 'utf8', maxBuffer: 1 << 28 };
const metadata = JSON.parse(execFileSync('cargo', ['metadata', '--format-version', '1', '--locked'], options));
const ours = new Set(metadata.workspace_members);

const reasons = read('docs/dependencies.md')
  .split('\n')
  .filter((line) => line.startsWith('| '));
const explained = new Set(reasons.flatMap((line) => [...line.split('|')[1].matchAll(/`([^`]+)`/g)].map((found) => found[1])));
const own = new Set(metadata.packages.filter(({ id }) => ours.has(id)).map(({ name }) => name));
const direct = new Map();
for (const { id, name, dependencies } of metadata.packages) {
  if (ours.has(id)) for (const one of dependencies) if (!own.has(one.name)) direct.set(one.name, `${name}/Cargo.toml`);
}
for (const file of ['web/package.json', 'tests/clients/package.json', 'tests/judges/package.json']) {
  const { dependencies, devDependencies } = JSON.parse(read(file));
  for (const name of Object.keys({ ...dependencies, ...devDependencies })) direct.set(name, file);
}
for (const [name, file] of direct) {
  if (!explained.has(name)) wrong.push(`${name} (${file}) has no line in docs/dependencies.md`);
}

const deny = read('deny.toml');
const list = (name) => [...deny.match(new RegExp(`^${name} = \\[([^]*?)^\\]`, 'm'))[1].matchAll(/"([^"]+)"/g)].map((found) => found[1]);
const allowed = new Set(list('allow'));
const banned = new Set(list('deny'));
/** `A OR B`: one of them will do; `A AND B`: both must; no parentheses within parentheses in the tree. */
const fits = (licence) =>
  licence
    .replaceAll('/', ' OR ')
    .replace(/\(([^)]*)\)/g, (_, inner) => (fits(inner) ? [...allowed][0] : 'none'))
    .split(' AND ')
    .every((part) => part.split(' OR ').some((one) => allowed.has(one.trim())));
// What is really built, on any platform: the lock file holds more.
const tree = execFileSync('cargo', 'tree --workspace --locked --target all --prefix none --no-dedupe --format {p}|{l}'.split(' '), options);
const built = new Map(tree.split('\n').map((line) => line.split('|')));
for (const [described, licence] of built) {
  const [name, , ...source] = (described ?? '').split(' ').filter((word) => word !== '(proc-macro)');
  if (!name || own.has(name)) continue;
  if (!fits(licence || 'none')) wrong.push(`${described}: the licence ${licence} is not one of deny.toml`);
  if (source.some((word) => word.startsWith('(') && word !== '(*)')) wrong.push(`${described} does not come from crates.io`);
  if (banned.has(name)) wrong.push(`${described} is banned by deny.toml`);
}

for (const line of wrong) console.error(line);
console.log(`${direct.size} direct dependencies, ${built.size} packages, ${wrong.length} wrong`);
process.exit(wrong.length ? 1 : 0);
