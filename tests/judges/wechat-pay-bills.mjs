// WeChat Pay's bills, asked for, downloaded and read by wechatpay-axios-plugin.
import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';

import plugin from 'wechatpay-axios-plugin';

import { day, ledger, minor } from './days.mjs';
import { refused, same, section, so } from './verdicts.mjs';
import { client } from './wechat-pay.mjs';

const { Formatter } = plugin;
const sha1 = (bytes) => createHash('sha1').update(bytes).digest('hex');

export async function judge() {
  const v3 = client();
  const { days, lines, came, went } = await ledger('wechat_pay');

  /** One bill: where it lies, and the bytes that lie there. */
  const fetched = async (kind, params) => {
    const { data } = await v3.bill[kind].get({ params });
    const { searchParams } = new URL(data.download_url);
    const file = await v3.billdownload.file.get({ params: Object.fromEntries(searchParams), responseType: 'arraybuffer' });
    return { ...data, bytes: Buffer.from(file.data) };
  };

  await section('WeChat Pay: bills of trades', async () => {
    const billed = [];
    for (const bill_date of days) {
      const bill = await fetched('tradebill', { bill_date, bill_type: 'ALL' });
      same('the hash is that of the file', ['SHA1', sha1(bill.bytes)], [bill.hash_type, bill.hash_value.toLowerCase()]);
      const { rows, summary } = Formatter.castCsvBill(bill.bytes);
      for (const row of rows) {
        const number = row['商户订单号'];
        if (row['交易状态'] === 'SUCCESS') billed.push(`paid ${number} ${minor(row['订单金额'])}`);
        else billed.push(`back ${number} ${row['商户退款单号']} ${minor(row['申请退款金额'])}`);
      }
      same('the summary counts the lines', rows.length, Number(summary['总交易单数']));
      const packed = await fetched('tradebill', { bill_date, bill_type: 'ALL', tar_type: 'GZIP' });
      const unpacked = gunzipSync(packed.bytes);
      same('packed, the hash is that of what was packed', sha1(unpacked), packed.hash_value.toLowerCase());
      so('and it is the same file', unpacked.equals(bill.bytes));
    }
    same('the bill is the ledger, line by line', lines, billed.sort());
    await refused('there is no bill of today', /INVALID_REQUEST|PARAM_ERROR|STATEMENT_CREATING|NO_STATEMENT_EXIST/, () =>
      fetched('tradebill', { bill_date: day(new Date().toISOString()), bill_type: 'ALL' }));
    const before = day(new Date(Date.parse(days[0]) - 3 * 86_400_000).toISOString());
    await refused('nor of a day without trades', /NO_STATEMENT_EXIST/, () =>
      fetched('tradebill', { bill_date: before, bill_type: 'ALL' }));
  });

  await section('WeChat Pay: bills of the flow of funds', async () => {
    const flow = { 收入: 0, 支出: 0 };
    for (const bill_date of days) {
      const bill = await fetched('fundflowbill', { bill_date, account_type: 'BASIC' });
      same('the hash is that of the file', sha1(bill.bytes), bill.hash_value.toLowerCase());
      const { rows } = Formatter.castCsvBill(bill.bytes);
      const fees = (row) => row['业务类型']?.includes('手续费') || row['业务名称']?.includes('手续费');
      for (const row of rows.filter((row) => !fees(row))) flow[row['收支类型']] += minor(row['收支金额(元)']);
    }
    same('what came and what went is the ledger', { 收入: came, 支出: went }, flow);
  });
}
