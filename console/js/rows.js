// Lists whose rows come and go.

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
