// The server's admin API: what it tells, and what it is asked to do.

import { ask, refusalOf } from './access.js';

/** How long an answer may take. */
const PATIENCE_MS = 10_000;

/** Why there is no answer, in words for a person. `away` if nobody answers, `refused` if the token won't do. */
export class Trouble extends Error {
  constructor(message, { away = false, refused = false, status = 0 } = {}) {
    super(message);
    Object.assign(this, { away, refused, status });
  }
}

/** What the server tells at a path. */
export const read = (path) => request(path, {});

/** Asks the server to do something, with a body or without. */
export function act(method, path, body) {
  const json = body && { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } };
  return request(path, { method, ...json });
}

async function request(path, options) {
  let answer;
  let text;
  try {
    answer = await ask(path, { ...options, signal: AbortSignal.timeout(PATIENCE_MS) });
    text = await answer.text();
  } catch {
    throw new Trouble('The server does not answer.', { away: true });
  }
  const { status } = answer;
  const refusal = options.method ? null : refusalOf(status);
  if (refusal) throw new Trouble(refusal, { refused: true, status });
  let told = null;
  try {
    told = text === '' ? null : JSON.parse(text);
  } catch {
    // A proxy's page, or a plain word. The status says enough.
  }
  if (!answer.ok) throw new Trouble(String(told?.error ?? `the server answers ${status}`), { status, away: status >= 502 && status <= 504 });
  return told;
}
