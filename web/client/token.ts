/** What a token says about its bearer. Decoded, not verified: only the server can do that. */
export interface Claims {
  subject: string;
  roles: string[];
  expiresAt: Date | null;
}

/** `null` when the text is not a JWT. */
export function claimsOf(token: string): Claims | null {
  try {
    const payload = token.split('.')[1] ?? '';
    const bytes = Uint8Array.from(
      atob(payload.replace(/-/g, '+').replace(/_/g, '/')),
      (char) => char.charCodeAt(0),
    );
    const claims = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
    if (typeof claims['sub'] !== 'string') return null;
    const roles = claims['roles'];
    return {
      subject: claims['sub'],
      roles: Array.isArray(roles) ? roles.map(String) : [],
      expiresAt: typeof claims['exp'] === 'number' ? new Date(claims['exp'] * 1000) : null,
    };
  } catch {
    return null;
  }
}

/**
 * The token of a link that ends in `#token=…`, taken out of the address bar and the history at once.
 * A fragment never reaches a server or its log; a query parameter would, so none is read.
 */
export function takeTokenFromAddress(): string | null {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token === null) return null;
  history.replaceState(history.state, '', location.pathname + location.search);
  return token.trim() || null;
}
