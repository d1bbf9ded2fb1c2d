// A customer buys in the demo shop: pays, changes their mind, reloads, and loses the line.
//   PAYONCE_URL=… CUSTOMER_TOKEN=… [SCREENSHOT_DIR=…] node web/tests/shop-story.mjs
import assert from 'node:assert/strict';
import { ask, PAYONCE, setting, tell, until } from './story.mjs';

const CUSTOMER = setting('CUSTOMER_TOKEN');

await tell(async ({ context, step, picture, allow }) => {
  const page = await context.newPage();

  await step('the shop takes its token from the link and hides it', async () => {
    await page.goto(`${PAYONCE}/shop/#token=${CUSTOMER}`);
    await page.getByRole('button', { name: 'Pay with WeChat Pay' }).waitFor();
    assert.equal(page.url(), `${PAYONCE}/shop/`);
    assert.equal(await page.evaluate(() => JSON.stringify(localStorage)), '{}');
  });

  await step('two teas and a book are 84.60 CNY', async () => {
    const pay = page.getByRole('button', { name: 'Pay with WeChat Pay' });
    assert.equal(await pay.isDisabled(), true);
    await more('TEA', 2);
    await more('BOOK', 1);
    await until('the total', async () => /84\.60/.test(await page.locator('#cart-total').innerText()));
    await picture(page, 'shop-cart.png');
  });

  const first = await step('paying shows a code, a cashier and the time left', async () => {
    const sent = sentMutations(page);
    await page.getByRole('button', { name: 'Pay with WeChat Pay' }).click();
    await page.locator('#qr svg path').waitFor();
    const [mutation] = sent;
    assert.match(mutation.variables.key, /^[A-Za-z0-9][A-Za-z0-9_-]{15,63}$/);
    assert.equal(sent.length, 1);
    assert.match(await page.locator('#clock').innerText(), /^\d+:\d\d$/);
    allow(await page.locator('#cashier').getAttribute('href'));
    return orderId(page);
  });

  await step('a reload comes back to the same order', async () => {
    await page.reload();
    await page.locator('#qr svg path').waitFor();
    assert.equal(await orderId(page), first);
    await statusSays(/Waiting for your payment/);
  });

  await step('on a phone it fits', async () => {
    await page.setViewportSize({ width: 390, height: 844 });
    const overflow = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    assert.equal(overflow, 0);
    await picture(page, 'shop-phone.png');
    await page.setViewportSize({ width: 1280, height: 800 });
  });

  // WeChat Pay keeps a Native order open when the payer declines, and tells the merchant nothing.
  await step('declined at the cashier, the same code can still be paid', async () => {
    await atCashier(/\bdecline\b/i);
    await statusSays(/Waiting for your payment/);
    assert.equal(await page.locator('#qr svg path').isVisible(), true);
  });

  await step('paid at the cashier, the page says so by itself', async () => {
    await atCashier(/\bpay\b/i);
    await statusSays(/^Paid/);
    await picture(page, 'shop-paid.png');
    const { order } = await ask(CUSTOMER, 'query ($id: ID!) { order(id: $id) { status } }', { id: first });
    assert.equal(order.status, 'PAID');
  });

  const second = await step('an answer lost on the way is asked for with the same key', async () => {
    await page.getByRole('button', { name: 'New order' }).click();
    await more('PIN', 3);
    const sent = sentMutations(page);
    let lost = 0;
    // The order is made; its answer never arrives.
    await page.route('**/graphql', async (route) => {
      if (lost || !route.request().postData()?.includes('createOrder')) return route.fallback();
      lost += 1;
      await route.fetch();
      await route.abort('connectionreset');
    });
    await page.getByRole('button', { name: 'Pay with WeChat Pay' }).click();
    await page.locator('#qr svg path').waitFor();
    await page.unroute('**/graphql');
    assert.equal(lost, 1);
    assert.equal(sent.length, 2);
    assert.equal(sent[0].variables.key, sent[1].variables.key);
    assert.equal((await ordersWith('PIN', 3)).filter(({ id }) => id !== first).length, 1);
    return orderId(page);
  });

  await step('the order is cancelled', async () => {
    assert.notEqual(second, first);
    await page.getByRole('button', { name: 'Cancel the order' }).click();
    await statusSays(/^Cancelled/);
    assert.equal(await page.locator('#code').isVisible(), false);
  });

  await step('a reload before any answer goes on with the same key', async () => {
    await page.getByRole('button', { name: 'New order' }).click();
    await more('MUG', 1);
    const sent = sentMutations(page);
    let held = 0;
    await page.route('**/graphql', (route) => {
      if (held || !route.request().postData()?.includes('createOrder')) return route.fallback();
      held += 1;
    });
    await page.getByRole('button', { name: 'Pay with WeChat Pay' }).click();
    await until('the request', () => held === 1);
    await page.reload();
    await page.locator('#qr svg path').waitFor();
    assert.equal(sent.length, 2);
    assert.equal(sent[0].variables.key, sent[1].variables.key);
  });

  async function more(sku, times) {
    const names = { TEA: /tea/i, BOOK: /book/i, PIN: /pin/i, MUG: /mug/i };
    const { product } = await ask(CUSTOMER, 'query ($sku: String!) { product(sku: $sku) { name } }', { sku });
    assert.match(product.name, names[sku]);
    const button = page.getByRole('button', { name: `One more ${product.name}`, exact: true });
    for (let i = 0; i < times; i += 1) await button.click();
  }

  async function atCashier(button) {
    const [cashier] = await Promise.all([
      context.waitForEvent('page'),
      page.getByRole('link', { name: 'Open the cashier' }).click(),
    ]);
    await cashier.getByRole('button', { name: button }).click();
    await cashier.waitForLoadState();
    await cashier.close();
  }

  async function statusSays(pattern) {
    const status = page.locator('#status');
    await until(`${pattern} as the status`, async () => pattern.test(await status.innerText()));
  }

  async function ordersWith(sku, quantity) {
    const query = '{ orders(first: 5) { nodes { id status lines { sku quantity } } } }';
    const { orders } = await ask(CUSTOMER, query);
    return orders.nodes.filter(
      ({ status, lines }) => status !== 'CLOSED' && lines.some((line) => line.sku === sku && line.quantity === quantity),
    );
  }
});

function orderId(page) {
  return page.locator('#order-id').innerText();
}

/** The mutations that leave the page from now on, as they leave. */
function sentMutations(page) {
  const sent = [];
  page.on('request', (request) => {
    const body = request.url().endsWith('/graphql') && request.postDataJSON?.();
    if (body && /^\s*mutation \(\$key/.test(body.query)) sent.push(body);
  });
  return sent;
}
