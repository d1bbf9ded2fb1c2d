// Alipay's bills: the address is asked for by alipay-sdk; the archive is opened by fflate, its GBK read by the
// machine's own tables.
import { unzipSync } from 'fflate';

import { client } from './alipay.mjs';
import { day, ledger, minor } from './days.mjs';
import { same, section, so } from './verdicts.mjs';

const METHOD = 'alipay.data.dataservice.bill.downloadurl.query';
const gbk = (bytes) => new TextDecoder('gbk', { fatal: true }).decode(bytes);

/** The rows of a table in a file, by its column's names. */
function rows(text) {
  const lines = text.split('\r\n').map((line) => line.split(',').map((cell) => cell.trim()));
  const at = lines.findIndex((cells) => cells.includes('商户订单号'));
  const names = lines[at];
  const end = lines.findIndex((cells, index) => index > at && cells[0].startsWith('#'));
  return lines.slice(at + 1, end).map((cells) => Object.fromEntries(names.map((name, index) => [name, cells[index]])));
}

export async function judge() {
  const sdk = client();
  const ask = (bill_date) => sdk.exec(METHOD, { biz_content: { bill_type: 'trade', bill_date } }, { validateSign: true });

  await section('Alipay: bills of trades', async () => {
    const { days, lines } = await ledger('alipay');
    const billed = [];
    for (const bill_date of days) {
      const answer = await ask(bill_date);
      const archive = await fetch(answer.bill_download_url);
      const files = Object.entries(unzipSync(new Uint8Array(await archive.arrayBuffer())));
      // Without the flag for UTF-8 a name comes as its bytes, one character each.
      const named = files.map(([name, bytes]) => [gbk(Buffer.from(name, 'latin1')), bytes]);
      const compact = bill_date.replaceAll('-', '');
      const names = [`0156_${compact}_业务明细.csv`, `0156_${compact}_业务明细(汇总).csv`];
      so('the archive holds the two files, named in GBK', names.every((end) => named.some(([name]) => name.endsWith(end))), named.map(([name]) => name));
      const [, details] = named.find(([name]) => name.endsWith(names[0]));
      for (const row of rows(gbk(details))) {
        if (row['业务类型'] === '交易') billed.push(`paid ${row['商户订单号']} ${minor(row['订单金额（元）'])}`);
        else billed.push(`back ${row['商户订单号']} ${row['退款批次号/请求号']} ${minor(row['订单金额（元）'])}`);
      }
    }
    same('the bill is the ledger, line by line', lines, billed.sort());
    const today = await ask(day(new Date().toISOString()));
    so('there is no bill of today', today.code === '40004' && !today.bill_download_url, today);
    const before = await ask(day(new Date(Date.parse(days[0]) - 3 * 86_400_000).toISOString()));
    so('nor of a day without trades', /NO_BILL_DATA|BILL_NOT_EXIST/.test(before.sub_code) || before.bill_file_code === 'EMPTY_DATA_WITH_BILL_FILE', before);
  });
}
