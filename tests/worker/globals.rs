//! The global scope, row by row (gecko.md B2).

use std::time::Duration;

use serde_json::{Value, json};
use switchboard::worker::{Event, Level};

use crate::{next, options, start};

/// Each expression, awaited, has this JSON form; one that throws has `"Name: message"`.
async fn holds(rows: &[(&str, Value)]) {
    let mut script = "async function run() { const results = [];\n".to_owned();
    for (expression, _) in rows {
        script += &format!(
            "try {{ results.push(await ({expression})); }} catch (e) {{ results.push(`${{e.name}}: ${{e.message}}`); }}\n"
        );
    }
    script +=
        "for (const it of results) postMessage(it === undefined ? '(undefined)' : it); } run();";
    let mut options = options(&script);
    // Without optimization, on a busy machine.
    options.limits.start_cpu = Duration::from_secs(20);
    options.limits.turn_cpu = Duration::from_secs(20);
    options.limits.heap_bytes = 4 * 1024 * 1024;
    let (_worker, mut events) = start(options).await;
    for (expression, expected) in rows {
        assert_eq!(crate::json(&mut events).await, *expected, "{expression}");
    }
}

#[tokio::test]
async fn the_scope_is_a_dedicated_worker_s_and_has_nothing_else() {
    holds(&[
        ("self === globalThis", json!(true)),
        ("self instanceof DedicatedWorkerGlobalScope && self instanceof EventTarget", json!(true)),
        ("[typeof require, typeof process, typeof std, typeof os, typeof window]", json!(vec!["undefined"; 5])),
        ("[typeof SharedArrayBuffer, typeof Atomics, typeof host, typeof lib]", json!(vec!["undefined"; 4])),
        ("['onmessage', 'onmessageerror', 'onerror', 'onunhandledrejection'].map((it) => self[it])", json!(vec![Value::Null; 4])),
        ("navigator.userAgent.startsWith('Switchboard/')", json!(true)),
        ("[location.href, location.origin, location.pathname, String(location)]",
         json!(["https://example.org/js/worker.js", "https://example.org", "/js/worker.js", "https://example.org/js/worker.js"])),
        ("performance.now() > 0 && performance.now() < 1e6", json!(true)),
        ("[atob('aGk='), btoa('hi')]", json!(["hi", "aGk="])),
        ("atob('*')", json!("InvalidCharacterError: The string to be decoded is not correctly encoded")),
        ("(() => { try { postMessage(); } catch (e) { return e.name; } })()", json!("TypeError")),
    ])
    .await;
}

#[tokio::test]
async fn events_are_dispatched() {
    holds(&[
        ("(() => { const seen = []; const t = new EventTarget();
           t.addEventListener('a', (e) => seen.push(e.type, e.target === t, e.isTrusted));
           t.addEventListener('a', { handleEvent() { seen.push('object'); } }, { once: true });
           t.dispatchEvent(new Event('a')); t.dispatchEvent(new Event('a')); return seen; })()",
         json!(["a", true, false, "object", "a", true, false])),
        ("(() => { const t = new EventTarget(); const f = () => seen++; let seen = 0;
           t.addEventListener('a', f); t.addEventListener('a', f); t.dispatchEvent(new Event('a'));
           t.removeEventListener('a', f); t.dispatchEvent(new Event('a')); return seen; })()", json!(1)),
        ("(() => { const t = new EventTarget(); let seen = 0;
           t.addEventListener('a', (e) => { seen++; e.stopImmediatePropagation(); });
           t.addEventListener('a', () => seen++); t.dispatchEvent(new Event('a')); return seen; })()", json!(1)),
        ("(() => { const t = new EventTarget(); t.addEventListener('a', (e) => e.preventDefault());
           return [t.dispatchEvent(new Event('a')), t.dispatchEvent(new Event('a', { cancelable: true }))]; })()", json!([true, false])),
        ("new MessageEvent('message', { data: 7 }).data", json!(7)),
        ("new CustomEvent('x', { detail: [1] }).detail", json!([1])),
        ("(({ message, lineno }) => [message, lineno])(new ErrorEvent('error', { message: 'm', lineno: 3 }))", json!(["m", 3])),
        ("(() => { const e = new DOMException('m', 'DataCloneError'); return [e.name, e.message, e.code, e instanceof Error]; })()",
         json!(["DataCloneError", "m", 25, true])),
        ("new EventTarget().dispatchEvent({})", json!("TypeError: that is not an Event")),
    ])
    .await;
}

#[tokio::test]
async fn values_are_cloned_as_structures() {
    holds(&[
        ("[...structuredClone(new Map([[1, { a: new Set([2]) }]]))].map(([k, v]) => [k, [...v.a]])", json!([[1, [2]]])),
        ("(() => { const a = { b: [] }; a.b.push(a); const c = structuredClone(a); return c !== a && c.b[0] === c; })()", json!(true)),
        ("structuredClone(new Date(5)).getTime()", json!(5)),
        ("(() => { const r = structuredClone(/a+/gi); return [r.source, r.flags]; })()", json!(["a+", "gi"])),
        ("(() => { const b = new ArrayBuffer(8); const [x, y] = structuredClone([new Uint8Array(b, 2, 3), new DataView(b)]);
           return [x.length, x.byteOffset, x.buffer === y.buffer, x.buffer !== b]; })()", json!([3, 2, true, true])),
        ("(() => { const b = new ArrayBuffer(8); const c = structuredClone(b, { transfer: [b] }); return [b.byteLength, c.byteLength]; })()", json!([0, 8])),
        ("(() => { const e = structuredClone(new RangeError('x', { cause: 1 })); return [e instanceof RangeError, e.message, e.cause]; })()", json!([true, "x", 1])),
        ("(() => { class A { b = 1; get c() { return 2; } } const c = structuredClone(new A()); return [Object.getPrototypeOf(c) === Object.prototype, c.b, 'c' in c]; })()", json!([true, 1, false])),
        ("Object.hasOwn(structuredClone(JSON.parse('{\"__proto__\":1}')), '__proto__')", json!(true)),
        ("[structuredClone(1n) === 1n, structuredClone(undefined) === undefined, Object.is(structuredClone(-0), -0)]", json!([true, true, true])),
        ("typeof structuredClone(Object(1n))", json!("object")),
        ("structuredClone([,1]).hasOwnProperty(0)", json!(false)),
        ("structuredClone(() => 1)", json!("DataCloneError: function (anonymous) could not be cloned")),
        ("structuredClone({ a: [Symbol('s')] })", json!("DataCloneError: Symbol(s) could not be cloned")),
        ("structuredClone(Promise.resolve())", json!("DataCloneError: a Promise could not be cloned")),
        ("structuredClone(new WeakMap())", json!("DataCloneError: a WeakMap could not be cloned")),
        ("structuredClone(self).a", json!("DataCloneError: a global could not be cloned")),
        ("structuredClone(new EventTarget())", json!("DataCloneError: a EventTarget could not be cloned")),
    ])
    .await;
}

#[tokio::test]
async fn timers_run_in_order_and_can_be_cleared() {
    holds(&[
        ("new Promise((r) => { const seen = []; setTimeout((x) => { seen.push(x); r(seen); }, 600, 'c'); setTimeout(() => seen.push('a')); setTimeout(() => seen.push('b'), 300); })", json!(["a", "b", "c"])),
        ("new Promise((r) => { let n = 0; const id = setInterval(() => { if (++n === 3) { clearInterval(id); setTimeout(() => r(n), 20); } }, 1); })", json!(3)),
        ("new Promise((r) => { const id = setTimeout(() => r('no'), 1); clearTimeout(id); setTimeout(() => r('yes'), 20); })", json!("yes")),
        ("new Promise((r) => { const seen = []; setTimeout(() => { seen.push('timer'); r(seen); }); queueMicrotask(() => seen.push('microtask')); seen.push('now'); })", json!(["now", "microtask", "timer"])),
        ("(() => { const start = performance.now(); return new Promise((r) => setTimeout(() => r(performance.now() - start >= 30), 30)); })()", json!(true)),
        ("new Promise((r) => { const seen = []; for (let i = 12; i > 0; i--) setTimeout(() => { seen.push(i); if (seen.length === 12) r(seen.every((it, at) => it === at + 1)); }, i * 60); })", json!(true)),
        (
            "(() => { for (let i = 0; i < 4e4; i++) clearTimeout(setTimeout(() => {}, 1e6)); return 'no leak'; })()",
            json!("no leak"),
        ),
        ("setTimeout('1 + 1')", json!("TypeError: a timer needs a function; text is not run as a script here")),
        ("new Promise((r) => setTimeout(r, 1e12, 'soon'))", json!("soon")),
    ])
    .await;
}

#[tokio::test]
async fn text_is_encoded_and_decoded() {
    holds(&[
        ("[...new TextEncoder().encode('ä€😀')]", json!([195, 164, 226, 130, 172, 240, 159, 152, 128])),
        ("[...new TextEncoder().encode('\\ud800')]", json!([239, 191, 189])),
        ("(() => { const to = new Uint8Array(4); return [new TextEncoder().encodeInto('aä€', to), [...to]]; })()", json!([{"read": 2, "written": 3}, [97, 195, 164, 0]])),
        ("new TextDecoder().decode(new Uint8Array([0xef, 0xbb, 0xbf, 97, 0xff]))", json!("a\u{fffd}")),
        ("new TextDecoder('utf-8', { ignoreBOM: true }).decode(new Uint8Array([0xef, 0xbb, 0xbf, 97])).length", json!(2)),
        ("new TextDecoder('utf8', { fatal: true }).decode(new Uint8Array([0xff]))", json!("TypeError: the bytes are not UTF-8")),
        ("(() => { const d = new TextDecoder(); let t = ''; for (const b of new TextEncoder().encode('ä€😀')) t += d.decode(new Uint8Array([b]), { stream: true }); return t + d.decode(); })()", json!("ä€😀")),
        ("new TextDecoder('latin1')", json!("RangeError: latin1: only UTF-8 is known here")),
        ("new TextDecoder().decode(new DataView(new Uint8Array([97, 98, 99]).buffer, 1, 1))", json!("b")),
    ])
    .await;
}

#[tokio::test]
async fn urls_are_taken_apart_and_put_together() {
    holds(&[
        ("new URL('../a?b=c#d', 'https://u:p@example.org:81/x/y/z').href", json!("https://u:p@example.org:81/x/a?b=c#d")),
        ("(({ protocol, username, password, host, hostname, port, pathname, search, hash, origin }) => [protocol, username, password, host, hostname, port, pathname, search, hash, origin])(new URL('https://u:p@example.org:81/x?q#h'))",
         json!(["https:", "u", "p", "example.org:81", "example.org", "81", "/x", "?q", "#h", "https://example.org:81"])),
        ("(() => { const u = new URL('http://a/'); u.pathname = '/ä b'; u.port = '443'; u.protocol = 'https'; u.searchParams.append('x', '1 2'); u.hash = 'h'; return String(u); })()", json!("https://a/%C3%A4%20b?x=1+2#h")),
        ("(() => { const u = new URL('http://a/?x=1'); const p = u.searchParams; u.search = '?y=2'; return [p.get('x'), p.get('y'), p === u.searchParams]; })()", json!([null, "2", true])),
        ("(() => { const p = new URLSearchParams('?a=1&b=%202&a=3'); p.sort(); p.delete('b'); p.set('c', '&'); return [p.getAll('a'), p.size, String(p), [...p.keys()]]; })()", json!([["1", "3"], 3, "a=1&a=3&c=%26", ["a", "a", "c"]])),
        ("[String(new URLSearchParams({ a: 1 })), String(new URLSearchParams([['b', 2]]))]", json!(["a=1", "b=2"])),
        ("[URL.canParse('x'), URL.canParse('x', 'https://a/'), URL.parse('x')]", json!([false, true, null])),
        ("JSON.stringify({ u: new URL('https://a') })", json!("{\"u\":\"https://a/\"}")),
        ("new URL('nowhere')", json!("TypeError: nowhere is not a URL")),
    ])
    .await;
}

#[tokio::test]
async fn random_values_are_random() {
    holds(&[
        ("crypto.getRandomValues(new Uint32Array(8)).some((it) => it !== 0)", json!(true)),
        ("/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID())", json!(true)),
        ("crypto.randomUUID() !== crypto.randomUUID()", json!(true)),
        ("crypto.getRandomValues(new Float32Array(1))", json!("TypeMismatchError: random values go into an array of integers")),
        ("crypto.getRandomValues(new Uint8Array(65537))", json!("QuotaExceededError: at most 65536 bytes at once")),
    ])
    .await;
}

#[tokio::test]
async fn the_console_shows_values_as_people_read_them() {
    let (_worker, mut events) = start(options(
        "console.log('a', 1, [1, 'b', null], { c: { d: undefined }, 'e-f': 1n });
         console.debug('%s is %d %%', 'x', 4.7, true);
         console.warn(new Map([[{ a: 1 }, new Set([1])]]), function f() {}, class A {}, Symbol('s'));
         const loop = {}; loop.self = loop; console.error(loop);
         console.info(new Uint8Array([1, 2]), new Date(0), /x/g, -0, 'line\\nline', ['quo\\'te']);
         console.group('group'); console.log('inner'); console.groupEnd(); console.log('outer');
         console.assert(true); console.assert(false, 'why'); console.count(); console.count();
         console.log({ get bad() { throw 1; } }, new Proxy({}, { ownKeys() { throw 1; } }));
         console.log(new Array(500).fill(0));
         console.log('x'.repeat(100000));",
    ))
    .await;
    let expected = [
        (
            Level::Info,
            "a 1 [1, 'b', null] { c: { d: undefined }, 'e-f': 1n }",
        ),
        (Level::Debug, "x is 4 % true"),
        (
            Level::Warn,
            "Map(1) { { a: 1 } => Set(1) { 1 } } [Function f] [class A] Symbol(s)",
        ),
        (Level::Error, "{ self: [Circular] }"),
        (
            Level::Info,
            "Uint8Array(2) [1, 2] 1970-01-01T00:00:00.000Z /x/g -0 line\nline ['quo\\'te']",
        ),
        (Level::Info, "group"),
        (Level::Info, "  inner"),
        (Level::Info, "outer"),
        (Level::Error, "Assertion failed: why"),
        (Level::Info, "default: 1"),
        (Level::Info, "default: 2"),
        (
            Level::Info,
            "{ bad: [Getter] } [a value that can not be shown]",
        ),
    ];
    for (level, text) in expected {
        let text = text.to_owned();
        assert_eq!(next(&mut events).await, Event::Console { level, text });
    }
    let Event::Console { text, .. } = next(&mut events).await else {
        panic!()
    };
    assert!(text.ends_with("… 400 more\n]"), "{text}");
    let Event::Console { text, .. } = next(&mut events).await else {
        panic!()
    };
    assert_eq!(text.len(), 8 * 1024);
}
