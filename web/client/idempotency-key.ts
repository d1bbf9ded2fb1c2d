/**
 * A key for one intent of a person: store it before sending, send it again until an answer without
 * error comes back. 128 random bits; `crypto.randomUUID` would be missing on plain http.
 */
export function newIdempotencyKey(prefix: string): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `${prefix}-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
