// How media finds its way: the ICE servers that the server names, and which ways are taken.

import { ask } from './access.js';

/** How long the server may take to name them; then there are none. */
const PATIENCE_MS = 2_000;
/** They are asked for again after this at the latest, or after half of their time. */
const LONGEST_MS = 3_600_000;
/** And after this, if a server that has named some fails to. */
const RETRY_MS = 60_000;

/** `?ice-policy=relay` in the page's address: through TURN servers only. */
const isRelayOnly = new URLSearchParams(location.search).get('ice-policy') === 'relay';

/** A peer connection; without ICE servers that the browser doesn't accept, of which `refused(why)` hears. */
export function peerConnection(iceServers, refused) {
  const options = { bundlePolicy: 'max-bundle', iceTransportPolicy: isRelayOnly ? 'relay' : 'all' };
  try {
    return new RTCPeerConnection({ ...options, iceServers });
  } catch (error) {
    refused(error.message);
    return new RTCPeerConnection(options);
  }
}

/** Notes why the browser accepts none of the server's ICE servers. */
export function refusedServers(why) {
  console.warn('The ICE servers of this server cannot be used:', why);
}

/** The ICE servers that the server names, kept fresh: their credentials hold for a while only. */
export class IceServers {
  #list = [];
  #timer = 0;
  #over = false;

  /** The list that holds now. */
  get list() {
    return this.#list;
  }

  /** Asks the server, with a token if it wants one, and again before the credentials expire. Never fails: there may be none. */
  async fetch(token = '') {
    try {
      const answer = await ask('/ice-servers', { signal: AbortSignal.timeout(PATIENCE_MS) }, token || undefined);
      if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
      const { iceServers, ttl } = await answer.json();
      if (Array.isArray(iceServers)) this.#list = iceServers;
      if (ttl > 0) this.#again(Math.min(ttl * 500, LONGEST_MS), token);
    } catch (error) {
      console.warn('No ICE servers:', error.message);
      if (this.#list.length > 0) this.#again(RETRY_MS, token);
    }
  }

  #again(milliseconds, token) {
    clearTimeout(this.#timer);
    if (!this.#over) this.#timer = setTimeout(() => this.fetch(token), milliseconds);
  }

  /** Asks no more. */
  close() {
    this.#over = true;
    clearTimeout(this.#timer);
  }
}
