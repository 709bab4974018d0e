// The page: the list, the stage, and the address that ties them.

import { DeviceList, Feed } from './devices.js';
import { byId } from './dom.js';
import { Stage } from './stage.js';

const list = new DeviceList();
let stage = null;
let playing = null;
let wasRegistered = false;

const feed = new Feed(() => {
  list.update(feed);
  stage?.listChanged();
  returnWithDevice();
});

/** The device that the address names: `#device=ID`, or `?device=ID` when there is no fragment. */
function deviceInAddress() {
  const fragment = new URLSearchParams(location.hash.slice(1)).get('device');
  return fragment ?? (location.hash === '' ? new URLSearchParams(location.search).get('device') : null);
}

function followAddress() {
  const id = deviceInAddress();
  if (id === playing) return;
  play(id);
  if (!id) byId('devices').querySelector('a')?.focus({ preventScroll: true });
}

/** Plays a device, or shows the list for null. */
function play(id) {
  const soundIsOn = stage?.soundIsOn ?? false;
  stage?.close();
  stage = null;
  playing = id || null;
  wasRegistered = isRegistered(playing) === true;
  document.body.dataset.view = playing ? 'player' : 'list';
  document.title = playing ? `${playing} · Switchboard` : 'Switchboard';
  byId('welcome').hidden = playing !== null;
  byId('player').hidden = playing === null;
  list.select(playing);
  if (playing) stage = new Stage(playing, { isRegistered, soundIsOn, reconnect: () => play(playing) });
}

/** Whether the server lists a device; undefined while that isn't known. */
function isRegistered(id) {
  return feed.live ? feed.device(id) !== undefined : undefined;
}

/** Plays again when a device that was away registers. */
function returnWithDevice() {
  const registered = isRegistered(playing);
  if (registered === undefined || !playing) return;
  const returned = registered && !wasRegistered;
  wasRegistered = registered;
  if (returned && stage?.endReason) play(playing);
}

byId('show-stats').addEventListener('click', () => showStats(byId('stats').hidden));

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
 * `sentBytes`, `firstFrameMs`, `end`), or null while nothing plays.
 */
window.switchboard = Object.freeze({ stats: () => stage?.numbers ?? null });
