// The behaviours of graphql-transport-ws and of GraphQL over SSE (distinct connections), one by one, with a bare
// socket and bare HTTP: what the protocols' documents demand of a server.
//
//   scripts/with-payonce node tests/clients/protocol.mjs
import assert from 'node:assert/strict';
import WebSocket from 'ws';

const { PAYONCE_URL, CUSTOMER_TOKEN } = process.env;
const http = `${PAYONCE_URL}/graphql`;
const bearer = { authorization: `Bearer ${CUSTOMER_TOKEN}` };
const STATUS = 'subscription ($id: ID!) { paymentStatus(orderId: $id) { version orderStatus } }';

/** A socket whose messages are waited for one at a time; its end is `{ closed: code }`. */
function dial(protocol = 'graphql-transport-ws', headers = {}) {
  const socket = new WebSocket(http.replace(/^http/, 'ws'), protocol, { headers });
  const heard = [];
  const waiting = [];
  const tell = (message) => (waiting.length ? waiting.shift()(message) : heard.push(message));
  socket.on('message', (data) => tell(JSON.parse(data)));
  socket.on('close', (code) => tell({ closed: code }));
  socket.on('unexpected-response', (_, response) => tell({ refused: response.statusCode }));
  socket.on('error', () => {});
  const hear = (ms = 10_000) =>
    heard.length
      ? Promise.resolve(heard.shift())
      : new Promise((resolve) => {
          const timer = setTimeout(() => resolve('silence'), ms);
          waiting.push((message) => {
            clearTimeout(timer);
            resolve(message);
          });
        });
  const opened = new Promise((resolve) => {
    socket.on('open', resolve);
    socket.on('close', resolve);
    socket.on('unexpected-response', resolve);
  });
  const say = async (message) => {
    await opened;
    socket.send(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message));
  };
  return { socket, hear, say, opened };
}

async function acknowledged(payload) {
  const client = dial();
  await client.say({ type: 'connection_init', payload });
  assert.deepEqual(await client.hear(), { type: 'connection_ack' });
  return client;
}

const asCustomer = () => acknowledged(bearer);

async function closesWith(code, ...messages) {
  const client = await acknowledged();
  for (const message of messages) await client.say(message);
  assert.deepEqual(await client.hear(), { closed: code });
}

const subscribe = (query, more = {}, id = 'a') => ({ id, type: 'subscribe', payload: { query, ...more } });

async function order() {
  const query = `mutation ($key: IdempotencyKey!) { createOrder(idempotencyKey: $key, input: { lines: [{ sku: "TEA", quantity: 1 }], allowDuplicate: true }) { order { id } } }`;
  const response = await post({ query, variables: { key: `protocol-${Date.now()}-${Math.random()}`.replace('.', '') } });
  return (await response.json()).data.createOrder.order.id;
}

const cancel = (id) =>
  post({
    query: 'mutation ($key: IdempotencyKey!, $id: ID!) { cancelOrder(idempotencyKey: $key, input: { orderId: $id }) { replayed } }',
    variables: { key: `protocol-cancel-${id}`, id },
  });

const post = (body, headers = {}) =>
  fetch(http, { method: 'POST', headers: { 'content-type': 'application/json', ...bearer, ...headers }, body: JSON.stringify(body) });

const SOCKET = {
  'the subprotocol is spoken and named': async () => {
    const client = dial();
    await client.opened;
    assert.equal(client.socket.protocol, 'graphql-transport-ws');
  },
  'another subprotocol is refused': async () => {
    assert.deepEqual(await dial('graphql-ws').hear(), { refused: 400 });
  },
  'connection_init is acknowledged': () => acknowledged(),
  'connection_init may have a payload': () => acknowledged({ anything: { at: 'all' } }),
  'a token that is none: 4403': async () => {
    const client = dial();
    await client.say({ type: 'connection_init', payload: { authorization: 'Bearer nonsense' } });
    assert.deepEqual(await client.hear(), { closed: 4403 });
  },
  'a second connection_init: 4429': () => closesWith(4429, { type: 'connection_init' }),
  'no connection_init in time: 4408': async () => assert.deepEqual(await dial().hear(), { closed: 4408 }),
  'subscribe before the acknowledgement: 4401': async () => {
    const client = dial();
    await client.say(subscribe('{ __typename }'));
    assert.deepEqual(await client.hear(), { closed: 4401 });
  },
  'text that is not JSON: 4400': () => closesWith(4400, 'nonsense'),
  'JSON that is no object: 4400': () => closesWith(4400, '[]'),
  'an object without a type: 4400': () => closesWith(4400, {}),
  'an unknown type: 4400': () => closesWith(4400, { type: 'start', id: 'a' }),
  'bytes: 4400': () => closesWith(4400, Buffer.from('{"type":"ping"}')),
  'subscribe without an id: 4400': () => closesWith(4400, { type: 'subscribe', payload: { query: '{ __typename }' } }),
  'subscribe without a query: 4400': () => closesWith(4400, { id: 'a', type: 'subscribe', payload: {} }),
  'ping is answered with its payload': async () => {
    const client = dial();
    await client.say({ type: 'ping', payload: { a: 1 } });
    assert.deepEqual(await client.hear(), { type: 'pong', payload: { a: 1 } });
  },
  'pong is taken at any time': async () => {
    const client = dial();
    await client.say({ type: 'pong' });
    await client.say({ type: 'ping' });
    assert.deepEqual(await client.hear(), { type: 'pong' });
  },
  'a query is one next and complete': async () => {
    const client = await acknowledged();
    const query = 'query A { a: __typename } query B($s: String!) { product(sku: $s) { sku } }';
    await client.say(subscribe(query, { operationName: 'B', variables: { s: 'TEA' } }));
    assert.deepEqual(await client.hear(), { id: 'a', type: 'next', payload: { data: { product: { sku: 'TEA' } } } });
    assert.deepEqual(await client.hear(), { id: 'a', type: 'complete' });
  },
  'a document that does not parse is an error, and no complete': async () => {
    const client = await acknowledged();
    await client.say(subscribe('{'));
    const { type, id, payload } = await client.hear();
    assert.deepEqual([type, id, payload[0].extensions.code], ['error', 'a', 'GRAPHQL_PARSE_FAILED']);
    assert.equal(await client.hear(200), 'silence');
  },
  'a document that is not valid is an error, and no complete': async () => {
    const client = await acknowledged();
    await client.say(subscribe('{ nothing }'));
    const { type, id, payload } = await client.hear();
    assert.deepEqual([type, id, payload[0].extensions.code], ['error', 'a', 'GRAPHQL_VALIDATION_FAILED']);
    assert.equal(await client.hear(200), 'silence');
  },
  'an error of a field travels in next': async () => {
    const client = await acknowledged();
    await client.say(subscribe('{ order(id: "x") { id } }'));
    const { type, payload } = await client.hear();
    assert.deepEqual([type, payload.data, payload.errors[0].path], ['next', { order: null }, ['order']]);
    assert.deepEqual(await client.hear(), { id: 'a', type: 'complete' });
  },
  'an id in use: 4409': async () => {
    const client = await asCustomer();
    await client.say(subscribe(STATUS, { variables: { id: await order() } }));
    assert.equal((await client.hear()).type, 'next');
    await client.say(subscribe('{ __typename }'));
    assert.deepEqual(await client.hear(), { closed: 4409 });
  },
  'an id is free again after complete': async () => {
    const client = await acknowledged();
    for (let n = 0; n < 2; n += 1) {
      await client.say(subscribe('{ __typename }'));
      assert.equal((await client.hear()).type, 'next');
      assert.equal((await client.hear()).type, 'complete');
    }
  },
  "a client's complete ends its subscription and no other": async () => {
    const client = await asCustomer();
    const id = await order();
    for (const name of ['a', 'b']) {
      await client.say(subscribe(STATUS, { variables: { id } }, name));
      assert.deepEqual((await client.hear()).id, name);
    }
    await client.say({ id: 'never seen', type: 'complete' });
    await client.say({ id: 'a', type: 'complete' });
    await client.say({ type: 'ping' });
    assert.deepEqual(await client.hear(), { type: 'pong' });
    await cancel(id);
    const rest = [];
    for (let message = await client.hear(); message.type !== 'complete'; message = await client.hear()) rest.push(message);
    assert.ok(rest.length > 0 && rest.every((message) => message.id === 'b'), JSON.stringify(rest));
  },
  'a subscription is next after next and then complete': async () => {
    const client = await asCustomer();
    const id = await order();
    await client.say(subscribe(STATUS, { variables: { id } }));
    assert.equal((await client.hear()).payload.data.paymentStatus.orderStatus, 'PENDING_PAYMENT');
    await cancel(id);
    let message = await client.hear();
    assert.equal(message.payload.data.paymentStatus.orderStatus, 'CLOSED');
    while (message.type === 'next') message = await client.hear();
    assert.deepEqual(message, { id: 'a', type: 'complete' });
  },
};

const EVENTS = { accept: 'text/event-stream' };
const TYPENAME = { query: '{ __typename }' };

/** Events as they arrive: `[name, data]`. */
async function* events(response) {
  let text = '';
  for await (const bytes of response.body) {
    text += Buffer.from(bytes).toString();
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n');
      text = text.slice(end + 2);
      const of = (field) => lines.find((line) => line.startsWith(`${field}:`))?.slice(field.length + 1).trimStart();
      if (of('event')) yield [of('event'), of('data')];
    }
  }
}

const all = async (response) => {
  const found = [];
  for await (const event of events(response)) found.push(event);
  return found;
};

const STREAM = {
  'an accepted request is 200 and text/event-stream, not to be cached': async () => {
    const response = await post(TYPENAME, EVENTS);
    assert.equal(response.status, 200);
    assert.match(response.headers.get('content-type'), /^text\/event-stream/);
    assert.match(response.headers.get('cache-control'), /no-cache/);
    await response.body.cancel();
  },
  'a query is one next and complete, whose data is empty': async () => {
    assert.deepEqual(await all(await post(TYPENAME, EVENTS)), [['next', '{"data":{"__typename":"Query"}}'], ['complete', '']]);
  },
  'a query by GET': async () => {
    const response = await fetch(`${http}?query=${encodeURIComponent(TYPENAME.query)}`, { headers: EVENTS });
    assert.deepEqual((await all(response)).map(([name]) => name), ['next', 'complete']);
  },
  'a subscription by GET, until it is over': async () => {
    const id = await order();
    const url = `${http}?query=${encodeURIComponent(STATUS)}&variables=${encodeURIComponent(JSON.stringify({ id }))}`;
    const stream = events(await fetch(url, { headers: { ...EVENTS, ...bearer } }));
    assert.match((await stream.next()).value[1], /PENDING_PAYMENT/);
    await cancel(id);
    let last;
    for await (const event of stream) last = event;
    assert.deepEqual(last, ['complete', '']);
  },
  'a document that is not valid is 200, next with errors, complete': async () => {
    const response = await post({ query: '{ nothing }' }, EVENTS);
    assert.equal(response.status, 200);
    const [[name, data], last] = await all(response);
    assert.deepEqual([name, last], ['next', ['complete', '']]);
    const { errors, ...rest } = JSON.parse(data);
    assert.deepEqual([errors[0].extensions.code, rest], ['GRAPHQL_VALIDATION_FAILED', {}]);
  },
  'a request that is none is refused before any stream': async () => {
    const response = await fetch(http, { method: 'POST', headers: { 'content-type': 'application/json', ...EVENTS }, body: '{' });
    assert.equal(response.status, 400);
    assert.doesNotMatch(response.headers.get('content-type'), /event-stream/);
  },
  'a token that is none: 401': async () => {
    const response = await post(TYPENAME, { ...EVENTS, authorization: 'Bearer nonsense' });
    assert.equal(response.status, 401);
  },
  'a client that leaves ends its stream, and others go on': async () => {
    const variables = { id: await order() };
    const leave = new AbortController();
    const body = JSON.stringify({ query: STATUS, variables });
    const headers = { 'content-type': 'application/json', ...bearer, ...EVENTS };
    const stays = events(await post({ query: STATUS, variables }, EVENTS));
    const leaves = events(await fetch(http, { method: 'POST', headers, body, signal: leave.signal }));
    await Promise.all([stays.next(), leaves.next()]);
    leave.abort();
    await assert.rejects(leaves.next());
    await cancel(variables.id);
    assert.match((await stays.next()).value[1], /CLOSED/);
  },
};

let failed = 0;
for (const [protocol, behaviours] of Object.entries({ 'graphql-transport-ws': SOCKET, 'GraphQL over SSE': STREAM })) {
  let passed = 0;
  for (const [name, check] of Object.entries(behaviours)) {
    try {
      await check();
      passed += 1;
    } catch (e) {
      failed += 1;
      console.log(`FAIL  ${protocol}: ${name}: ${e.stack}`);
    }
  }
  console.log(`${protocol}: ${passed} of ${Object.keys(behaviours).length}`);
}
process.exit(failed ? 1 : 0);
