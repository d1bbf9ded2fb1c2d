// Watches an order live, one line per state, until it is CLOSED or REFUNDED:
//   PAYONCE_URL=… TOKEN=… node --experimental-websocket scripts/watch.mjs ord_…
// The flag gives Node 20 the WebSocket that browsers and newer Nodes have.
import { createRequire } from 'node:module';

const { createClient } = createRequire(new URL('../web/package.json', import.meta.url))('graphql-ws');

const client = createClient({
  url: `${process.env.PAYONCE_URL.replace(/^http/, 'ws')}/graphql`,
  connectionParams: { authorization: `Bearer ${process.env.TOKEN}` },
  retryAttempts: 0,
});

const events = client.iterate({
  query: `subscription ($id: ID!) {
    paymentStatus(orderId: $id) {
      version
      orderStatus
      payment { status }
      refund { status amount { decimal } }
    }
  }`,
  variables: { id: process.argv[2] },
});

try {
  for await (const { data, errors } of events) {
    if (errors) throw errors;
    const { version, orderStatus, payment, refund } = data.paymentStatus;
    const facts = [payment && `payment ${payment.status}`, refund && `refund of ${refund.amount.decimal} ${refund.status}`];
    console.log(`version ${version}: ${orderStatus}`, facts.filter(Boolean).join(', '));
  }
  process.exit(0);
} catch (error) {
  console.log('FAILED', JSON.stringify(error.reason ?? error.message ?? error));
  process.exit(1);
}
