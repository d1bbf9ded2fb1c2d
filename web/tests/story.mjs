// What the browser stories share: a strict browser, the API, and the account at the end.
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { chromium } from 'playwright-core';

const FLAGS = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export function setting(name) {
  const value = process.env[name];
  if (!value) {
    console.error(`${name} is not set`);
    process.exit(1);
  }
  return value;
}

export const PAYONCE = new URL(setting('PAYONCE_URL')).origin;

/** Asks Payonce directly, as the given bearer. Throws when the answer is an error. */
export async function ask(token, query, variables = {}) {
  const response = await fetch(`${PAYONCE}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  if (errors?.length) throw new Error(JSON.stringify(errors));
  return data;
}

/** Waits until `probe` gives something truthy, and gives that. */
export async function until(what, probe, timeoutMs = 30_000) {
  const deadline = Date.now() + timeoutMs;
  let last;
  while (Date.now() < deadline) {
    last = await probe();
    if (last) return last;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`waited ${timeoutMs / 1000} s in vain: ${what}`);
}

/**
 * Tells a story in a fresh browser, step by step, and ends the process: 0 when all went well. A step
 * that fails ends the story. Whatever happened, the last steps look for what no page may do.
 */
export async function tell(story) {
  let passed = 0;
  let failed = 0;
  const offences = { violations: [], strangers: [], errors: [] };
  const allowed = new Set([PAYONCE]);

  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: FLAGS,
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  await watchFor(context, offences, allowed);

  const step = async (name, act) => {
    try {
      const result = await act();
      passed += 1;
      console.log(`ok      ${name}`);
      return result;
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${name}\n        ${String(error.stack ?? error).replaceAll('\n', '\n        ')}`);
      throw new Stop();
    }
  };

  const pictures = process.env.SCREENSHOT_DIR;
  const picture = async (page, name) => {
    if (!pictures) return;
    await mkdir(pictures, { recursive: true });
    await page.screenshot({ path: path.join(pictures, name) });
  };

  try {
    await story({ context, step, picture, allow: (url) => allowed.add(new URL(url).origin) });
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    for (const [index, page] of context.pages().entries()) await picture(page, `failed-${index}.png`);
  }
  await step('no page breaks its Content-Security-Policy', () => none(offences.violations)).catch(() => {});
  await step('no page asks another origin', () => none(offences.strangers)).catch(() => {});
  await step('no page throws', () => none(offences.errors)).catch(() => {});
  await browser.close();

  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}

class Stop extends Error {}

function none(offences) {
  if (offences.length) throw new Error(offences.join('\n'));
}

async function watchFor(context, offences, allowed) {
  await context.exposeBinding('reportViolation', (_, text) => offences.violations.push(text));
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => {
      const { violatedDirective, blockedURI, sourceFile, lineNumber, sample } = event;
      globalThis.reportViolation(`${violatedDirective} ${blockedURI} at ${sourceFile}:${lineNumber} ${sample}`);
    });
  });
  const checkOrigin = (address) => {
    const url = new URL(address);
    if (url.protocol === 'data:') return;
    const origin = url.origin === 'null' ? address : url.origin.replace(/^ws/, 'http');
    if (!allowed.has(origin) && !allowed.has(`http://${url.host}`) && !allowed.has(`https://${url.host}`)) {
      offences.strangers.push(address);
    }
  };
  context.on('request', (request) => checkOrigin(request.url()));
  context.on('page', (page) => page.on('websocket', (socket) => checkOrigin(socket.url())));
  context.on('console', (message) => {
    if (/content.security.policy/i.test(message.text())) offences.violations.push(message.text());
  });
  context.on('weberror', (error) => offences.errors.push(String(error.error().stack)));
}
