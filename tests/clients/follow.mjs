// Follows an order from its payment to its refund with clients as they come from npm, unchanged: graphql-ws,
// graphql-sse, Apollo Client and urql, each of the last two over both. Each must show the state first, versions
// that only rise, PAID, REFUNDED, and then complete.
//
//   scripts/with-payonce node tests/clients/follow.mjs
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, Observable, gql } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { Client as UrqlClient, fetchExchange, subscriptionExchange } from '@urql/core';
import { print } from 'graphql';
import { createClient as createSseClient } from 'graphql-sse';
import { createClient as createWsClient } from 'graphql-ws';
import { pipe, subscribe as forEach } from 'wonka';
import WebSocket from 'ws';

const { PAYONCE_URL, CUSTOMER_TOKEN, ADMIN_TOKEN } = process.env;
const http = `${PAYONCE_URL}/graphql`;
const STATUS = 'subscription ($id: ID!) { paymentStatus(orderId: $id) { version orderStatus order { id } } }';

async function ask(token, query, variables) {
  const response = await fetch(http, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  if (errors) throw new Error(JSON.stringify(errors));
  return data;
}

const ws = () =>
  createWsClient({
    url: http.replace(/^http/, 'ws'),
    webSocketImpl: WebSocket,
    connectionParams: { authorization: `Bearer ${CUSTOMER_TOKEN}` },
  });
const sse = () => createSseClient({ url: http, headers: { authorization: `Bearer ${CUSTOMER_TOKEN}` } });

/** A client of either library as Apollo's link. */
const sseLink = (client) =>
  new ApolloLink(
    (operation) =>
      new Observable((sink) =>
        client.subscribe(
          { query: print(operation.query), variables: operation.variables },
          { next: (v) => sink.next(v), error: (e) => sink.error(e), complete: () => sink.complete() },
        ),
      ),
  );

const apollo = (link) => (variables, sink) =>
  new ApolloClient({ cache: new InMemoryCache(), link })
    .subscribe({ query: gql(STATUS), variables })
    .subscribe(sink);

const urql = (client) => (variables, sink) => {
  const forwardSubscription = ({ query, variables }) => ({
    subscribe: (observer) => ({ unsubscribe: client.subscribe({ query, variables }, observer) }),
  });
  const of = new UrqlClient({
    url: http,
    exchanges: [fetchExchange, subscriptionExchange({ forwardSubscription })],
    preferGetMethod: false,
  });
  pipe(
    of.subscription(STATUS, variables),
    forEach((result) => {
      if (result.error) return sink.error(result.error);
      // urql tells the end of a subscription by the last result once more, with nothing to follow.
      if (result.hasNext === false) return sink.complete();
      sink.next(result);
    }),
  );
};

const plain = (client) => (variables, sink) => client.subscribe({ query: STATUS, variables }, sink);

const CLIENTS = {
  'graphql-ws': () => plain(ws()),
  'graphql-sse': () => plain(sse()),
  'Apollo Client over graphql-ws': () => apollo(new GraphQLWsLink(ws())),
  'Apollo Client over graphql-sse': () => apollo(sseLink(sse())),
  'urql over graphql-ws': () => urql(ws()),
  'urql over graphql-sse': () => urql(sse()),
};

/** Everything one subscription shows until it completes. */
function follow(subscribe, id) {
  const seen = [];
  let heard = () => {};
  const until = async (status) => {
    while (!seen.some((event) => event.orderStatus === status)) await new Promise((wake) => (heard = wake));
  };
  const done = new Promise((complete, error) => {
    subscribe(
      { id },
      {
        next: ({ data }) => {
          seen.push(data.paymentStatus);
          heard();
        },
        error,
        complete,
      },
    );
  });
  return { seen, until, done };
}

const within = (what, promise) => {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`not within 20 s: ${what}`)), 20_000)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

async function story(name, subscribe) {
  const key = `client-${Date.now()}-${name.replaceAll(/\W+/g, '-')}`;
  const { createOrder } = await ask(
    CUSTOMER_TOKEN,
    `mutation ($key: IdempotencyKey!) { createOrder(idempotencyKey: $key, input: { lines: [{ sku: "TEA", quantity: 1 }],
       payment: { gateway: WECHAT_PAY, product: NATIVE }, allowDuplicate: true }) { order { id } payment { id action { ... on QrCode { url } } } } }`,
    { key },
  );
  const { order, payment } = createOrder;
  const followed = follow(subscribe, order.id);
  await within('the state as it is', followed.until('PAYING'));
  await fetch(`${payment.action.url}/pay`, { method: 'POST' });
  await within('PAID', followed.until('PAID'));
  await ask(
    ADMIN_TOKEN,
    `mutation ($key: IdempotencyKey!, $id: ID!) { refundOrder(idempotencyKey: $key, input: { orderId: $id, reason: CUSTOMER_REQUEST }) { refund { id } } }`,
    { key: `${key}-refund`, id: order.id },
  );
  await within('complete', followed.done);
  const versions = followed.seen.map((event) => event.version);
  if (versions.some((version, at) => at > 0 && version <= versions[at - 1])) throw new Error(`versions: ${versions}`);
  if (followed.seen.at(-1).orderStatus !== 'REFUNDED') throw new Error(`ended as ${followed.seen.at(-1).orderStatus}`);
  if (followed.seen.some((event) => event.order.id !== order.id)) throw new Error('another order');
}

let failed = 0;
for (const [name, subscribe] of Object.entries(CLIENTS)) {
  try {
    await story(name, subscribe());
    console.log(`ok    ${name}`);
  } catch (e) {
    failed += 1;
    console.log(`FAIL  ${name}: ${e.stack ?? e}`);
  }
}
console.log(`${Object.keys(CLIENTS).length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
