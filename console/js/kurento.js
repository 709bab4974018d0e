// The client's side of Kurento's rooms: JSON-RPC 2.0 over a WebSocket to `/room`.

import { openSocket } from './access.js';

/** How long a request may wait for its reply. */
const REPLY_MS = 15_000;
/** How often the server is pinged, which it is told: after three that fail to come it closes. */
const PING_MS = 5_000;
/** How long to wait before the next attempt to connect again, at first and at most. */
const RETRY_MS = 500;
const SLOWEST_RETRY_MS = 5_000;
/** The code with which the server says that it doesn't know a session any more. */
const SESSION_GONE = 40007;

/** A request that the server refused, with its code; `null` if there was no reply. */
export class Refused extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * One session, for one participant in one room. A lost connection is opened again, and the session
 * goes on if the server still knows it.
 *
 * `handlers`:
 * - `opened()`: the first connection is there;
 * - `event(method, params)`: something happened in the room;
 * - `away()`: the connection is lost; requests fail until `resumed` or `expired`;
 * - `resumed()`: the session goes on; events may have been missed;
 * - `expired()`: connected again, but the session is over, and with it the participant and its media;
 * - `unreachable()`: the first connection could not be opened. The end.
 */
export class RoomSession {
  #handlers;
  #socket = null;
  #waiting = new Map();
  #lastId = -1;
  #sessionId = null;
  #pingTimer = 0;
  #retryTimer = 0;
  #retryMs = RETRY_MS;
  #wasOpen = false;
  #isAway = false;
  #over = false;

  constructor(handlers) {
    this.#handlers = handlers;
    this.#open();
  }

  /** Sends a request; gives its result, or throws `Refused`. */
  request(method, params) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return Promise.reject(new Refused(null, 'the connection to the server is lost'));
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle(id, ({ reject: fail }) => fail(new Refused(null, `the server did not answer ${method}`))), REPLY_MS);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    });
  }

  /** Leaves the room, if the connection is there, and ends everything, silently. */
  close() {
    if (this.#over) return;
    this.#over = true;
    // Without an answer: the page may be on its way out.
    if (this.#sessionId) this.request('leaveRoom', {}).catch(() => {});
    this.#drop();
    clearTimeout(this.#retryTimer);
  }

  #open() {
    const socket = openSocket('/room');
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = () => this.#lost();
  }

  async #opened() {
    this.#retryMs = RETRY_MS;
    this.#isAway = false;
    this.#keepAlive();
    if (!this.#wasOpen) {
      this.#wasOpen = true;
      this.#handlers.opened();
      return;
    }
    if (this.#sessionId === null) return this.#handlers.expired();
    try {
      await this.request('connect', { sessionId: this.#sessionId });
      this.#handlers.resumed();
    } catch (error) {
      if (this.#over) return;
      if (error.code === SESSION_GONE) {
        this.#sessionId = null;
        this.#handlers.expired();
      } else {
        this.#socket?.close();
      }
    }
  }

  #receive(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      console.warn('The server sent something that is not JSON.');
      return;
    }
    if (typeof message?.method === 'string') {
      if (!this.#over) this.#handlers.event(message.method, message.params ?? {});
      return;
    }
    const { id, result, error } = message ?? {};
    this.#settle(id, ({ resolve, reject }) => {
      if (error) {
        reject(new Refused(error.code, String(error.message)));
      } else {
        this.#sessionId = result?.sessionId ?? this.#sessionId;
        resolve(result);
      }
    });
  }

  #settle(id, action) {
    const request = this.#waiting.get(id);
    if (!request) return;
    this.#waiting.delete(id);
    clearTimeout(request.timer);
    action(request);
  }

  /** Pings; a server that doesn't answer counts as gone. */
  #keepAlive() {
    const socket = this.#socket;
    let params = { interval: PING_MS };
    const ping = () => {
      this.request('ping', params).catch(() => this.#socket === socket && !this.#over && this.#lost());
      params = undefined;
    };
    ping();
    this.#pingTimer = setInterval(ping, PING_MS);
  }

  #lost() {
    this.#drop();
    if (this.#over) return;
    if (!this.#wasOpen) {
      this.#over = true;
      this.#handlers.unreachable();
      return;
    }
    if (!this.#isAway) this.#handlers.away();
    this.#isAway = true;
    this.#retryTimer = setTimeout(() => this.#open(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, SLOWEST_RETRY_MS);
  }

  #drop() {
    clearInterval(this.#pingTimer);
    if (this.#socket) {
      this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
      this.#socket.close();
    }
    this.#socket = null;
    for (const id of [...this.#waiting.keys()]) {
      this.#settle(id, ({ reject }) => reject(new Refused(null, 'the connection to the server is lost')));
    }
  }
}
