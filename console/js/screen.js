// The screen of this machine in a room, as a participant of its own.

import { sending } from './flow.js';
import { RoomSession } from './kurento.js';

/** Enough for text that is read. */
const PICTURE = { video: { frameRate: { max: 15 } }, audio: false };

/** Whether this browser can share its screen. */
export const canShareScreen = () => Boolean(navigator.mediaDevices?.getDisplayMedia);

/**
 * Shares the screen in a room under a name, from `start()` until `close()`, or until the user ends it
 * with the browser's own button.
 *
 * `handlers`: `shared(on)`: it begins, or has ended; `failed(error)`: it ended for a reason.
 */
export class ScreenShare {
  #room;
  #iceServers;
  #handlers;
  #session = null;
  #flow = null;
  #over = false;
  name;
  /** What is shared, once the user has chosen. */
  stream = null;

  constructor(room, name, iceServers, handlers) {
    this.#room = room;
    this.name = name;
    this.#iceServers = iceServers;
    this.#handlers = handlers;
  }

  async start() {
    try {
      this.stream = await navigator.mediaDevices.getDisplayMedia(PICTURE);
    } catch (error) {
      // Whoever chooses nothing knows that.
      if (error.name !== 'NotAllowedError') this.#handlers.failed(error);
      this.close();
      return;
    }
    if (this.#over) return this.#stopTracks();
    this.stream.getVideoTracks()[0].onended = () => this.close();
    this.#handlers.shared(true);
    this.#session = new RoomSession({
      opened: () => this.#join(),
      event: (method, params) => this.#happened(method, params),
      away: () => {},
      resumed: () => {},
      expired: () => this.#join(),
      unreachable: () => this.#fail(new Error('the server does not answer')),
    });
  }

  close() {
    if (this.#over) return;
    this.#over = true;
    this.#session?.close();
    this.#flow?.close();
    this.#stopTracks();
    this.#handlers.shared(false);
  }

  async #join() {
    this.#flow?.close();
    try {
      await this.#session.request('joinRoom', { user: this.name, room: this.#room });
    } catch (error) {
      if (error.code !== null) this.#fail(error);
      return;
    }
    if (this.#over) return;
    this.#flow = sending(this.stream, false, this.#iceServers, {
      negotiate: async (sdpOffer) => (await this.#session.request('publishVideo', { sdpOffer, doLoopback: false })).sdpAnswer,
      candidate: ({ candidate, sdpMid, sdpMLineIndex }) => {
        const params = { endpointName: this.name, candidate, sdpMid, sdpMLineIndex };
        this.#session.request('onIceCandidate', params).catch(() => {});
      },
      state: () => {},
      failed: ({ error, advice, code }) => this.#fail(Object.assign(new Error(error ?? advice ?? 'nothing got through'), { code })),
    });
  }

  #happened(method, params) {
    if (method === 'iceCandidate' && params.endpointName === this.name) this.#flow?.takeCandidate(params);
    else if (method === 'participantEvicted' || method === 'roomClosed') this.close();
  }

  #fail(error) {
    if (this.#over) return;
    this.#handlers.failed(error);
    this.close();
  }

  #stopTracks() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
  }
}
