// Who waits for a call, which rooms there are, and the way into them.

import { announceChange } from './devices.js';
import { byId, element, icon, setText } from './dom.js';
import { count, span } from './format.js';
import { Rows } from './rows.js';

/** Rows shown at once in either list. */
const MOST_ROWS = 100;
/** Members of a room that are named; the others are counted. */
const MOST_NAMES = 4;
/** How often the ages of the rows are written anew. */
const AGE_MS = 5_000;

/** The part of the address that calls a peer. */
export const callAddress = (peer) => `#call=${encodeURIComponent(peer)}`;

/** The part of the address that joins a room, under a name or under any. */
export function roomAddress(room, name) {
  const address = `#mesh=${encodeURIComponent(room)}`;
  return name ? `${address}&name=${encodeURIComponent(name)}` : address;
}

/** Shows a feed's waiting peers and mesh rooms in the side bar. */
export class PeopleList {
  #callers = new Rows(byId('callers'), (peer) => peer.id, makeCaller);
  #rooms = new Rows(byId('rooms'), (room) => room.id, makeRoom);
  #shown = null;
  #feed = { endpoints: [], rooms: [] };
  #selected = null;

  constructor() {
    setInterval(() => this.#render(), AGE_MS);
    byId('join-name').addEventListener('input', () => this.#render());
    byId('join-form').addEventListener('submit', (event) => {
      event.preventDefault();
      location.hash = roomAddress(byId('join-room').value.trim(), ownName());
    });
  }

  /** Takes the feed's present state. */
  update(feed) {
    this.#feed = feed;
    this.#render();
    const now = new Map([
      ...this.#callers.all().map(({ thing }) => [`call ${thing.id}`, `${thing.id}, waiting for a call`]),
      ...this.#rooms.all().map(({ thing }) => [`room ${thing.id}`, `room ${thing.id}`]),
    ]);
    if (this.#shown) announceChange(this.#shown, now);
    this.#shown = now;
    for (const id of ['callers', 'rooms']) byId(id).classList.toggle('stale', !feed.live);
  }

  /** Marks the call or the room on the stage: `{kind, id}`, or null. */
  select(target) {
    this.#selected = target;
    this.#render();
  }

  #render() {
    const callers = this.#feed.endpoints.filter(isWaiting).sort(byName).slice(0, MOST_ROWS);
    const rooms = this.#feed.rooms.filter(isMesh).sort(byName).slice(0, MOST_ROWS);
    byId('callers-part').hidden = callers.length === 0;
    setText(byId('caller-count'), String(callers.length));
    byId('room-count').hidden = rooms.length === 0;
    setText(byId('room-count'), String(rooms.length));
    for (const row of this.#callers.place(callers)) {
      setText(row.about, `up ${span(performance.now() / 1000 - row.thing.since)}`);
      this.#mark(row, 'call');
    }
    for (const row of this.#rooms.place(rooms)) {
      row.link.href = roomAddress(row.thing.id, ownName());
      setText(row.about, membersOf(row.thing));
      this.#mark(row, 'mesh');
    }
  }

  #mark(row, kind) {
    const selected = this.#selected?.kind === kind && this.#selected.id === row.thing.id;
    if (selected) row.link.setAttribute('aria-current', 'true');
    else row.link.removeAttribute('aria-current');
  }
}

const isWaiting = ({ dialect, kind, state }) => dialect === 'gstreamer' && kind === 'peer' && state === 'idle';

const isMesh = ({ dialect }) => dialect === 'gstreamer';

const byName = (a, b) => a.id.localeCompare(b.id, undefined, { numeric: true });

/** Ids have no blanks in them. */
const ownName = () => byId('join-name').value.trim().replace(/\s+/g, '-');

function membersOf({ members }) {
  const more = members.length - MOST_NAMES;
  const named = members.slice(0, MOST_NAMES).join(', ');
  return `${count(members.length, 'member')}: ${more > 0 ? `${named} and ${more} more` : named}`;
}

const makeCaller = (peer) => makeRow('caller', peer.id, callAddress(peer.id), 'person', 'call', `Call ${peer.id}`);

const makeRoom = (room) => makeRow('room', room.id, roomAddress(room.id), 'people', 'enter', `Join the room ${room.id}`);

function makeRow(kind, name, href, picture, action, title) {
  const about = element('span', { class: 'row-about' });
  const text = element('span', { class: 'row-text' }, element('span', { class: 'row-name', textContent: name }), about);
  const link = element('a', { class: 'row', href, title }, icon(picture), text, icon(action));
  const item = element('li', {}, link);
  item.dataset[kind] = name;
  return { item, link, about };
}
