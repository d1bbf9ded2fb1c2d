// Payonce itself as a merchant of the sandbox, configured as for the real gateways; what it hands to frontends
// is judged by the same packages: they verify its signatures with the merchant's public keys.
import { spawn, spawnSync } from 'node:child_process';
import { createPublicKey, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import plugin from 'wechatpay-axios-plugin';

import { client } from './alipay.mjs';
import { alipay, keyFile, until, url, wechatPay } from './sandbox.mjs';
import { same, section, so } from './verdicts.mjs';

const { Formatter, Rsa } = plugin;
const { PAYONCE_BIN, PAYONCE_LISTEN } = process.env;

const environment = {
  ...process.env,
  PAYONCE_SANDBOX_LISTEN: 'off',
  PAYONCE_WECHAT_PAY_BASE_URL: url,
  PAYONCE_WECHAT_PAY_MCHID: wechatPay.mchid,
  PAYONCE_WECHAT_PAY_APPID: wechatPay.appid,
  PAYONCE_WECHAT_PAY_SERIAL_NO: wechatPay.serial_no,
  PAYONCE_WECHAT_PAY_PRIVATE_KEY_FILE: keyFile('wechat_pay', 'merchant_private_key.pem'),
  PAYONCE_WECHAT_PAY_API_V3_KEY: wechatPay.api_v3_key,
  PAYONCE_WECHAT_PAY_PUBLIC_KEY_ID: wechatPay.public_key_id,
  PAYONCE_WECHAT_PAY_PUBLIC_KEY_FILE: keyFile('wechat_pay', 'platform_public_key.pem'),
  PAYONCE_ALIPAY_GATEWAY_URL: `${url}/gateway.do`,
  PAYONCE_ALIPAY_APP_ID: alipay.app_id,
  PAYONCE_ALIPAY_SELLER_ID: alipay.seller_id,
  PAYONCE_ALIPAY_PRIVATE_KEY_FILE: keyFile('alipay', 'app_private_key.pem'),
  PAYONCE_ALIPAY_ALIPAY_PUBLIC_KEY_FILE: keyFile('alipay', 'alipay_public_key.pem'),
};

/** Payonce, started in an empty directory; `stop` ends it. */
async function start() {
  const directory = mkdtempSync(join(tmpdir(), 'payonce-judges-'));
  const server = spawn(PAYONCE_BIN, ['serve'], { cwd: directory, env: environment, stdio: 'ignore' });
  const ready = () => fetch(`http://${PAYONCE_LISTEN}/readyz`).then(({ ok }) => ok, () => false);
  const stop = async () => {
    const ended = new Promise((resolve) => server.once('exit', resolve));
    if (server.exitCode === null && server.kill('SIGTERM')) await ended;
    rmSync(directory, { recursive: true, force: true });
  };
  if (await until((answer) => answer || server.exitCode !== null, ready) !== true) {
    await stop();
    throw new Error('Payonce does not start');
  }
  return { stop };
}

/** Orders a mug and returns what the frontend is handed. */
async function ordered(token, gateway, product) {
  const query = `mutation ($key: IdempotencyKey!, $input: CreateOrderInput!) {
    createOrder(idempotencyKey: $key, input: $input) {
      payment {
        action {
          ... on QrCode { url }
          ... on Redirect { url }
          ... on HtmlForm { html }
          ... on WechatJsapi { appId timeStamp nonceStr package signType paySign }
          ... on AppInvocation { parameters }
        }
      }
    }
  }`;
  const payment = { gateway, product, payerId: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o', returnUrl: 'https://shop.example/paid' };
  if (product !== 'JSAPI') delete payment.payerId;
  const input = { lines: [{ sku: 'MUG', quantity: 1 }], payment, allowDuplicate: true };
  const answer = await fetch(`http://${PAYONCE_LISTEN}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify({ query, variables: { key: randomUUID(), input } }),
  });
  const { data, errors } = await answer.json();
  if (errors) throw new Error(JSON.stringify(errors));
  return data.createOrder.payment.action;
}

export async function judge() {
  const token = spawnSync(PAYONCE_BIN, ['token', '--sub', 'alice', '--role', 'customer'], { encoding: 'utf8' }).stdout.trim();
  const payonce = await start();

  await section('Payonce: what it hands out for WeChat Pay', async () => {
    const signedByUs = (sign, ...lines) => Rsa.verify(Formatter.joinedByLineFeed(...lines), sign, createPublicKey(wechatPay.privateKey));
    const bridge = await ordered(token, 'WECHAT_PAY', 'JSAPI');
    const { appId, timeStamp, nonceStr, package: prepay, paySign } = bridge;
    same('JSAPI: for this app, to be checked by RSA', [wechatPay.appid, 'RSA'], [appId, bridge.signType]);
    so('its paySign is the signature of the merchant', signedByUs(paySign, appId, timeStamp, nonceStr, prepay), bridge);
    so('and of these fields only', !signedByUs(paySign, appId, timeStamp, nonceStr, `${prepay}0`));
    const app = JSON.parse((await ordered(token, 'WECHAT_PAY', 'APP')).parameters);
    same('APP: for this merchant', [wechatPay.appid, wechatPay.mchid, 'Sign=WXPay'], [app.appid, app.partnerid, app.package]);
    so('its sign is the signature of the merchant', signedByUs(app.sign, app.appid, app.timestamp, app.noncestr, app.prepayid), app);
  });

  await section('Payonce: what it hands out for Alipay', async () => {
    // The package's own check, with the app's public key in the place of Alipay's.
    const gateway = client({ alipayPublicKey: createPublicKey(alipay.privateKey).export({ type: 'spki', format: 'pem' }) });
    const signedByUs = ({ sign, ...rest }) => gateway.notifyRSACheck(rest, sign, 'RSA2', true);
    const text = (html) => html.replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');

    const { html } = await ordered(token, 'ALIPAY', 'PAGE');
    const page = Object.fromEntries(new URL(text(/action="([^"]+)"/.exec(html)[1])).searchParams);
    for (const [, name, value] of html.matchAll(/name="([^"]+)" value="([^"]*)"/g)) page[name] = text(value);
    const wap = Object.fromEntries(new URL((await ordered(token, 'ALIPAY', 'WAP')).url).searchParams);
    const app = Object.fromEntries(new URLSearchParams((await ordered(token, 'ALIPAY', 'APP')).parameters));
    for (const [product, fields] of Object.entries({ PAGE: page, WAP: wap, APP: app })) {
      same(`${product}: the right call, of this app`, [`alipay.trade.${product.toLowerCase()}.pay`, alipay.app_id], [fields.method, fields.app_id]);
      so('its sign is the signature of the app', signedByUs(fields), fields);
      so('and of these fields only', !signedByUs({ ...fields, biz_content: fields.biz_content.replace('100.00', '1.00') }));
    }
  });
  await payonce.stop();
}
