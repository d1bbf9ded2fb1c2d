// Judges the sandbox, and what Payonce signs, by client packages of others. scripts/judges starts it.
// Exit status 1 when a check failed.
import { judge as alipay } from './alipay.mjs';
import { judge as payonce } from './payonce.mjs';
import { total } from './verdicts.mjs';
import { judge as wechatPay } from './wechat-pay.mjs';

await wechatPay();
await alipay();
await payonce();
process.exit(total() ? 0 : 1);
