// This browser's own camera and microphone.

import { byId, setIcon } from './dom.js';

/** Why there is no camera or microphone, by the name of the browser's error. */
const REASONS = {
  NotAllowedError: 'this browser does not allow them for this page',
  NotFoundError: 'this machine has none',
  NotReadableError: 'another program uses them',
};

/**
 * Asks for camera and microphone, or for the one of them that is there.
 *
 * Gives `{stream, problem}`: a `MediaStream`, empty when nothing may be used, and in that case the
 * reason in words. Never rejects.
 */
export async function openCamera(video) {
  if (!navigator.mediaDevices?.getUserMedia) {
    return { stream: new MediaStream(), problem: 'browsers allow them only over HTTPS, or on the machine itself' };
  }
  let problem = null;
  for (const wish of [{ audio: true, video }, { audio: true }, { video }]) {
    try {
      return { stream: await navigator.mediaDevices.getUserMedia(wish), problem: null };
    } catch (error) {
      problem ??= REASONS[error.name] ?? error.message;
      // Nobody wants to be asked three times.
      if (error.name === 'NotAllowedError') break;
    }
  }
  return { stream: new MediaStream(), problem };
}

/** The buttons that mute the microphone and darken the camera. */
export class CameraSwitches {
  #stream;

  /** `frame` is the page's frame; the switches live as long as it. */
  constructor(frame, stream) {
    this.#stream = stream;
    this.#offer(frame, 'microphone', stream.getAudioTracks()[0], ['microphone', 'microphone-off'], ['Mute the microphone', 'Turn the microphone on']);
    this.#offer(frame, 'camera', stream.getVideoTracks()[0], ['camera', 'camera-off'], ['Turn the camera off', 'Turn the camera on']);
  }

  /** Gives camera and microphone back. */
  close() {
    for (const track of this.#stream.getTracks()) track.stop();
  }

  #offer(frame, id, track, icons, titles) {
    const button = byId(id);
    button.hidden = !track;
    if (!track) return;
    const show = () => {
      button.setAttribute('aria-pressed', String(track.enabled));
      button.title = titles[track.enabled ? 0 : 1];
      setIcon(button, icons[track.enabled ? 0 : 1]);
    };
    frame.on(id, () => {
      track.enabled = !track.enabled;
      show();
    });
    show();
  }
}
