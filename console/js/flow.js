// One way of media between this page and a room's server: what it sends, or what one participant sends.

import { diagnose, Watch } from './diagnosis.js';
import { peerConnection, refusedServers } from './ice.js';

/** How long ICE and DTLS may take, from when both descriptions are there. */
const CONNECT_MS = 25_000;
/** Candidates that wait for the server's description; more are dropped. */
const MOST_EARLY_CANDIDATES = 256;
/** The layers of a publisher that sends in three sizes: the smallest first. */
const LAYERS = [
  { rid: 'q', scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: 'h', scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: 'f', scaleResolutionDownBy: 1, maxBitrate: 2_500_000 },
];

/**
 * One peer connection to the server, for one direction; the page offers.
 *
 * `handlers`:
 * - `negotiate(sdpOffer)`: asks the server for its answer; gives a promise of its SDP;
 * - `candidate(candidate)`: one of this browser's, for the server;
 * - `state(state)`: `negotiating`, `connecting`, `live`, `interrupted`;
 * - `media(stream)`: what comes, with every track;
 * - `late({what, tried, advice})`: why media takes so long; `null` when it comes after all;
 * - `failed({error, code, what, tried, advice})`: the end, once. Not called after `close()`.
 */
class Flow {
  #peer;
  #watcher;
  #iceServers;
  #handlers;
  #incoming = new MediaStream();
  #earlyCandidates = [];
  #timer = 0;
  #over = false;

  constructor(iceServers, handlers) {
    this.#iceServers = iceServers;
    this.#handlers = handlers;
    this.#peer = peerConnection(iceServers, refusedServers);
    this.#watch();
    this.#watcher = new Watch(this.#peer, iceServers, 'the server', (found) => handlers.late(found));
  }

  /** The peer connection, for statistics. */
  get peer() {
    return this.#peer;
  }

  /** Takes a candidate of the server's. */
  async takeCandidate({ candidate, sdpMid, sdpMLineIndex }) {
    if (this.#over) return;
    if (!this.#peer.remoteDescription) {
      if (this.#earlyCandidates.length < MOST_EARLY_CANDIDATES) this.#earlyCandidates.push({ candidate, sdpMid, sdpMLineIndex });
      return;
    }
    try {
      await this.#peer.addIceCandidate({ candidate, sdpMid, sdpMLineIndex });
    } catch (error) {
      console.warn('A candidate of the server was refused:', error.message);
    }
  }

  /** Ends it, silently. */
  close() {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#watcher.stop();
    this.#peer.close();
  }

  /** Offers, and takes the answer. */
  async start() {
    this.#handlers.state('negotiating');
    try {
      await this.#peer.setLocalDescription(await this.#peer.createOffer());
      const sdp = await this.#handlers.negotiate(this.#peer.localDescription.sdp);
      if (this.#over) return;
      await this.#peer.setRemoteDescription({ type: 'answer', sdp });
      for (const candidate of this.#earlyCandidates.splice(0)) await this.takeCandidate(candidate);
    } catch (error) {
      this.#end({ error: error.message.replace(/^Failed to execute .*?: /, ''), code: error.code ?? null });
      return;
    }
    if (this.#over || this.#peer.connectionState === 'connected') return;
    this.#handlers.state('connecting');
    this.#timer = setTimeout(() => this.#fail(), CONNECT_MS);
  }

  #watch() {
    const peer = this.#peer;
    peer.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate) this.#handlers.candidate(candidate.toJSON());
    };
    peer.ontrack = ({ track }) => {
      this.#incoming.addTrack(track);
      this.#handlers.media(this.#incoming);
    };
    peer.onconnectionstatechange = () => {
      if (this.#over) return;
      if (peer.connectionState === 'connected') {
        clearTimeout(this.#timer);
        this.#handlers.state('live');
      } else if (peer.connectionState === 'disconnected') {
        this.#handlers.state('interrupted');
      } else if (peer.connectionState === 'failed') {
        this.#fail();
      }
    };
  }

  async #fail() {
    const found = await diagnose(this.#peer, this.#iceServers, 'the server').catch(() => ({}));
    this.#end(found);
  }

  #end(details) {
    if (this.#over) return;
    this.close();
    this.#handlers.failed(details);
  }
}

/** Sends a stream's tracks; with `simulcast`, the picture in three sizes. */
export function sending(stream, simulcast, iceServers, handlers) {
  const flow = new Flow(iceServers, { media: () => {}, ...handlers });
  for (const track of stream.getTracks()) {
    const sendEncodings = simulcast && track.kind === 'video' ? LAYERS : undefined;
    flow.peer.addTransceiver(track, { direction: 'sendonly', streams: [stream], sendEncodings });
  }
  flow.start();
  return flow;
}

/** Receives what one participant sends. */
export function receiving(iceServers, handlers) {
  const flow = new Flow(iceServers, handlers);
  for (const kind of ['audio', 'video']) flow.peer.addTransceiver(kind, { direction: 'recvonly' });
  flow.start();
  return flow;
}
