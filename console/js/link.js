// The media between this page and one other GStreamer peer: negotiation, tracks, text.

import { diagnose, Watch } from './diagnosis.js';
import { peerConnection, refusedServers } from './ice.js';

/** The text channel that this page opens. The other side may open others; their text counts as well. */
const CHANNEL = 'text';
/** How long the other side may take to answer before the page says that it takes long. */
const SLOW_ANSWER_MS = 8_000;
/** How long ICE and DTLS may take, from when both descriptions are there. */
const CONNECT_MS = 25_000;
/** Candidates that wait for the other side's description; more are dropped. */
const MOST_EARLY_CANDIDATES = 256;

/**
 * One connection to one peer.
 *
 * `handlers`:
 * - `send(message)`: an object for the other side, by way of the server;
 * - `state(state)`: `negotiating`, `slow` (no answer yet), `connecting`, `live`, `interrupted`;
 * - `media(stream)`: what the other side sends, with every track that comes;
 * - `text(text)`, `canWrite(can)`: the data channel;
 * - `late({what, tried, advice})`: why media takes so long; `null` when it comes after all;
 * - `failed({error, what, tried, advice})`: the end, once. Not called after `close()`.
 */
export class Link {
  #peer;
  #watcher;
  #handlers;
  #camera;
  #iceServers;
  #incoming = new MediaStream();
  #channels = new Set();
  #earlyCandidates = [];
  #work = Promise.resolve();
  #timer = 0;
  #prepared = false;
  #over = false;

  /** `camera` is the page's own media, a `MediaStream` that may be empty. */
  constructor(camera, iceServers, handlers) {
    this.#handlers = handlers;
    this.#camera = camera;
    this.#iceServers = iceServers;
    this.#peer = peerConnection(iceServers, refusedServers);
    this.#watch();
    this.#watcher = new Watch(this.#peer, iceServers, 'the other side', (found) => handlers.late(found));
    handlers.state('negotiating');
  }

  /** The peer connection, for statistics. */
  get peer() {
    return this.#peer;
  }

  /** Whether the other side sends a picture. */
  get hasVideo() {
    return this.#incoming.getVideoTracks().length > 0;
  }

  /** Whether it has ended. */
  get isOver() {
    return this.#over;
  }

  /** Offers the page's media, and asks for the other side's. */
  offer() {
    this.#inOrder(() => this.#offer());
  }

  /** Takes a text of the other side: an SDP, a candidate, or the wish for an offer. */
  receive(text) {
    if (text === 'OFFER_REQUEST') {
      this.#inOrder(() => this.#peer.signalingState === 'stable' && this.#offer());
      return;
    }
    const { sdp, ice } = parse(text);
    if (sdp?.type === 'offer') this.#inOrder(() => this.#answer(sdp));
    else if (sdp?.type === 'answer') this.#inOrder(() => this.#takeAnswer(sdp));
    else if (ice?.candidate) this.#inOrder(() => this.#takeCandidate(ice));
  }

  /** Sends a line of text. False when no channel is open. */
  write(text) {
    const channel = [...this.#channels].find((one) => one.readyState === 'open');
    channel?.send(text);
    return channel !== undefined;
  }

  /** Ends it, silently. */
  close() {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#watcher.stop();
    this.#peer.close();
  }

  // Negotiation ----------------------------------------------------------------------------------

  async #offer() {
    if (!this.#prepared) this.#watchChannel(this.#peer.createDataChannel(CHANNEL));
    this.#addTracks();
    for (const kind of ['audio', 'video']) {
      const has = this.#peer.getTransceivers().some((line) => line.receiver.track.kind === kind);
      if (!has) this.#peer.addTransceiver(kind, { direction: 'recvonly' });
    }
    await this.#peer.setLocalDescription(await this.#peer.createOffer());
    this.#sendDescription();
    this.#after(SLOW_ANSWER_MS, () => this.#handlers.state('slow'));
  }

  async #answer(description) {
    // With an offer of ours under way this rolls it back: the other side's goes first, as programs
    // that aren't browsers can't take theirs back.
    this.#addTracks();
    await this.#peer.setRemoteDescription(description);
    await this.#flushCandidates();
    await this.#peer.setLocalDescription(await this.#peer.createAnswer());
    this.#sendDescription();
    this.#nowConnecting();
  }

  async #takeAnswer(description) {
    if (this.#peer.signalingState !== 'have-local-offer') return;
    await this.#peer.setRemoteDescription(description);
    await this.#flushCandidates();
    this.#nowConnecting();
  }

  async #takeCandidate({ candidate, sdpMid, sdpMLineIndex }) {
    if (!this.#peer.remoteDescription) {
      if (this.#earlyCandidates.length < MOST_EARLY_CANDIDATES) this.#earlyCandidates.push({ candidate, sdpMid, sdpMLineIndex });
      return;
    }
    try {
      await this.#peer.addIceCandidate({ candidate, sdpMid, sdpMLineIndex });
    } catch (error) {
      console.warn('A candidate of the other side was refused:', error.message);
    }
  }

  async #flushCandidates() {
    for (const candidate of this.#earlyCandidates.splice(0)) await this.#takeCandidate(candidate);
  }

  #sendDescription() {
    const { type, sdp } = this.#peer.localDescription;
    this.#handlers.send({ sdp: { type, sdp } });
  }

  #nowConnecting() {
    clearTimeout(this.#timer);
    if (this.#peer.connectionState === 'connected') return;
    this.#handlers.state('connecting');
    this.#after(CONNECT_MS, () => this.#fail());
  }

  #addTracks() {
    if (this.#prepared) return;
    this.#prepared = true;
    for (const track of this.#camera.getTracks()) this.#peer.addTrack(track, this.#camera);
  }

  /** Runs the steps of negotiation one after the other. */
  #inOrder(step) {
    this.#work = this.#work.then(async () => {
      if (this.#over) return;
      try {
        await step();
      } catch (error) {
        // The browser's own words, without the names of its functions.
        this.#end({ error: error.message.replace(/^Failed to execute .*?: /, '') });
      }
    });
  }

  // The peer connection --------------------------------------------------------------------------

  #watch() {
    const peer = this.#peer;
    peer.onicecandidate = ({ candidate }) => {
      // The end of candidates is never sent in this protocol.
      if (candidate?.candidate) this.#handlers.send({ ice: candidate.toJSON() });
    };
    peer.ontrack = ({ track }) => {
      this.#incoming.addTrack(track);
      this.#handlers.media(this.#incoming);
    };
    peer.ondatachannel = ({ channel }) => this.#watchChannel(channel);
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

  #watchChannel(channel) {
    this.#channels.add(channel);
    const tell = () => this.#over || this.#handlers.canWrite?.([...this.#channels].some((one) => one.readyState === 'open'));
    channel.onopen = tell;
    channel.onclose = () => {
      this.#channels.delete(channel);
      tell();
    };
    channel.onmessage = ({ data }) => {
      if (typeof data === 'string') this.#handlers.text?.(data);
    };
  }

  async #fail() {
    const found = await diagnose(this.#peer, this.#iceServers, 'the other side').catch(() => ({}));
    this.#end(found);
  }

  #end(details) {
    if (this.#over) return;
    this.close();
    this.#handlers.failed(details);
  }

  #after(milliseconds, action) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(action, milliseconds);
  }
}

/** A message as an object; empty for anything else, which this dialect ignores. */
function parse(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}
