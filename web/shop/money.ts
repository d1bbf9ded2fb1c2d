import type { Money } from './api';

export function shown({ decimal, currency }: Pick<Money, 'decimal' | 'currency'>): string {
  return new Intl.NumberFormat('en', { style: 'currency', currency }).format(
    decimal as Intl.StringNumericLiteral,
  );
}

/** The sum of prices times quantities, for show only: the server prices the order itself. */
export function sum(lines: { price: Money; quantity: number }[]): string {
  const first = lines[0]?.price;
  if (!first) return '–';
  const digits = first.decimal.split('.')[1]?.length ?? 0;
  const minor = lines.reduce((total, { price, quantity }) => total + BigInt(price.minor) * BigInt(quantity), 0n);
  const text = minor.toString().padStart(digits + 1, '0');
  const decimal = digits ? `${text.slice(0, -digits)}.${text.slice(-digits)}` : text;
  return shown({ decimal, currency: first.currency });
}
