// The page: the lists, the stage, and the address that ties them.

import { DeviceList, Feed } from './devices.js';
import { byId } from './dom.js';
import { GeckoList } from './geckos.js';
import { PeopleList } from './people.js';
import { Stage } from './stage.js';

/** What the address can name: `#device=ID`, `#call=PEER`, `#mesh=ROOM`, `#room=ROOM`, `#gecko=ID`; beside them `#operations`. */
const KINDS = ['device', 'call', 'mesh', 'room', 'gecko'];

/** The page of each kind but the device's. */
const PAGES = {
  call: async () => (await import('./call.js')).CallPage,
  mesh: async () => (await import('./mesh.js')).MeshPage,
  room: async () => (await import('./room.js')).RoomPage,
  gecko: async () => (await import('./gecko.js')).GeckoPage,
  operations: async () => (await import('./operations.js')).OperationsPage,
};

const devices = new DeviceList();
const people = new PeopleList();
const geckos = new GeckoList();
let stage = null;
let target = null;
let wasRegistered = false;

const feed = new Feed(() => {
  devices.update(feed);
  people.update(feed);
  geckos.update(feed);
  stage?.listChanged?.();
  returnWithDevice();
});

/**
 * What the address names: `{kind, id, name, watch, simulcast}`, or null for the lists. `name` is the
 * one to be known by in a room; `watch` and `simulcast` are for one that the server forwards.
 * `?device=ID` counts when there is no fragment.
 */
function targetInAddress() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  for (const kind of KINDS) {
    const id = fragment.get(kind);
    if (id) return { kind, id, name: fragment.get('name'), watch: fragment.has('watch'), simulcast: fragment.has('simulcast') };
  }
  if (fragment.has('operations')) return { kind: 'operations', id: 'Operations', name: null };
  const id = location.hash === '' ? new URLSearchParams(location.search).get('device') : null;
  return id ? { kind: 'device', id, name: null } : null;
}

function followAddress() {
  const wanted = targetInAddress();
  if (JSON.stringify(wanted) === JSON.stringify(target)) return;
  play(wanted);
  if (!wanted) document.querySelector('.sidebar a')?.focus({ preventScroll: true });
}

/** Plays a target, or shows the lists for null. What was chosen for the sound holds for the next of a kind. */
async function play(wanted) {
  const soundIsOn = wanted?.kind === target?.kind ? stage?.soundIsOn : undefined;
  stage?.close();
  stage = null;
  target = wanted;
  wasRegistered = wanted?.kind === 'device' && isRegistered(wanted.id) === true;
  const isOperations = wanted?.kind === 'operations';
  document.body.dataset.view = isOperations ? 'operations' : wanted ? 'player' : 'list';
  document.title = wanted ? `${wanted.id} · Switchboard` : 'Switchboard';
  byId('welcome').hidden = wanted !== null;
  byId('player').hidden = wanted === null || isOperations;
  byId('operations').hidden = !isOperations;
  byId('to-operations').ariaCurrent = isOperations ? 'page' : null;
  devices.select(wanted?.kind === 'device' ? wanted.id : null);
  people.select(wanted);
  geckos.select(wanted);
  if (wanted) await open(wanted, soundIsOn);
}

async function open(wanted, soundIsOn) {
  const again = () => play(wanted);
  if (wanted.kind === 'device') {
    stage = new Stage(wanted.id, { isRegistered, soundIsOn: soundIsOn ?? false, reconnect: again });
    return;
  }
  // The other pages are loaded when somebody wants one, so that a device's picture comes sooner.
  const Page = await PAGES[wanted.kind]();
  if (target !== wanted || stage) return;
  const { id, name, watch, simulcast } = wanted;
  stage = new Page(id, { name, watch, simulcast, soundIsOn: soundIsOn ?? true, again });
}

/** Whether the server lists a device; undefined while that isn't known. */
function isRegistered(id) {
  return feed.live ? feed.device(id) !== undefined : undefined;
}

/** Plays again when a device that was away registers. */
function returnWithDevice() {
  if (target?.kind !== 'device') return;
  const registered = isRegistered(target.id);
  if (registered === undefined) return;
  const returned = registered && !wasRegistered;
  wasRegistered = registered;
  if (returned && stage?.endReason) play(target);
}

byId('show-stats').addEventListener('click', () => showStats(byId('show-stats').getAttribute('aria-pressed') !== 'true'));

function showStats(shown) {
  byId('stats').hidden = !shown;
  byId('show-stats').setAttribute('aria-pressed', String(shown));
}

showStats(matchMedia('(min-width: 56rem)').matches);
addEventListener('hashchange', followAddress);
followAddress();

/**
 * For tests and for the developer's console; read only. `stats()` gives the present numbers
 * (`codec`, `width`, `height`, `fps`, `bitsPerSecond`, `roundTripMs`, `bufferMs`, `lost`, `path`,
 * `sentBytes`, `firstFrameMs`, `end`), or null while nothing plays. In a room it gives the own `id`,
 * the same numbers for each of its `members`, and `end`; on a gecko's page the worker's `state` and the
 * last `errno`.
 */
window.switchboard = Object.freeze({ stats: () => stage?.numbers ?? null });
