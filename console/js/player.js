// One device's media: signaling, the peer connection, and its data channels.

import { diagnose, Watch } from './diagnosis.js';
import { peerConnection } from './ice.js';
import { Signaling } from './signaling.js';

/**
 * The channels that a Cuttlefish client opens. This page writes to the first only; devices made for
 * the original page may wait for any of them.
 */
const CLIENT_CHANNELS = [
  'input-channel',
  'adb-channel',
  'bluetooth-channel',
  'location-channel',
  'kml-locations-channel',
  'gpx-locations-channel',
  'sensors-channel',
  'lights-channel',
  'camera-data-channel',
];
/** How long the device may take to offer before the page says that it takes long. */
const SLOW_OFFER_MS = 8_000;
/** How long ICE and DTLS may take. */
const CONNECT_MS = 25_000;
/** How long an interruption may last before an ICE restart. */
const RESTART_AFTER_MS = 2_500;
/** How long the device may take to answer an offer of ours. */
const ANSWER_MS = 10_000;
/** Candidates that wait for the device's description; more are dropped. */
const MOST_EARLY_CANDIDATES = 256;

/**
 * Plays one device.
 *
 * `handlers`:
 * - `state(state)`: `calling`, `waiting` (for the device to register), `negotiating`, `slow` (no
 *   offer yet), `connecting`, `live`, `interrupted`;
 * - `ended({reason, error, tried, advice})`: the end, once; `reason` is `unreachable` (no WebSocket),
 *   `refused` (by the server, before the device was there), `hung-up` (signaling ended before media
 *   came), `failed` (media never came), `lost` (media came and went);
 * - `signalingLost(error)`: media goes on without signaling;
 * - `deviceInfo(info)`, `display(id, stream)`, `displayGone(id)`, `sound(id, stream)`, `soundGone(id)`;
 * - `controlOpen()`, `control(event)`: the `device-control` channel;
 * - `problem(text)`: worth a word, but not the end.
 */
export class Player {
  #handlers;
  #signaling;
  #peer = null;
  #channels = new Map();
  #control = null;
  #iceServers = [];
  #soundNames = [];
  #earlyCandidates = [];
  #work = Promise.resolve();
  #answered = null;
  #watcher = null;
  #microphone = null;
  #timers = new Map();
  #deviceFound = false;
  #wasLive = false;
  #over = false;
  /** Whether the device takes no input; it isn't sent then. */
  viewOnly = false;
  /** `performance.now()` when the WebSocket opened. */
  openedAt = null;

  constructor(deviceId, handlers) {
    this.#handlers = handlers;
    handlers.state('calling');
    this.#signaling = new Signaling(deviceId, {
      opened: () => (this.openedAt = performance.now()),
      config: (config) => this.#configured(config),
      deviceInfo: (info) => this.#found(info),
      payload: (payload) => this.#receive(payload),
      closed: (end) => this.#signalingClosed(end),
    });
  }

  /** The peer connection, for statistics. Null until the server sent its configuration. */
  get peer() {
    return this.#peer;
  }

  /** Whether a microphone can be used here: a secure page, and a device that has an audio line. */
  get canTalk() {
    return Boolean(navigator.mediaDevices?.getUserMedia) && this.#audioLine() !== undefined;
  }

  /** Sends an input event. Dropped while the channel isn't open. */
  sendInput(message) {
    if (!this.viewOnly) this.#sendOn(this.#channels.get('input-channel'), message);
  }

  /** Sends a command to the device. Dropped while the channel isn't open. */
  sendControl(message) {
    this.#sendOn(this.#control, message);
  }

  /** Turns the microphone on or off. Rejects with an explanation when that isn't possible. */
  async setMicrophone(on) {
    if (!on) {
      this.#releaseMicrophone();
      await this.#audioLine()?.sender.replaceTrack(null);
      return;
    }
    const media = await navigator.mediaDevices.getUserMedia({ audio: true });
    if (this.#over) return stopAll(media);
    this.#microphone = media;
    try {
      await this.#openAudioLine();
      await this.#audioLine().sender.replaceTrack(media.getAudioTracks()[0]);
    } catch (error) {
      this.#releaseMicrophone();
      throw error;
    }
  }

  /** Ends everything, silently. */
  stop() {
    this.#over = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#releaseMicrophone();
    this.#signaling.close();
    this.#watcher?.stop();
    this.#peer?.close();
  }

  // Signaling ------------------------------------------------------------------------------------

  #configured(config) {
    if (Array.isArray(config.ice_servers)) this.#iceServers = config.ice_servers;
    this.#peer = peerConnection(this.#iceServers, (why) =>
      this.#handlers.problem(`The ICE servers of this server cannot be used (${why}); going on without.`));
    this.#watch(this.#peer);
    this.#watcher = new Watch(this.#peer, this.#iceServers, 'the device', (found) => this.#handlers.late(found));
    this.#handlers.state('waiting');
  }

  #found(info) {
    this.#deviceFound = true;
    const named = Array.isArray(info?.audio_streams) ? info.audio_streams : [];
    this.#soundNames = named.map((stream) => stream?.stream_id);
    this.#handlers.deviceInfo(info);
    this.#handlers.state('negotiating');
    this.#after('offer', SLOW_OFFER_MS, () => this.#handlers.state('slow'));
    this.#signaling.forward({ type: 'request-offer', ice_servers: this.#iceServers });
  }

  #receive(payload) {
    switch (payload?.type) {
      case 'offer':
        this.#inOrder(() => this.#answer(payload.sdp));
        break;
      case 'answer':
        this.#inOrder(() => this.#takeAnswer(payload.sdp));
        break;
      case 'ice-candidate':
        this.#inOrder(() => this.#takeCandidate(candidateOf(payload)));
        break;
      case 'error':
        this.#handlers.problem(`The device reports: ${payload.error}`);
        break;
      default:
        console.warn('Unknown payload of the device:', payload?.type);
    }
  }

  #signalingClosed({ error, opened }) {
    if (this.#peer?.connectionState === 'connected') {
      this.#handlers.signalingLost(error);
    } else if (this.#wasLive) {
      this.#end('lost', { error });
    } else if (!opened) {
      this.#end('unreachable', { error });
    } else {
      this.#end(this.#deviceFound ? 'hung-up' : 'refused', { error });
    }
  }

  // Negotiation ----------------------------------------------------------------------------------

  async #answer(sdp) {
    this.#cancel('offer');
    const peer = this.#peer;
    const glare = peer.signalingState === 'have-local-offer';
    // With an offer of ours under way this rolls it back: the device's goes first.
    await peer.setRemoteDescription({ type: 'offer', sdp });
    await this.#flushCandidates();
    // Ready for the microphone from the start: later it needs a track only, and no negotiation. A
    // device that takes no sound says so in its offer, which the answer respects.
    const line = this.#audioLine();
    if (line && this.canTalk) line.direction = 'sendrecv';
    await peer.setLocalDescription(await peer.createAnswer());
    this.#signaling.forward({ type: 'answer', sdp: peer.localDescription.sdp });
    if (!this.#wasLive) {
      this.#handlers.state('connecting');
      this.#after('connect', CONNECT_MS, () => this.#fail('failed'));
    }
    if (glare) await this.#sendOffer();
  }

  /** Offers, and waits until the device's answer is in place. */
  async #offer(options) {
    const answered = new Promise((resolve, reject) => (this.#answered = { resolve, reject }));
    this.#after('answer', ANSWER_MS, () => this.#answered?.reject(new Error('The device did not answer.')));
    this.#inOrder(() => this.#sendOffer(options));
    try {
      await answered;
    } finally {
      this.#cancel('answer');
      this.#answered = null;
    }
  }

  async #sendOffer(options) {
    const peer = this.#peer;
    await peer.setLocalDescription(await peer.createOffer(options));
    if (!this.#signaling.forward({ type: 'offer', sdp: peer.localDescription.sdp })) {
      this.#answered?.reject(new Error('The connection to the server is lost. Reconnect first.'));
    }
  }

  async #takeAnswer(sdp) {
    if (this.#peer.signalingState !== 'have-local-offer') return;
    await this.#peer.setRemoteDescription({ type: 'answer', sdp });
    this.#answered?.resolve();
  }

  async #takeCandidate(candidate) {
    if (!this.#peer.remoteDescription) {
      if (this.#earlyCandidates.length < MOST_EARLY_CANDIDATES) this.#earlyCandidates.push(candidate);
      return;
    }
    try {
      await this.#peer.addIceCandidate(candidate);
    } catch (error) {
      console.warn('A candidate of the device was refused:', error.message);
    }
  }

  async #flushCandidates() {
    for (const candidate of this.#earlyCandidates.splice(0)) await this.#takeCandidate(candidate);
  }

  /** Runs the steps of negotiation one after the other. */
  #inOrder(step) {
    this.#work = this.#work.then(async () => {
      if (this.#over || !this.#peer) return;
      try {
        await step();
      } catch (error) {
        if (this.#over) return;
        this.#answered?.reject(error);
        if (this.#wasLive) this.#handlers.problem(`The negotiation failed: ${error.message}`);
        else this.#end('failed', { error: error.message });
      }
    });
  }

  // The peer connection --------------------------------------------------------------------------

  #watch(peer) {
    for (const label of CLIENT_CHANNELS) this.#channels.set(label, peer.createDataChannel(label));
    peer.ondatachannel = ({ channel }) => {
      if (channel.label === 'device-control') this.#watchControl(channel);
    };
    peer.onicecandidate = ({ candidate }) => {
      // The end of candidates is never sent in this protocol.
      if (candidate?.candidate) this.#signaling.forward({ type: 'ice-candidate', candidate: candidate.toJSON() });
    };
    peer.ontrack = ({ track, streams, receiver }) => this.#takeTrack(track, streams[0], receiver);
    peer.onconnectionstatechange = () => this.#connectionChanged(peer.connectionState);
  }

  #connectionChanged(state) {
    if (this.#over) return;
    switch (state) {
      case 'connected':
        this.#cancel('connect');
        this.#cancel('restart');
        this.#wasLive = true;
        this.#handlers.state('live');
        break;
      case 'disconnected':
        if (!this.#signaling.isOpen) return this.#end('lost', {});
        this.#handlers.state('interrupted');
        this.#after('restart', RESTART_AFTER_MS, () => this.#offer({ iceRestart: true }).catch(() => {}));
        break;
      case 'failed':
        this.#fail(this.#wasLive ? 'lost' : 'failed');
        break;
      case 'closed':
        this.#end('lost', {});
    }
  }

  #takeTrack(track, given, receiver) {
    const stream = given ?? new MediaStream([track]);
    const id = stream.id;
    if (track.kind === 'video') {
      playAtOnce(receiver);
      this.#handlers.display(id, stream);
    } else if (this.#soundNames.length === 0 || this.#soundNames.includes(id)) {
      this.#handlers.sound(id, new MediaStream([track]));
    }
    stream.addEventListener('removetrack', (event) => {
      if (event.track !== track) return;
      if (track.kind === 'video') this.#handlers.displayGone(id);
      else this.#handlers.soundGone(id);
    });
  }

  #watchControl(channel) {
    this.#control = channel;
    channel.onopen = () => this.#handlers.controlOpen();
    channel.onmessage = ({ data }) => {
      try {
        this.#handlers.control(JSON.parse(data));
      } catch {
        console.warn('The device sent an event that is not JSON.');
      }
    };
    channel.onclose = () => {
      // The device said goodbye in good order; no need to wait until ICE notices.
      if (this.#wasLive && !this.#signaling.isOpen) this.#end('lost', {});
    };
  }

  /** Makes the audio line carry sound to the device, where the device's first offer didn't. */
  async #openAudioLine() {
    const line = this.#audioLine();
    if (!line) throw new Error('This device has no sound.');
    if (line.currentDirection.includes('send')) return;
    line.direction = 'sendrecv';
    await this.#offer();
    if (!line.currentDirection.includes('send')) throw new Error('This device does not take sound.');
  }

  #audioLine() {
    return this.#peer?.getTransceivers().find((line) => line.receiver.track.kind === 'audio' && !line.stopped);
  }

  #releaseMicrophone() {
    stopAll(this.#microphone);
    this.#microphone = null;
  }

  #sendOn(channel, message) {
    if (channel?.readyState === 'open') channel.send(JSON.stringify(message));
  }

  // Ends -----------------------------------------------------------------------------------------

  async #fail(reason) {
    const found = await diagnose(this.#peer, this.#iceServers).catch(() => ({}));
    this.#end(reason, found);
  }

  #end(reason, details) {
    if (this.#over) return;
    this.stop();
    this.#handlers.ended({ reason, ...details });
  }

  #after(name, milliseconds, action) {
    this.#cancel(name);
    this.#timers.set(name, setTimeout(() => {
      this.#timers.delete(name);
      if (!this.#over) action();
    }, milliseconds));
  }

  #cancel(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }
}

/** Both shapes of a candidate: the devices' flat one, and the browsers' nested one. */
function candidateOf(payload) {
  if (payload.candidate !== null && typeof payload.candidate === 'object') return payload.candidate;
  return { candidate: payload.candidate, sdpMid: payload.mid, sdpMLineIndex: payload.mLineIndex };
}

/** Asks for as little buffering as the browser allows: a late frame is better than an old one. */
function playAtOnce(receiver) {
  if ('jitterBufferTarget' in receiver) receiver.jitterBufferTarget = 0;
  if ('playoutDelayHint' in receiver) receiver.playoutDelayHint = 0;
}

function stopAll(media) {
  for (const track of media?.getTracks() ?? []) track.stop();
}
