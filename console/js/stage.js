// What one player looks like: displays, sound, buttons, and every state in words.

import { byId, element, icon, onFirstFrame } from './dom.js';
import { Frame } from './frame.js';
import { attachHold, attachKeyboard, attachPointer } from './input.js';
import { Player } from './player.js';
import { Sound } from './sound.js';
import { Meter } from './stats.js';

const STATS_MS = 1_000;

/** The state's word on the pill, its tone, and what the curtain says while there is no picture. */
const STATES = {
  calling: ['Connecting', 'waiting', 'Connecting to the server'],
  waiting: ['Waiting', 'waiting', 'Waiting for the device'],
  negotiating: ['Connecting', 'waiting', 'Asking the device for its picture'],
  slow: ['Connecting', 'waiting', 'The device has not answered yet. Still waiting'],
  connecting: ['Connecting', 'waiting', 'Opening the media connection'],
  live: ['Live', 'live', 'Waiting for the first picture'],
  interrupted: ['Interrupted', 'lost', 'Media is interrupted; trying to recover'],
};

/** Every end: a title, and what it means. */
const ENDS = {
  unreachable: ['The server does not answer', 'No connection to the server could be opened.'],
  absent: ['The device is not here', 'Nothing is registered under this name. The page connects as soon as it registers.'],
  refused: ['The server refused the call', ''],
  left: ['The device has left', 'It is not registered any more. The page connects again as soon as it returns.'],
  'hung-up': ['The connection to the server was lost', 'It was lost before the picture came.'],
  failed: ['No media connection', 'The server and the device answered, but no picture or sound could get through.'],
  lost: ['The media connection was lost', 'The picture and the sound of the device stopped coming.'],
};

/** The buttons that every device has: command, label, icon. */
const STANDARD_KEYS = [
  ['back', 'Back', 'back'],
  ['home', 'Home', 'home'],
  ['menu', 'Menu', 'menu'],
  ['volumedown', 'Volume down', 'volume-down'],
  ['volumeup', 'Volume up', 'volume-up'],
  ['power', 'Power', 'power'],
];

const VIEW_ONLY = 'View only: your token does not allow to control this device.';

/** Plays one device on the stage, until `close()`. */
export class Stage {
  #id;
  #frame;
  #isRegistered;
  #player;
  #displays = new Map();
  #sounds = new Map();
  #sound;
  #microphoneIsOn = false;
  #meter = new Meter();
  #statsTimer;
  #numbers = null;
  #firstFrameMs = null;
  #viewOnly = false;
  #end = null;

  /**
   * `isRegistered(id)` tells whether the server lists the device (undefined when unknown);
   * `soundIsOn` keeps the user's choice over reconnections; `reconnect()` starts over.
   */
  constructor(id, { isRegistered, soundIsOn, reconnect }) {
    this.#id = id;
    this.#isRegistered = isRegistered;
    this.#frame = new Frame('device', id, reconnect);
    this.#frame.on('microphone', () => this.#toggleMicrophone());
    byId('microphone').title = 'Talk to the device';
    this.#sound = new Sound(this.#frame, soundIsOn);
    this.#player = new Player(id, this.#handlers());
    this.#statsTimer = setInterval(() => this.#measure(), STATS_MS);
  }

  get soundIsOn() {
    return this.#sound.isOn;
  }

  /** Why it ended: a key of `ENDS`, or null while it plays. */
  get endReason() {
    return this.#end;
  }

  /** What the tests and the curious read: the last statistics, and the time to the first frame. */
  get numbers() {
    return { ...this.#numbers, firstFrameMs: this.#firstFrameMs, end: this.#end };
  }

  close() {
    this.#frame.close();
    clearInterval(this.#statsTimer);
    this.#player.stop();
    this.#clearMedia();
  }

  #handlers() {
    return {
      state: (state) => this.#showState(state),
      ended: (end) => this.#showEnd(end),
      signalingLost: (error) => this.#frame.notice(`${error ? `The server ended the call: ${error}.` : 'The connection to the server is lost.'} The picture goes on; new displays and the microphone need a reconnect.`, true),
      problem: (text) => this.#frame.notice(text),
      late: (found) => this.#frame.late(found),
      deviceInfo: (info) => this.#showKeys(info),
      display: (id, stream) => this.#addDisplay(id, stream),
      displayGone: (id) => this.#removeDisplay(id),
      sound: (id, stream) => this.#addSound(id, stream),
      soundGone: (id) => this.#removeSound(id),
      controlOpen: () => {
        for (const id of this.#displays.keys()) this.#refresh(id);
      },
      control: (event) => this.#deviceEvent(event),
    };
  }

  // States ---------------------------------------------------------------------------------------

  #showState(state) {
    this.#frame.state(STATES[state]);
    const hasPicture = [...this.#displays.values()].some((display) => display.hasFrame);
    const soundOnly = !this.#displays.size && this.#sounds.size > 0;
    this.#frame.progress(!(hasPicture || soundOnly) || state !== 'live');
    if (state === 'live') {
      this.#frame.clearNotice();
      if (soundOnly) this.#frame.notice('This device sends sound and no picture.');
      if (this.#viewOnly) this.#frame.notice(VIEW_ONLY);
      byId('microphone').hidden = this.#viewOnly || !this.#player.canTalk;
    }
  }

  /** The server's list has changed: a refusal may turn out to be an absence. */
  listChanged() {
    if (this.#end && this.#refine(this.#end) !== this.#end) this.#showEnd({ reason: this.#end });
  }

  #showEnd({ reason, error, what, tried, advice }) {
    this.#end = this.#refine(reason);
    const [title, text] = ENDS[this.#end];
    clearInterval(this.#statsTimer);
    this.#clearMedia();
    const says = error && !['absent', 'left'].includes(this.#end) ? `It says: ${error}` : '';
    this.#frame.end(this.#end, { title, text: [text, what, says].filter(Boolean).join(' '), tried, advice });
  }

  /** The server's list tells an absent device from other reasons. */
  #refine(reason) {
    if (this.#isRegistered(this.#id) !== false) return reason;
    if (reason === 'refused') return 'absent';
    return ['lost', 'hung-up', 'failed'].includes(reason) ? 'left' : reason;
  }

  // Displays -------------------------------------------------------------------------------------

  #addDisplay(id, stream) {
    this.#removeDisplay(id);
    const video = element('video', { muted: true, autoplay: true, playsInline: true, disablePictureInPicture: true });
    const name = displayName(id);
    const screen = element('div', {
      class: 'screen',
      tabIndex: 0,
      role: 'application',
      'aria-label': `${name} of ${this.#id}. Touch and keys go to the device; Tab leads out.`,
    }, video);
    const asleep = element('p', { class: 'asleep', hidden: true, textContent: 'This display is off' });
    const figure = element('figure', { class: 'display' }, screen, asleep, element('figcaption', { textContent: name }));
    figure.dataset.display = id;

    attachPointer(screen, video, id, (message) => this.#player.sendInput(message));
    attachKeyboard(screen, (message) => this.#player.sendInput(message));
    screen.addEventListener('pointerdown', () => (byId('sound-on').hidden = true));
    const display = { figure, video, asleep, hasFrame: false };
    this.#displays.set(id, display);
    onFirstFrame(video, () => this.#firstFrame(display));
    video.srcObject = stream;
    video.play().catch(() => {});
    this.#place(figure, id);
    this.#refresh(id);
  }

  /** Keeps the displays in the order of their names. */
  #place(figure, id) {
    const after = [...byId('displays').children].find((other) => other.dataset.display.localeCompare(id, undefined, { numeric: true }) > 0);
    byId('displays').insertBefore(figure, after ?? null);
    byId('displays').dataset.count = this.#displays.size;
  }

  #removeDisplay(id) {
    const display = this.#displays.get(id);
    if (!display) return;
    this.#displays.delete(id);
    display.video.srcObject = null;
    display.figure.remove();
    byId('displays').dataset.count = this.#displays.size;
  }

  #firstFrame(display) {
    display.hasFrame = true;
    this.#firstFrameMs ??= performance.now() - this.#player.openedAt;
    this.#frame.progress(false);
  }

  /** Asks the device for a picture of a display now; a still screen may not send one by itself. */
  #refresh(id) {
    const number = displayNumber(id);
    if (number !== null) this.#player?.sendControl({ command: 'display', refresh_display: number });
  }

  // Sound ----------------------------------------------------------------------------------------

  #addSound(id, stream) {
    this.#removeSound(id);
    const audio = element('audio', { autoplay: true });
    audio.srcObject = stream;
    document.body.append(audio);
    this.#sounds.set(id, audio);
    this.#sound.add(audio);
  }

  #removeSound(id) {
    const audio = this.#sounds.get(id);
    if (!audio) return;
    this.#sounds.delete(id);
    this.#sound.remove(audio);
    audio.srcObject = null;
    audio.remove();
  }

  async #toggleMicrophone() {
    const button = byId('microphone');
    const on = !this.#microphoneIsOn;
    button.disabled = true;
    try {
      await this.#player.setMicrophone(on);
      this.#microphoneIsOn = on;
    } catch (error) {
      this.#microphoneIsOn = false;
      this.#frame.notice(error.name === 'NotAllowedError' ? 'The browser does not allow the microphone for this page.' : error.message);
    } finally {
      button.disabled = false;
      button.setAttribute('aria-pressed', String(this.#microphoneIsOn));
    }
  }

  #clearMedia() {
    for (const id of [...this.#displays.keys()]) this.#removeDisplay(id);
    for (const id of [...this.#sounds.keys()]) this.#removeSound(id);
  }

  // The device's own words -----------------------------------------------------------------------

  #deviceEvent({ event, metadata }) {
    if (event === 'SWITCHBOARD_VIEW_ONLY') {
      this.#nowViewOnly();
    } else if (event === 'VIRTUAL_DEVICE_DISPLAY_POWER_MODE_CHANGED') {
      const display = this.#displays.get(`display_${metadata?.display}`);
      if (display) display.asleep.hidden = metadata.mode !== 'off';
    } else if (event === 'VIRTUAL_DEVICE_BOOT_STARTED') {
      this.#frame.notice('The device is starting.');
    } else if (event === 'VIRTUAL_DEVICE_BOOT_COMPLETED') {
      this.#frame.clearNotice();
    }
  }

  /** The device takes nothing from this page: its token is for viewing. */
  #nowViewOnly() {
    this.#viewOnly = true;
    this.#player.viewOnly = true;
    byId('keys').hidden = true;
    byId('microphone').hidden = true;
    this.#frame.notice(VIEW_ONLY);
  }

  #showKeys(info) {
    const keys = STANDARD_KEYS.map(([command, label, picture]) => this.#key(command, label, icon(picture)));
    const custom = Array.isArray(info?.custom_control_panel_buttons) ? info.custom_control_panel_buttons : [];
    for (const button of custom) {
      // A shell command needs adb, which this page doesn't speak.
      if (button?.shell_command || !button?.title) continue;
      keys.push(Array.isArray(button.device_states) ? this.#stateKey(button) : this.#key(button.command, button.title, button.title));
    }
    byId('keys').replaceChildren(...keys);
    byId('keys').hidden = false;
  }

  #key(command, label, face) {
    const button = element('button', { class: 'key', type: 'button', title: label, 'aria-label': label }, face);
    button.dataset.command = command;
    attachHold(button, (state) => this.#player.sendControl({ command, button_state: state }));
    return button;
  }

  /** A button that walks through states of the device, such as a hinge's angles. */
  #stateKey({ title, device_states: states }) {
    let next = 0;
    const button = element('button', { class: 'key', type: 'button', title, textContent: title });
    button.addEventListener('click', () => {
      this.#player.sendControl({ command: 'device_state', ...states[next] });
      next = (next + 1) % states.length;
    });
    return button;
  }

  // Statistics -----------------------------------------------------------------------------------

  async #measure() {
    const { peer } = this.#player;
    if (!peer || peer.connectionState !== 'connected') return;
    this.#numbers = await this.#meter.read(peer);
    if (!this.#end) this.#frame.statistics(this.#numbers, this.#firstFrameMs);
  }
}

/** The N of `display_N`; null for other names. */
function displayNumber(id) {
  const match = /^display_(\d+)$/.exec(id);
  return match ? Number(match[1]) : null;
}

const displayName = (id) => (displayNumber(id) === null ? id : `Display ${displayNumber(id) + 1}`);
