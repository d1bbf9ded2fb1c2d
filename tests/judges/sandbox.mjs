// The sandbox as the judges find it: its address, the keys it wrote for a merchant, the payer at its cashier,
// the faults it takes, and its ledger.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const url = process.env.SANDBOX_URL;
const folder = process.env.SANDBOX_KEYS;

/** Where a file of a gateway's is. */
export function keyFile(gateway, name) {
  return join(folder, gateway, name);
}

function key(gateway, name) {
  return readFileSync(keyFile(gateway, name), 'utf8');
}

export const wechatPay = {
  ...JSON.parse(key('wechat_pay', 'ids.json')),
  privateKey: key('wechat_pay', 'merchant_private_key.pem'),
  platformPublicKey: key('wechat_pay', 'platform_public_key.pem'),
};

export const alipay = {
  ...JSON.parse(key('alipay', 'ids.json')),
  privateKey: key('alipay', 'app_private_key.pem'),
  alipayPublicKey: key('alipay', 'alipay_public_key.pem'),
};

/** A key pair of somebody whom nobody knows. */
export const stranger = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
});

/** A number that no other order has. */
export function number(prefix) {
  return `${prefix}_${randomBytes(8).toString('hex')}`;
}

/** The payer's browser opens an address and stays on the page it is led to. */
export async function opens(address, form) {
  const page = await fetch(address, form && { method: 'POST', body: form });
  return { status: page.status, path: new URL(page.url).pathname, text: await page.text() };
}

/** The payer presses a button of the cashier page: pay or decline. */
export async function presses(button, orderNumber) {
  const pressed = await fetch(`${url}/cashier/${orderNumber}/${button}`, { method: 'POST', redirect: 'manual' });
  return pressed.status;
}

/** The next such call goes wrong. */
export async function goesWrong(call, fault) {
  const armed = await fetch(`${url}/__sandbox/faults`, { method: 'POST', body: JSON.stringify({ call, fault }) });
  if (!armed.ok) throw new Error(await armed.text());
}

/** What really moved for an order: charges and refunds, in minor units. */
export async function moved(orderNumber) {
  const { charges, refunds } = await (await fetch(`${url}/__sandbox/ledger`)).json();
  return {
    charges: charges.filter((charge) => charge.number === orderNumber).map((charge) => charge.minor),
    refunds: refunds.filter((refund) => refund.payment_number === orderNumber).map((refund) => refund.minor),
  };
}

/** Asks until the answer is so, for half a minute at most; then the last answer. */
export async function until(isSo, ask) {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const answer = await ask();
    if (isSo(answer) || Date.now() > deadline) return answer;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
