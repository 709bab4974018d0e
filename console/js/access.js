// What this page may do on its server: by the token in its own address, `?token=…`.

const KEY = 'switchboard-token';
/** The subprotocol that the server takes beside a token; a browser insists on one (README, Tokens). */
const SUBPROTOCOL = 'switchboard';

/** The token; empty if there is none. Kept for this tab, and taken out of the address, which people share. */
const TOKEN = (() => {
  const address = new URL(location.href);
  const given = address.searchParams.get('token');
  if (given === null) return sessionStorage.getItem(KEY) ?? '';
  sessionStorage.setItem(KEY, given);
  address.searchParams.delete('token');
  history.replaceState(history.state, '', address);
  return given;
})();

/** Opens a WebSocket to a path of this page's server. */
export function openSocket(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return TOKEN ? new WebSocket(url, [SUBPROTOCOL, `bearer.${TOKEN}`]) : new WebSocket(url);
}

/** `fetch` with the page's token, or with another one. */
export function ask(path, options = {}, token = TOKEN) {
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  return fetch(path, { ...options, headers });
}

/** Opens a stream of server-sent events, which can't have headers. */
export function openStream(path) {
  const url = new URL(path, location.href);
  if (TOKEN) url.searchParams.set('token', TOKEN);
  return new EventSource(url);
}

/** Why the server refuses what the page asked for, in words for a person; null if it doesn't. */
export async function refusal(path) {
  const answer = await ask(path, { method: 'HEAD' }).catch(() => null);
  return refusalOf(answer?.status);
}

/** The same of an answer's status. */
export function refusalOf(status) {
  if (status === 401) return 'This server needs a token: open this page with ?token=TOKEN at the end of its address.';
  if (status === 403) return 'The token of this page does not show who is here: that needs the role admin.';
  return null;
}
