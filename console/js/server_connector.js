// The server's half of Cuttlefish's "Server Connector Interface".
//
// Cuttlefish's own client page imports this module from whatever server it is opened on, and speaks to
// its device through it alone; the names and their meaning are fixed by that page. The calls go over
// the WebSocket `/connect_client`, or, where no WebSocket gets through, by polling `/polled_connections`.

/** How long a WebSocket may take to open before polling is tried. */
const OPEN_MS = 10_000;
/** The shortest and the longest pause between two polls; silence doubles it. */
const SHORTEST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 60_000;

/** The device that the page is for: `?deviceId=ID`, or the ID of `/devices/ID/files/…`. Null if neither. */
export function deviceId() {
  const named = new URLSearchParams(location.search).get('deviceId');
  if (named !== null) return named;
  const match = /^\/devices\/([^/]+)\/files(\/|$)/.exec(location.pathname);
  if (!match) return null;
  try {
    return decodeURIComponent(match[1]);
  } catch {
    return match[1];
  }
}

/**
 * A way to one device:
 * - `onDeviceMsg(callback)`: who gets the device's messages; set it before `requestDevice`;
 * - `requestDevice(deviceId)`: resolves to `{deviceInfo, infraConfig}` when the device is there, which
 *   may take until it registers; rejects when the server refuses or can't be reached;
 * - `sendToDevice(message)`: resolves when the message is on its way;
 * - `expectMessagesSoon(milliseconds)`: poll often for a while, where there is polling.
 */
export function createConnector() {
  return new Connector();
}

/** The way to a page that holds this one in a frame. */
export function createParentController() {
  return new ParentController();
}

class Connector {
  #callback = () => {};
  #requested = false;
  #line = null;
  #soonUntil = 0;

  onDeviceMsg(callback) {
    this.#callback = callback;
  }

  async requestDevice(deviceId) {
    if (this.#requested) throw new Error('A device was requested already.');
    this.#requested = true;
    const deliver = (message) => this.#callback(message);
    const line = (await SocketLine.open(deliver)) ?? new PollingLine(deliver);
    line.expectSoon(this.#soonUntil);
    const found = await line.request(deviceId);
    this.#line = line;
    return found;
  }

  async sendToDevice(message) {
    if (!this.#line) throw new Error('There is no device yet.');
    return this.#line.send(message);
  }

  expectMessagesSoon(milliseconds) {
    this.#soonUntil = performance.now() + milliseconds;
    this.#line?.expectSoon(this.#soonUntil);
  }
}

/** The call over a WebSocket. */
class SocketLine {
  #socket;
  #deliver;
  #config = {};
  #found = null;
  #refused = null;

  /** A line whose WebSocket is open, or null when none can be opened. */
  static open(deliver) {
    const url = new URL('/connect_client', location.href);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    return new Promise((resolve) => {
      const socket = new WebSocket(url);
      const timer = setTimeout(() => socket.close(), OPEN_MS);
      socket.onopen = () => {
        clearTimeout(timer);
        resolve(new SocketLine(socket, deliver));
      };
      socket.onclose = () => {
        clearTimeout(timer);
        resolve(null);
      };
    });
  }

  constructor(socket, deliver) {
    this.#socket = socket;
    this.#deliver = deliver;
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    socket.onclose = () => this.#refused?.(new Error('The connection to the server was lost.'));
  }

  request(deviceId) {
    return new Promise((resolve, reject) => {
      this.#found = resolve;
      this.#refused = reject;
      this.#write({ message_type: 'connect', device_id: deviceId });
    });
  }

  send(payload) {
    this.#write({ message_type: 'forward', payload });
  }

  /** Messages come by themselves. */
  expectSoon() {}

  #write(message) {
    if (this.#socket.readyState !== WebSocket.OPEN) throw new Error('The connection to the server was lost.');
    this.#socket.send(JSON.stringify(message));
  }

  #receive(message) {
    if (message.error) {
      console.warn('The server says:', message.error);
      this.#refused?.(new Error(message.error));
      return;
    }
    switch (message.message_type) {
      case 'config':
        this.#config = message;
        break;
      case 'device_info':
        this.#found?.({ deviceInfo: message.device_info, infraConfig: this.#config });
        break;
      case 'device_msg':
        this.#deliver(message.payload);
        break;
      default:
        console.warn('Unknown message type of the server:', message.message_type);
    }
  }
}

/** The call by HTTP requests, with pauses in between. */
class PollingLine {
  #deliver;
  #url = null;
  #received = 0;
  #pause = SHORTEST_PAUSE_MS;
  #soonUntil = 0;
  #wake = () => {};

  constructor(deliver) {
    this.#deliver = deliver;
  }

  async request(deviceId) {
    const infraConfig = await askJson('/infra_config');
    const { connection_id: id, device_info: deviceInfo } = await askJson('/polled_connections', { device_id: deviceId });
    this.#url = `/polled_connections/${encodeURIComponent(id)}`;
    this.#poll();
    return { deviceInfo, infraConfig };
  }

  async send(payload) {
    await askJson(`${this.#url}/:forward`, { payload });
    // Whoever speaks expects an answer.
    this.#pause = SHORTEST_PAUSE_MS;
    this.#wake();
  }

  expectSoon(until) {
    this.#soonUntil = until;
    this.#wake();
  }

  async #poll() {
    for (;;) {
      let messages;
      try {
        messages = await askJson(`${this.#url}/messages?start=${this.#received}`);
      } catch (error) {
        if (error.status === 404) {
          console.warn('The device or this call is gone; no more messages.');
          return;
        }
        messages = [];
      }
      this.#received += messages.length;
      for (const message of messages) this.#deliver(message.payload);
      await this.#rest(messages.length > 0);
    }
  }

  /** Waits until the next poll is due. */
  async #rest(gotSome) {
    const soon = performance.now() < this.#soonUntil;
    this.#pause = gotSome || soon ? SHORTEST_PAUSE_MS : Math.min(this.#pause * 2, LONGEST_PAUSE_MS);
    await new Promise((resolve) => {
      this.#wake = resolve;
      setTimeout(resolve, this.#pause);
    });
  }
}

/** A JSON request: POST with a body, GET without. Rejects with the server's words on an HTTP error. */
async function askJson(path, body) {
  const response = await fetch(path, body && {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!response.ok) {
    const error = new Error(`${path}: ${response.status} ${await response.text()}`);
    error.status = response.status;
    throw error;
  }
  return response.json();
}

class ParentController {
  /** A message that tells the framing page which displays there are, and how they are turned. */
  createDeviceDisplaysMessage(rotation) {
    return new DeviceDisplaysMessage(this, rotation);
  }

  /** Posts to the framing page; does nothing where there is none. */
  postMessageToParent(type, payload) {
    // Any page may frame this one: what is posted is no secret, and the frame's origin isn't known.
    if (window.parent !== window) window.parent.postMessage({ type, payload }, '*');
  }
}

/** The displays of a device, for the framing page. */
export class DeviceDisplaysMessage {
  #controller;
  #rotation;
  #displays = [];

  constructor(controller, rotation) {
    this.#controller = controller;
    this.#rotation = rotation;
  }

  addDisplay(displayId, width, height) {
    this.#displays.push({ display_id: displayId, width, height });
  }

  send() {
    this.#controller.postMessageToParent('displays_info', {
      device_id: deviceId(),
      rotation: this.#rotation,
      displays: this.#displays,
    });
  }
}
