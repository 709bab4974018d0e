// The console: values as people read them, one line or block a call.
(host, lib) => {
  'use strict';

  const DEEP = 4; // levels that are shown
  const WIDE = 100; // items of one value that are shown
  const LINE = 72; // a value that is longer goes over several lines
  const counts = new Map();
  const times = new Map();
  let indent = '';

  const quote = (text) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'").replaceAll('\n', '\\n')}'`;
  const isName = /^[A-Za-z_$][\w$]*$/;

  function primitive(value, nested) {
    switch (typeof value) {
      case 'string': return nested ? quote(value) : value;
      case 'bigint': return `${value}n`;
      case 'number': return Object.is(value, -0) ? '-0' : String(value);
      case 'function': {
        const isClass = /^class\b/.test(Function.prototype.toString.call(value));
        return `[${isClass ? 'class' : 'Function'} ${value.name || '(anonymous)'}]`;
      }
      default: return String(value);
    }
  }

  function block(open, items, close, more, pad) {
    if (more > 0) items.push(`… ${more} more`);
    if (items.length === 0) return `${open}${close}`;
    const line = items.join(', ');
    if (line.length <= LINE && !line.includes('\n')) {
      return open.endsWith('[') ? `${open}${line}${close}` : `${open} ${line} ${close}`;
    }
    return `${open}\n${items.map((it) => `${pad}  ${it}`).join(',\n')}\n${pad}${close}`;
  }

  function format(value, nested, seen, pad) {
    if ((typeof value !== 'object' || value === null)) return primitive(value, nested);
    if (seen.includes(value)) return '[Circular]';
    const name = nameOf(value);
    if (Error.isError(value) || value instanceof DOMException) return formatError(value);
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString();
    if (value instanceof RegExp || value instanceof URL) return String(value);
    if (value instanceof Promise) return 'Promise {}';
    if (seen.length >= DEEP) return Array.isArray(value) ? '[Array]' : `[${name}]`;
    const inner = (it) => format(it, true, [...seen, value], `${pad}  `);
    const first = (iterable) => [...Iterator.from(iterable).take(WIDE)];
    if (Array.isArray(value) || ArrayBuffer.isView(value) && !(value instanceof DataView)) {
      const label = name === 'Array' ? '' : `${name}(${value.length}) `;
      const items = first(Array.prototype.values.call(value)).map(inner);
      return block(`${label}[`, items, ']', value.length - items.length, pad);
    }
    if (value instanceof Map) {
      const items = first(value).map(([k, v]) => `${inner(k)} => ${inner(v)}`);
      return block(`Map(${value.size}) {`, items, '}', value.size - items.length, pad);
    }
    if (value instanceof Set) {
      const items = first(value).map(inner);
      return block(`Set(${value.size}) {`, items, '}', value.size - items.length, pad);
    }
    if (value instanceof ArrayBuffer) return `ArrayBuffer { byteLength: ${value.byteLength} }`;
    if (value instanceof URLSearchParams) return `URLSearchParams { ${value} }`;
    return formatObject(value, name, inner, pad);
  }

  function formatObject(value, name, inner, pad) {
    const keys = Object.keys(value);
    const items = keys.slice(0, WIDE).map((key) => {
      const label = isName.test(key) ? key : quote(key);
      const { get, set } = Object.getOwnPropertyDescriptor(value, key) ?? {};
      return `${label}: ${get || set ? '[Getter]' : inner(value[key])}`;
    });
    return block(name === 'Object' ? '{' : `${name} {`, items, '}', keys.length - items.length, pad);
  }

  function nameOf(value) {
    const prototype = Object.getPrototypeOf(value);
    if (prototype === null) return '[Object: null prototype]';
    return prototype.constructor?.name || 'Object';
  }

  function formatError(error) {
    const stack = String(error.stack ?? '').trimEnd();
    const cause = error.cause === undefined ? '' : `\n[cause]: ${format(error.cause, true, [error], '')}`;
    return `${error}${stack ? `\n${stack}` : ''}${cause}`;
  }

  // Whatever a getter or a proxy throws stays here: a log must not break what it looks at.
  const show = (value, nested = false) => {
    try {
      return format(value, nested, [], '');
    } catch {
      return '[a value that can not be shown]';
    }
  };

  // The console standard, "Formatter".
  function message(args) {
    const [first, ...rest] = args;
    if (typeof first !== 'string' || rest.length === 0) return args.map((it) => show(it)).join(' ');
    const head = first.replace(/%[sdifoOc%]/g, (directive) => {
      if (directive === '%%') return '%';
      if (rest.length === 0) return directive;
      const value = rest.shift();
      switch (directive) {
        case '%s': return typeof value === 'symbol' ? String(value) : show(value);
        case '%d':
        case '%i': return typeof value === 'symbol' ? 'NaN' : String(Number.parseInt(value, 10));
        case '%f': return typeof value === 'symbol' ? 'NaN' : String(Number.parseFloat(value));
        case '%c': return '';
        default: return show(value, true);
      }
    });
    return [head, ...rest.map((it) => show(it))].join(' ');
  }

  const [DEBUG, INFO, WARN, ERROR] = [0, 1, 2, 3];
  const write = (level, text) => {
    host.console(level, (indent ? indent + text.replaceAll('\n', `\n${indent}`) : text).toWellFormed());
  };
  const log = (level) => (...args) => write(level, message(args));
  const label = (it) => (it === undefined ? 'default' : String(it));
  const elapsed = (name) => `${name}: ${(performance.now() - times.get(name)).toFixed(3)} ms`;

  const group = (...args) => {
    if (args.length > 0) write(INFO, message(args));
    indent += '  '.slice(0, Math.max(0, 64 - indent.length));
  };
  const withTimer = (name, then) => {
    if (times.has(name)) then();
    else write(WARN, `${name}: there is no such timer`);
  };

  lib.define('console', {
    debug: log(DEBUG),
    log: log(INFO),
    info: log(INFO),
    warn: log(WARN),
    error: log(ERROR),
    dir: (value) => write(INFO, show(value, true)),
    table: log(INFO),
    trace: (...args) => {
      const stack = new Error().stack.split('\n').slice(1).join('\n').trimEnd();
      write(DEBUG, `${args.length > 0 ? message(args) : 'trace'}\n${stack}`);
    },
    assert: (condition, ...args) => {
      if (!condition) write(ERROR, args.length > 0 ? `Assertion failed: ${message(args)}` : 'Assertion failed');
    },
    count: (name) => {
      name = label(name);
      counts.set(name, (counts.get(name) ?? 0) + 1);
      write(INFO, `${name}: ${counts.get(name)}`);
    },
    countReset: (name) => { counts.delete(label(name)); },
    time: (name) => { times.set(label(name), performance.now()); },
    timeLog: (name, ...args) => withTimer(label(name), () =>
      write(INFO, [elapsed(label(name)), ...args.map((it) => show(it))].join(' '))),
    timeEnd: (name) => withTimer(label(name), () => {
      write(INFO, elapsed(label(name)));
      times.delete(label(name));
    }),
    group,
    groupCollapsed: group,
    groupEnd: () => { indent = indent.slice(2); },
    clear: () => { indent = ''; },
  });
}
