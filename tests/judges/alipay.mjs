// Alipay's side of the sandbox, judged by the vendor's own npm package alipay-sdk, which signs and verifies by
// code that is not ours.
import { AlipaySdk } from 'alipay-sdk';

import { alipay as merchant, goesWrong, moved, number, opens, presses, stranger, url } from './sandbox.mjs';
import { openShop } from './shop.mjs';
import { refused, same, section, so } from './verdicts.mjs';

const gateway = `${url}/gateway.do`;

/** The client as a merchant in public-key mode configures it; answers keep Alipay's own names. */
export function client(changes = {}) {
  return new AlipaySdk({
    appId: merchant.app_id,
    privateKey: merchant.privateKey,
    keyType: 'PKCS8',
    alipayPublicKey: merchant.alipayPublicKey,
    gateway,
    camelcase: false,
    ...changes,
  });
}

/** One call whose answer the package has verified. */
export const ask = (sdk, method, biz_content, more = {}) =>
  sdk.exec(`alipay.trade.${method}`, { ...more, biz_content }, { validateSign: true });

/** What came of it: the refusal's code, or 10000. */
const said = ({ code, sub_code }) => sub_code ?? code;

const fields = (form) => Object.fromEntries(new URLSearchParams(form));

/** What a browser makes of the form that the package builds. */
function submitted(html) {
  const text = (escaped) => escaped.replaceAll('&quot;', '"').replaceAll('&amp;', '&');
  const inputs = html.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g);
  const form = new URLSearchParams([...inputs].map(([, name, value]) => [name, text(value)]));
  return opens(/action="([^"]+)"/.exec(html)[1], form);
}

export async function judge() {
  const sdk = client();
  const shop = await openShop({ status: 200, body: 'success' });
  const mug = number('mug');
  const order = (out_trade_no, product_code, total_amount = '100.00') =>
    ({ out_trade_no, product_code, total_amount, subject: '一只杯子 a mug' });
  const status = async (out_trade_no) => {
    const answer = await ask(sdk, 'query', { out_trade_no });
    return answer.trade_status ?? answer.sub_code;
  };

  await section('Alipay: four ways to the payer', async () => {
    const precreate = await ask(sdk, 'precreate', order(mug), { notify_url: shop.url });
    same('PRECREATE: there is a code', ['10000', mug], [precreate.code, precreate.out_trade_no]);
    same('sent again, the same code', precreate.qr_code, (await ask(sdk, 'precreate', order(mug))).qr_code);
    same('the same number with another amount is refused', 'ACQ.CONTEXT_INCONSISTENT',
      said(await ask(sdk, 'precreate', order(mug, undefined, '100.01'))));
    same('before a payer scans it there is no trade', 'ACQ.TRADE_NOT_EXIST', await status(mug));
    same('and nothing to close', 'ACQ.TRADE_NOT_EXIST', said(await ask(sdk, 'close', { out_trade_no: mug })));
    same('scanned, it leads to the cashier', `/cashier/${mug}`, (await opens(precreate.qr_code)).path);
    same('and is a trade that waits', 'WAIT_BUYER_PAY', await status(mug));

    const [page, wap, app] = ['page', 'wap', 'app'].map(number);
    const bizContent = order(page, 'FAST_INSTANT_TRADE_PAY');
    const link = sdk.pageExecute('alipay.trade.page.pay', 'GET', { bizContent });
    same('PAGE: nobody has seen it before a browser goes there', 'ACQ.TRADE_NOT_EXIST', await status(page));
    same('the signed link leads to the cashier', `/cashier/${page}`, (await opens(link.replace(/^GET/, ''))).path);
    const html = sdk.pageExecute('alipay.trade.page.pay', 'POST', { bizContent });
    same('the signed form leads there, too', `/cashier/${page}`, (await submitted(html)).path);
    const walk = sdk.pageExecute('alipay.trade.wap.pay', 'POST', { bizContent: order(wap, 'QUICK_WAP_WAY') });
    same('WAP: the signed form leads to the cashier', `/cashier/${wap}`, (await submitted(walk)).path);
    const string = sdk.sdkExecute('alipay.trade.app.pay', { bizContent: order(app, 'QUICK_MSECURITY_PAY') });
    same('APP: the signed order string leads to the cashier', `/cashier/${app}`,
      (await opens(gateway, new URLSearchParams(string))).path);
    const altered = new URLSearchParams(string.replace('100.00', '1.00'));
    const page_of_error = await opens(gateway, altered);
    so('altered on its way it leads nowhere', page_of_error.text.includes('isv.invalid-signature'), page_of_error);
  });

  await section('Alipay: paid', async () => {
    await presses('decline', mug);
    same('declined, it can still be paid', 'WAIT_BUYER_PAY', await status(mug));
    same('the cashier takes the payment', 303, await presses('pay', mug));
    const paid = await ask(sdk, 'query', { out_trade_no: mug });
    same('the query says TRADE_SUCCESS, with the amount', ['TRADE_SUCCESS', '100.00', '100.00'],
      [paid.trade_status, paid.total_amount, paid.buyer_pay_amount]);
    same("asked by Alipay's own number, the same answer", paid, await ask(sdk, 'query', { trade_no: paid.trade_no }));
    same('an order that nobody made is not there', 'ACQ.TRADE_NOT_EXIST', await status(number('none')));

    const { headers, body } = await shop.next();
    const notice = fields(body);
    so('the notification comes as a form', headers['content-type'].startsWith('application/x-www-form-urlencoded'), headers);
    so('it is genuine', sdk.checkNotifySign(notice));
    so('it is genuine by the stricter check, too', sdk.checkNotifySignV2(notice));
    same('it is for this app and seller and says what the query says',
      [merchant.app_id, merchant.seller_id, mug, paid.trade_no, 'TRADE_SUCCESS', '100.00'],
      [notice.app_id, notice.seller_id, notice.out_trade_no, notice.trade_no, notice.trade_status, notice.total_amount]);
    so('with another amount it is refused', !sdk.checkNotifySignV2({ ...notice, total_amount: '1.00' }));
    const misled = client({ alipayPublicKey: stranger.publicKey });
    so("by another key it is refused", !misled.checkNotifySignV2(notice));
  });

  await section('Alipay: back in the shop', async () => {
    const page = number('page');
    const back = 'https://shop.example/paid?order=7';
    const link = sdk.pageExecute('alipay.trade.page.pay', 'GET',
      { returnUrl: back, bizContent: order(page, 'FAST_INSTANT_TRADE_PAY') });
    await opens(link);
    await presses('pay', page);
    const { text } = await opens(`${url}/cashier/${page}`);
    const href = /href="(https:\/\/shop\.example\/[^"]+)"/.exec(text)?.[1].replaceAll('&amp;', '&') ?? '';
    so('the cashier leads back, with the own parameters of the shop', href.startsWith(`${back}&`), href);
    const { order: own, ...signed } = fields(href.split('?')[1]);
    so("Alipay's parameters are genuine", sdk.checkNotifySignV2(signed), signed);
    same('and they name no status', [page, '100.00', undefined], [signed.out_trade_no, signed.total_amount, signed.trade_status]);
  });

  await section('Alipay: closed, and cancelled', async () => {
    const [closed, cancelled, unpaid] = ['closed', 'cancelled', 'unpaid'].map(number);
    for (const each of [closed, cancelled, unpaid]) await opens((await ask(sdk, 'precreate', order(each))).qr_code);
    same('a trade that waits is closed', '10000', said(await ask(sdk, 'close', { out_trade_no: closed })));
    same('the query says TRADE_CLOSED', 'TRADE_CLOSED', await status(closed));
    same('the cashier refuses the payer', 409, await presses('pay', closed));
    same('closed twice is refused', 'ACQ.TRADE_STATUS_ERROR', said(await ask(sdk, 'close', { out_trade_no: closed })));
    same('a paid one is not closed', 'ACQ.TRADE_STATUS_ERROR', said(await ask(sdk, 'close', { out_trade_no: mug })));
    const close = await ask(sdk, 'cancel', { out_trade_no: unpaid });
    same('cancelled unpaid, it is closed', ['10000', 'close', 'N'], [close.code, close.action, close.retry_flag]);
    await presses('pay', cancelled);
    const refund = await ask(sdk, 'cancel', { out_trade_no: cancelled });
    same('cancelled after it was paid, the money goes back', ['10000', 'refund'], [refund.code, refund.action]);
    same('says the ledger, too', { charges: [10_000], refunds: [10_000] }, await moved(cancelled));
    same('no money moved for the closed one', { charges: [], refunds: [] }, await moved(closed));
  });

  await section('Alipay: given back', async () => {
    const back = number('back');
    const request = { out_trade_no: mug, out_request_no: back, refund_amount: '25.00', refund_reason: '客户要求' };
    const query = { out_trade_no: mug, out_request_no: back, query_options: ['gmt_refund_pay'] };
    const before = await ask(sdk, 'fastpay.refund.query', query);
    same('a refund that nobody asked for is answered without a status', ['10000', undefined], [before.code, before.refund_status]);
    const first = await ask(sdk, 'refund', request);
    same('the money moves within the call', ['10000', 'Y', '25.00'], [first.code, first.fund_change, first.refund_fee]);
    const again = await ask(sdk, 'refund', request);
    same('sent again, nothing moves', ['10000', 'N', '25.00'], [again.code, again.fund_change, again.refund_fee]);
    same('the same number with another amount is refused', 'ACQ.DISCORDANT_REPEAT_REQUEST',
      said(await ask(sdk, 'refund', { ...request, refund_amount: '26.00' })));
    same('more than was paid is refused', 'ACQ.REFUND_AMT_NOT_EQUAL_TOTAL',
      said(await ask(sdk, 'refund', { ...request, out_request_no: number('back'), refund_amount: '75.01' })));
    const found = await ask(sdk, 'fastpay.refund.query', query);
    same('the query finds it', ['REFUND_SUCCESS', '25.00', '100.00', first.gmt_refund_pay],
      [found.refund_status, found.refund_amount, found.total_amount, found.gmt_refund_pay]);
    same('a part given back, the trade is still paid', 'TRADE_SUCCESS', await status(mug));
    const notice = fields((await shop.next()).body);
    so('the notification is genuine', sdk.checkNotifySignV2(notice), notice);
    same('and tells of the refund at the address of the order', [back, '25.00', 'TRADE_SUCCESS'],
      [notice.out_biz_no, notice.refund_fee, notice.trade_status]);
    await ask(sdk, 'refund', { ...request, out_request_no: number('back'), refund_amount: '75.00' });
    same('all given back, the trade is closed', 'TRADE_CLOSED', await status(mug));
    same('the ledger: one charge, two refunds', { charges: [10_000], refunds: [2_500, 7_500] }, await moved(mug));
    same('no notification was left over', 0, shop.waiting());
  });

  await section('Alipay: who may ask, and who is believed', async () => {
    const other = client({ privateKey: stranger.privateKey });
    same("another's signature is refused", 'isv.invalid-signature', said(await ask(other, 'query', { out_trade_no: mug })));
    await goesWrong('find', 'wrongly_signed');
    await refused('the package does not believe an answer that is wrongly signed', /验签失败/, () => status(mug));
    await goesWrong('find', 'unsigned');
    await refused('nor one that is not signed', /signature|string/i, () => status(mug));
    same('and believes the next one', 'TRADE_CLOSED', await status(mug));
  });
  shop.close();
}
