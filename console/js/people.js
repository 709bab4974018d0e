// Who waits for a call, which rooms there are, and the way into them.

import { announceChange } from './devices.js';
import { byId, setText } from './dom.js';
import { count, span } from './format.js';
import { Rows, byName, linkRow, markRow } from './rows.js';

/** Rows shown at once in either list. */
const MOST_ROWS = 100;
/** Members of a room that are named; the others are counted. */
const MOST_NAMES = 4;
/** How often the ages of the rows are written anew. */
const AGE_MS = 5_000;

/** The part of the address that calls a peer. */
export const callAddress = (peer) => `#call=${encodeURIComponent(peer)}`;

/** What the join form can say beside the names: how to be in a room that the server forwards. */
const OPTIONS = ['watch', 'simulcast'];

/**
 * The part of the address that joins a room, as the join form says. `kind` is `room` (the server
 * forwards) or `mesh` (member to member).
 */
function roomAddress(kind, room) {
  const address = new URLSearchParams([[kind, room]]);
  if (ownName()) address.set('name', ownName());
  const options = kind === 'room' ? OPTIONS : [];
  for (const option of options) {
    if (byId(`join-${option}`).checked) address.set(option, '1');
  }
  return `#${address}`;
}

/** Shows a feed's waiting peers and rooms in the side bar. */
export class PeopleList {
  #callers = new Rows(byId('callers'), (peer) => peer.id, makeCaller);
  #rooms = new Rows(byId('rooms'), (room) => `${kindOf(room)} ${room.id}`, makeRoom);
  #shown = null;
  #feed = { endpoints: [], rooms: [] };
  #selected = null;

  constructor() {
    setInterval(() => this.#render(), AGE_MS);
    byId('join-form').addEventListener('input', () => this.#render());
    byId('join-form').addEventListener('submit', (event) => {
      event.preventDefault();
      location.hash = roomAddress(wantedKind(), byId('join-room').value.trim());
    });
    showForm();
    byId('join-kind').addEventListener('change', showForm);
  }

  /** Takes the feed's present state. */
  update(feed) {
    this.#feed = feed;
    this.#render();
    const now = new Map([
      ...this.#callers.all().map(({ thing }) => [`call ${thing.id}`, `${thing.id}, waiting for a call`]),
      ...this.#rooms.all().map(({ thing }) => [`${kindOf(thing)} ${thing.id}`, `room ${thing.id}`]),
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
    const rooms = this.#feed.rooms.filter(kindOf).sort(byName).slice(0, MOST_ROWS);
    byId('callers-part').hidden = callers.length === 0;
    setText(byId('caller-count'), String(callers.length));
    byId('room-count').hidden = rooms.length === 0;
    setText(byId('room-count'), String(rooms.length));
    for (const row of this.#callers.place(callers)) {
      setText(row.about, `up ${span(performance.now() / 1000 - row.thing.since)}`);
      this.#mark(row, 'call');
    }
    for (const row of this.#rooms.place(rooms)) {
      const kind = kindOf(row.thing);
      row.link.href = roomAddress(kind, row.thing.id);
      setText(row.about, membersOf(kind, row.thing));
      this.#mark(row, kind);
    }
  }

  #mark(row, kind) {
    markRow(row, this.#selected?.kind === kind && this.#selected.id === row.thing.id);
  }
}

const isWaiting = ({ dialect, kind, state }) => dialect === 'gstreamer' && kind === 'peer' && state === 'idle';

/** How the members of a room reach each other, by the room's dialect. */
const KINDS = { gstreamer: 'mesh', kurento: 'room' };

const kindOf = ({ dialect }) => KINDS[dialect];

/** The kind of room that the join form is set to. */
const wantedKind = () => byId('join-form').elements.kind.value;

function showForm() {
  const forwards = wantedKind() === 'room';
  byId('join-options').hidden = !forwards;
  setText(byId('join-about'), forwards
    ? 'Each sends its picture once, and the server forwards it to the others. The first member makes the room.'
    : 'Each sends its picture to each of the others. The first member makes the room. Some programs take only numbers, as names and as rooms.');
}

/** Ids have no blanks in them. */
const ownName = () => byId('join-name').value.trim().replace(/\s+/g, '-');

function membersOf(kind, { members }) {
  const more = members.length - MOST_NAMES;
  const named = members.slice(0, MOST_NAMES).join(', ');
  const noun = kind === 'room' ? 'participant' : 'member';
  return `${count(members.length, noun)}: ${more > 0 ? `${named} and ${more} more` : named}`;
}

const makeCaller = (peer) => linkRow('caller', peer.id, callAddress(peer.id), 'person', 'call', `Call ${peer.id}`);

const makeRoom = (room) => linkRow('room', room.id, roomAddress(kindOf(room), room.id), 'people', 'enter', `Join the room ${room.id}`);
