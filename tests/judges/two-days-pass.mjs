// Lets two days pass for a sandbox that is away: node tests/judges/two-days-pass.mjs DIR/state.json
// Every moment it remembers becomes two days older: bills are of days gone by, and are not there at once.
import { readFileSync, writeFileSync } from 'node:fs';

const [, , file] = process.argv;
const older = (_, second, fraction) =>
  `"${new Date(Date.parse(`${second}Z`) - 2 * 86_400_000).toISOString().slice(0, 19)}${fraction}Z"`;
const state = readFileSync(file, 'utf8');
writeFileSync(file, state.replace(/"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z"/g, (all, second, fraction = '') => older(all, second, fraction)));
