// URLs (URL): the host parses, these are the objects.
(host, lib) => {
  'use strict';

  // The order in which the host gives the parts.
  const PARTS = ['href', 'protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname', 'search', 'hash'];
  const parse = (input, base) =>
    host.parseUrl(String(input).toWellFormed(), base === undefined ? undefined : String(base).toWellFormed());

  // What `new URLSearchParams` makes here for a URL's `searchParams`; scripts can't.
  let owner = null;

  class URLSearchParams {
    #pairs = [];
    #url = null;
    constructor(init = '') {
      if (owner) {
        this.#url = owner;
        return;
      }
      if (typeof init === 'object' && init !== null || typeof init === 'function') {
        if (typeof init[Symbol.iterator] === 'function') {
          for (const pair of init) {
            const [name, value, ...more] = [...pair];
            if (value === undefined || more.length > 0) throw new TypeError('a pair has a name and a value');
            this.append(name, value);
          }
        } else {
          for (const name of Object.keys(init)) this.append(name, init[name]);
        }
      } else {
        this.#read(String(init));
      }
    }
    #read(query) {
      this.#pairs = host.parseQuery((query.startsWith('?') ? query.slice(1) : query).toWellFormed());
    }
    #write() { this.#url?.(this.toString()); }
    static refresh(params, query) { params.#read(query); }
    get size() { return this.#pairs.length; }
    append(name, value) {
      this.#pairs.push([String(name).toWellFormed(), String(value).toWellFormed()]);
      this.#write();
    }
    delete(name, value) {
      this.#pairs = this.#pairs.filter(([n, v]) => n !== String(name) || (value !== undefined && v !== String(value)));
      this.#write();
    }
    get(name) { return this.#pairs.find(([n]) => n === String(name))?.[1] ?? null; }
    getAll(name) { return this.#pairs.filter(([n]) => n === String(name)).map(([, v]) => v); }
    has(name, value) {
      return this.#pairs.some(([n, v]) => n === String(name) && (value === undefined || v === String(value)));
    }
    set(name, value) {
      [name, value] = [String(name).toWellFormed(), String(value).toWellFormed()];
      const at = this.#pairs.findIndex(([n]) => n === name);
      if (at < 0) this.#pairs.push([name, value]);
      else this.#pairs = this.#pairs.filter(([n], i) => n !== name || i === at).map((it, i) => (i === at ? [name, value] : it));
      this.#write();
    }
    sort() {
      this.#pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
      this.#write();
    }
    forEach(callback, self) { for (const [name, value] of this) callback.call(self, value, name, this); }
    *entries() { for (const [name, value] of this.#pairs) yield [name, value]; }
    *keys() { for (const [name] of this.#pairs) yield name; }
    *values() { for (const [, value] of this.#pairs) yield value; }
    [Symbol.iterator]() { return this.entries(); }
    toString() { return host.formatQuery(this.#pairs); }
  }
  const { refresh } = URLSearchParams;
  delete URLSearchParams.refresh;

  class URL {
    #parts;
    #params = null;
    constructor(url, base) {
      this.#parts = parse(url, base);
      if (!this.#parts) throw new TypeError(`${url} is not a URL`);
    }
    static canParse(url, base) { return Boolean(parse(url, base)); }
    static parse(url, base) { return URL.canParse(url, base) ? new URL(url, base) : null; }
    #set(name, value) {
      this.#parts = host.setUrl(this.#parts[0], name, String(value).toWellFormed()) ?? this.#parts;
    }
    get origin() { return host.origin(this.#parts[0]); }
    get searchParams() {
      if (!this.#params) {
        owner = (query) => this.#set('search', query);
        try {
          this.#params = new URLSearchParams();
        } finally {
          owner = null;
        }
        refresh(this.#params, this.search);
      }
      return this.#params;
    }
    toString() { return this.#parts[0]; }
    toJSON() { return this.#parts[0]; }
    static part(url, index) { return url.#parts[index]; }
    static change(url, name, value) {
      if (name === 'href') {
        const parts = parse(value);
        if (!parts) throw new TypeError(`${value} is not a URL`);
        url.#parts = parts;
      } else {
        url.#set(name, value);
      }
      if (url.#params && (name === 'href' || name === 'search')) refresh(url.#params, url.search);
    }
  }
  const { part, change } = URL;
  delete URL.part;
  delete URL.change;
  PARTS.forEach((name, index) => {
    Object.defineProperty(URL.prototype, name, {
      get() { return part(this, index); },
      set(value) { change(this, name, value); },
      configurable: true,
      enumerable: true,
    });
  });

  lib.expose(URL, URLSearchParams);
}
