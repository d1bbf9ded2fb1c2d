import type { Order, Payment } from './api';
import { shown } from './money';
import { element, part, show } from './page';
import { qrCode } from './qr-code';

/** The server refuses a new payment when less than this is left; so does this page. */
const REPAY_MARGIN_S = 60;

let current: Order | null = null;
let deadlineMs = 0;
let drawn = '';

setInterval(() => current && showTime(current), 1_000);

/** Shows the order, unless a newer version of it is on the page already. */
export function showOrder(order: Order): void {
  if (current?.id === order.id && current.version > order.version) return;
  current = order;
  // Counted from the server's seconds, so a wrong clock here does not matter.
  deadlineMs = Date.now() + order.remainingSeconds * 1_000;

  setText('status', statusOf(order));
  part('order').dataset['status'] = order.status;
  part('order-id').textContent = order.id;
  part('order-total').textContent = shown(order.total);
  part('lines').replaceChildren(
    ...order.lines.map(({ name, quantity, amount }) =>
      element('li', {}, element('span', {}, `${quantity} × ${name}`), element('span', {}, shown(amount))),
    ),
  );
  showTime(order);
}

export function forgetOrder(): void {
  current = null;
}

export function currentOrder(): Order | null {
  return current;
}

function showTime(order: Order): void {
  const left = Math.max(0, Math.round((deadlineMs - Date.now()) / 1_000));
  const payable = isPayable(order) && left > 0;
  const code = payable ? codeOf(order) : null;
  show('time-left', payable);
  part('clock').textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')}`;
  showCode(code);
  show('repay', payable && !code && left > REPAY_MARGIN_S);
  show('check', payable);
  show('cancel', payable);
  show('leave', !payable);
}

function showCode(url: string | null): void {
  show('code', url !== null);
  if (url === null || url === drawn) return;
  drawn = url;
  part('qr').replaceChildren(qrCode(url));
  const link = part<HTMLAnchorElement>('cashier');
  // A real gateway's code is no web address; only the phone can open it.
  if (/^https?:/.test(url)) link.href = url;
  else link.removeAttribute('href');
}

function isPayable({ status }: Order): boolean {
  return status === 'PENDING_PAYMENT' || status === 'PAYING';
}

function codeOf(order: Order): string | null {
  const payment = latest(order);
  const open = payment && ['CREATED', 'PENDING', 'UNKNOWN'].includes(payment.status);
  return open && payment.action?.__typename === 'QrCode' ? (payment.action.url ?? null) : null;
}

function latest({ payments }: Order): Payment | undefined {
  return [...payments].sort((a, b) => Date.parse(b.createdAt) - Date.parse(a.createdAt))[0];
}

function statusOf(order: Order): string {
  const payment = latest(order);
  switch (order.status) {
    case 'PENDING_PAYMENT':
      return payment?.status === 'FAILED'
        ? 'The payment was declined and nothing was charged. You can pay again.'
        : 'Not paid yet.';
    case 'PAYING':
      return codeOf(order)
        ? 'Waiting for your payment.'
        : 'The payment is being prepared. If no code appears, press “Pay again”: you are never charged twice.';
    case 'PAID':
      return 'Paid. Thank you!';
    case 'PARTIALLY_REFUNDED':
      return `Paid. ${shown(order.refunded)} has been refunded.`;
    case 'REFUNDED':
      return 'Refunded in full.';
    case 'CLOSED':
      return order.closeReason === 'CANCELLED'
        ? 'Cancelled. Nothing was charged.'
        : 'The time to pay has passed. Nothing was charged.';
  }
}

/** Leaves an unchanged text alone, so that a screen reader does not say it again. */
function setText(id: string, text: string): void {
  if (part(id).textContent !== text) part(id).textContent = text;
}
