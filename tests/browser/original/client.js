// The exchange of Cuttlefish's client page, as short as it can be.

const polling = new URLSearchParams(location.search).has('polling');
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
connector.expectMessagesSoon(5000);
await connector.sendToDevice({ type: 'request-offer', ice_servers: infraConfig.ice_servers });

async function take(message) {
  if (message.type === 'offer') {
    await peer.setRemoteDescription(message);
    await peer.setLocalDescription();
    await connector.sendToDevice({ type: 'answer', sdp: peer.localDescription.sdp });
  } else if (message.type === 'ice-candidate') {
    await peer.addIceCandidate({ candidate: message.candidate, sdpMid: message.mid, sdpMLineIndex: message.mLineIndex });
  }
}

await new Promise((shown) => video.requestVideoFrameCallback(shown));
const displays = createParentController().createDeviceDisplaysMessage(90);
displays.addDisplay('display_0', video.videoWidth, video.videoHeight);
displays.send();
window.parent.result = {
  deviceId: deviceId(), deviceInfo, infraConfig, refused, early, sockets, width: video.videoWidth,
};
