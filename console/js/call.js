// A call to one waiting GStreamer peer.

import { CameraSwitches, openCamera } from './camera.js';
import { Chat } from './chat.js';
import { byId } from './dom.js';
import { Frame } from './frame.js';
import { IceServers } from './ice.js';
import { Link } from './link.js';
import { Registration, randomId } from './registration.js';
import { Sound } from './sound.js';
import { Meter } from './stats.js';
import { Tile } from './tile.js';

const STATS_MS = 1_000;
const CAMERA = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { max: 30 } };
/** How often another id is tried when one is taken. */
const MOST_IDS = 3;
/** The close code with which the server refuses an id that is taken. */
const ID_TAKEN = 1002;
/** The close code with which the server ends a call whose other side has gone. */
const OTHER_SIDE_GONE = 1000;

/** The state's word on the pill, its tone, and what the curtain says while there is no picture. */
const STATES = {
  camera: ['Preparing', 'waiting', 'Asking for your camera and microphone'],
  calling: ['Calling', 'waiting', 'Connecting to the server'],
  negotiating: ['Calling', 'waiting', 'Waiting for an answer'],
  slow: ['Calling', 'waiting', 'No answer yet. Still waiting'],
  connecting: ['Connecting', 'waiting', 'Opening the media connection'],
  live: ['Live', 'live', 'Waiting for the picture'],
  interrupted: ['Interrupted', 'lost', 'Media is interrupted'],
};

/** Calls one peer, until `close()`. */
export class CallPage {
  #peer;
  #frame;
  #chat;
  #sound;
  #remote;
  #own = null;
  #switches = null;
  #camera = null;
  #ice = new IceServers();
  #registration = null;
  #link = null;
  #meter = new Meter();
  #statsTimer;
  #numbers = null;
  #answeredAt = null;
  #firstFrameMs = null;
  #idsTried = 0;
  #end = null;
  #over = false;

  /** `soundIsOn` keeps the user's choice; `again()` calls again. */
  constructor(peer, { soundIsOn, again }) {
    this.#peer = peer;
    this.#frame = new Frame('call', peer, again);
    this.#chat = new Chat(this.#frame, (text) => this.#link?.write(text) ?? false);
    this.#sound = new Sound(this.#frame, soundIsOn);
    this.#remote = new Tile(peer, peer, () => this.#firstFrame());
    this.#statsTimer = setInterval(() => this.#measure(), STATS_MS);
    this.#showState('camera');
    this.#start();
  }

  get soundIsOn() {
    return this.#sound.isOn;
  }

  /** The last statistics, the time to the first frame, and the reason of the end or null. */
  get numbers() {
    return { ...this.#numbers, firstFrameMs: this.#firstFrameMs, end: this.#end };
  }

  close() {
    this.#over = true;
    this.#ice.close();
    this.#hangUp();
    this.#frame.close();
  }

  // The call -------------------------------------------------------------------------------------

  async #start() {
    const [camera] = await Promise.all([openCamera(CAMERA), this.#ice.fetch()]);
    this.#camera = camera.stream;
    this.#switches = new CameraSwitches(this.#frame, camera.stream);
    if (this.#over) return this.#switches.close();
    if (camera.problem) this.#frame.notice(`No camera and no microphone: ${camera.problem}. You see and hear ${this.#peer}, but not the other way round.`);
    else if (camera.stream.getVideoTracks().length > 0) this.#showSelf();
    this.#showState('calling');
    this.#register();
  }

  #showSelf() {
    this.#own = new Tile('', 'You');
    this.#own.showSelf(this.#camera);
  }

  #register() {
    this.#idsTried += 1;
    this.#registration = new Registration(randomId(), {
      registered: () => this.#registration.call(this.#peer),
      answered: () => this.#openLink(),
      message: (text) => this.#receive(text),
      refused: (error) => this.#refused(error),
      closed: (end) => this.#closed(end),
    });
  }

  #openLink() {
    this.#answeredAt = performance.now();
    this.#link = new Link(this.#camera, this.#ice.list, {
      send: (message) => this.#registration.send(message),
      state: (state) => this.#showState(state),
      media: (stream) => this.#show(stream),
      text: (text) => this.#chat.receive(this.#peer, text),
      canWrite: (can) => this.#chat.allow(can),
      late: (found) => this.#frame.late(found),
      failed: (details) => this.#failed(details),
    });
    byId('hang-up').hidden = false;
    this.#link.offer();
  }

  #receive(text) {
    // By custom, a word of the other side and not of the server.
    if (text.startsWith('ERROR')) this.#frame.notice(`${this.#peer} reports: ${text}`);
    else this.#link?.receive(text);
  }

  #show(stream) {
    this.#remote.show(stream);
    this.#sound.add(this.#remote.video);
  }

  #firstFrame() {
    this.#firstFrameMs ??= performance.now() - this.#answeredAt;
    this.#frame.progress(false);
  }

  // Ends -----------------------------------------------------------------------------------------

  #refused(error) {
    if (/ busy$/.test(error)) {
      this.#showEnd('busy', { title: `${this.#peer} is busy`, text: 'It is in another call or in a room. Call again when that is over.' });
    } else if (/ not found$/.test(error)) {
      this.#showEnd('absent', { title: `${this.#peer} is not here`, text: 'Nobody waits for calls under this name. The list shows who does.' });
    } else {
      this.#showEnd('refused', { title: 'The server refused the call', text: `It says: ${error}` });
    }
  }

  #closed({ code, reason, opened }) {
    if (!opened) {
      this.#showEnd('unreachable', { title: 'The server does not answer', text: 'No connection to the server could be opened.' });
    } else if (code === ID_TAKEN && !this.#link && this.#idsTried < MOST_IDS) {
      this.#register();
    } else if (code === OTHER_SIDE_GONE && this.#link) {
      this.#showEnd('over', { title: 'The call has ended', text: `${this.#peer} hung up or went away.` });
    } else {
      const says = reason ? ` It says: ${reason}.` : '';
      this.#showEnd('lost', { title: 'The server ended the call', text: `The connection to the server is gone, and with it the call.${says}` });
    }
  }

  #failed({ error, what, tried, advice }) {
    const text = error
      ? `The negotiation with ${this.#peer} failed: ${error}`
      : `The server put the call through, but ${this.#firstFrameMs === null ? 'no picture or sound could get through' : 'the picture and the sound stopped coming'}. ${what ?? ''}`;
    this.#showEnd('failed', { title: 'No media connection', text, tried, advice });
  }

  #showEnd(name, words) {
    this.#end = name;
    this.#hangUp();
    this.#frame.end(name, { ...words, retry: 'Call again' });
  }

  #hangUp() {
    clearInterval(this.#statsTimer);
    this.#registration?.close();
    this.#link?.close();
    this.#switches?.close();
    this.#sound.remove(this.#remote.video);
    this.#remote.remove();
    this.#own?.remove();
  }

  // States ---------------------------------------------------------------------------------------

  #showState(state) {
    const words = STATES[state];
    const live = state === 'live';
    const isBlind = live && !this.#link.hasVideo;
    this.#frame.state(words);
    this.#remote.say(isBlind ? 'Sends no picture' : '', state === 'interrupted' ? words[0] : '');
    this.#frame.progress(!(live && isBlind) && !this.#remote.hasFrame);
  }

  async #measure() {
    if (this.#link?.peer.connectionState !== 'connected') return;
    this.#numbers = await this.#meter.read(this.#link.peer);
    if (!this.#end) this.#frame.statistics(this.#numbers, this.#firstFrameMs);
  }
}
