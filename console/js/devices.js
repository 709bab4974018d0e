// The live list of what is registered at the server.

import { openStream, refusal } from './access.js';
import { announce, byId, setText } from './dom.js';
import { count, span } from './format.js';
import { Rows, byName, linkRow, markRow } from './rows.js';

/** How long to wait before the stream is opened again, when the browser doesn't do it by itself. */
const RETRY_MS = 2_000;
/** Rows shown at once; the filter finds the others. */
const MOST_ROWS = 200;
/** From how many devices on the filter is worth its place. */
const FILTER_FROM = 8;
/** How often the ages of the rows are written anew. */
const AGE_MS = 5_000;

/**
 * The server's endpoints and rooms, as they come and go.
 *
 * `changed({endpoints, rooms, live})` is called with every snapshot, and when the server goes away or comes
 * back. While the page is hidden the stream is closed: browsers allow few of them per server.
 */
export class Feed {
  #changed;
  #source = null;
  #retry = 0;
  endpoints = [];
  rooms = [];
  live = false;
  /** Why the server doesn't tell, if it says so. */
  refusal = null;

  constructor(changed) {
    this.#changed = changed;
    document.addEventListener('visibilitychange', () => (document.hidden ? this.#close() : this.#open()));
    if (!document.hidden) this.#open();
  }

  #open() {
    this.#close();
    this.#source = openStream('/api/endpoints/stream');
    this.#source.onmessage = ({ data }) => {
      let snapshot;
      try {
        snapshot = JSON.parse(data);
      } catch {
        return;
      }
      const now = performance.now() / 1000;
      this.endpoints = (snapshot.endpoints ?? []).map((endpoint) => ({
        ...endpoint,
        since: now - (endpoint.registered_seconds_ago ?? 0),
      }));
      this.rooms = snapshot.rooms ?? [];
      this.live = true;
      this.refusal = null;
      this.#changed(this);
    };
    this.#source.onerror = () => {
      this.live = false;
      // After an HTTP error the browser gives up; after a lost connection it retries by itself.
      if (this.#source.readyState === EventSource.CLOSED) this.#refused();
      this.#changed(this);
    };
  }

  /** Learns why, and tries again later. */
  async #refused() {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#open(), RETRY_MS);
    this.refusal = await refusal('/api/endpoints');
    if (this.refusal) this.#changed(this);
  }

  #close() {
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = null;
  }

  /** The device with an id, if it is registered now. */
  device(id) {
    return this.endpoints.find((endpoint) => isDevice(endpoint) && endpoint.id === id);
  }
}

/** Whether an endpoint has its place among the devices; callers, geckos and participants have theirs elsewhere. */
const isDevice = (endpoint) => endpoint.dialect === 'cuttlefish';

/** Shows a feed's devices in the side bar. */
export class DeviceList {
  #rows = new Rows(byId('devices'), keyOf, makeRow);
  #shown = new Map();
  #feed = null;
  #selected = null;

  constructor() {
    byId('filter').addEventListener('input', () => this.#render());
    setInterval(() => this.#writeAges(), AGE_MS);
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    setText(byId('start-command'), `switchboard device ${scheme}://${location.host} --id phone`);
  }

  /** Takes the feed's present state. */
  update(feed) {
    const isFirst = this.#feed === null;
    const before = this.#shown;
    this.#feed = feed;
    this.#writeServerState();
    this.#shown = new Map(feed.endpoints.filter(isDevice).map((endpoint) => [keyOf(endpoint), endpoint]));
    this.#render();
    if (!isFirst) announceChange(names(before), names(this.#shown));
  }

  /** Marks the device that is playing; null for none. */
  select(id) {
    this.#selected = id;
    for (const row of this.#rows.all()) this.#mark(row);
  }

  #writeServerState() {
    const { live, refusal: why } = this.#feed;
    byId('server-state').dataset.state = live ? 'live' : 'lost';
    setText(byId('server-state'), live ? 'Connected' : why ? 'No access' : 'Server away');
    byId('server-away').hidden = live;
    setText(byId('server-away'), live ? '' : why ?? 'The server does not answer. This page keeps trying.');
    byId('devices').classList.toggle('stale', !live);
  }

  #render() {
    const wanted = byId('filter').value.trim().toLowerCase();
    const all = [...this.#shown.values()].sort(byName);
    const matching = all.filter((endpoint) => endpoint.id.toLowerCase().includes(wanted));
    const visible = matching.slice(0, MOST_ROWS);

    byId('device-count').hidden = all.length === 0;
    setText(byId('device-count'), String(all.length));
    byId('filter-box').hidden = all.length < FILTER_FROM && wanted === '';
    byId('no-devices').hidden = all.length > 0 || !this.#feed?.live;
    byId('more-devices').hidden = matching.length === visible.length && (matching.length > 0 || wanted === '');
    setText(byId('more-devices'), matching.length === 0
      ? 'No device has such a name.'
      : `and ${matching.length - visible.length} more; filter to find them`);
    for (const row of this.#rows.place(visible)) {
      writeAbout(row);
      this.#mark(row);
    }
  }

  #mark(row) {
    markRow(row, row.thing.id === this.#selected);
  }

  #writeAges() {
    for (const row of this.#rows.all()) writeAbout(row);
  }
}

const keyOf = (device) => device.id;

const makeRow = ({ id }) => linkRow('device', id, `#device=${encodeURIComponent(id)}`, 'device', 'play', `Play ${id}`);

function writeAbout({ about, thing: endpoint }) {
  const parts = [];
  parts.push(...sizes(endpoint.info));
  if (endpoint.calls > 0) parts.push(count(endpoint.calls, 'viewer'));
  parts.push(`up ${span(performance.now() / 1000 - endpoint.since)}`);
  setText(about, parts.join(' · '));
}

/** The size of the display that a device names, or how many it has. */
function sizes(info) {
  const displays = Array.isArray(info?.displays) ? info.displays : [];
  if (displays.length > 1) return [count(displays.length, 'display')];
  return displays.filter((display) => display?.x_res && display?.y_res).map((display) => `${display.x_res} × ${display.y_res}`);
}

const names = (shown) => new Map([...shown].map(([key, endpoint]) => [key, endpoint.id]));

/** Says what came and what left, from two maps of names by key. */
export function announceChange(before, now) {
  const came = [...now].filter(([key]) => !before.has(key)).map(([, name]) => name);
  const left = [...before].filter(([key]) => !now.has(key)).map(([, name]) => name);
  const parts = [];
  if (came.length > 0) parts.push(`New: ${came.join(', ')}`);
  if (left.length > 0) parts.push(`Gone: ${left.join(', ')}`);
  if (parts.length > 0) announce(parts.join('. '));
}
