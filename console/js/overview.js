// The operations view's numbers of the whole server: tiles with the last minutes, and the limits.

import { byId, element, setText } from './dom.js';
import { bitrate, bytes, percent, rate, span, whole } from './format.js';
import { SPAN_MS, draw, makePlot } from './plot.js';

/** From here on a limit is shown as nearly reached. */
const NEARLY = 0.8;

const counted = (name) => ({ counts }) => counts[name];
const polled = 'beside them by polling';

/**
 * The tiles: `value` of what the server tells and of the rates of its totals; `text` for people; `more`
 * a line below. Those with `plot` show the last minutes.
 */
const TILES = [
  { id: 'connections', name: 'Connections', value: counted('connections'), text: whole, plot: true, more: ({ counts }) => (counts.polling_clients > 0 ? `${whole(counts.polling_clients)} ${polled}` : '') },
  { id: 'endpoints', name: 'Endpoints', value: counted('endpoints'), text: whole },
  { id: 'calls', name: 'Calls', value: counted('calls'), text: whole },
  { id: 'rooms', name: 'Rooms', value: counted('rooms'), text: whole, more: ({ counts }) => `${whole(counts.participants)} in them, ${whole(counts.publishers)} send` },
  { id: 'messages', name: 'Messages', value: (_, rates) => rates?.messages, text: rate, plot: true, more: (_, rates) => (rates ? `${bytes(rates.bytes)}/s` : '') },
  { id: 'media-in', name: 'Media in', value: (_, rates) => rates && rates.media_bytes_in * 8, text: bitrate, plot: true, more: (_, rates) => (rates ? `${whole(rates.media_packets_in)} packets/s` : '') },
  { id: 'media-out', name: 'Media out', value: (_, rates) => rates && rates.media_bytes_out * 8, text: bitrate, plot: true, more: (_, rates) => (rates ? `${whole(rates.media_packets_out)} packets/s` : '') },
  { id: 'cpu', name: 'Processor', value: (_, rates) => rates?.cpu_seconds, text: percent, plot: true, more: ({ threads }) => `of one core, ${whole(threads)} threads` },
  { id: 'memory', name: 'Memory', value: ({ memory_bytes: used }) => used, text: bytes, plot: true, more: ({ open_files: files }) => `${whole(files)} open files` },
  { id: 'refusals', name: 'Refused', value: ({ totals }) => totals.refusals, text: whole, more: ({ totals }) => (totals.queue_overflows > 0 ? `${whole(totals.queue_overflows)} too slow` : 'since the start') },
];

/** What the phases of a server are called. */
const PHASES = { serving: 'Serving', draining: 'Draining: takes nobody new', stopping: 'Stopping' };

/** Shows the numbers, and remembers the last minutes. */
export class Overview {
  #tiles = TILES.map((tile) => makeTile(tile));
  #before = null;
  #past = [];

  constructor() {
    byId('operations-tiles').replaceChildren(...this.#tiles.map(({ item }) => item));
    byId('operations-limits').replaceChildren();
  }

  /** Takes the answer to `GET /api/server`. */
  show(server, now) {
    if (this.#before?.server.started !== server.started) {
      this.#before = null;
      this.#past = [];
    }
    const rates = this.#rates(server, now);
    this.#before = { server, now };
    this.#past.push({ at: now, server, rates });
    this.#past = this.#past.filter(({ at }) => now - at <= SPAN_MS);
    for (const tile of this.#tiles) this.#writeTile(tile, server, rates, now);
    writeHead(server);
    writeLimits(server);
  }

  #writeTile({ tile, value, more, plot }, server, rates, now) {
    const known = tile.value(server, rates);
    setText(value, known === null || known === undefined ? '–' : tile.text(known));
    setText(more, tile.more?.(server, rates) ?? '');
    if (!plot) return;
    const points = this.#past.map((point) => ({ at: point.at, value: tile.value(point.server, point.rates) ?? NaN }));
    draw(plot, points, now);
  }

  /** What grows, per second; null at first. */
  #rates(server, now) {
    if (!this.#before) return null;
    const seconds = (now - this.#before.now) / 1000;
    const before = countersOf(this.#before.server);
    return Object.fromEntries(Object.entries(countersOf(server)).map(([name, total]) => [name, Math.max(0, total - before[name]) / seconds]));
  }
}

const countersOf = ({ totals, cpu_seconds }) => ({ ...totals, cpu_seconds });

function makeTile(tile) {
  const value = element('dd', { class: 'number-tile-value' });
  const more = element('dd', { class: 'number-tile-more' });
  const plot = tile.plot ? makePlot() : null;
  const item = element('div', { class: 'number-tile' }, element('dt', { textContent: tile.name }), value, more);
  item.dataset.tile = tile.id;
  if (plot) item.append(element('dd', { class: 'number-tile-plot', title: 'The last 5 minutes' }, plot));
  return { tile, item, value, more, plot };
}

function writeHead({ phase, version, uptime_seconds: uptime }) {
  byId('operations-phase').dataset.state = phase === 'serving' ? 'live' : 'lost';
  setText(byId('operations-phase'), PHASES[phase] ?? phase);
  setText(byId('operations-version'), `Switchboard ${version}, up ${span(uptime)}`);
}

/** A bar for each limit whose use the server counts. */
function writeLimits({ counts, open_files, limits }) {
  const used = { ...counts, open_files };
  const list = byId('operations-limits');
  for (const [key, most] of Object.entries(limits).filter(([name]) => Number.isFinite(used[name]))) {
    let item = list.querySelector(`[data-limit="${CSS.escape(key)}"]`);
    if (!item) {
      item = element('div', { class: 'limit' }, element('dt', { textContent: key.replaceAll('_', ' ') }), element('dd'), element('dd', {}, element('meter', { min: 0, max: 1, high: NEARLY, optimum: 0 })));
      item.dataset.limit = key;
      list.append(item);
    }
    const share = most > 0 ? used[key] / most : 0;
    const meter = item.querySelector('meter');
    meter.value = share;
    meter.ariaLabel = `${key}: ${percent(share)} used`;
    item.toggleAttribute('data-nearly', share >= NEARLY);
    setText(item.children[1], `${whole(used[key])} of ${whole(most)}`);
  }
}
