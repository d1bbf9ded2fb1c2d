import { useGraphiQL } from '@graphiql/react';
import { newIdempotencyKey } from '../client/idempotency-key';
import { useOutcome, type Outcome } from './intents';

const KEY = /("idempotencyKey"\s*:\s*)"([^"]*)"/;

/** Shows the idempotency key of the active tab, what became of it, and makes the next one. */
export function IntentBar() {
  const variables = useGraphiQL((state) => state.tabs[state.activeTabIndex]?.variables ?? '');
  const editor = useGraphiQL((state) => state.variableEditor);
  const key = KEY.exec(variables)?.[2];
  const outcome = useOutcome(key ?? '');
  if (key === undefined) return null;

  const renew = () => {
    const inDoubt = outcome.is === 'sent' || outcome.is === 'unanswered';
    if (inDoubt && !confirm(IN_DOUBT)) return;
    editor?.setValue(
      editor.getValue().replace(KEY, (_, name: string) => `${name}"${newIdempotencyKey('console')}"`),
    );
  };

  return (
    <section className="intent-bar" aria-label="Idempotency key" data-outcome={outcome.is}>
      <div className="intent-key">
        <span className="label">Idempotency key</span>
        <code>{key}</code>
      </div>
      <p role="status">{advice(outcome)}</p>
      <button type="button" onClick={renew} disabled={!editor}>
        New idempotency key
      </button>
    </section>
  );
}

const IN_DOUBT =
  'The last request with this key got no answer, so it may have refunded. ' +
  'A new key is a new refund: money could go back twice. Make a new key all the same?';

function advice(outcome: Outcome): string {
  switch (outcome.is) {
    case 'unsent':
      return 'Not sent yet. Same key, same refund: however often it is sent, money goes back once. Make a new key only for a different refund.';
    case 'sent':
      return 'Sent, waiting for the answer. If none comes, send again with this same key.';
    case 'unanswered':
      return `No final answer${outcome.code ? ` (${outcome.code})` : ''}: it may have happened. Send again with this same key.`;
    case 'accepted':
      return outcome.replayed
        ? 'Replayed: this is the refund made before, and no money moved again. For another refund, make a new key.'
        : 'Accepted. Sending this key again shows the same refund. For another refund, make a new key.';
    case 'refused':
      return `Refused (${outcome.code}): nothing began. Correct the request, then send it again.`;
    case 'spent':
      return `This key cannot be used here (${outcome.code}): nothing began. Make a new key.`;
  }
}
