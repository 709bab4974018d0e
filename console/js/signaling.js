// The client's side of the Cuttlefish protocol: one WebSocket to `/connect_client`.

import { openSocket } from './access.js';

/**
 * A call to one device.
 *
 * `handlers`:
 * - `opened()`: the WebSocket is open;
 * - `config(config)`: the server's ICE servers, before anything else;
 * - `deviceInfo(info)`: the device is there, payloads can flow;
 * - `payload(payload)`: a message of the device;
 * - `closed({error, opened})`: the end. `error` is what the server said last, `opened` whether the
 *   WebSocket ever opened. Not called after `close()`.
 */
export class Signaling {
  #socket;
  #handlers;
  #error = null;
  #opened = false;

  constructor(deviceId, handlers) {
    this.#handlers = handlers;
    this.#socket = openSocket('/connect_client');
    this.#socket.onopen = () => {
      this.#opened = true;
      handlers.opened();
      this.#send({ message_type: 'connect', device_id: deviceId });
    };
    this.#socket.onmessage = ({ data }) => this.#receive(data);
    this.#socket.onclose = () => handlers.closed({ error: this.#error, opened: this.#opened });
  }

  /** Whether messages reach the server. */
  get isOpen() {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /** Sends a payload to the device. False when the way is closed. */
  forward(payload) {
    return this.#send({ message_type: 'forward', payload });
  }

  /** Hangs up, silently. */
  close() {
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }

  #send(message) {
    if (!this.isOpen) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #receive(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      console.warn('The server sent something that is not JSON.');
      return;
    }
    if (typeof message?.error === 'string') {
      this.#error = message.error;
      return;
    }
    switch (message?.message_type) {
      case 'config':
        this.#handlers.config(message);
        break;
      case 'device_info':
        this.#handlers.deviceInfo(message.device_info);
        break;
      case 'device_msg':
        this.#handlers.payload(message.payload);
        break;
      default:
        console.warn('Unknown message type of the server:', message?.message_type);
    }
  }
}
