// WeChat Pay's side of the sandbox, judged by the npm package wechatpay-axios-plugin, which signs, verifies and
// decrypts by code that is not ours.
import plugin from 'wechatpay-axios-plugin';

import { goesWrong, moved, number, opens, presses, stranger, until, url, wechatPay as merchant } from './sandbox.mjs';
import { openShop } from './shop.mjs';
import { refused, same, section, so } from './verdicts.mjs';

const { Wechatpay, Aes, Formatter, Rsa } = plugin;

/** The client as a merchant in public-key mode configures it. */
export function client(changes = {}) {
  return new Wechatpay({
    mchid: merchant.mchid,
    serial: merchant.serial_no,
    privateKey: merchant.privateKey,
    certs: { [merchant.public_key_id]: merchant.platformPublicKey },
    baseURL: url,
    headers: { 'Wechatpay-Serial': merchant.public_key_id },
    proxy: false,
    ...changes,
  }).v3;
}

export const order = (out_trade_no, total, notify_url, more = {}) => ({
  appid: merchant.appid,
  mchid: merchant.mchid,
  description: '一只杯子 a mug',
  out_trade_no,
  notify_url,
  amount: { total, currency: 'CNY' },
  ...more,
});

const byNumber = (v3) => v3.pay.transactions.outTradeNo.$out_trade_no$;
export const find = async (v3, out_trade_no) =>
  (await byNumber(v3).get({ params: { mchid: merchant.mchid }, out_trade_no })).data;
const close = async (v3, out_trade_no) =>
  (await byNumber(v3).close.post({ mchid: merchant.mchid }, { out_trade_no })).status;

/** What a notification holds, verified and decrypted by the package. Throws when it is not genuine. */
function read({ headers, body }) {
  const age = Math.abs(Formatter.timestamp() - headers['wechatpay-timestamp']);
  if (age > 300) throw new Error(`signed ${age} s ago`);
  if (headers['wechatpay-serial'] !== merchant.public_key_id) throw new Error('signed with an unknown key');
  const signed = Formatter.response(headers['wechatpay-timestamp'], headers['wechatpay-nonce'], body);
  if (!Rsa.verify(signed, headers['wechatpay-signature'], merchant.platformPublicKey)) throw new Error('wrong signature');
  const envelope = JSON.parse(body);
  const { ciphertext, nonce, associated_data } = envelope.resource;
  return { envelope, content: JSON.parse(Aes.AesGcm.decrypt(ciphertext, merchant.api_v3_key, nonce, associated_data)) };
}

export async function judge() {
  const v3 = client();
  const shop = await openShop({ status: 204 });
  const pay = v3.pay.transactions;
  const mug = number('mug');

  await section('WeChat Pay: four ways to the payer', async () => {
    const native = await pay.native.post(order(mug, 10_000, shop.url));
    const page = await opens(native.data.code_url);
    same('NATIVE: the code leads to the cashier of this order', [200, `/cashier/${mug}`], [page.status, page.path]);

    const tea = order(number('tea'), 1_280, shop.url, { payer: { openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o' } });
    const jsapi = await pay.jsapi.post(tea);
    so('JSAPI: there is a prepay_id', /^wx\w{34}$/.test(jsapi.data.prepay_id), jsapi.data);
    same('sent again, the same prepay_id', jsapi.data, (await pay.jsapi.post(tea)).data);
    await refused('the same number with another amount is refused', /OUT_TRADE_NO_USED/, () =>
      pay.jsapi.post({ ...tea, amount: { total: 1_281, currency: 'CNY' } }));
    await refused('JSAPI without an openid is refused', /PARAM_ERROR/, () =>
      pay.jsapi.post(order(number('tea'), 1_280, shop.url)));

    const scene_info = { payer_client_ip: '203.0.113.7', h5_info: { type: 'Wap' } };
    const wap = number('wap');
    const h5 = await pay.h5.post(order(wap, 1, shop.url, { scene_info }));
    same('H5: the link leads to the cashier', `/cashier/${wap}`, (await opens(h5.data.h5_url)).path);

    const app = await pay.app.post(order(number('app'), 1, shop.url));
    so('APP: there is a prepay_id', /^wx\w{34}$/.test(app.data.prepay_id), app.data);
  });

  let transaction;
  await section('WeChat Pay: paid', async () => {
    const open = await find(v3, mug);
    same('before, the query says NOTPAY and no transaction', ['NOTPAY', undefined], [open.trade_state, open.transaction_id]);
    await presses('decline', mug);
    same('declined, it can still be paid', 'NOTPAY', (await find(v3, mug)).trade_state);
    same('the cashier takes the payment', 303, await presses('pay', mug));
    const paid = await find(v3, mug);
    transaction = paid.transaction_id;
    same('the query says SUCCESS, with the amount', ['SUCCESS', 10_000, 10_000, 'NATIVE'],
      [paid.trade_state, paid.amount.total, paid.amount.payer_total, paid.trade_type]);
    const byTransaction = await pay.id.$transaction_id$.get({ params: { mchid: merchant.mchid }, transaction_id: transaction });
    same("asked by WeChat Pay's own number, the same answer", paid, byTransaction.data);
    await refused('an order that nobody made is not there', /ORDER_NOT_EXIST/, () => find(v3, number('none')));

    const notice = await shop.next();
    const { envelope, content } = read(notice);
    same('the notification is genuine and says what the query says', ['TRANSACTION.SUCCESS', paid], [envelope.event_type, content]);
    await refused('with one letter changed it is refused', /wrong signature/, () =>
      read({ ...notice, body: notice.body.replace('"TRANSACTION.SUCCESS"', '"TRANSACTION.SUCCESs"') }));
    const cut = structuredClone(envelope.resource);
    cut.ciphertext = Buffer.from(cut.ciphertext, 'base64').fill(0, 0, 1).toString('base64');
    await refused('with one byte changed it does not decrypt', /auth/, () =>
      Aes.AesGcm.decrypt(cut.ciphertext, merchant.api_v3_key, cut.nonce, cut.associated_data));
  });

  await section('WeChat Pay: closed', async () => {
    const other = number('other');
    await pay.native.post(order(other, 500, shop.url));
    same('an unpaid order is closed', 204, await close(v3, other));
    same('closed twice is closed', [204, 'CLOSED'], [await close(v3, other), (await find(v3, other)).trade_state]);
    same('the cashier refuses the payer', 409, await presses('pay', other));
    await refused('a paid order is not closed', /ORDERPAID/, () => close(v3, mug));
    same('no money moved for the closed one', { charges: [], refunds: [] }, await moved(other));
  });

  await section('WeChat Pay: given back', async () => {
    const refunds = v3.refund.domestic.refunds;
    const back = number('back');
    const request = {
      out_trade_no: mug,
      out_refund_no: back,
      reason: '客户要求',
      notify_url: shop.url,
      amount: { refund: 2_500, total: 10_000, currency: 'CNY' },
    };
    const { data: accepted } = await refunds.post(request);
    same('accepted, for this payment', ['PROCESSING', mug, transaction, 2_500],
      [accepted.status, accepted.out_trade_no, accepted.transaction_id, accepted.amount.refund]);
    same('sent again, the same refund', accepted.refund_id, (await refunds.post(request)).data.refund_id);
    await refused('the same number with another amount is refused', /INVALID_REQUEST/, () =>
      refunds.post({ ...request, amount: { ...request.amount, refund: 2_600 } }));
    await refused('more than was paid is refused', /INVALID_REQUEST/, () =>
      refunds.post({ ...request, out_refund_no: number('back'), amount: { ...request.amount, refund: 7_501 } }));
    const ask = async () => (await refunds.$out_refund_no$.get({ out_refund_no: back })).data;
    const done = await until(({ status }) => status !== 'PROCESSING', ask);
    same('a second later it is done', ['SUCCESS', accepted.refund_id], [done.status, done.refund_id]);
    await refused('a refund that nobody asked for is not there', /RESOURCE_NOT_EXISTS/, () =>
      refunds.$out_refund_no$.get({ out_refund_no: number('none') }));
    same('the payment says REFUND', 'REFUND', (await find(v3, mug)).trade_state);

    const { envelope, content } = read(await shop.next());
    same('the notification is genuine and tells of it',
      ['REFUND.SUCCESS', 'SUCCESS', back, accepted.refund_id, 2_500, done.success_time],
      [envelope.event_type, content.refund_status, content.out_refund_no, content.refund_id, content.amount.refund, content.success_time]);
    same('the ledger: one charge, one refund', { charges: [10_000], refunds: [2_500] }, await moved(mug));
    same('no notification was left over', 0, shop.waiting());
  });

  await section('WeChat Pay: who may ask, and who is believed', async () => {
    const other = client({ privateKey: stranger.privateKey });
    await refused("another's signature is refused", /SIGN_ERROR/, () => find(other, mug));
    for (const [fault, reason] of [
      ['unsigned', /EV3_RES_HEADERS_INCOMPLATE/],
      ['wrongly_signed', /EV3_RES_HEADER_SIGNATURE_DIGEST/],
      ['signtest', /EV3_RES_HEADER_SIGNATURE_DIGEST/],
    ]) {
      await goesWrong('find', fault);
      await refused(`the package does not believe an answer that is ${fault.replace('_', ' ')}`, reason, () => find(v3, mug));
    }
    same('and believes the next one', 'REFUND', (await find(v3, mug)).trade_state);
  });
  shop.close();
}
