// The days of the ledger, by the providers' calendar, and what a bill of them must say.
import { url } from './sandbox.mjs';

/** A moment's day in Shanghai. */
export const day = (moment) => new Date(Date.parse(moment) + 8 * 3_600_000).toISOString().slice(0, 10);

/** Yuan, as bills write them, in minor units and without the sign. */
export const minor = (text) => Math.abs(Math.round(Number(text) * 100));

/** A gateway's days with trades, and what moved on them: one line each, sorted. */
export async function ledger(gateway) {
  const all = await (await fetch(`${url}/__sandbox/ledger`)).json();
  const charges = all.charges.filter((charge) => charge.gateway === gateway);
  const ours = new Set(charges.map(({ number }) => number));
  const refunds = all.refunds.filter(({ payment_number }) => ours.has(payment_number));
  return {
    days: [...new Set(charges.map(({ paid_at }) => day(paid_at)))].sort(),
    lines: [
      ...charges.map((charge) => `paid ${charge.number} ${charge.minor}`),
      ...refunds.map((refund) => `back ${refund.payment_number} ${refund.number} ${refund.minor}`),
    ].sort(),
    came: charges.reduce((sum, charge) => sum + charge.minor, 0),
    went: refunds.reduce((sum, refund) => sum + refund.minor, 0),
  };
}
