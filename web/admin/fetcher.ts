import type { GraphiQLProps } from 'graphiql';
import { getOperationAST, parse, type OperationDefinitionNode } from 'graphql';
import { ask, NoAnswer, openSocket, type Answer } from '../client/graphql';
import { noteAnswer, noteNoAnswer, noteSent } from './intents';

type Fetcher = GraphiQLProps['fetcher'];
type FetcherParams = Parameters<Fetcher>[0];

/** How the console asks: queries and mutations over HTTP, subscriptions over one WebSocket. */
export function consoleFetcher(): { fetcher: Fetcher; setToken: (token: string) => void } {
  let token = '';
  const socket = openSocket(() => token || null);

  const fetcher = (request: FetcherParams): unknown => {
    const operation = operationOf(request);
    const variables = request.variables as Record<string, unknown> | undefined;
    const question = { query: request.query, variables, operationName: operation?.name?.value };
    if (operation?.operation === 'subscription') return explained(socket.iterate(question));
    const key = variables?.['idempotencyKey'];
    return operation?.operation === 'mutation' && typeof key === 'string'
      ? askWithKey(key, () => ask(token || null, question))
      : ask(token || null, question);
  };

  return {
    // GraphiQL's type asks for graphql-js's error objects; an answer off the wire has plain ones.
    fetcher: fetcher as Fetcher,
    setToken(next) {
      if (next === token) return;
      token = next;
      // Running subscriptions come back by themselves, under the new token.
      socket.terminate();
    },
  };
}

/**
 * The operation to run, read from the text itself: just after a change of tabs GraphiQL still gives
 * the name of the operation in the tab before. Text that does not parse is the server's to explain.
 */
function operationOf({ query, operationName }: FetcherParams): OperationDefinitionNode | null {
  try {
    const document = parse(query, { noLocation: true });
    return getOperationAST(document, operationName) ?? getOperationAST(document) ?? null;
  } catch {
    return null;
  }
}

/** Puts the end of a connection into words. Not a generator: those cannot be stopped while waiting. */
function explained<Event>(events: AsyncIterableIterator<Event>): AsyncIterableIterator<Event> {
  const next = events.next.bind(events);
  events.next = () =>
    next().catch((error: unknown) => {
      if (!(error instanceof CloseEvent)) throw error;
      throw new NoAnswer(`The connection was closed: ${error.code} ${error.reason}`.trim());
    });
  return events;
}

/** Keeps account of what became of the key, so that the page can say what to do with it next. */
async function askWithKey(
  key: string,
  send: () => Promise<Answer<unknown>>,
): Promise<Answer<unknown>> {
  noteSent(key);
  try {
    const answer = await send();
    noteAnswer(key, answer);
    return answer;
  } catch (error) {
    noteNoAnswer(key);
    throw error;
  }
}
