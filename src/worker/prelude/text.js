// UTF-8 (Encoding): the host converts, this keeps what is between two calls.
(host, lib) => {
  'use strict';

  const LABELS = ['utf-8', 'utf8', 'unicode-1-1-utf-8', 'unicode11utf8', 'unicode20utf8', 'x-unicode20utf8'];

  // A buffer or a view of one, as bytes.
  lib.bytesOf = (value) => {
    if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    if (lib.isBuffer(value)) return new Uint8Array(value);
    throw new TypeError('that is neither an ArrayBuffer nor a view of one');
  };
  const encode = (text) => new Uint8Array(host.encode(text.toWellFormed()));
  lib.encode = encode;

  class TextEncoder {
    get encoding() { return 'utf-8'; }
    encode(text = '') { return encode(String(text)); }
    encodeInto(text, destination) {
      text = String(text);
      let bytes = encode(text);
      if (bytes.length <= destination.length) {
        destination.set(bytes);
        return { read: text.length, written: bytes.length };
      }
      let end = destination.length;
      while (end > 0 && (bytes[end] & 0xc0) === 0x80) end -= 1;
      bytes = bytes.subarray(0, end);
      destination.set(bytes);
      return { read: host.decode(bytes.buffer, 0, end, false, false)[0].length, written: end };
    }
  }

  class TextDecoder {
    #fatal;
    #ignoreBom;
    #kept = new Uint8Array(0);
    #started = false;
    constructor(label = 'utf-8', options) {
      if (!LABELS.includes(String(label).trim().toLowerCase())) {
        throw new RangeError(`${label}: only UTF-8 is known here`);
      }
      this.#fatal = Boolean(options?.fatal);
      this.#ignoreBom = Boolean(options?.ignoreBOM);
    }
    get encoding() { return 'utf-8'; }
    get fatal() { return this.#fatal; }
    get ignoreBOM() { return this.#ignoreBom; }
    decode(input = new Uint8Array(0), options) {
      const stream = Boolean(options?.stream);
      let bytes = lib.bytesOf(input);
      if (this.#kept.length > 0) {
        const joined = new Uint8Array(this.#kept.length + bytes.length);
        joined.set(this.#kept);
        joined.set(bytes, this.#kept.length);
        bytes = joined;
      }
      this.#kept = new Uint8Array(0);
      const decoded = host.decode(bytes.buffer, bytes.byteOffset, bytes.length, this.#fatal, stream);
      if (!decoded) {
        this.#started = false;
        throw new TypeError('the bytes are not UTF-8');
      }
      let [text, used] = decoded;
      if (stream) this.#kept = bytes.slice(used);
      if (!this.#started && text.length > 0) {
        this.#started = true;
        if (!this.#ignoreBom && text.charCodeAt(0) === 0xfeff) text = text.slice(1);
      }
      if (!stream) this.#started = false;
      return text;
    }
  }

  lib.expose(TextEncoder, TextDecoder);
}
