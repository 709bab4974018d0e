// Tables that can be sorted and filtered, and that keep their rows' elements, and with them the focus.

import { element, setText } from './dom.js';
import { Rows } from './rows.js';

/** Rows shown at once; the filter finds the others. */
const MOST_ROWS = 200;

/** What stands for what isn't known. */
const NOTHING = '–';

const compare = (a, b) => (typeof a === 'number' && typeof b === 'number'
  ? a - b
  : String(a).localeCompare(String(b), undefined, { numeric: true }));

/** Whether there is nothing to compare; such rows come last in either order. */
const isNothing = (value) => value === null || value === undefined || value === '';

/**
 * One table. `columns` are `{name, value(thing), text(value, thing), number, wide, open(thing)}`: `value` is
 * what is compared, `text` what is shown, `number` sets it to the right and sorts from the
 * greatest down, `wide` lets it wrap, and with `open` it is a button that does that.
 * `actions(thing)` gives `[{name, title, marked, does}]`.
 */
export class Table {
  #columns;
  #actions;
  #keyOf;
  #rows;
  #heads;
  #sorted = { at: 0, down: false };
  #things = [];
  #filter;
  #table;
  #empty;
  #more;
  #marked = null;
  #nothing;
  #total = 0;

  /** Fills `place`. `nothing` is said when there are no rows. */
  constructor(place, { name, columns, keyOf, actions = null, nothing }) {
    this.#columns = columns;
    this.#actions = actions;
    this.#keyOf = keyOf;
    this.#nothing = nothing;
    this.#filter = element('input', { type: 'search', placeholder: 'Filter', autocomplete: 'off', spellcheck: false, 'aria-label': `Filter ${name}` });
    this.#filter.addEventListener('input', () => this.#render());
    this.#heads = columns.map((column, at) => {
      const button = element('button', { type: 'button', textContent: column.name });
      button.addEventListener('click', () => this.#sortBy(at));
      return element('th', { scope: 'col', class: column.number ? 'number' : '' }, button);
    });
    const last = actions ? [element('th', { scope: 'col' }, element('span', { class: 'unseen', textContent: 'Actions' }))] : [];
    const body = element('tbody');
    this.#rows = new Rows(body, keyOf, (thing) => this.#makeRow(thing));
    this.#table = element('table', { class: 'table', 'aria-label': name }, element('thead', {}, element('tr', {}, ...this.#heads, ...last)), body);
    this.#empty = element('p', { class: 'quiet', textContent: nothing });
    this.#more = element('p', { class: 'quiet', hidden: true });
    place.append(
      element('label', { class: 'filter' }, this.#filter),
      element('div', { class: 'table-box' }, this.#table),
      this.#empty,
      this.#more,
    );
    this.#showOrder();
  }

  /** Shows these things. `total` is how many there are, if these aren't all. */
  show(things, total = things.length) {
    this.#things = things;
    this.#total = total;
    this.#render();
  }

  /** Marks the row with this key; null for none. */
  mark(key) {
    this.#marked = key;
    this.#render();
  }

  #sortBy(at) {
    const { number } = this.#columns[at];
    this.#sorted = { at, down: this.#sorted.at === at ? !this.#sorted.down : Boolean(number) };
    this.#showOrder();
    this.#render();
  }

  #showOrder() {
    this.#heads.forEach((head, at) => {
      if (at === this.#sorted.at) head.ariaSort = this.#sorted.down ? 'descending' : 'ascending';
      else head.removeAttribute('aria-sort');
    });
  }

  #render() {
    const wanted = this.#filter.value.trim().toLowerCase();
    const matches = (thing) => this.#columns.some((column) => textOf(column, thing).toLowerCase().includes(wanted));
    const matching = wanted === '' ? [...this.#things] : this.#things.filter(matches);
    const { value } = this.#columns[this.#sorted.at];
    const sign = this.#sorted.down ? -1 : 1;
    matching.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (isNothing(x) || isNothing(y)) return isNothing(x) - isNothing(y);
      return sign * compare(x, y) || compare(this.#keyOf(a), this.#keyOf(b));
    });
    const visible = matching.slice(0, MOST_ROWS);
    for (const row of this.#rows.place(visible)) this.#writeRow(row);

    const hidden = matching.length - visible.length + (this.#total - this.#things.length);
    this.#table.parentElement.hidden = visible.length === 0;
    this.#filter.parentElement.hidden = this.#things.length < 2 && wanted === '';
    this.#empty.hidden = visible.length > 0;
    setText(this.#empty, wanted === '' ? this.#nothing : 'Nothing here has such a name.');
    this.#more.hidden = hidden === 0;
    setText(this.#more, `and ${hidden} more that are not shown`);
  }

  #makeRow(thing) {
    const row = { thing, cells: [], buttons: [] };
    row.cells = this.#columns.map((column, at) => {
      const cell = element(at === 0 ? 'th' : 'td', { class: [column.number && 'number', column.wide && 'wide'].filter(Boolean).join(' ') });
      if (at === 0) cell.scope = 'row';
      cell.dataset.name = column.name;
      if (!column.open) return { cell, text: cell };
      const button = element('button', { type: 'button', class: 'as-link' });
      button.addEventListener('click', () => column.open(row.thing));
      cell.append(button);
      return { cell, text: button };
    });
    row.actions = this.#actions && element('td', { class: 'actions' });
    row.item = element('tr', {}, ...row.cells.map(({ cell }) => cell), ...(row.actions ? [row.actions] : []));
    return row;
  }

  #writeRow(row) {
    this.#columns.forEach((column, at) => {
      const text = textOf(column, row.thing);
      setText(row.cells[at].text, text);
      row.cells[at].cell.title = column.wide ? '' : text;
      row.cells[at].cell.classList.toggle('nothing', text === NOTHING);
    });
    const key = String(this.#keyOf(row.thing));
    row.item.dataset.key = key;
    row.item.toggleAttribute('data-marked', key === this.#marked);
    if (row.actions) this.#writeActions(row);
  }

  #writeActions(row) {
    const actions = this.#actions(row.thing);
    while (row.buttons.length < actions.length) {
      const button = element('button', { type: 'button', class: 'button small plain' });
      const at = row.buttons.length;
      button.addEventListener('click', () => this.#actions(row.thing)[at]?.does());
      row.buttons.push(button);
      row.actions.append(button);
    }
    while (row.buttons.length > actions.length) row.buttons.pop().remove();
    actions.forEach(({ name, title, marked = false }, at) => {
      const button = row.buttons[at];
      setText(button, name);
      button.title = title;
      button.ariaLabel = title;
      button.toggleAttribute('data-marked', marked);
    });
  }
}

function textOf({ value, text = String }, thing) {
  const found = value(thing);
  return isNothing(found) ? NOTHING : text(found, thing);
}
