import { createClient, type Client } from 'graphql-ws';

export interface Request {
  query: string;
  variables?: Record<string, unknown> | undefined;
  operationName?: string | null | undefined;
}

export interface Answer<Data> {
  data?: Data | null;
  errors?: { message: string; extensions?: Record<string, unknown> }[];
}

/** No answer arrived. What was asked may or may not have happened: ask again with the same key. */
export class NoAnswer extends Error {
  override name = 'NoAnswer';

  constructor(message: string) {
    super(message);
    // GraphiQL would show it to the user.
    delete this.stack;
  }
}

/** Asks once over HTTP. An answer with errors is an answer; only the lack of one is thrown. */
export async function ask<Data>(token: string | null, request: Request): Promise<Answer<Data>> {
  let response: Response;
  try {
    response = await fetch('/graphql', {
      method: 'POST',
      headers: {
        accept: 'application/graphql-response+json, application/json;q=0.9',
        'content-type': 'application/json',
        ...(token && { authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify(request),
    });
  } catch {
    throw new NoAnswer('The server cannot be reached.');
  }
  try {
    return (await response.json()) as Answer<Data>;
  } catch {
    throw new NoAnswer(`The server answered ${response.status} without a readable body.`);
  }
}

/** A socket that opens with the first subscription, closes after the last, and reconnects between. */
export function openSocket(token: () => string | null): Client {
  const address = new URL('/graphql', location.href);
  address.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
  return createClient({
    url: address.href,
    retryAttempts: Infinity,
    retryWait: (attempt) => pause(Math.min(15_000, 500 * 2 ** attempt) * (0.5 + Math.random())),
    // A refused token stays refused; 4401 and its like the library does not retry of itself.
    shouldRetry: (event) => event instanceof CloseEvent && event.code !== 4403,
    connectionParams: () => {
      const bearer = token();
      return bearer ? { authorization: `Bearer ${bearer}` } : {};
    },
  });
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
