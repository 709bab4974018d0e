// Why a media connection failed, in words.

const MOST_PAIRS = 8;

/**
 * What the ICE agent tried, and what to do about it. `who` is the other side in words.
 *
 * Returns `{tried: [text], advice: text}`.
 */
export async function diagnose(peer, iceServers, who = 'the device') {
  const { pairs, local, remote } = await candidates(peer);
  return { tried: describe(pairs, local, remote, who), advice: advise(local, remote, iceServers, who) };
}

async function candidates(peer) {
  const stats = await peer.getStats();
  const all = [...stats.values()];
  const pairs = all
    .filter((entry) => entry.type === 'candidate-pair')
    .map((pair) => ({
      sent: pair.requestsSent ?? 0,
      answered: pair.responsesReceived ?? 0,
      local: stats.get(pair.localCandidateId),
      remote: stats.get(pair.remoteCandidateId),
    }));
  return {
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

const list = (some) => (some.length === 0 ? 'none' : some.map(name).join(', '));

function name(candidate) {
  if (!candidate) return 'unknown';
  const address = candidate.address || 'hidden address';
  const kind = candidate.candidateType === 'host' ? '' : ` (${candidate.candidateType})`;
  return `${address}:${candidate.port}/${candidate.protocol}${kind}`;
}

function advise(local, remote, iceServers, who) {
  const Who = who[0].toUpperCase() + who.slice(1);
  const hasRelay = [...local, ...remote].some((candidate) => candidate.candidateType === 'relay');
  const urls = iceServers.flatMap((server) => server.urls ?? []);
  const turnIsConfigured = urls.some((url) => /^turns?:/.test(url));
  if (remote.length === 0) {
    return `${Who} sent no network address at all. Look at its log; its firewall may keep it from opening UDP ports.`;
  }
  if (turnIsConfigured && !hasRelay) {
    return 'A TURN server is configured, but it gave neither side a relay address. Check its address, its credentials, and that its port can be reached from here.';
  }
  if (hasRelay) {
    return 'Not even a relay address worked. Check that the TURN server can reach both sides, and that its relay ports are open.';
  }
  if (remote.every((candidate) => isContainerBridge(candidate.address))) {
    return 'The device knows only addresses of a container network, which other machines cannot reach. Run it with the network of its host, or name a TURN server under [[ice.servers]] in the configuration of the server.';
  }
  return 'A firewall or NAT between this browser and the device is likely. A TURN server relays media past it: name one under [[ice.servers]] in the configuration of the server.';
}

/** Docker's default pool for bridges, 172.17.0.0 – 172.31.255.255. */
function isContainerBridge(address) {
  const match = /^172\.(\d+)\./.exec(address ?? '');
  return match !== null && Number(match[1]) >= 17 && Number(match[1]) <= 31;
}
