import { newIdempotencyKey } from '../client/idempotency-key';

/**
 * What a reload must not forget. The session's storage, so that it ends with the browser tab and
 * never mixes two tabs.
 */
const store = sessionStorage;

export const token = slot('token');
export const orderId = slot('order');

export function cart(): Record<string, number> {
  return JSON.parse(store.getItem('payonce.shop.cart') ?? '{}') as Record<string, number>;
}

export function setQuantity(sku: string, quantity: number): void {
  store.setItem('payonce.shop.cart', JSON.stringify({ ...cart(), [sku]: quantity }));
}

export function emptyCart(): void {
  store.removeItem('payonce.shop.cart');
}

export type Operation = 'createOrder' | 'repayOrder' | 'cancelOrder';

/** One thing the customer wants, and the key that makes it happen once however often it is sent. */
export interface Intent {
  key: string;
  input: unknown;
  /** Sent perhaps, answered not: it may have happened. */
  open: boolean;
}

/**
 * The intent to send: the stored one when the customer still wants the very same, else a new one
 * with a new key. It is stored before this returns, so before anything is sent.
 */
export function intend(operation: Operation, input: unknown): Intent {
  const stored = storedIntent(operation);
  const same = stored && JSON.stringify(stored.input) === JSON.stringify(input);
  const intent = { key: same ? stored.key : newIdempotencyKey(operation), input, open: true };
  keep(operation, intent);
  return intent;
}

export function storedIntent(operation: Operation): Intent | null {
  return JSON.parse(store.getItem(place(operation)) ?? 'null') as Intent | null;
}

/** Nothing began: the key may serve the same intent again, but a reload need not send it. */
export function close(operation: Operation, intent: Intent): void {
  keep(operation, { ...intent, open: false });
}

/** Answered without error, or given up: the next press is a new intent. */
export function forget(operation: Operation): void {
  store.removeItem(place(operation));
}

function keep(operation: Operation, intent: Intent): void {
  store.setItem(place(operation), JSON.stringify(intent));
}

function place(operation: Operation): string {
  return `payonce.shop.intent.${operation}`;
}

function slot(name: string) {
  const key = `payonce.shop.${name}`;
  return {
    get: () => store.getItem(key),
    set: (value: string | null) => (value ? store.setItem(key, value) : store.removeItem(key)),
  };
}
