// What the connection does: numbers for people, once a second.

import { bitrate, milliseconds } from './format.js';

/** Reads a peer connection's statistics and remembers what rates need. */
export class Meter {
  #before = null;
  #sentBefore = new Map();

  /**
   * The present numbers of all displays together:
   * `{codec, width, height, fps, bitsPerSecond, roundTripMs, bufferMs, lost, path, sentBytes}`; a
   * number that isn't known yet is null. `sentBytes` is the microphone's.
   */
  async read(peer) {
    const stats = await peer.getStats();
    const entries = [...stats.values()];
    const videos = entries.filter((entry) => entry.type === 'inbound-rtp' && entry.kind === 'video');
    const pair = activePair(stats, entries);
    const now = {
      at: performance.now(),
      bytes: sum(entries.filter((entry) => entry.type === 'inbound-rtp'), 'bytesReceived'),
      delay: sum(videos, 'jitterBufferDelay'),
      emitted: sum(videos, 'jitterBufferEmittedCount'),
    };
    const rates = this.#rates(now);
    const first = videos[0];
    return {
      codec: stats.get(first?.codecId)?.mimeType?.split('/')[1] ?? null,
      width: first?.frameWidth ?? null,
      height: first?.frameHeight ?? null,
      fps: first?.framesPerSecond ?? null,
      roundTripMs: pair?.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1000,
      lost: sum(videos, 'packetsLost'),
      path: pathOf(stats, pair),
      sentBytes: sum(entries.filter((entry) => entry.type === 'outbound-rtp'), 'bytesSent'),
      ...rates,
    };
  }

  /** What is sent: `{codec, layers: [{rid, width, height, fps, bitsPerSecond}]}`, the largest layer first. */
  async readSent(peer) {
    const stats = await peer.getStats();
    const videos = [...stats.values()].filter((entry) => entry.type === 'outbound-rtp' && entry.kind === 'video');
    const at = performance.now();
    const layers = videos.map((entry) => {
      const before = this.#sentBefore.get(entry.id);
      this.#sentBefore.set(entry.id, { at, bytes: entry.bytesSent });
      return {
        rid: entry.rid ?? null,
        width: entry.frameWidth ?? null,
        height: entry.frameHeight ?? null,
        fps: entry.framesPerSecond ?? null,
        bitsPerSecond: before ? ((entry.bytesSent - before.bytes) * 8000) / (at - before.at) : null,
      };
    });
    layers.sort((a, b) => (b.width ?? 0) - (a.width ?? 0));
    return { codec: stats.get(videos[0]?.codecId)?.mimeType?.split('/')[1] ?? null, layers };
  }

  #rates(now) {
    const before = this.#before;
    this.#before = now;
    if (!before) return { bitsPerSecond: null, bufferMs: null };
    const frames = now.emitted - before.emitted;
    return {
      bitsPerSecond: ((now.bytes - before.bytes) * 8000) / (now.at - before.at),
      bufferMs: frames > 0 ? ((now.delay - before.delay) / frames) * 1000 : null,
    };
  }
}

/** The numbers as `[label, text]`; a dash stands for those that aren't known, or for all without numbers. */
export function describe(numbers, firstFrameMs) {
  const known = (value, text) => (value === null || value === undefined ? '–' : text(value));
  return [
    ['Codec', known(numbers?.codec, String)],
    ['Picture', known(numbers?.width, (width) => `${width} × ${numbers.height}`)],
    ['Frame rate', known(numbers?.fps, (fps) => `${Math.round(fps)} fps`)],
    ['Bitrate', known(numbers?.bitsPerSecond, bitrate)],
    ['Round trip', known(numbers?.roundTripMs, milliseconds)],
    ['Buffer', known(numbers?.bufferMs, milliseconds)],
    ['Lost packets', known(numbers?.lost, String)],
    ['Path', known(numbers?.path, String)],
    ['First frame', known(firstFrameMs, milliseconds)],
  ];
}

/** The numbers of what comes, in the room of one line. */
export function summary({ codec, width, height, fps, bitsPerSecond }) {
  return [
    codec,
    width && `${width} × ${height}`,
    Number.isFinite(fps) && `${Math.round(fps)} fps`,
    bitsPerSecond && bitrate(bitsPerSecond),
  ].filter(Boolean).join(' · ');
}

/** The numbers of what is sent, in the room of one line; the layers by name where there are several. */
export function describeSent({ codec, layers }) {
  const active = layers.filter(({ width, bitsPerSecond }) => width && bitsPerSecond > 0);
  if (active.length < 2) return active.length === 0 ? '' : summary({ codec, ...active[0] });
  return [codec, ...active.map(({ rid, width, height, bitsPerSecond }) => `${rid} ${width} × ${height} ${bitrate(bitsPerSecond)}`)].join(' · ');
}

function activePair(stats, entries) {
  const transport = entries.find((entry) => entry.type === 'transport');
  return stats.get(transport?.selectedCandidatePairId)
    ?? entries.find((entry) => entry.type === 'candidate-pair' && entry.nominated && entry.state === 'succeeded');
}

function pathOf(stats, pair) {
  const types = [stats.get(pair?.localCandidateId), stats.get(pair?.remoteCandidateId)].map((end) => end?.candidateType);
  if (types.includes(undefined)) return null;
  return types.includes('relay') ? 'relayed' : 'direct';
}

const sum = (entries, field) => entries.reduce((total, entry) => total + (entry[field] ?? 0), 0);
