// The geckos that are registered.

import { announceChange } from './devices.js';
import { byId, setText } from './dom.js';
import { span } from './format.js';
import { Rows, byName, linkRow, markRow } from './rows.js';

/** Rows shown at once. */
const MOST_ROWS = 100;
/** How often the ages of the rows are written anew. */
const AGE_MS = 5_000;

const isGecko = ({ dialect }) => dialect === 'gecko';

/** Shows a feed's geckos in the side bar. */
export class GeckoList {
  #rows = new Rows(byId('geckos'), (gecko) => gecko.id, makeRow);
  #shown = null;
  #feed = { endpoints: [] };
  #selected = null;

  constructor() {
    setInterval(() => this.#render(), AGE_MS);
  }

  /** Takes the feed's present state. */
  update(feed) {
    this.#feed = feed;
    this.#render();
    const now = new Map(this.#rows.all().map(({ thing }) => [thing.id, `gecko ${thing.id}`]));
    if (this.#shown) announceChange(this.#shown, now);
    this.#shown = now;
    byId('geckos').classList.toggle('stale', !feed.live);
  }

  /** Marks the gecko on the stage: `{kind, id}`, or null. */
  select(target) {
    this.#selected = target?.kind === 'gecko' ? target.id : null;
    this.#render();
  }

  #render() {
    const geckos = this.#feed.endpoints.filter(isGecko).sort(byName).slice(0, MOST_ROWS);
    byId('geckos-part').hidden = geckos.length === 0;
    setText(byId('gecko-count'), String(geckos.length));
    for (const row of this.#rows.place(geckos)) {
      setText(row.about, about(row.thing));
      markRow(row, row.thing.id === this.#selected);
    }
  }
}

function about({ calls, capacity, since }) {
  return [
    calls > 0 ? `${calls} starting` : '',
    capacity === undefined ? '' : `up to ${capacity} at once`,
    `up ${span(performance.now() / 1000 - since)}`,
  ].filter(Boolean).join(' · ');
}

const makeRow = ({ id }) => linkRow('gecko', id, `#gecko=${encodeURIComponent(id)}`, 'script', 'play', `Run a script on a gecko such as ${id}`);
