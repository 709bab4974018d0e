// The exchange of Cuttlefish's client page, as short as it can be.

const asked = new URLSearchParams(location.search);
const polling = asked.has('polling');
let sockets = 0;
const Real = WebSocket;
window.WebSocket = class {
  static OPEN = Real.OPEN;
  constructor(url) {
    const real = new Real(polling ? 'ws://127.0.0.1:1/' : url);
    real.addEventListener('open', () => (sockets += 1));
    return real;
  }
};

const { createConnector, createParentController, deviceId } = await import('/js/server_connector.js');
const outcome = (promise) => promise.then(() => null, (error) => String(error));

const refused = await outcome((await createConnector()).requestDevice('nobody'));
sockets = 0;
const connector = await createConnector();
const early = (await outcome(connector.sendToDevice({}))) !== null;

const peer = new RTCPeerConnection();
const video = document.querySelector('video');
let work = Promise.resolve();
let answered = () => {};
connector.onDeviceMsg((message) => {
  work = work.then(() => take(message));
});
const { deviceInfo, infraConfig } = await connector.requestDevice(deviceId());
peer.createDataChannel('input-channel');
peer.ontrack = ({ track, streams }) => {
  if (track.kind === 'video') video.srcObject = streams[0];
};
peer.onicecandidate = ({ candidate }) => {
  if (candidate?.candidate) connector.sendToDevice({ type: 'ice-candidate', candidate });
};
// The first pages offered their microphone from the start, muted.
if (asked.has('early')) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  peer.addTrack(stream.getTracks()[0], stream);
}
connector.expectMessagesSoon(5000);
await connector.sendToDevice({ type: 'request-offer', ice_servers: infraConfig.ice_servers });

async function take(message) {
  if (message.type === 'offer') {
    await peer.setRemoteDescription(message);
    await peer.setLocalDescription();
    await connector.sendToDevice({ type: 'answer', sdp: peer.localDescription.sdp });
  } else if (message.type === 'answer') {
    await peer.setRemoteDescription(message);
    answered();
  } else if (message.type === 'ice-candidate') {
    await peer.addIceCandidate({ candidate: message.candidate, sdpMid: message.mid, sdpMLineIndex: message.mLineIndex });
  }
}

await new Promise((shown) => video.requestVideoFrameCallback(shown));
const displays = createParentController().createDeviceDisplaysMessage(90);
displays.addDisplay('display_0', video.videoWidth, video.videoHeight);
displays.send();
const sends = peer.getSenders().some((it) => it.track);
const microphone = await outcome(sends ? received() : useMicrophone());
window.parent.result = {
  deviceId: deviceId(), deviceInfo, infraConfig, refused, early, sockets, width: video.videoWidth, microphone,
};

// Press and release, twice: each is an offer of the page's, for the section that it answered with
// recvonly at first.
async function useMicrophone() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  for (let press = 1; press <= 2; press += 1) {
    const sender = peer.addTrack(stream.getTracks()[0]);
    await offer();
    await received();
    await moreFrames();
    peer.removeTrack(sender);
    await offer();
    await moreFrames();
  }
}

// The device tells what it received of the microphone.
async function received() {
  await until(async () => [...(await peer.getStats()).values()].some(
    (it) => it.type === 'remote-inbound-rtp' && it.kind === 'audio'));
}

async function offer() {
  const answer = new Promise((resolve) => (answered = resolve));
  await peer.setLocalDescription();
  await connector.sendToDevice({ type: 'offer', sdp: peer.localDescription.sdp });
  await answer;
}

async function moreFrames() {
  for (let frame = 0; frame < 30; frame += 1) {
    await new Promise((shown) => video.requestVideoFrameCallback(shown));
  }
}

async function until(condition) {
  while (!(await condition())) await new Promise((later) => setTimeout(later, 50));
}
