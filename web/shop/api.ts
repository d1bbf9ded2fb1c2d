import { ask, NoAnswer, openSocket, pause, type Answer } from '../client/graphql';
import * as memory from './memory';

export interface Money {
  minor: string;
  currency: string;
  decimal: string;
}

export interface Product {
  sku: string;
  name: string;
  price: Money;
}

export interface Payment {
  id: string;
  status: 'CREATED' | 'PENDING' | 'UNKNOWN' | 'SUCCEEDED' | 'FAILED' | 'CLOSED';
  failureReason: string | null;
  createdAt: string;
  action: { __typename: string; url?: string } | null;
}

export interface Order {
  id: string;
  version: number;
  status: 'PENDING_PAYMENT' | 'PAYING' | 'PAID' | 'PARTIALLY_REFUNDED' | 'REFUNDED' | 'CLOSED';
  closeReason: 'EXPIRED' | 'CANCELLED' | null;
  remainingSeconds: number;
  total: Money;
  refunded: Money;
  lines: { sku: string; name: string; quantity: number; amount: Money }[];
  payments: Payment[];
}

export const WECHAT_PAY_CODE = { gateway: 'WECHAT_PAY', product: 'NATIVE' } as const;

/** An answer that is an error. */
export class Refusal extends Error {
  constructor(
    message: string,
    readonly code: string,
    readonly extensions: Record<string, unknown> = {},
  ) {
    super(message);
  }

  /** It may have happened, or may yet: only the same key may be sent again. */
  get wantsSameKey(): boolean {
    return this.extensions['retrySameKey'] === true || this.extensions['retryable'] === true;
  }
}

export async function products(): Promise<Product[]> {
  const query = '{ products(first: 50) { nodes { sku name price { minor currency decimal } } } }';
  const data = await read<{ products: { nodes: Product[] } }>(query, {});
  return data.products.nodes;
}

export async function order(id: string): Promise<Order> {
  const data = await read<{ order: Order | null }>(
    `query ($id: ID!) { order(id: $id) { ...Shown } } ${SHOWN}`,
    { id },
  );
  if (!data.order) throw new Refusal('No such order.', 'NOT_FOUND');
  return data.order;
}

/** Has the server ask the gateway now, instead of waiting for its notification. */
export async function syncOrder(id: string): Promise<Order> {
  const data = await read<{ syncOrder: Order }>(
    `mutation ($id: ID!) { syncOrder(orderId: $id) { ...Shown } } ${SHOWN}`,
    { id },
  );
  return data.syncOrder;
}

/**
 * Sends an intent until it is answered, three times at most, always with the one key stored for it.
 * `onWait` is told before each further try.
 */
export async function send(
  operation: memory.Operation,
  input: unknown,
  onWait: () => void = () => {},
): Promise<Order> {
  const intent = memory.intend(operation, input);
  for (let attempt = 1; ; attempt += 1) {
    const refusal = await attemptOnce(operation, intent);
    if (!(refusal instanceof Refusal)) {
      memory.forget(operation);
      return refusal;
    }
    if (!refusal.wantsSameKey) {
      if (refusal.code.startsWith('IDEMPOTENCY_KEY_')) memory.forget(operation);
      else memory.close(operation, intent);
      throw refusal;
    }
    if (attempt === 3) throw refusal;
    onWait();
    await pause(Number(refusal.extensions['retryAfterMs'] ?? 1_000 * attempt));
  }
}

/** The order's state now and at every change, until it can change no more or `stop` is called. */
export function watch(id: string, onOrder: (order: Order) => void, onEnd: (error?: unknown) => void) {
  return socket.subscribe<{ paymentStatus: { order: Order } }>(
    {
      query: `subscription ($id: ID!) { paymentStatus(orderId: $id) { order { ...Shown } } } ${SHOWN}`,
      variables: { id },
    },
    {
      next: ({ data }) => data && onOrder(data.paymentStatus.order),
      error: onEnd,
      complete: () => onEnd(),
    },
  );
}

const socket = openSocket(memory.token.get);

const SHOWN = `fragment Shown on Order {
  id version status closeReason remainingSeconds
  total { minor currency decimal }
  refunded { minor currency decimal }
  lines { sku name quantity amount { minor currency decimal } }
  payments {
    id status failureReason createdAt
    action { __typename ... on QrCode { url } }
  }
}`;

async function attemptOnce(
  operation: memory.Operation,
  intent: memory.Intent,
): Promise<Order | Refusal> {
  const type = operation[0]!.toUpperCase() + operation.slice(1);
  const query = `mutation ($key: IdempotencyKey!, $input: ${type}Input!) {
    ${operation}(idempotencyKey: $key, input: $input) { replayed order { ...Shown } }
  } ${SHOWN}`;
  try {
    const answer = await ask<Record<string, { order: Order }>>(memory.token.get(), {
      query,
      variables: { key: intent.key, input: intent.input },
    });
    return dataOf(answer)[operation]!.order;
  } catch (error) {
    if (error instanceof Refusal) return error;
    if (error instanceof NoAnswer) {
      return new Refusal(error.message, 'NO_ANSWER', { retrySameKey: true });
    }
    throw error;
  }
}

async function read<Data>(query: string, variables: Record<string, unknown>): Promise<Data> {
  try {
    return dataOf(await ask<Data>(memory.token.get(), { query, variables }));
  } catch (error) {
    throw error instanceof NoAnswer ? new Refusal(error.message, 'UNREACHABLE') : error;
  }
}

function dataOf<Data>(answer: Answer<Data>): Data {
  const error = answer.errors?.[0];
  if (error) {
    const code = String(error.extensions?.['code'] ?? 'INTERNAL');
    throw new Refusal(error.message, code, error.extensions);
  }
  if (!answer.data) throw new Refusal('The answer is empty.', 'INTERNAL', { retrySameKey: true });
  return answer.data;
}
