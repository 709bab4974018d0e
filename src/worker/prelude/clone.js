// The structured clone (HTML, 2.7), and what of it JSON can carry.
(host, lib) => {
  'use strict';

  const TypedArray = Object.getPrototypeOf(Uint8Array);
  const getter = (prototype, name) => Object.getOwnPropertyDescriptor(prototype, name).get;
  // Built-in values are told by their inner slots, which no script can fake.
  const kind = (Class, probe) => (value) => {
    if (!(value instanceof Class)) return false;
    try {
      probe.call(value);
      return true;
    } catch {
      return false;
    }
  };
  const isMap = kind(Map, getter(Map.prototype, 'size'));
  const isSet = kind(Set, getter(Set.prototype, 'size'));
  const isBuffer = kind(ArrayBuffer, getter(ArrayBuffer.prototype, 'byteLength'));
  const isDataView = kind(DataView, getter(DataView.prototype, 'buffer'));
  const isDate = kind(Date, Date.prototype.getTime);
  const isRegExp = kind(RegExp, getter(RegExp.prototype, 'hasIndices'));
  const arrayName = getter(TypedArray.prototype, Symbol.toStringTag);
  const boxes = [Number, String, Boolean, BigInt].map((it) => [it, kind(it, it.prototype.valueOf)]);
  const errors = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

  lib.isBuffer = isBuffer;
  lib.isView = ArrayBuffer.isView;

  const refuse = (what) => {
    throw lib.domException(`${what} could not be cloned`, 'DataCloneError');
  };

  // A name for what can't be cloned.
  const describe = (value) => {
    if (typeof value === 'symbol') return String(value);
    if (typeof value === 'function') return `function ${value.name || '(anonymous)'}`;
    return `a ${Object.prototype.toString.call(value).slice(8, -1)}`;
  };

  const isObject = (value) => typeof value === 'object' && value !== null;
  const isPlain = (value) => {
    const prototype = Object.getPrototypeOf(value);
    return prototype === Object.prototype || prototype === null;
  };

  // What has neither a clone nor a JSON form, although it looks like an object with properties.
  const isUnclonable = (value) =>
    value instanceof Promise || value instanceof WeakMap || value instanceof WeakSet ||
    value instanceof WeakRef || value instanceof EventTarget || value instanceof Event ||
    value === globalThis || lib.hostObjects.has(value);
  lib.hostObjects = new WeakSet();

  function clone(value, seen, transferred) {
    if (typeof value === 'symbol' || typeof value === 'function') refuse(describe(value));
    if (!isObject(value)) return value;
    if (seen.has(value)) return seen.get(value);
    const keep = (copy) => {
      seen.set(value, copy);
      return copy;
    };
    if (Array.isArray(value)) {
      const copy = keep(new Array(value.length));
      return properties(value, copy, seen, transferred);
    }
    if (isPlain(value) && !lib.hostObjects.has(value)) return properties(value, keep({}), seen, transferred);
    return builtIn(value, keep, seen, transferred);
  }

  function builtIn(value, keep, seen, transferred) {
    if (ArrayBuffer.isView(value)) {
      const buffer = clone(value.buffer, seen, transferred);
      if (isDataView(value)) return keep(new DataView(buffer, value.byteOffset, value.byteLength));
      return keep(new globalThis[arrayName.call(value)](buffer, value.byteOffset, value.length));
    }
    if (isBuffer(value)) {
      if (value.detached) refuse('a detached ArrayBuffer');
      return keep(transferred.has(value) ? value.transfer() : value.slice(0));
    }
    if (isDate(value)) return keep(new Date(Date.prototype.getTime.call(value)));
    if (isMap(value)) {
      const copy = keep(new Map());
      for (const [key, item] of [...Map.prototype.entries.call(value)]) {
        copy.set(clone(key, seen, transferred), clone(item, seen, transferred));
      }
      return copy;
    }
    if (isSet(value)) {
      const copy = keep(new Set());
      for (const item of [...Set.prototype.values.call(value)]) copy.add(clone(item, seen, transferred));
      return copy;
    }
    if (isRegExp(value)) return keep(new RegExp(value.source, value.flags));
    if (value instanceof DOMException) return keep(new DOMException(value.message, value.name));
    if (Error.isError(value)) return cloneError(value, keep, seen, transferred);
    for (const [Box, isBoxed] of boxes) {
      if (isBoxed(value)) return keep(Object(Box.prototype.valueOf.call(value)));
    }
    if (isUnclonable(value)) refuse(describe(value));
    return properties(value, keep({}), seen, transferred);
  }

  function cloneError(value, keep, seen, transferred) {
    const Class = Object.hasOwn(errors, value.name) ? errors[value.name] : Error;
    const error = keep(new Class());
    const hidden = (name, it) =>
      Object.defineProperty(error, name, { value: it, writable: true, configurable: true });
    if (Object.hasOwn(value, 'message')) hidden('message', String(value.message));
    hidden('stack', String(value.stack ?? ''));
    if (Object.hasOwn(value, 'cause')) hidden('cause', clone(value.cause, seen, transferred));
    return error;
  }

  function properties(from, to, seen, transferred) {
    for (const key of Object.keys(from)) {
      if (!Object.hasOwn(from, key)) continue;
      const value = clone(from[key], seen, transferred);
      // Not by assignment: `__proto__` is a name like others here.
      Object.defineProperty(to, key, { value, writable: true, enumerable: true, configurable: true });
    }
    return to;
  }

  lib.define('structuredClone', function structuredClone(value, options) {
    if (arguments.length === 0) throw new TypeError('structuredClone needs a value');
    const transfer = new Set(options?.transfer ?? []);
    for (const it of transfer) {
      if (!isBuffer(it) || it.detached) refuse('something that can not be transferred');
    }
    return clone(value, new Map(), transfer);
  });

  // A value's JSON form. What JSON would drop or change without a word is refused instead, because the
  // other side would wonder.
  function check(key, value) {
    switch (typeof value) {
      case 'function':
      case 'symbol':
        return refuse(describe(value));
      case 'bigint':
        throw lib.domException('a BigInt has no JSON form', 'DataCloneError');
      case 'object':
        if (value === null || Array.isArray(value) || isPlain(value)) break;
        if (ArrayBuffer.isView(value) || isBuffer(value)) {
          throw lib.domException('bytes travel alone, not inside of another value', 'DataCloneError');
        }
        if (isMap(value) || isSet(value) || isRegExp(value) || Error.isError(value)) {
          throw lib.domException(`${describe(value)} has no JSON form`, 'DataCloneError');
        }
        if (isUnclonable(value)) refuse(describe(value));
    }
    return value;
  }

  const { stringify } = JSON;
  lib.toJson = (value) => {
    if (value === undefined) return 'null';
    if (typeof value !== 'object') check('', value);
    try {
      return stringify(value, check);
    } catch (error) {
      if (error instanceof TypeError && /circular/i.test(error.message)) {
        throw lib.domException('a value that contains itself has no JSON form', 'DataCloneError');
      }
      throw error;
    }
  };
}
