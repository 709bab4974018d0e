// The operations view: what the server does, who is at it, and the buttons to put them out.

import { Trouble, act, read } from './admin.js';
import { byId, setText } from './dom.js';
import { whole } from './format.js';
import { Overview } from './overview.js';
import { callTable, connectionTable, endpointTable, participantTable, roomTable } from './operations_tables.js';
import { Meter, participantsOf, roomsIn } from './operations_rows.js';

/** How often the server is asked. */
const POLL_MS = 2_000;
/** How often a server is asked that refuses the token: it may be reloaded with another list. */
const REFUSED_MS = 10_000;
/** Connections asked for at once. */
const MOST_CONNECTIONS = 500;

/** The page of operations, from when it is shown until `close()`. */
export class OperationsPage {
  #overview = new Overview();
  #meter = new Meter();
  #tables;
  #room = null;
  #server = null;
  #timer = 0;
  #ended = new AbortController();
  /** Counts the questions: an answer to an older one isn't shown. */
  #asked = 0;

  constructor() {
    const { signal } = this.#ended;
    const does = { ask: confirm, act: (...request) => this.#act(...request), open: (room) => this.#choose(room) };
    const places = ['endpoints', 'calls', 'rooms', 'participants', 'connections'].map((name) => byId(`table-${name}`));
    for (const place of places) place.replaceChildren();
    const [endpoints, calls, rooms, participants, connections] = places;
    this.#tables = {
      endpoints: endpointTable(endpoints, does),
      calls: callTable(calls, does),
      rooms: roomTable(rooms, does),
      participants: participantTable(participants, does),
      connections: connectionTable(connections, does),
    };
    byId('operations-part').addEventListener('change', () => this.#showPart(), { signal });
    byId('connections-dialect').addEventListener('change', () => this.#poll(), { signal });
    document.addEventListener('visibilitychange', () => (document.hidden ? this.#rest() : this.#poll()), { signal });
    say('');
    this.#showPart();
  }

  /** For tests: the last numbers of the server. */
  get numbers() {
    return this.#server;
  }

  close() {
    this.#ended.abort();
    this.#rest();
    if (byId('sure').open) byId('sure').close();
  }

  #rest() {
    this.#asked += 1;
    clearTimeout(this.#timer);
  }

  #showPart() {
    for (const part of document.querySelectorAll('.operations-part')) part.hidden = part.dataset.part !== chosenPart();
    this.#poll();
  }

  #choose(room) {
    this.#room = room;
    this.#tables.rooms.mark(room.key);
    this.#poll();
  }

  /** Asks now, shows the answer, and asks again later. */
  async #poll() {
    this.#rest();
    if (this.#ended.signal.aborted || document.hidden) return;
    const asked = this.#asked;
    const trouble = await this.#look(asked).catch((error) => error);
    if (asked !== this.#asked) return;
    if (trouble && !(trouble instanceof Trouble)) throw trouble;
    this.#showTrouble(trouble ?? null);
    this.#timer = setTimeout(() => this.#poll(), trouble?.refused ? REFUSED_MS : POLL_MS);
  }

  async #look(asked) {
    const part = chosenPart();
    const [server, told] = await Promise.all([read('/api/server'), read(addressOf(part))]);
    const room = part === 'rooms' ? await this.#lookIntoRoom(told) : null;
    if (asked !== this.#asked) return;
    const now = performance.now();
    this.#server = server;
    this.#overview.show(server, now);
    for (const place of document.querySelectorAll('[data-count]')) setText(place, whole(server.counts[place.dataset.count] ?? 0));
    this.#show(part, told, room, now);
    this.#meter.forget(now);
  }

  /** The chosen room, or the first one if there is none; null if there is no room. */
  async #lookIntoRoom(told) {
    const rooms = roomsIn(told);
    const chosen = rooms.find(({ key }) => key === this.#room?.key) ?? rooms.find(({ kind }) => kind === 'forwarding') ?? rooms[0];
    if (!chosen) return null;
    this.#room = chosen;
    if (chosen.kind !== 'forwarding') return chosen;
    try {
      return { ...chosen, ...await read(`/api/rooms/${encodeURIComponent(chosen.id)}`) };
    } catch (error) {
      // It ended between the two questions.
      if (error.status === 404) return null;
      throw error;
    }
  }

  #show(part, told, room, now) {
    const meter = { meter: this.#meter, now };
    if (part === 'rooms') {
      this.#tables.rooms.show(roomsIn(told, meter));
      this.#tables.rooms.mark(room?.key ?? null);
      byId('participants-part').hidden = !room;
      setText(byId('participants-title'), room ? `In the room ${room.id}` : '');
      this.#tables.participants.show(room ? participantsOf(room, meter) : []);
      return;
    }
    const things = told[part] ?? [];
    const total = told.total ?? things.length;
    this.#tables[part].show(part === 'connections' ? things.map((one) => this.#meter.connection(one, now)) : things, total);
  }

  #showTrouble(trouble) {
    const page = byId('operations');
    page.toggleAttribute('data-stale', Boolean(trouble));
    const known = this.#server !== null && !trouble?.refused;
    for (const part of ['numbers', 'phase', 'version']) byId(`operations-${part}`).hidden = !known;
    byId('operations-trouble').hidden = !trouble;
    setText(byId('operations-trouble'), trouble ? wordsFor(trouble) : '');
  }

  /** Does something, and says how it went. */
  async #act(done, method, path, body) {
    try {
      await act(method, path, body);
      say(done, 'good');
    } catch (error) {
      say(`That did not work: ${error.message}`, 'bad');
    }
    this.#poll();
  }
}

const chosenPart = () => byId('operations-part').elements.part.value;

function addressOf(part) {
  if (part !== 'connections') return `/api/${part}`;
  const query = new URLSearchParams({ limit: MOST_CONNECTIONS });
  const dialect = byId('connections-dialect').value;
  if (dialect) query.set('dialect', dialect);
  return `/api/connections?${query}`;
}

function wordsFor({ away, refused, message, status }) {
  if (refused && status === 403) return 'The token of this page may not see or change how the server runs: that needs the role admin.';
  if (refused) return message;
  return away ? 'The server does not answer. This page keeps trying; the numbers are from before.' : `The server cannot say: ${message}. This page keeps trying.`;
}

function say(text, tone = 'good') {
  byId('operations-result').hidden = text === '';
  byId('operations-result').dataset.tone = tone;
  setText(byId('operations-result'), text);
}

/** Asks whether it is meant; calls `yes` if so. */
function confirm({ question, about, verb }, yes) {
  const dialog = byId('sure');
  setText(byId('sure-question'), question);
  setText(byId('sure-about'), about);
  setText(byId('sure-yes'), verb);
  byId('sure-yes').onclick = () => {
    dialog.close();
    yes();
  };
  byId('sure-no').onclick = () => dialog.close();
  dialog.showModal();
}
