// A customer pays, and the staff refund a part in the console: once, however often it is sent.
//   PAYONCE_URL=… CUSTOMER_TOKEN=… ADMIN_TOKEN=… [SCREENSHOT_DIR=…] node web/tests/refund-story.mjs
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { ask, PAYONCE, setting, tell, until } from './story.mjs';

const CUSTOMER = setting('CUSTOMER_TOKEN');
const ADMIN = setting('ADMIN_TOKEN');

await tell(async ({ context, step, picture, allow }) => {
  const { orderId, cashier } = await step('a customer orders a mug for 100.00 CNY', async () => {
    const { createOrder } = await ask(
      CUSTOMER,
      `mutation ($key: IdempotencyKey!, $input: CreateOrderInput!) {
        createOrder(idempotencyKey: $key, input: $input) {
          order { id }
          payment { action { __typename ... on QrCode { url } } }
        }
      }`,
      {
        key: randomUUID(),
        input: {
          lines: [{ sku: 'MUG', quantity: 1 }],
          payment: { gateway: 'WECHAT_PAY', product: 'NATIVE' },
          allowDuplicate: true,
        },
      },
    );
    const { action } = createOrder.payment;
    assert.equal(action.__typename, 'QrCode');
    return { orderId: createOrder.order.id, cashier: action.url };
  });

  await step('and pays at the cashier', async () => {
    allow(cashier);
    const page = await context.newPage();
    await page.goto(cashier);
    await picture(page, 'cashier.png');
    await page.getByRole('button', { name: /\bpay\b/i }).click();
    await until('the order to be PAID', async () => (await orderNow()).status === 'PAID');
    await page.close();
  });

  const watching = await step('the console takes its token from the link and hides it', async () => {
    const page = await openConsole();
    assert.equal(page.url(), `${PAYONCE}/admin/`);
    assert.equal(await page.title(), 'Payonce console');
    assert.match(await page.locator('.bearer').innerText(), /admin/);
    assert.equal(await page.evaluate(() => JSON.stringify(localStorage)), '{}');
    return page;
  });

  await step('one console watches the order live', async () => {
    await tab(watching, 'WatchItLive');
    await retype(watching, 'ord_PASTE_HERE', orderId);
    await run(watching);
    await answerSays(watching, /"orderStatus": "PAID"/);
  });

  const refunding = await step('another finds it among the paid orders', async () => {
    const page = await openConsole();
    await tab(page, 'FindOrder');
    await run(page);
    await answerSays(page, new RegExp(orderId));
    return page;
  });

  await step('a refund of 25.00 CNY is accepted', async () => {
    await tab(refunding, 'Refund');
    await retype(refunding, 'ord_PASTE_HERE', orderId);
    await retype(refunding, '1000', '2500');
    await run(refunding);
    const answer = await answerSays(refunding, /"refundable": \{[^}]*\}/);
    assert.match(answer, /"replayed": false/);
    assert.match(answer, /"decimal": "25.00"/);
    await barSays(refunding, /^Accepted/);
  });

  await step('the watching console sees PARTIALLY_REFUNDED', async () => {
    const answer = await answerSays(watching, /"orderStatus": "PARTIALLY_REFUNDED"/);
    assert.match(answer, /"decimal": "25.00"/);
    await picture(watching, 'console-live.png');
  });

  await step('sending the same again is the same refund', async () => {
    await run(refunding);
    await answerSays(refunding, /"replayed": true/);
    await barSays(refunding, /^Replayed/);
    await picture(refunding, 'console.png');
    const { refunds, refunded } = await orderNow();
    assert.equal(refunds.length, 1);
    assert.equal(refunded.decimal, '25.00');
  });

  await step('a reload keeps the key, and the button makes a new one', async () => {
    const before = await keyOf(refunding);
    await refunding.reload();
    await tab(refunding, 'Refund');
    assert.equal(await keyOf(refunding), before);
    await refunding.getByRole('button', { name: 'New idempotency key' }).click();
    const after = await until('another key', async () => {
      const key = await keyOf(refunding);
      return key !== before && key;
    });
    assert.match(after, /^[A-Za-z0-9][A-Za-z0-9_-]{15,63}$/);
    assert.ok((await variables(refunding)).includes(after));
    await barSays(refunding, /^Not sent yet/);
  });

  await step('the list of refunds shows it', async () => {
    await tab(refunding, 'Refunds');
    await run(refunding);
    await answerSays(refunding, new RegExp((await orderNow()).refunds[0].id));
  });

  async function orderNow() {
    const query = 'query ($id: ID!) { order(id: $id) { status refunded { decimal } refunds { id } } }';
    return (await ask(CUSTOMER, query, { id: orderId })).order;
  }

  async function openConsole() {
    const page = await context.newPage();
    await page.goto(`${PAYONCE}/admin/#token=${ADMIN}`);
    await page.locator('section[aria-label="Variables"] .view-line').first().waitFor();
    return page;
  }
});

async function tab(page, title) {
  await page.getByTitle(title, { exact: true }).click();
}

/** Types over a word of the variables, as a person does: double click, then the keys. */
async function retype(page, word, text) {
  await page.getByLabel('Variables').getByText(`"${word}"`, { exact: true }).dblclick();
  await page.keyboard.type(text, { delay: 5 });
  await until(`"${text}" in the variables`, async () => (await variables(page)).includes(`"${text}"`));
}

async function run(page) {
  await page.getByRole('button', { name: /^Execute/ }).click();
}

async function answerSays(page, pattern) {
  let text = '';
  return until(`${pattern} in the answer`, async () => {
    text = await textOf(page.locator('.result-window'));
    return pattern.test(text) && text;
  }).catch((error) => {
    throw new Error(`${error.message}\n${text}`);
  });
}

async function barSays(page, pattern) {
  const advice = page.getByRole('region', { name: 'Idempotency key' }).getByRole('status');
  await until(`${pattern} beside the key`, async () => pattern.test(await advice.innerText()));
}

async function keyOf(page) {
  return page.getByRole('region', { name: 'Idempotency key' }).locator('code').innerText();
}

async function variables(page) {
  return textOf(page.getByLabel('Variables'));
}

/** The editor's lines in the order in which they are seen. */
async function textOf(editor) {
  return editor.evaluate((node) =>
    [...node.querySelectorAll('.view-line')]
      .sort((a, b) => parseInt(a.style.top) - parseInt(b.style.top))
      .map((line) => line.textContent.replaceAll('\u00a0', ' '))
      .join('\n'),
  );
}
