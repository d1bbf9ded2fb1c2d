// Prints as many free TCP ports of 127.0.0.1 as asked for, on one line: node scripts/free-ports.mjs 3
// They lie below the range that the system hands out by itself, so nobody gets them by chance.
import { createServer } from 'node:net';

const ports = new Set();
while (ports.size < Number(process.argv[2] ?? 1)) {
  const port = 20_000 + Math.floor(Math.random() * 10_000);
  if (await isFree(port)) ports.add(port);
}
console.log([...ports].join(' '));

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
