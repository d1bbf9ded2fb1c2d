import { Refusal } from './api';
import { element, part, show } from './page';

export interface WayOut {
  label: string;
  take: () => void;
}

/** Says what went wrong and offers the ways out of it. */
export function showProblem(error: unknown, ways: WayOut[] = []): void {
  part('problem-text').textContent = explain(error);
  part('problem-actions').replaceChildren(
    ...ways.map(({ label, take }) => {
      const onclick = () => {
        hideProblem();
        take();
      };
      return element('button', { type: 'button', onclick }, label);
    }),
  );
  show('problem', true);
}

export function hideProblem(): void {
  show('problem', false);
}

export function codeOf(error: unknown): string {
  return error instanceof Refusal ? error.code : 'INTERNAL';
}

function explain(error: unknown): string {
  if (!(error instanceof Refusal)) return `Something went wrong: ${String(error)}`;
  const { extensions } = error;
  switch (error.code) {
    case 'NO_ANSWER':
      return 'The server did not answer, so it is not certain whether this went through. Trying again is safe: it cannot happen twice.';
    case 'UNREACHABLE':
      return 'The server cannot be reached. Check the connection and try again.';
    case 'IDEMPOTENCY_IN_PROGRESS':
    case 'PAYMENT_IN_PROGRESS':
      return 'This is still being worked on. Try again in a moment: it cannot happen twice.';
    case 'GATEWAY_UNAVAILABLE':
      return 'WeChat Pay is not reachable at the moment. Nothing was charged; try again shortly.';
    case 'STORE_UNAVAILABLE':
    case 'OVERLOADED':
    case 'RATE_LIMITED':
    case 'INTERNAL':
      return 'The server is busy. Try again in a moment: it cannot happen twice.';
    case 'IDEMPOTENCY_KEY_INVALID':
    case 'IDEMPOTENCY_KEY_MISMATCH':
    case 'IDEMPOTENCY_KEY_EXPIRED':
      return 'This request is too old to be repeated. Nothing began; start it afresh.';
    case 'DUPLICATE_ORDER':
      return 'You ordered exactly this a moment ago. See that order, or order the same again.';
    case 'ORDER_ALREADY_PAID':
      return 'This order is paid already. There is nothing more to pay.';
    case 'ORDER_EXPIRED': {
      const left = Number(extensions['remainingSeconds'] ?? 0);
      return left > 0
        ? `Only ${left} seconds are left: too few for another payment. Please order again.`
        : 'The time to pay has passed. Please order again.';
    }
    case 'ORDER_CLOSED':
      return 'This order is closed. Please order again.';
    case 'AMOUNT_OUT_OF_RANGE':
    case 'LIMIT_EXCEEDED':
      return 'The amount is over the limit. Take something out and pay again.';
    case 'UNKNOWN_SKU':
      return 'One of the products is no longer sold. Reload the page and choose again.';
    case 'NOT_FOUND':
      return 'This order is not known for this customer.';
    case 'FORBIDDEN':
      return 'This token may not buy here. Use a customer token.';
    case 'UNAUTHENTICATED':
      return 'The token is not accepted. Enter a valid one.';
    case 'TOKEN_EXPIRED':
      return 'The token has expired. Enter a new one; your order waits.';
    default:
      return `${error.message} (${error.code})`;
  }
}
