// Timers (HTML, 8.6): a heap by time, then by number. The host is told when the first one is due.
(host, lib) => {
  'use strict';

  const NESTED = 5; // calls deep after which a timer waits 4 ms at least
  const LONGEST = 2 ** 31 - 1;
  const live = new Map();
  let heap = [];
  let last = 0;
  let depth = 0;

  const before = (a, b) => a.due < b.due || (a.due === b.due && a.order < b.order);

  function push(timer) {
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (!before(timer, heap[up])) break;
      heap[at] = heap[up];
      at = up;
    }
    heap[at] = timer;
  }

  function pop() {
    const first = heap[0];
    const moved = heap.pop();
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= heap.length) break;
      if (down + 1 < heap.length && before(heap[down + 1], heap[down])) down += 1;
      if (!before(heap[down], moved)) break;
      heap[at] = heap[down];
      at = down;
    }
    heap[at] = moved;
    return first;
  }

  // Tells the host. Timers that were cleared leave the heap when they come up, or are too many.
  function announce() {
    while (heap.length > 0 && heap[0].cleared) pop();
    if (heap.length > 64 && heap.length > 2 * live.size) {
      heap = heap.filter((it) => !it.cleared).sort((a, b) => (before(a, b) ? -1 : 1));
    }
    host.wakeIn(heap.length > 0 ? heap[0].due - performance.now() : Infinity);
  }

  let order = 0;
  function schedule(timer) {
    const least = timer.depth > NESTED ? 4 : 0;
    timer.due = performance.now() + Math.max(timer.delay, least);
    timer.order = order++;
    push(timer);
    if (heap[0] === timer) announce();
  }

  function start(callback, delay, args, repeats) {
    if (typeof callback !== 'function') {
      throw new TypeError('a timer needs a function; text is not run as a script here');
    }
    delay = Number(delay);
    delay = delay >= 0 && delay <= LONGEST ? Math.trunc(delay) : 0;
    const timer = { id: ++last, callback, args, delay, repeats, depth: depth + 1, due: 0, order: 0, cleared: false };
    live.set(timer.id, timer);
    schedule(timer);
    return timer.id;
  }

  function clear(id) {
    const timer = live.get(Number(id));
    if (!timer) return;
    live.delete(timer.id);
    timer.cleared = true;
    timer.callback = timer.args = null;
    announce();
  }

  // Runs one timer that is due. The host asks again after the microtasks of this one.
  lib.runTimer = () => {
    if (heap.length === 0 || heap[0].due > performance.now()) return announce();
    const timer = pop();
    if (timer.cleared) return announce();
    const { callback, args } = timer;
    if (!timer.repeats) live.delete(timer.id);
    depth = timer.depth;
    lib.call(() => callback.apply(globalThis, args));
    depth = 0;
    if (timer.repeats && !timer.cleared) {
      timer.depth += 1;
      schedule(timer);
    }
    announce();
  };

  lib.define('setTimeout', function setTimeout(callback, delay = 0, ...args) {
    return start(callback, delay, args, false);
  });
  lib.define('setInterval', function setInterval(callback, delay = 0, ...args) {
    return start(callback, delay, args, true);
  });
  lib.define('clearTimeout', function clearTimeout(id) { clear(id); });
  lib.define('clearInterval', function clearInterval(id) { clear(id); });

  const enqueue = globalThis.queueMicrotask;
  lib.define('queueMicrotask', function queueMicrotask(callback) {
    if (typeof callback !== 'function') throw new TypeError('a microtask is a function');
    enqueue(() => lib.call(callback));
  });
}
