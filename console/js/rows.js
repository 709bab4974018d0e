// Lists whose rows come and go.

import { element, icon } from './dom.js';

/** Keeps a list in step with what it shows; a row that stays keeps its element, and with it the focus. */
export class Rows {
  #list;
  #keyOf;
  #make;
  #rows = new Map();

  /** `keyOf(thing)` names a thing; `make(thing)` builds its row, an object with the element `item`. */
  constructor(list, keyOf, make) {
    this.#list = list;
    this.#keyOf = keyOf;
    this.#make = make;
  }

  /** Shows exactly these things, in this order, and gives their rows, each with its `thing`. */
  place(things) {
    const keys = new Set(things.map(this.#keyOf));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.item.remove();
      this.#rows.delete(key);
    }
    return things.map((thing, index) => {
      const row = this.#rowOf(thing);
      row.thing = thing;
      if (this.#list.children[index] !== row.item) this.#list.insertBefore(row.item, this.#list.children[index] ?? null);
      return row;
    });
  }

  /** The rows that are shown. */
  all() {
    return [...this.#rows.values()];
  }

  #rowOf(thing) {
    const key = this.#keyOf(thing);
    if (!this.#rows.has(key)) this.#rows.set(key, this.#make(thing));
    return this.#rows.get(key);
  }
}

/** The order of the lists: by id, numbers by their value. */
export const byName = (a, b) => a.id.localeCompare(b.id, undefined, { numeric: true });

/** A row that leads somewhere: `{item, link, about}`. `data-KIND` holds the name. */
export function linkRow(kind, name, href, picture, action, title) {
  const about = element('span', { class: 'row-about' });
  const text = element('span', { class: 'row-text' }, element('span', { class: 'row-name', textContent: name }), about);
  const link = element('a', { class: 'row', href, title }, icon(picture), text, icon(action));
  const item = element('li', {}, link);
  item.dataset[kind] = name;
  return { item, link, about };
}

/** Marks the row of what is on the stage. */
export function markRow({ link }, isSelected) {
  if (isSelected) link.setAttribute('aria-current', 'true');
  else link.removeAttribute('aria-current');
}
