import { useEffect, useMemo, useState } from 'react';
import { GraphiQL } from 'graphiql';
import { useGraphiQLActions } from '@graphiql/react';
import { claimsOf, takeTokenFromAddress } from '../client/token';
import { consoleFetcher } from './fetcher';
import { IntentBar } from './IntentBar';
import { refundStory } from './refund-story';
import { TokenField } from './TokenField';

const TOKEN = 'payonce.admin.token';

// Everything the console remembers lives in the session: a payment's queries, keys and the token
// are gone when the browser tab is, and a reload keeps the key of a refund that is under way.
const memory = sessionStorage;

// Room for the variables, which is where a refund is filled in. Dragging the border changes it.
const VARIABLES_SHARE = 'graphiql:secondaryEditorFlex';
if (!memory.getItem(VARIABLES_SHARE)) memory.setItem(VARIABLES_SHARE, '1.5');

export function Console() {
  const [token, setToken] = useState(() => takeTokenFromAddress() ?? memory.getItem(TOKEN) ?? '');
  const { fetcher, setToken: askAs } = useMemo(consoleFetcher, []);
  const tabs = useMemo(refundStory, []);
  // Not in an effect: GraphiQL's own first effect asks for the schema already.
  askAs(token);

  useEffect(() => {
    if (token) memory.setItem(TOKEN, token);
    else memory.removeItem(TOKEN);
  }, [token]);

  useEffect(() => {
    const takeToken = () => {
      const given = takeTokenFromAddress();
      if (given) setToken(given);
    };
    addEventListener('hashchange', takeToken);
    return () => removeEventListener('hashchange', takeToken);
  }, []);

  return (
    <>
      <header className="console-header">
        <h1>
          Payonce <span>console</span>
        </h1>
        <TokenField token={token} onChange={setToken} />
      </header>
      <GraphiQL
        fetcher={fetcher}
        storage={memory}
        defaultTabs={tabs}
        defaultEditorToolsVisibility="variables"
        // The token has its own field; a header editor would only tempt it into the tabs.
        isHeadersEditorEnabled={false}
        showPersistHeadersSettings={false}
      >
        <GraphiQL.Logo>
          <span />
        </GraphiQL.Logo>
        <SchemaOf token={token} />
        <IntentBar />
      </GraphiQL>
    </>
  );
}

/** Reads the schema again when another token may see another one. */
function SchemaOf({ token }: { token: string }) {
  const { introspect } = useGraphiQLActions();
  const [readWith, setReadWith] = useState(token);
  useEffect(() => {
    const halfTyped = token !== '' && !claimsOf(token);
    if (token === readWith || halfTyped) return;
    setReadWith(token);
    void introspect();
  }, [token, readWith, introspect]);
  return null;
}
