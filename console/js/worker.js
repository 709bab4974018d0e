// A worker on a gecko: one WebSocket to `/` until it is there, then a peer connection with its channels.

import { openSocket } from './access.js';
import { diagnose, Watch } from './diagnosis.js';
import { peerConnection, refusedServers } from './ice.js';

/** The channel to the worker, and the one on which its gecko tells of it. */
const CHANNEL = 'worker';
const CONTROL = 'control';
/** The protocol under which each text is one value as JSON. Under any other, text and bytes pass as they are. */
export const JSON_PROTOCOL = 'rws.v1';
/** How long ICE and DTLS may take, from when both descriptions are there. */
const CONNECT_MS = 25_000;
/** Candidates that wait for the gecko's description; more are dropped. */
const MOST_EARLY_CANDIDATES = 256;
/** Bytes that may wait for the way to the worker; beyond, sending is refused. */
const MOST_WAITING_BYTES = 8 * 1024 * 1024;

/** The close code with which the server refuses a message that is too large, and the errno for it. */
const TOO_LARGE = 1009;
const TOO_LARGE_ERRNO = 413;

/**
 * One worker, from the demand for it to its end.
 *
 * `wish`: `source` (the script's URL, or `pipeline:NAME`), `token`, `protocol` (`JSON_PROTOCOL` or
 * empty), `talks` (whether a script runs that can be talked with), `kinds` (of media to receive:
 * `video`, `audio`), `iceServers`.
 *
 * `handlers`:
 * - `state(state)`: `asking` (the server), `starting` (a gecko fetches and runs the script),
 *   `connecting`, `running`, `interrupted`;
 * - `id(id)`: the worker's, when it was created;
 * - `message(data)`: a text or an `ArrayBuffer` of the worker;
 * - `control(text)`: what the gecko tells of it;
 * - `media(stream)`: what the gecko plays;
 * - `late({what, tried, advice})`: why media takes so long; `null` when it comes after all;
 * - `ended({why, errno, reason, what, tried, advice})`: the end, once. `why` is `refused` (with the errno),
 *   `unreachable` (no WebSocket), `lost` (the server's end, before the worker was there), `failed` (no
 *   connection to the gecko), `over` (the worker has ended). Not called after `stop()`.
 */
export class RemoteWorker {
  #wish;
  #handlers;
  #socket;
  #peer;
  #watcher;
  #channel = null;
  #incoming = new MediaStream();
  #earlyCandidates = [];
  #work = Promise.resolve();
  #timer = 0;
  #opened = false;
  #isRunning = false;
  #over = false;

  constructor(wish, handlers) {
    this.#wish = wish;
    this.#handlers = handlers;
    this.#peer = peerConnection(wish.iceServers, refusedServers);
    this.#watcher = new Watch(this.#peer, wish.iceServers, 'the gecko', (found) => handlers.late(found));
    this.#prepare();
    handlers.state('asking');
    this.#socket = openSocket('/');
    this.#socket.onopen = () => {
      this.#opened = true;
      this.#inOrder(() => this.#sayHello());
    };
    this.#socket.onmessage = ({ data }) => this.#receive(data);
    this.#socket.onclose = ({ code, reason }) => this.#signalingClosed(code, reason);
  }

  /** The peer connection, for statistics. */
  get peer() {
    return this.#peer;
  }

  /** Sends a text or bytes to the worker. Gives what is wrong, or null. */
  send(data) {
    if (this.#channel?.readyState !== 'open') return 'the worker is not there';
    if (this.#channel.bufferedAmount > MOST_WAITING_BYTES) return 'too much is on its way already';
    try {
      this.#channel.send(data);
      return null;
    } catch (error) {
      return plain(error);
    }
  }

  /** Ends it, silently: the gecko ends the worker with its connection. */
  stop() {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#watcher.stop();
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#channel?.close();
    this.#peer.close();
  }

  // Signaling ------------------------------------------------------------------------------------

  async #sayHello() {
    await this.#peer.setLocalDescription(await this.#peer.createOffer());
    this.#say({
      messageType: 'hello',
      action: 'client-hello',
      authorization: `Bearer ${this.#wish.token}`,
      source: this.#wish.source,
      webrtcOffer: this.#peer.localDescription.sdp,
    });
    this.#handlers.state('starting');
  }

  #say(message) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #receive(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      console.warn('The server sent something that is not JSON.');
      return;
    }
    switch (message?.messageType) {
      case 'hello':
        this.#handlers.id(message.workerId);
        this.#inOrder(() => this.#takeAnswer(message.webrtcAnswer));
        break;
      case 'ice':
        this.#inOrder(() => this.#takeCandidate(message.candidate));
        break;
      case 'worker-error':
        this.#end({ why: 'refused', errno: Number(message.errno), reason: message.reason });
        break;
      case 'progress':
        // Servers that speak to clients of the old kind say every error so.
        this.#end({ why: 'refused', errno: null, reason: message.reason });
        break;
      case 'connected':
        // The server closes now; the worker goes on without it.
        break;
      default:
        console.warn('Unknown message type of the server:', message?.messageType);
    }
  }

  async #takeAnswer(sdp) {
    await this.#peer.setRemoteDescription({ type: 'answer', sdp });
    for (const candidate of this.#earlyCandidates.splice(0)) await this.#takeCandidate(candidate);
    if (this.#isRunning) return;
    this.#handlers.state('connecting');
    this.#timer = setTimeout(() => this.#fail(), CONNECT_MS);
  }

  async #takeCandidate(candidate) {
    if (!candidate?.candidate) return;
    if (!this.#peer.remoteDescription) {
      if (this.#earlyCandidates.length < MOST_EARLY_CANDIDATES) this.#earlyCandidates.push(candidate);
      return;
    }
    try {
      // An empty `sdpMid`, as in the protocol's own example, stands for none.
      await this.#peer.addIceCandidate({ ...candidate, sdpMid: candidate.sdpMid || null, sdpMLineIndex: candidate.sdpMLineIndex ?? 0 });
    } catch (error) {
      console.warn('A candidate of the gecko was refused:', error.message);
    }
  }

  #signalingClosed(code, reason) {
    if (this.#over || this.#isRunning) return;
    // After the answer the peer connection decides: the server may have gone, and the gecko not.
    if (this.#peer.remoteDescription) return;
    if (code === TOO_LARGE) this.#end({ why: 'refused', errno: TOO_LARGE_ERRNO, reason });
    else this.#end({ why: this.#opened ? 'lost' : 'unreachable', reason });
  }

  /** Runs the steps of negotiation one after the other. */
  #inOrder(step) {
    this.#work = this.#work.then(async () => {
      if (this.#over) return;
      try {
        await step();
      } catch (error) {
        this.#end({ why: 'failed', reason: plain(error) });
      }
    });
  }

  // The peer connection --------------------------------------------------------------------------

  #prepare() {
    const peer = this.#peer;
    for (const kind of this.#wish.kinds) peer.addTransceiver(kind, { direction: 'recvonly' });
    if (this.#wish.talks) this.#openChannels();
    peer.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate) this.#say({ messageType: 'ice', action: 'client-candidate', candidate: candidate.toJSON() });
    };
    peer.ontrack = ({ track }) => {
      this.#incoming.addTrack(track);
      this.#handlers.media(this.#incoming);
    };
    peer.onconnectionstatechange = () => this.#connectionChanged();
  }

  #openChannels() {
    const protocol = this.#wish.protocol;
    this.#channel = this.#peer.createDataChannel(CHANNEL, { protocol });
    this.#channel.binaryType = 'arraybuffer';
    this.#channel.onopen = () => this.#run();
    this.#channel.onmessage = ({ data }) => this.#handlers.message(data);
    this.#channel.onclose = () => this.#end({ why: this.#isRunning ? 'over' : 'failed' });
    const control = this.#peer.createDataChannel(CONTROL);
    control.onmessage = ({ data }) => {
      if (typeof data === 'string') this.#handlers.control(data);
    };
  }

  #connectionChanged() {
    const state = this.#peer.connectionState;
    if (this.#over) return;
    if (state === 'connected' && (!this.#channel || this.#isRunning)) this.#run();
    else if (state === 'disconnected') this.#handlers.state('interrupted');
    else if (state === 'failed') this.#fail();
    else if (state === 'closed') this.#end({ why: 'over' });
  }

  #run() {
    if (this.#over) return;
    this.#isRunning = true;
    clearTimeout(this.#timer);
    this.#handlers.state('running');
  }

  async #fail() {
    const found = await diagnose(this.#peer, this.#wish.iceServers, 'the gecko').catch(() => ({}));
    this.#end({ why: 'failed', ...found });
  }

  #end(details) {
    if (this.#over) return;
    this.stop();
    this.#handlers.ended(details);
  }
}

/** The browser's own words, without the names of its functions. */
const plain = (error) => error.message.replace(/^Failed to execute .*?: /, '');
