// A shop's address for notifications: what arrives is kept as it came, headers and bytes, and taken in order.
import { createServer } from 'node:http';

/** Listens on a free port; every notification gets this answer. */
export async function openShop(answer) {
  const arrived = [];
  let wake = () => {};
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    arrived.push({ headers: request.headers, body: Buffer.concat(chunks).toString('utf8') });
    response.writeHead(answer.status, { 'content-type': 'text/plain' }).end(answer.body);
    wake();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/notify`,
    /** The next notification; waits ten seconds for it. */
    async next() {
      const timeout = AbortSignal.timeout(10_000);
      while (arrived.length === 0) {
        if (timeout.aborted) throw new Error('no notification came within ten seconds');
        await new Promise((resolve) => {
          wake = resolve;
          timeout.addEventListener('abort', resolve, { once: true });
        });
      }
      return arrived.shift();
    },
    /** How many came and were not taken. */
    waiting: () => arrived.length,
    close: () => server.close(),
  };
}
