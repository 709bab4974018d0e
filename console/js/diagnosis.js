// Why a media connection failed, in words.

const MOST_PAIRS = 8;

/** How long the way, the keys, or the first packet may take before the page says why. */
const PATIENCE_MS = 8_000;
const LOOK_MS = 1_000;

/**
 * What is known of media that doesn't come, and what to do about it. `who` is the other side in words.
 *
 * Returns `{what: text, tried: [text], advice: text}`.
 */
export async function diagnose(peer, iceServers, who = 'the device') {
  const facts = await gather(peer);
  const { pairs, local, remote } = facts;
  const [what, advice] = noKeys(facts, who) ?? noMedia(facts, who) ?? noWay(facts, iceServers, who);
  return { what, tried: describe(pairs, local, remote, who), advice };
}

/** Says why media doesn't come when that takes too long: once for the way, and once for the media. */
export class Watch {
  #peer;
  #timer;
  #stage = '';
  #since = 0;
  #said = '';

  /** `tell({what, tried, advice})`; with `null` when there is no trouble any more. */
  constructor(peer, iceServers, who, tell) {
    this.#peer = peer;
    this.#timer = setInterval(() => this.#look(iceServers, who, tell), LOOK_MS);
  }

  stop() {
    clearInterval(this.#timer);
  }

  async #look(iceServers, who, tell) {
    const peer = this.#peer;
    if (peer.connectionState === 'closed') return this.stop();
    const stage = await this.#now();
    const now = performance.now();
    if (stage !== this.#stage) {
      if (this.#said !== '') tell(null);
      [this.#stage, this.#since, this.#said] = [stage, now, ''];
    }
    if (stage === 'calling' || stage === 'good' || this.#said === stage || now - this.#since < PATIENCE_MS) return;
    this.#said = stage;
    const found = await diagnose(peer, iceServers, who).catch(() => null);
    // It may have come meanwhile.
    if (found && this.#said === stage && peer.connectionState !== 'closed') tell(found);
  }

  async #now() {
    const peer = this.#peer;
    if (!peer.localDescription || !peer.remoteDescription) return 'calling';
    if (peer.connectionState !== 'connected') return peer.connectionState === 'disconnected' ? 'good' : 'connecting';
    if (this.#stage === 'good') return 'good';
    const receives = peer.getTransceivers().some(({ currentDirection }) => /recv/.test(currentDirection ?? ''));
    const { inbound } = await gather(peer);
    return receives && !isComing(inbound) ? 'waiting' : 'good';
  }
}

async function gather(peer) {
  const found = await candidates(peer);
  const inbound = found.all.filter((entry) => entry.type === 'inbound-rtp');
  const transport = found.all.find((entry) => entry.type === 'transport');
  return { ...found, inbound, state: peer.connectionState, dtls: transport?.dtlsState, ice: transport?.iceState };
}

/** Whether something that is sent can be seen or heard. */
function isComing(inbound) {
  const videos = inbound.filter(({ kind, packetsReceived }) => kind === 'video' && packetsReceived > 0);
  if (videos.length > 0) return videos.some(({ framesDecoded }) => framesDecoded > 0);
  return inbound.some(({ packetsReceived }) => packetsReceived > 0);
}

function noKeys({ state, dtls, ice }, who) {
  const hasWay = ice === 'connected' || ice === 'completed';
  if (state === 'connected' || !hasWay || dtls === 'connected') return null;
  return [
    `The network carries packets to ${who}, but the encryption (DTLS) was not agreed on.`,
    'A firewall, tunnel or VPN may drop larger packets on the way; its MTU may be too high. Look at the log of the other side as well.',
  ];
}

function noMedia({ state, inbound }, who) {
  if (state !== 'connected') return null;
  const packets = inbound.reduce((sum, { packetsReceived }) => sum + (packetsReceived ?? 0), 0);
  if (packets === 0) {
    return [
      `The connection stands, but ${who} sends neither picture nor sound.`,
      'Look there: its camera, microphone or pipeline may give nothing, or it is muted.',
    ];
  }
  return [
    `The connection stands and ${packets} packets came, but no picture that can be shown.`,
    `The way may lose too much, or ${who} sends a codec or profile that this browser cannot decode.`,
  ];
}

function noWay(facts, iceServers, who) {
  const { pairs, local, remote } = facts;
  const heard = pairs.some(({ heard }) => heard > 0);
  const answered = pairs.some(({ answered }) => answered > 0);
  const fits = remote.length === 0 ? `${capital(who)} told this browser no network address that it can use.` : `No address of this browser fits one of ${who}.`;
  const what = pairs.length === 0
    ? fits
    : `None of ${pairs.length} ${pairs.length === 1 ? 'pair' : 'pairs'} of addresses of this browser and ${who} works.`;
  if (heard && !answered) {
    return [
      `${what} Checks of the other side come here, but those of this browser get no answer.`,
      'A firewall lets UDP through in one direction only. Let it through both ways.',
    ];
  }
  return [what, advise(local, remote, iceServers, who)];
}

async function candidates(peer) {
  const stats = await peer.getStats();
  const all = [...stats.values()];
  const pairs = all
    .filter((entry) => entry.type === 'candidate-pair')
    .map((pair) => ({
      sent: pair.requestsSent ?? 0,
      answered: pair.responsesReceived ?? 0,
      heard: pair.requestsReceived ?? 0,
      local: stats.get(pair.localCandidateId),
      remote: stats.get(pair.remoteCandidateId),
    }));
  return {
    all,
    pairs,
    local: all.filter((entry) => entry.type === 'local-candidate'),
    remote: all.filter((entry) => entry.type === 'remote-candidate'),
  };
}

function describe(pairs, local, remote, who) {
  const lines = pairs
    .slice(0, MOST_PAIRS)
    .map((pair) => `${name(pair.local)} → ${name(pair.remote)}: ${outcome(pair)}`);
  if (pairs.length > MOST_PAIRS) lines.push(`and ${pairs.length - MOST_PAIRS} pairs more`);
  if (pairs.length === 0) {
    lines.push(`Addresses of this browser: ${list(local)}`, `Addresses of ${who}: ${list(remote)}`);
  }
  return lines;
}

function outcome({ sent, answered }) {
  if (answered > 0) return 'answers came';
  return sent > 0 ? `no answer to ${sent} checks` : 'no answer';
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

const list = (some, words = name) => (some.length === 0 ? 'none' : some.map(words).join(', '));

/** What kind of address; a name that hides one may stand for either. */
function family({ address, protocol }) {
  if (protocol === 'tcp') return 'TCP';
  return address?.includes(':') ? 'IPv6' : 'IPv4';
}

function name(candidate) {
  if (!candidate) return 'unknown';
  const address = candidate.address || 'hidden address';
  const kind = candidate.candidateType === 'host' ? '' : ` (${candidate.candidateType})`;
  return `${address}:${candidate.port}/${candidate.protocol}${kind}`;
}

function advise(local, remote, iceServers, who) {
  const hasRelay = [...local, ...remote].some((candidate) => candidate.candidateType === 'relay');
  const urls = iceServers.flatMap((server) => server.urls ?? []);
  const turnIsConfigured = urls.some((url) => /^turns?:/.test(url));
  if (remote.length === 0) {
    return 'Look at its log; its firewall may keep it from opening UDP ports.';
  }
  const families = [local, remote].map((side) => new Set(side.map(family)));
  if (local.length > 0 && [...families[0]].every((one) => !families[1].has(one))) {
    return `This browser has ${list([...families[0]], String)} only, and ${who} has ${list([...families[1]], String)} only. Give both the same kind of address, or name a TURN server that has both under [[ice.servers]] in the configuration of the server.`;
  }
  if (turnIsConfigured && !hasRelay) {
    return 'A TURN server is configured, but it gave neither side a relay address. Check its address, its credentials, and that its port can be reached from here.';
  }
  if (hasRelay) {
    return 'Not even a relay address worked. Check that the TURN server can reach both sides, and that its relay ports are open.';
  }
  if (remote.every((candidate) => isContainerBridge(candidate.address))) {
    return 'The other side knows only addresses of a container network, which other machines cannot reach. Run it with the network of its host, let it --advertise the address of the host, or name a TURN server under [[ice.servers]] in the configuration of the server.';
  }
  return 'A firewall or NAT between this browser and the device is likely. A TURN server relays media past it: name one under [[ice.servers]] in the configuration of the server.';
}

/** Docker's default pool for bridges, 172.17.0.0 – 172.31.255.255. */
function isContainerBridge(address) {
  const match = /^172\.(\d+)\./.exec(address ?? '');
  return match !== null && Number(match[1]) >= 17 && Number(match[1]) <= 31;
}
