// Judges the sandbox by client packages of others: SANDBOX_URL=… SANDBOX_KEYS=… node tests/judges/main.mjs
// It is started by scripts/judges. Exit status 1 when a check failed.
import { judge as alipay } from './alipay.mjs';
import { total } from './verdicts.mjs';
import { judge as wechatPay } from './wechat-pay.mjs';

await wechatPay();
await alipay();
process.exit(total() ? 0 : 1);
