import { useEffect, useId, useState } from 'react';
import { claimsOf, type Claims } from '../client/token';

interface Props {
  token: string;
  onChange: (token: string) => void;
}

/** Where the token goes, and who it says one is. It stays in this browser tab's session. */
export function TokenField({ token, onChange }: Props) {
  const id = useId();
  const now = useNow();
  const claims = token ? claimsOf(token) : null;
  return (
    <form className="token-field" onSubmit={(event) => event.preventDefault()}>
      <label htmlFor={id}>Token</label>
      <input
        id={id}
        type="password"
        autoComplete="off"
        spellCheck={false}
        placeholder="paste a token"
        value={token}
        onChange={(event) => onChange(event.target.value.replace(/^Bearer\s+/i, '').trim())}
      />
      <span className="bearer" role="status">
        {bearer(token, claims, now)}
      </span>
    </form>
  );
}

function bearer(token: string, claims: Claims | null, now: number) {
  if (!token) return <em>No token: only products and the schema can be read.</em>;
  if (!claims) return <em className="warning">This is not a token.</em>;
  const left = claims.expiresAt ? claims.expiresAt.getTime() - now : Infinity;
  return (
    <>
      <strong>{claims.subject}</strong>
      {claims.roles.map((role) => (
        <span className="role" key={role}>
          {role}
        </span>
      ))}
      {left <= 0 ? (
        <em className="warning">expired: paste a new one</em>
      ) : (
        <span className={left < 60_000 ? 'warning' : 'expiry'} title={claims.expiresAt?.toString()}>
          {Number.isFinite(left) ? `expires in ${duration(left)}` : 'no expiry'}
        </span>
      )}
    </>
  );
}

function duration(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return 'less than a minute';
  if (minutes < 120) return `${minutes} min`;
  return minutes < 2880 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} days`;
}

function useNow(): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 5_000);
    return () => clearInterval(timer);
  }, []);
  return now;
}
