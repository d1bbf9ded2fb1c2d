import { type Product } from './api';
import * as memory from './memory';
import { shown, sum } from './money';
import { element, part } from './page';

let catalogue: Product[] = [];

export function showCart(products: Product[]): void {
  catalogue = products;
  part('products').replaceChildren(...products.map(productRow));
  retotal();
}

/** What was chosen, as `createOrder` takes it. */
export function chosenLines(): { sku: string; quantity: number }[] {
  return chosen().map(({ sku, quantity }) => ({ sku, quantity }));
}

/** While an order is on its way the choice stands still. */
export function lockCart(locked: boolean): void {
  part<HTMLElement>('cart').toggleAttribute('inert', locked);
  part('cart').setAttribute('aria-busy', String(locked));
}

function productRow(product: Product): HTMLElement {
  const quantity = element('output', { value: String(quantityOf(product.sku)) });
  quantity.setAttribute('aria-label', `Quantity of ${product.name}`);
  const fewer = step(product, -1, '−', `One fewer ${product.name}`);
  const more = step(product, +1, '+', `One more ${product.name}`);
  const refresh = () => {
    quantity.value = String(quantityOf(product.sku));
    fewer.disabled = quantityOf(product.sku) === 0;
    more.disabled = quantityOf(product.sku) >= 99;
    retotal();
  };
  for (const button of [fewer, more]) button.addEventListener('click', refresh);
  fewer.disabled = quantityOf(product.sku) === 0;
  return element(
    'li',
    {},
    element('span', { className: 'name' }, product.name),
    element('span', { className: 'price' }, shown(product.price)),
    element('span', { className: 'stepper' }, fewer, quantity, more),
  );
}

function step(product: Product, by: number, sign: string, label: string): HTMLButtonElement {
  const onclick = () => memory.setQuantity(product.sku, quantityOf(product.sku) + by);
  return element('button', { type: 'button', ariaLabel: label, onclick }, sign);
}

function retotal(): void {
  part<HTMLOutputElement>('cart-total').value = sum(chosen());
  part<HTMLButtonElement>('pay').disabled = chosen().length === 0;
}

function chosen(): (Product & { quantity: number })[] {
  return catalogue
    .map((product) => ({ ...product, quantity: quantityOf(product.sku) }))
    .filter(({ quantity }) => quantity > 0);
}

function quantityOf(sku: string): number {
  return memory.cart()[sku] ?? 0;
}
