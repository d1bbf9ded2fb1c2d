// Judges the bills of both gateways, of what the other judges did two days ago, and WeChat Pay's certificates.
// scripts/judges starts it.
import { judge as alipay } from './alipay-bills.mjs';
import { total } from './verdicts.mjs';
import { judge as wechatPay } from './wechat-pay-bills.mjs';
import { judge as certificates } from './wechat-pay-certificates.mjs';

await wechatPay();
await alipay();
await certificates();
process.exit(total() ? 0 : 1);
