// Events (DOM, HTML): the classes, and the global scope as a target.
(host, lib) => {
  'use strict';

  // What scripts find on the global object. They may replace it, as in browsers.
  lib.define = (name, value) =>
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });

  // Makes what a class defines enumerable, as Web IDL wants it.
  const expose = (...classes) => {
    for (const it of classes) {
      lib.define(it.name, it);
      Object.defineProperty(it.prototype, Symbol.toStringTag, { value: it.name, configurable: true });
    }
  };
  lib.expose = expose;

  lib.domException = (message, name) => new DOMException(message, name);

  class Event {
    #type;
    #cancelable;
    #bubbles;
    #composed;
    #prevented = false;
    #trusted = false;
    #time = performance.now();
    target = null;
    currentTarget = null;
    eventPhase = 0;
    constructor(type, options) {
      if (arguments.length === 0) throw new TypeError('an event needs a type');
      this.#type = String(type);
      this.#cancelable = Boolean(options?.cancelable);
      this.#bubbles = Boolean(options?.bubbles);
      this.#composed = Boolean(options?.composed);
    }
    get type() { return this.#type; }
    get cancelable() { return this.#cancelable; }
    get bubbles() { return this.#bubbles; }
    get composed() { return this.#composed; }
    get defaultPrevented() { return this.#prevented; }
    get isTrusted() { return this.#trusted; }
    get timeStamp() { return this.#time; }
    get srcElement() { return this.target; }
    preventDefault() { if (this.#cancelable) this.#prevented = true; }
    stopPropagation() {}
    stopImmediatePropagation() { stopped.add(this); }
    composedPath() { return this.currentTarget ? [this.currentTarget] : []; }
    static trust(event) { event.#trusted = true; return event; }
  }
  const { trust } = Event;
  delete Event.trust;
  const stopped = new WeakSet();

  class CustomEvent extends Event {
    #detail;
    constructor(type, options) { super(type, options); this.#detail = options?.detail ?? null; }
    get detail() { return this.#detail; }
  }

  class MessageEvent extends Event {
    #options;
    constructor(type, options) { super(type, options); this.#options = options ?? {}; }
    get data() { return this.#options.data === undefined ? null : this.#options.data; }
    get origin() { return this.#options.origin ?? ''; }
    get lastEventId() { return this.#options.lastEventId ?? ''; }
    get source() { return this.#options.source ?? null; }
    get ports() { return Object.freeze([...(this.#options.ports ?? [])]); }
  }

  class ErrorEvent extends Event {
    #options;
    constructor(type, options) { super(type, options); this.#options = options ?? {}; }
    get message() { return this.#options.message ?? ''; }
    get filename() { return this.#options.filename ?? ''; }
    get lineno() { return this.#options.lineno ?? 0; }
    get colno() { return this.#options.colno ?? 0; }
    get error() { return this.#options.error; }
  }

  class PromiseRejectionEvent extends Event {
    #options;
    constructor(type, options) { super(type, options); this.#options = options; }
    get promise() { return this.#options.promise; }
    get reason() { return this.#options.reason; }
  }

  // By target, by type: the listeners in order. Kept outside, because the global scope is a target
  // that no constructor has seen.
  const targets = new WeakMap();
  const capture = (options) => Boolean(typeof options === 'object' ? options?.capture : options);

  class EventTarget {
    addEventListener(type, callback, options) {
      if (callback === null || callback === undefined) return;
      if (typeof callback !== 'function' && typeof callback !== 'object') {
        throw new TypeError('a listener is a function or an object');
      }
      const target = this ?? globalThis;
      if (!targets.has(target)) targets.set(target, new Map());
      const types = targets.get(target);
      type = String(type);
      if (!types.has(type)) types.set(type, []);
      const listeners = types.get(type);
      const wanted = { callback, capture: capture(options), once: Boolean(options?.once), removed: false };
      if (listeners.some((it) => it.callback === callback && it.capture === wanted.capture)) return;
      listeners.push(wanted);
    }
    removeEventListener(type, callback, options) {
      const listeners = targets.get(this ?? globalThis)?.get(String(type));
      const index = listeners?.findIndex(
        (it) => it.callback === callback && it.capture === capture(options),
      );
      if (index >= 0) listeners.splice(index, 1)[0].removed = true;
    }
    dispatchEvent(event) {
      if (!(event instanceof Event)) throw new TypeError('that is not an Event');
      if (event.eventPhase !== 0) throw lib.domException('the event is being dispatched', 'InvalidStateError');
      return dispatch(this ?? globalThis, event);
    }
  }

  // Calls the handler attribute (`onmessage`) and then the listeners. False if one prevented the rest.
  function dispatch(target, event) {
    event.target = event.currentTarget = target;
    event.eventPhase = 2;
    const handler = target[`on${event.type}`];
    if (typeof handler === 'function') {
      call(() => {
        // The global onerror is the odd one (HTML, "the event handler processing algorithm").
        const result = event instanceof ErrorEvent && target === globalThis
          ? handler.call(target, event.message, event.filename, event.lineno, event.colno, event.error)
          : handler.call(target, event);
        if (event instanceof ErrorEvent && target === globalThis ? result === true : result === false) {
          event.preventDefault();
        }
      });
    }
    const listeners = targets.get(target)?.get(event.type);
    if (listeners?.length) {
      for (const it of [...listeners]) {
        if (stopped.has(event)) break;
        if (it.removed) continue;
        if (it.once) target.removeEventListener(event.type, it.callback, it.capture);
        call(() => {
          if (typeof it.callback === 'function') it.callback.call(target, event);
          else it.callback.handleEvent(event);
        });
      }
    }
    event.currentTarget = null;
    event.eventPhase = 0;
    return !event.defaultPrevented;
  }

  function call(callback) {
    try {
      callback();
    } catch (error) {
      lib.report(error);
    }
  }
  lib.call = call;

  // An event of ours, as opposed to one that the script made.
  lib.fire = (target, event) => dispatch(target, trust(event));

  // An accessor for a handler attribute: only functions and objects stay in it.
  lib.handlers = (target, ...types) => {
    for (const type of types) {
      let handler = null;
      Object.defineProperty(target, `on${type}`, {
        get: () => handler,
        set: (it) => { handler = typeof it === 'function' || (typeof it === 'object' && it) ? it : null; },
        configurable: true,
        enumerable: true,
      });
    }
  };

  // An exception that nobody caught: the script may handle it, otherwise the owner hears of it.
  let reporting = false;
  lib.report = (error) => {
    const place = host.place(error);
    if (!place) return; // there is no memory left, and the worker ends
    const [message, filename, lineno, colno, stack] = place;
    if (!reporting) {
      reporting = true;
      try {
        const options = { message, filename, lineno, colno, error, cancelable: true };
        if (!lib.fire(globalThis, new ErrorEvent('error', options))) return;
      } finally {
        reporting = false;
      }
    }
    host.error(message, filename, lineno, stack);
  };

  lib.rejected = (promise, reason) => {
    const place = host.place(reason);
    if (!place) return;
    const options = { promise, reason, cancelable: true };
    if (!lib.fire(globalThis, new PromiseRejectionEvent('unhandledrejection', options))) return;
    const [message, filename, lineno, , stack] = place;
    host.error(`unhandled rejection: ${message}`, filename, lineno, stack);
  };

  class WorkerGlobalScope extends EventTarget {}
  class DedicatedWorkerGlobalScope extends WorkerGlobalScope {}
  expose(Event, CustomEvent, MessageEvent, ErrorEvent, PromiseRejectionEvent, EventTarget);
  expose(WorkerGlobalScope, DedicatedWorkerGlobalScope);
  Object.setPrototypeOf(globalThis, DedicatedWorkerGlobalScope.prototype);
  lib.handlers(globalThis, 'message', 'messageerror', 'error', 'unhandledrejection');
  lib.define('self', globalThis);
  lib.define('reportError', (error) => lib.report(error));
}
