// fetch (Fetch), as far as a worker without streams needs it: the owner's loader does the work, and
// decides what may be fetched.
(host, lib) => {
  'use strict';

  const waiting = new Map();
  const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

  class Headers {
    #all = new Map();
    constructor(init) {
      if (init === undefined || init === null) return;
      const pairs = typeof init[Symbol.iterator] === 'function' ? init : Object.entries(init);
      for (const [name, value] of pairs) this.append(name, value);
    }
    static #name(name) {
      name = String(name);
      if (!token.test(name)) throw new TypeError(`${name} is not the name of a header`);
      return name.toLowerCase();
    }
    static #value(value) {
      value = String(value).trim();
      if (/[\0\r\n]|[^\0-\xff]/.test(value)) throw new TypeError('that is not the value of a header');
      return value;
    }
    append(name, value) {
      name = Headers.#name(name);
      value = Headers.#value(value);
      this.#all.set(name, this.#all.has(name) ? `${this.#all.get(name)}, ${value}` : value);
    }
    set(name, value) { this.#all.set(Headers.#name(name), Headers.#value(value)); }
    delete(name) { this.#all.delete(Headers.#name(name)); }
    get(name) { return this.#all.get(Headers.#name(name)) ?? null; }
    has(name) { return this.#all.has(Headers.#name(name)); }
    forEach(callback, self) { for (const [name, value] of this) callback.call(self, value, name, this); }
    *entries() { yield* [...this.#all].sort(([a], [b]) => (a < b ? -1 : 1)); }
    *keys() { for (const [name] of this) yield name; }
    *values() { for (const [, value] of this) yield value; }
    [Symbol.iterator]() { return this.entries(); }
  }

  class Response {
    #bytes;
    #init;
    #used = false;
    constructor(body = null, init) {
      this.#bytes = bodyOf(body).bytes ?? new Uint8Array(0);
      this.#init = { status: 200, url: '', ...init, headers: new Headers(init?.headers) };
    }
    get status() { return this.#init.status; }
    get statusText() { return this.#init.statusText ?? ''; }
    get ok() { return this.status >= 200 && this.status <= 299; }
    get url() { return this.#init.url; }
    get redirected() { return Boolean(this.#init.redirected); }
    get type() { return 'default'; }
    get headers() { return this.#init.headers; }
    get bodyUsed() { return this.#used; }
    #take() {
      if (this.#used) throw new TypeError('the body was taken already');
      this.#used = true;
      return this.#bytes;
    }
    async bytes() { return this.#take().slice(); }
    async arrayBuffer() { return this.#take().slice().buffer; }
    async text() { return new TextDecoder().decode(this.#take()); }
    async json() { return JSON.parse(await this.text()); }
    clone() {
      if (this.#used) throw new TypeError('the body was taken already');
      return new Response(this.#bytes, this.#init);
    }
  }

  // A body's bytes, and the type that it has by itself.
  function bodyOf(body) {
    if (body === undefined || body === null) return {};
    if (ArrayBuffer.isView(body) || lib.isBuffer(body)) return { bytes: lib.bytesOf(body).slice() };
    if (body instanceof URLSearchParams) {
      return { bytes: lib.encode(String(body)), type: 'application/x-www-form-urlencoded;charset=UTF-8' };
    }
    return { bytes: lib.encode(String(body)), type: 'text/plain;charset=UTF-8' };
  }

  function request(input, init) {
    const url = host.parseUrl(String(input).toWellFormed(), location.href)?.[0];
    if (!url) throw new TypeError(`${input} is not a URL`);
    let method = String(init?.method ?? 'GET');
    if (!token.test(method)) throw new TypeError(`${method} is not a method`);
    if (/^(delete|get|head|options|post|put)$/i.test(method)) method = method.toUpperCase();
    const { bytes, type } = bodyOf(init?.body);
    if (bytes && /^(GET|HEAD)$/.test(method)) throw new TypeError(`${method} has no body`);
    const headers = new Headers(init?.headers);
    if (type && !headers.has('content-type')) headers.set('content-type', type);
    return { url, method, headers: [...headers], body: bytes?.buffer };
  }

  lib.define('fetch', async function fetch(input, init) {
    const { url, method, headers, body } = request(input, init);
    const { promise, resolve, reject } = Promise.withResolvers();
    const id = host.fetch(url, method, headers, body);
    if (typeof id === 'string') throw new TypeError(`${url} could not be fetched: ${id}`);
    waiting.set(id, { url, resolve, reject });
    return promise;
  });

  // The loader's answer.
  lib.fetched = (id, why, status, url, headers, body) => {
    const { url: asked, resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (why !== undefined) {
      reject(new TypeError(`${asked} could not be fetched: ${why}`));
      return;
    }
    const known = headers.filter(([name]) => token.test(name));
    resolve(new Response(body, { status, url, redirected: url !== asked, headers: known }));
  };

  lib.expose(Headers, Response);
}
