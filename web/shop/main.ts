import { claimsOf, takeTokenFromAddress } from '../client/token';
import * as api from './api';
import { chosenLines, lockCart, showCart } from './cart';
import * as memory from './memory';
import { currentOrder, forgetOrder, showOrder } from './order';
import { part, show } from './page';
import { codeOf, hideProblem, showProblem, type WayOut } from './problem';

let stopWatching = () => {};

part('sign-in').addEventListener('submit', signIn);
part('pay').addEventListener('click', () => void buy(false));
part('repay').addEventListener('click', () => void payAgain());
part('check').addEventListener('click', () => void checkNow());
part('cancel').addEventListener('click', () => void cancel());
part('leave').addEventListener('click', () => void toCart());
// Back from the cashier or another app: the gateway may know more than was told.
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && currentOrder()?.status === 'PAYING') void checkNow();
});
addEventListener('hashchange', () => {
  if (takeToken()) void start();
});

takeToken();
void start();

/** Goes on where the page was left: at an order, at one not answered yet, or at the products. */
async function start(): Promise<void> {
  hideProblem();
  const claims = claimsOf(memory.token.get() ?? '');
  part('customer').textContent = claims ? claims.subject : '';
  show('sign-in', !claims);
  if (!claims) return;

  const id = memory.orderId.get();
  if (id) return openOrder(id);
  await toCart();
  const unanswered = memory.storedIntent('createOrder');
  if (unanswered?.open) await create(unanswered.input);
}

async function toCart(): Promise<void> {
  stopWatching();
  forgetOrder();
  memory.orderId.set(null);
  show('order', false);
  show('cart', true);
  try {
    showCart(await api.products());
  } catch (error) {
    fail(error, { label: 'Try again', take: () => void toCart() });
  }
}

function buy(allowDuplicate: boolean): Promise<void> {
  return create({
    lines: chosenLines(),
    payment: api.WECHAT_PAY_CODE,
    ...(allowDuplicate && { allowDuplicate }),
  });
}

async function create(input: unknown): Promise<void> {
  hideProblem();
  lockCart(true);
  part('cart-status').textContent = 'Placing the order…';
  try {
    const order = await api.send('createOrder', input, () => {
      part('cart-status').textContent = 'No answer yet; asking again. You are never charged twice.';
    });
    memory.emptyCart();
    await openOrder(order.id, order);
  } catch (error) {
    const first = error instanceof api.Refusal ? error.extensions['orderId'] : undefined;
    if (codeOf(error) === 'DUPLICATE_ORDER' && typeof first === 'string') {
      fail(
        error,
        { label: 'See that order', take: () => void openOrder(first) },
        { label: 'Order the same again', take: () => void buy(true) },
      );
    } else if (error instanceof api.Refusal && error.wantsSameKey) {
      fail(error, { label: 'Try again', take: () => void create(input) });
    } else {
      fail(error);
    }
  } finally {
    part('cart-status').textContent = '';
    lockCart(false);
  }
}

async function openOrder(id: string, known?: api.Order): Promise<void> {
  try {
    const order = known ?? (await api.order(id));
    memory.orderId.set(id);
    showOrder(order);
  } catch (error) {
    const again = { label: 'Try again', take: () => void openOrder(id) };
    fail(error, ...(codeOf(error) === 'UNREACHABLE' ? [again] : []), backToShop);
    return;
  }
  show('cart', false);
  show('order', true);
  part('order-title').focus();
  stopWatching();
  stopWatching = api.watch(id, showOrder, (error) => {
    if (error) fail(liveEnded(error), { label: 'Reload', take: () => void openOrder(id) });
  });
}

async function payAgain(): Promise<void> {
  const order = currentOrder();
  if (!order) return;
  await change('repayOrder', { orderId: order.id, payment: api.WECHAT_PAY_CODE }, payAgain);
}

async function cancel(): Promise<void> {
  const order = currentOrder();
  if (!order) return;
  await change('cancelOrder', { orderId: order.id }, cancel);
}

/** Sends a change of the shown order; afterwards the order is shown as it then is. */
async function change(
  operation: memory.Operation,
  input: { orderId: string; payment?: typeof api.WECHAT_PAY_CODE },
  again: () => Promise<void>,
): Promise<void> {
  hideProblem();
  part('order').setAttribute('aria-busy', 'true');
  try {
    showOrder(await api.send(operation, input));
  } catch (error) {
    const retry = error instanceof api.Refusal && error.wantsSameKey;
    fail(error, ...(retry ? [{ label: 'Try again', take: () => void again() }] : []));
    await api.order(input.orderId).then(showOrder, () => undefined);
  } finally {
    part('order').removeAttribute('aria-busy');
  }
}

async function checkNow(): Promise<void> {
  const order = currentOrder();
  if (!order) return;
  try {
    showOrder(await api.syncOrder(order.id));
  } catch (error) {
    fail(error, { label: 'Check again', take: () => void checkNow() });
  }
}

const backToShop: WayOut = { label: 'Back to the shop', take: () => void toCart() };

function fail(error: unknown, ...ways: WayOut[]): void {
  const code = codeOf(error);
  if (code === 'UNAUTHENTICATED' || code === 'TOKEN_EXPIRED') {
    show('sign-in', true);
    part('token').focus();
  }
  showProblem(error, ways);
}

/** The socket's own errors carry no code; those of the subscription are an array of GraphQL errors. */
function liveEnded(error: unknown): api.Refusal {
  const first = Array.isArray(error) ? (error[0] as { message: string; extensions?: Record<string, unknown> }) : null;
  if (first) return new api.Refusal(first.message, String(first.extensions?.['code'] ?? 'INTERNAL'));
  const closed = error instanceof CloseEvent && [4401, 4403].includes(error.code);
  return new api.Refusal('Live updates ended.', closed ? 'TOKEN_EXPIRED' : 'UNREACHABLE');
}

function signIn(event: Event): void {
  event.preventDefault();
  const field = part<HTMLInputElement>('token');
  memory.token.set(field.value.replace(/^Bearer\s+/i, '').trim());
  field.value = '';
  void start();
}

function takeToken(): boolean {
  const given = takeTokenFromAddress();
  if (given) memory.token.set(given);
  return given !== null;
}
