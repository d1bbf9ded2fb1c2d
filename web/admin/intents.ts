import { useSyncExternalStore } from 'react';
import type { Answer } from '../client/graphql';

/** What became of an idempotency key. Kept for the session, so that a reload does not forget it. */
export type Outcome =
  | { is: 'unsent' }
  | { is: 'sent' }
  | { is: 'unanswered'; code?: string }
  | { is: 'accepted'; replayed: boolean }
  | { is: 'refused'; code: string }
  | { is: 'spent'; code: string };

const UNSENT: Outcome = { is: 'unsent' };
const PLACE = 'payonce.admin.intents';
const listeners = new Set<() => void>();
const outcomes: Record<string, Outcome> = recall();

export function useOutcome(key: string): Outcome {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => outcomes[key] ?? UNSENT,
  );
}

export function noteSent(key: string): void {
  note(key, { is: 'sent' });
}

export function noteNoAnswer(key: string): void {
  note(key, { is: 'unanswered' });
}

export function noteAnswer(key: string, answer: Answer<unknown>): void {
  const extensions = answer.errors?.[0]?.extensions;
  if (answer.errors?.length) {
    const code = typeof extensions?.['code'] === 'string' ? extensions['code'] : 'INTERNAL';
    if (code.startsWith('IDEMPOTENCY_KEY_')) note(key, { is: 'spent', code });
    else if (extensions?.['retryable'] || extensions?.['retrySameKey'])
      note(key, { is: 'unanswered', code });
    else note(key, { is: 'refused', code });
    return;
  }
  const payload = Object.values((answer.data ?? {}) as Record<string, unknown>)[0];
  note(key, {
    is: 'accepted',
    replayed: (payload as { replayed?: boolean } | undefined)?.replayed === true,
  });
}

function note(key: string, outcome: Outcome): void {
  outcomes[key] = outcome;
  sessionStorage.setItem(PLACE, JSON.stringify(outcomes));
  listeners.forEach((tell) => tell());
}

function recall(): Record<string, Outcome> {
  const kept = JSON.parse(sessionStorage.getItem(PLACE) ?? '{}') as Record<string, Outcome>;
  // The page went away before the answer came: whether it happened is not known here.
  for (const key in kept) if (kept[key]?.is === 'sent') kept[key] = { is: 'unanswered' };
  return kept;
}
