// The client's side of GStreamer's simple signalling: one WebSocket to `/`.

import { openSocket } from './access.js';

/** Ids of this page have six digits: clients written in Rust read ids as 32-bit numbers. */
const LEAST_ID = 100_000;
const MOST_ID = 999_999;

/** An id that is most likely free. */
export function randomId() {
  const [number] = crypto.getRandomValues(new Uint32Array(1));
  return String(LEAST_ID + (number % (MOST_ID - LEAST_ID + 1)));
}

/**
 * A registration under an id, for one call or one room: there is no way back from either but to
 * close.
 *
 * `handlers`, of which a call and a room need only their own:
 * - `registered()`: time to `call` or `enter`;
 * - `answered()`: the server has put the call through; from now on `message` is the other side's;
 * - `entered(ids)`: in the room, with these members;
 * - `joined(id)`, `left(id)`: members that come and go;
 * - `message(text, from)`: from the other side of the call, or from a member;
 * - `refused(error)`: the server's error text, without its first word;
 * - `closed({code, reason, opened})`: the end. `opened` tells whether the WebSocket ever opened. Not
 *   called after `close()`.
 */
export class Registration {
  #socket;
  #handlers;
  #state = 'new';
  #opened = false;

  constructor(id, handlers) {
    this.#handlers = handlers;
    this.#socket = openSocket('/');
    this.#socket.onopen = () => {
      this.#opened = true;
      this.#socket.send(`HELLO ${id}`);
    };
    this.#socket.onmessage = ({ data }) => {
      if (typeof data === 'string') this.#receive(data);
    };
    this.#socket.onclose = ({ code, reason }) => handlers.closed({ code, reason, opened: this.#opened });
  }

  /** Calls a peer. */
  call(peer) {
    this.#send(`SESSION ${peer}`);
  }

  /** Joins a room, which the server makes if it isn't there. */
  enter(room) {
    this.#send(`ROOM ${room}`);
  }

  /** Sends to the other side of the call. Dropped when the way is closed. */
  send(message) {
    this.#send(JSON.stringify(message));
  }

  /** Sends to a member of the room. Dropped when the way is closed. */
  sendTo(member, message) {
    this.#send(`ROOM_PEER_MSG ${member} ${JSON.stringify(message)}`);
  }

  /** Leaves, silently. */
  close() {
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }

  #send(text) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(text);
  }

  #receive(text) {
    if (this.#state === 'call') {
      this.#handlers.message(text);
    } else if (text.startsWith('ERROR')) {
      this.#handlers.refused(text.slice('ERROR'.length).trim());
    } else if (this.#state === 'room') {
      this.#receiveInRoom(text);
    } else if (text === 'HELLO' && this.#state === 'new') {
      this.#state = 'idle';
      this.#handlers.registered();
    } else if (text === 'SESSION_OK') {
      this.#state = 'call';
      this.#handlers.answered();
    } else if (text.startsWith('ROOM_OK')) {
      this.#state = 'room';
      this.#handlers.entered(text.split(/\s+/).slice(1).filter(Boolean));
    }
  }

  #receiveInRoom(text) {
    const [, word, id, message] = /^(\S+) (\S+)(?: ([^]*))?$/.exec(text) ?? [];
    if (word === 'ROOM_PEER_JOINED') this.#handlers.joined(id);
    else if (word === 'ROOM_PEER_LEFT') this.#handlers.left(id);
    else if (word === 'ROOM_PEER_MSG' && message !== undefined) this.#handlers.message(message, id);
  }
}
