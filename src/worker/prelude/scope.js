// The rest of a dedicated worker's global scope (HTML, 10.2), and the client's media.
(host, lib) => {
  'use strict';

  // Without other threads they are of no use, and a script could only wait in them.
  delete globalThis.SharedArrayBuffer;
  delete globalThis.Atomics;

  // When `bufferedAmount` sinks to this, after it was above, the script is told.
  let threshold = 0;
  let isAbove = false;

  function post(isText, content) {
    const amount = isText
      ? host.postText(content)
      : host.postBytes(content.buffer, content.byteOffset, content.byteLength);
    if (amount < 0) throw lib.domException('the message is longer than a message may be', 'DataCloneError');
    isAbove ||= amount > threshold;
  }

  lib.define('postMessage', function postMessage(value, options) {
    if (arguments.length === 0) throw new TypeError('postMessage needs a value');
    if (ArrayBuffer.isView(value)) post(false, value);
    else if (lib.isBuffer(value)) post(false, new Uint8Array(value));
    else if (host.json) post(true, lib.toJson(value));
    else if (typeof value === 'string') post(true, value.toWellFormed());
    else {
      const message = 'this channel carries strings and bytes; others need a channel of protocol rws.v1';
      throw lib.domException(message, 'DataCloneError');
    }
    for (const it of Array.isArray(options) ? options : options?.transfer ?? []) {
      if (lib.isBuffer(it)) it.transfer();
    }
  });

  // A message came. The host has no opinion on what is in it.
  lib.message = (content) => {
    let data = content;
    if (host.json && typeof content === 'string') {
      try {
        data = JSON.parse(content);
      } catch {
        lib.fire(globalThis, new MessageEvent('messageerror'));
        return;
      }
    }
    lib.fire(globalThis, new MessageEvent('message', { data }));
  };

  Object.defineProperties(globalThis, {
    bufferedAmount: { get: () => host.bufferedAmount(), configurable: true, enumerable: true },
    bufferedAmountLowThreshold: {
      get: () => threshold,
      set: (value) => { threshold = Math.max(0, Math.trunc(Number(value)) || 0); },
      configurable: true,
      enumerable: true,
    },
  });
  lib.handlers(globalThis, 'bufferedamountlow');
  lib.sent = (amount) => {
    if (!isAbove || amount > threshold) return;
    isAbove = false;
    lib.fire(globalThis, new Event('bufferedamountlow'));
  };

  lib.define('close', function close() { host.close(); });

  lib.define('importScripts', function importScripts(...urls) {
    if (host.module) throw new TypeError('a module has import instead of importScripts');
    const resolved = urls.map((it) => {
      const url = host.parseUrl(String(it).toWellFormed(), location.href)?.[0];
      if (!url) throw lib.domException(`${it} is not a URL`, 'SyntaxError');
      return url;
    });
    const why = host.importScripts(resolved);
    if (why !== undefined) throw lib.domException(why, 'NetworkError');
  });

  const here = new URL(host.location);
  const location = { toString: () => here.href };
  for (const name of ['href', 'origin', 'protocol', 'host', 'hostname', 'port', 'pathname', 'search', 'hash']) {
    Object.defineProperty(location, name, { value: here[name], enumerable: true });
  }
  Object.defineProperty(location, 'toString', { enumerable: false });
  lib.define('location', Object.freeze(location));
  lib.define('origin', here.origin);
  lib.define('isSecureContext', true);
  lib.define('name', '');
  lib.define('navigator', Object.freeze({ userAgent: host.userAgent, hardwareConcurrency: 1, onLine: true }));

  const QUOTA = 65536;
  const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
  lib.define('crypto', Object.freeze({
    getRandomValues(array) {
      if (!ArrayBuffer.isView(array) || /^(Float|DataView)/.test(array[Symbol.toStringTag])) {
        throw lib.domException('random values go into an array of integers', 'TypeMismatchError');
      }
      if (array.byteLength > QUOTA) {
        throw lib.domException(`at most ${QUOTA} bytes at once`, 'QuotaExceededError');
      }
      lib.bytesOf(array).set(new Uint8Array(host.random(array.byteLength)));
      return array;
    },
    randomUUID() {
      const bytes = new Uint8Array(host.random(16));
      bytes[6] = (bytes[6] & 0x0f) | 0x40;
      bytes[8] = (bytes[8] & 0x3f) | 0x80;
      const text = Array.from(bytes, (it) => hex[it]).join('');
      return text.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
    },
  }));

  class WorkerMedia extends EventTarget {
    #state = JSON.parse(host.media);
    constructor() {
      super();
      lib.handlers(this, 'change', 'error');
    }
    get lines() { return structuredClone(this.#state.lines); }
    get playing() { return this.#state.playing; }
    get recording() { return this.#state.recording; }
    play(name) { host.steer('Play', String(name).toWellFormed()); }
    stop() { host.steer('Stop', ''); }
    record(name = 'recording') { host.steer('Record', String(name).toWellFormed()); }
    stopRecording() { host.steer('StopRecording', ''); }
    static update(media, state) {
      media.#state = state;
      const event = state.error ? new ErrorEvent('error', { message: state.error }) : new Event('change');
      lib.fire(media, event);
    }
  }
  const { update } = WorkerMedia;
  delete WorkerMedia.update;
  const media = new WorkerMedia();
  lib.define('media', media);
  lib.media = (state) => update(media, JSON.parse(state));
}
