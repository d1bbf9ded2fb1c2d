// Live payment status as a Node.js shop has it: Mercurius, one Redis connection that listens for the process, and
// subscribers that share its channels. node server.mjs PORT
import { EventEmitter, on } from 'node:events';
import { createVerifier } from 'fast-jwt';
import fastify from 'fastify';
import { Redis } from 'ioredis';
import mercurius from 'mercurius';

const schema = `
  enum OrderStatus { PENDING PAID FAILED REFUNDED }
  type PaymentStatus { orderNo: ID! status: OrderStatus! at: String! }
  type Query { ready: Boolean! }
  type Subscription { paymentStatus(orderNo: ID!): PaymentStatus! }
`;

const verify = createVerifier({ key: process.env.JWT_SECRET, algorithms: ['HS256'] });

function authenticate(authorization = '') {
  try {
    return { customer: verify(authorization.replace(/^Bearer /, '')).sub };
  } catch {
    return {};
  }
}

const bus = new EventEmitter().setMaxListeners(0);
const listener = new Redis(process.env.REDIS_URL);
listener.on('message', (channel, message) => bus.emit(channel, JSON.parse(message)));

async function subscribe(_root, { orderNo }, { customer }) {
  if (!customer) throw new Error('a valid bearer token is required');
  const channel = `payment-status:${orderNo}`;
  const events = on(bus, channel);
  if (bus.listenerCount(channel) === 1) await listener.subscribe(channel);
  return {
    async next() {
      const { value, done } = await events.next();
      return { done, value: value && { paymentStatus: value[0] } };
    },
    async return() {
      await events.return();
      if (bus.listenerCount(channel) === 0) await listener.unsubscribe(channel);
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

const app = fastify();
app.register(mercurius, {
  schema,
  resolvers: { Query: { ready: () => true }, Subscription: { paymentStatus: { subscribe } } },
  jit: 1,
  subscription: { onConnect: ({ payload }) => authenticate(payload?.authorization) },
});
await app.listen({ port: Number(process.argv[2]), host: '127.0.0.1' });
