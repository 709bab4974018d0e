// A room whose media the server forwards.

import { ask } from './access.js';
import { CameraSwitches, openCamera } from './camera.js';
import { Chat } from './chat.js';
import { announce, byId, setIcon } from './dom.js';
import { Frame } from './frame.js';
import { receiving, sending } from './flow.js';
import { IceServers } from './ice.js';
import { RoomSession } from './kurento.js';
import { randomId } from './registration.js';
import { ScreenShare, canShareScreen } from './screen.js';
import { Sound } from './sound.js';
import { Meter, describeSent, summary } from './stats.js';
import { Tile } from './tile.js';

const STATS_MS = 1_000;
/** Sent once, whatever the number of participants. */
const CAMERA = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { max: 30 } };
/** The stream that a participant publishes, unless the server names it otherwise. */
const STREAM = 'webcam';
/** The code with which the server says that nobody publishes under a name. */
const NOT_STREAMING = 105;

/** The state's word on the pill, its tone, and what the curtain says. */
const STATES = {
  camera: ['Preparing', 'waiting', 'Asking for your camera and microphone'],
  joining: ['Joining', 'waiting', 'Joining the room'],
  away: ['Server away', 'lost', ''],
};

/** What a participant's tile says while it has no picture, and beside the name. */
const TILE_STATES = {
  silent: ['Sends nothing', ''],
  negotiating: ['Asking the server', ''],
  connecting: ['Opening the media connection', ''],
  live: ['Waiting for the picture', ''],
  interrupted: ['Media is interrupted', 'Interrupted'],
};

/** What each code of the server means for people. The server's own words follow. */
const CODES = {
  101: 'You are in a room already.',
  102: 'The server does not know this participant in this room any more.',
  103: 'This participant has just left.',
  104: 'Somebody else in the room has this name. Leave, and join with another one. Your own name is free again some seconds after a lost connection.',
  105: 'This participant sends nothing at the moment.',
  201: 'The room is full.',
  202: 'There is no such room.',
  203: 'The room is being closed. Join again in a moment.',
  204: 'The server takes no more rooms.',
  301: 'The server could not do that with the media.',
  302: 'The browser and the server found no common ground for the media: the room may use a codec that this browser does not have.',
  303: 'The server takes no more media in this room.',
  304: 'The server cannot take media at the moment.',
  305: 'The server cannot take media at the moment.',
  306: 'The server does not do that.',
  307: 'The server does not do that.',
  999: 'The server did not take the request: a name may be missing, or there were too many requests.',
  40007: 'The server does not know this session any more.',
};

/** What a refusal means, with the server's own words. */
const explain = ({ code, message }) => (CODES[code] ? `${CODES[code]} The server says: ${message} (${code})` : message);

/** Is in one room, until `close()`. */
export class RoomPage {
  #room;
  #name;
  #watches;
  #simulcast;
  #frame;
  #sound;
  #chat;
  #session = null;
  #own = null;
  #switches = null;
  #camera = new MediaStream();
  #ice = new IceServers();
  /** What this page sends: `{flow, meter, numbers}`, or null. */
  #sent = null;
  #screen = null;
  /** By name: `{tile, meter, numbers, flow, stream}`. */
  #others = new Map();
  #statsTimer;
  #isIn = false;
  #end = null;
  #over = false;

  /**
   * `name` is the one to be known by, or null for any; `watch` sends nothing; `simulcast` sends the
   * picture in three sizes; `soundIsOn` and `again()` as in a call.
   */
  constructor(room, { name, watch, simulcast, soundIsOn, again }) {
    this.#room = room;
    this.#name = name ?? `guest-${randomId()}`;
    this.#watches = watch;
    this.#simulcast = simulcast;
    this.#frame = new Frame('room', room, again);
    this.#sound = new Sound(this.#frame, soundIsOn);
    this.#chat = new Chat(this.#frame, (text) => this.#write(text));
    this.#statsTimer = setInterval(() => this.#measure(), STATS_MS);
    this.#frame.on('show-stats', () => this.#measure());
    this.#frame.on('publish', () => (this.#sent ? this.#unpublish() : this.#publish()));
    this.#frame.on('screen', () => this.#toggleScreen());
    // Else the name would be taken for a while after the page is loaded anew.
    addEventListener('pagehide', () => this.#leave(), { signal: this.#frame.signal });
    this.#frame.state(STATES.camera);
    this.#frame.progress(true);
    this.#start();
  }

  get soundIsOn() {
    return this.#sound.isOn;
  }

  /** The own name, the statistics of every participant by name, what is sent, and the end or null. */
  get numbers() {
    const members = Object.fromEntries([...this.#others].map(([name, other]) => [name, other.numbers]));
    return { id: this.#name, members, sent: this.#sent?.numbers ?? null, end: this.#end };
  }

  close() {
    this.#leave();
    this.#frame.close();
  }

  // The room -------------------------------------------------------------------------------------

  async #start() {
    const [camera] = await Promise.all([this.#watches ? {} : openCamera(CAMERA), this.#ice.fetch()]);
    if (camera.stream) this.#camera = camera.stream;
    this.#switches = new CameraSwitches(this.#frame, this.#camera);
    if (this.#over) return this.#switches.close();
    if (camera.problem) this.#frame.notice(`No camera and no microphone: ${camera.problem}. You see and hear the others, but not the other way round.`);
    this.#frame.state(STATES.joining);
    this.#session = new RoomSession({
      opened: () => this.#join(),
      event: (method, params) => this.#happened(method, params),
      away: () => this.#away(),
      resumed: () => this.#resumed(),
      expired: () => this.#join(),
      unreachable: () => this.#showEnd('unreachable', { title: 'The server does not answer', text: 'No connection to the server could be opened.' }),
    });
  }

  async #join() {
    let present;
    try {
      present = (await this.#session.request('joinRoom', { user: this.#name, room: this.#room })).value ?? [];
    } catch (error) {
      // Without a code the connection was lost, and the session tries again.
      if (!this.#over && error.code !== null) this.#showEnd(error.code === 104 ? 'taken' : 'refused', { title: `You cannot join ${this.#room}`, text: explain(error) });
      return;
    }
    if (this.#over) return;
    this.#frame.clearNotice();
    this.#entered(present);
  }

  /** In the room, for the first time or after the session had expired: everything begins anew. */
  #entered(present) {
    this.#isIn = true;
    for (const name of [...this.#others.keys()]) this.#remove(name);
    this.#stopSending();
    this.#showSelf();
    byId('hang-up').hidden = false;
    byId('screen').hidden = !canShareScreen();
    this.#chat.allow(true);
    this.#frame.progress(false);
    for (const { id, streams } of present) this.#add(id, streams);
    this.#showCount();
    if (this.#camera.getTracks().length > 0) this.#publish();
  }

  #happened(method, params) {
    switch (method) {
      case 'participantJoined':
        this.#add(params.id, params.streams);
        announce(`${params.id} has joined`);
        break;
      case 'participantPublished':
        this.#add(params.id, params.streams ?? [{ id: STREAM }]);
        break;
      case 'participantUnpublished':
        this.#silence(params.name);
        break;
      case 'participantLeft':
        this.#remove(params.name);
        announce(`${params.name} has left`);
        break;
      case 'iceCandidate':
        this.#flowOf(params.endpointName)?.takeCandidate(params);
        break;
      case 'sendMessage':
        // One's own come back as well.
        if (params.user !== this.#name) this.#chat.receive(params.user, params.message);
        break;
      case 'participantEvicted':
        this.#showEnd('evicted', { title: 'You were put out of the room', text: 'Somebody who runs this server did that.' });
        break;
      case 'roomClosed':
        this.#showEnd('closed', { title: 'The room was closed', text: 'Somebody who runs this server did that.' });
        break;
      case 'mediaError':
        this.#frame.notice(`The server reports: ${params.error}`);
        break;
      default:
        console.warn('Unknown event of the server:', method);
    }
    this.#showCount();
  }

  /** The flow that a candidate is for: what one sends has one's own name. */
  #flowOf(name) {
    return name === this.#name ? this.#sent?.flow : this.#others.get(name)?.flow;
  }

  async #write(text) {
    try {
      await this.#session.request('sendMessage', { message: text, userMessage: this.#name, roomMessage: this.#room });
    } catch (error) {
      this.#frame.notice(`The message did not get through. ${explain(error)}`);
    }
  }

  // A lost connection ----------------------------------------------------------------------------

  #away() {
    this.#frame.state(STATES.away);
    this.#chat.allow(false);
    this.#frame.notice('The connection to the server is lost. What you see goes on while it can; this page comes back into the room when the server answers.');
  }

  /** Finds out what was missed. */
  async #resumed() {
    const present = await participantsOf(this.#room);
    if (this.#over) return;
    this.#frame.clearNotice();
    this.#chat.allow(true);
    if (present) {
      const others = present.filter(({ user }) => user !== this.#name);
      for (const name of [...this.#others.keys()]) {
        if (!others.some(({ user }) => user === name)) this.#remove(name);
      }
      for (const { user, publishing } of others) {
        if (publishing) this.#add(user, [{ id: STREAM }]);
        else this.#silence(user);
      }
    }
    this.#showCount();
  }

  // The others -----------------------------------------------------------------------------------

  /** Shows a participant, and receives what it publishes, unless that is done already. */
  #add(name, streams = []) {
    if (name === this.#name) return;
    const other = this.#others.get(name) ?? this.#show(name);
    if (streams.length > 0 && !other.flow && name !== this.#screen?.name) this.#receive(name, other, streams[0].id);
  }

  #show(name) {
    const other = { tile: new Tile(name, name), meter: new Meter(), numbers: null, flow: null, stream: null };
    this.#others.set(name, other);
    const isOwnScreen = name === this.#screen?.name;
    if (isOwnScreen) other.tile.showSelf(this.#screen.stream, false);
    else other.tile.say(...TILE_STATES.silent);
    return other;
  }

  #receive(name, other, stream) {
    const sender = `${name}_${stream}`;
    other.stream = sender;
    other.flow = receiving(this.#ice.list, {
      negotiate: async (sdpOffer) => (await this.#session.request('receiveVideoFrom', { sender, sdpOffer })).sdpAnswer,
      candidate: (candidate) => this.#sendCandidate(name, candidate),
      state: (state) => this.#showState(other, state),
      media: (media) => {
        other.tile.show(media);
        this.#sound.add(other.tile.video);
      },
      late: (found) => other.tile.late(found),
      failed: (details) => this.#receivingFailed(name, other, details),
    });
  }

  async #receivingFailed(name, other, { code, error, ...details }) {
    if (code === NOT_STREAMING) {
      // It stopped while this page asked.
      this.#silence(name);
      return;
    }
    this.#sound.remove(other.tile.video);
    if (!error) details.advice = (await seenByServer(this.#room, this.#name, name)) ?? details.advice;
    other.tile.fail({ ...details, error: error && (code === null ? error : explain({ code, message: error })) });
  }

  #showState(other, state) {
    const [text, badge] = TILE_STATES[state];
    other.tile.say(text, badge);
  }

  /** What a participant sent is over; it stays in the room. */
  #silence(name) {
    if (name === this.#name) return;
    this.#remove(name);
    this.#show(name);
  }

  #remove(name) {
    const other = this.#others.get(name);
    if (!other) return;
    this.#others.delete(name);
    other.flow?.close();
    this.#sound.remove(other.tile.video);
    other.tile.remove();
  }

  #showCount() {
    if (!this.#isIn || this.#end) return;
    const count = this.#others.size + 1;
    this.#frame.state([`${count} in the room`, 'live', '']);
    byId('alone').hidden = count > 1;
  }

  // What this page sends -------------------------------------------------------------------------

  #showSelf() {
    if (this.#own) return;
    this.#own = new Tile(this.#name, `You (${this.#name})`);
    if (this.#camera.getTracks().length > 0) this.#own.showSelf(this.#camera);
    this.#own.say(this.#watches ? 'You only watch' : 'You send no picture');
  }

  #publish() {
    const sent = { flow: null, meter: new Meter(), numbers: null };
    this.#sent = sent;
    this.#showPublishing(true);
    sent.flow = sending(this.#camera, this.#simulcast, this.#ice.list, {
      negotiate: async (sdpOffer) => (await this.#session.request('publishVideo', { sdpOffer, doLoopback: false })).sdpAnswer,
      candidate: (candidate) => this.#sendCandidate(this.#name, candidate),
      state: (state) => this.#own?.say('You send no picture', state === 'interrupted' ? 'Interrupted' : ''),
      late: (found) => this.#frame.late(found),
      failed: (details) => this.#publishingFailed(details),
    });
  }

  async #publishingFailed({ code, error, advice }) {
    const why = error
      ? explain({ code, message: error })
      : ((await seenByServer(this.#room, this.#name)) ?? advice);
    this.#frame.notice(`The others do not see you: ${why ?? 'nothing got through to the server.'}`);
    this.#session.request('unpublishVideo', {}).catch(() => {});
    this.#stopSending();
  }

  async #unpublish() {
    this.#stopSending();
    try {
      await this.#session.request('unpublishVideo', {});
    } catch (error) {
      this.#frame.notice(explain(error));
    }
  }

  #stopSending() {
    this.#sent?.flow.close();
    this.#sent = null;
    this.#showPublishing(false);
  }

  #showPublishing(on) {
    const button = byId('publish');
    button.hidden = this.#camera.getTracks().length === 0;
    button.setAttribute('aria-pressed', String(on));
    button.title = on ? 'Stop sending to the room' : 'Send to the room';
    this.#own?.say('You send no picture', on ? '' : 'Not sent');
    this.#own?.sayNumbers('');
  }

  #sendCandidate(endpointName, { candidate, sdpMid, sdpMLineIndex }) {
    const params = { endpointName, candidate, sdpMid, sdpMLineIndex };
    this.#session.request('onIceCandidate', params).catch((error) => console.warn('A candidate was refused:', error.message));
  }

  async #toggleScreen() {
    if (this.#screen) {
      this.#screen.close();
      return;
    }
    const screen = new ScreenShare(this.#room, `${this.#name}-screen`, this.#ice.list, {
      shared: (on) => this.#showScreen(on ? screen : null),
      failed: (error) => this.#frame.notice(`The screen is not shared: ${error.code ? explain(error) : error.message}`),
    });
    this.#screen = screen;
    await screen.start();
  }

  #showScreen(screen) {
    this.#screen = screen;
    const button = byId('screen');
    button.setAttribute('aria-pressed', String(screen !== null));
    button.title = screen ? 'Stop sharing the screen' : 'Share the screen';
    setIcon(button, 'screen');
  }

  // Ends -----------------------------------------------------------------------------------------

  #showEnd(name, words) {
    this.#end = name;
    this.#leave();
    this.#frame.end(name, { ...words, retry: 'Join again' });
  }

  #leave() {
    this.#over = true;
    clearInterval(this.#statsTimer);
    this.#screen?.close();
    this.#session?.close();
    this.#ice.close();
    for (const name of [...this.#others.keys()]) this.#remove(name);
    this.#sent?.flow.close();
    this.#sent = null;
    this.#switches?.close();
    this.#own?.remove();
  }

  // Statistics -----------------------------------------------------------------------------------

  async #measure() {
    const shown = byId('show-stats').getAttribute('aria-pressed') === 'true';
    for (const other of this.#others.values()) {
      if (other.flow?.peer.connectionState !== 'connected') continue;
      other.numbers = await other.meter.read(other.flow.peer);
      other.tile.sayNumbers(shown ? summary(other.numbers) : '');
    }
    const sent = this.#sent;
    if (sent?.flow?.peer.connectionState !== 'connected') return;
    sent.numbers = await sent.meter.readSent(sent.flow.peer);
    if (this.#sent === sent) this.#own?.sayNumbers(shown ? describeSent(sent.numbers) : '');
  }
}

/**
 * What the server saw of one's own media connection that failed, and what to configure: the one that
 * receives `of`, or publishes. Null if it doesn't say.
 */
async function seenByServer(room, user, of) {
  const own = (await participantsOf(room))?.find((participant) => participant.user === user);
  const why = own?.media?.find((media) => media.of === of)?.why;
  return why ? `The server says: ${why}.` : null;
}

/** Who is in a room, and who publishes: `[{user, publishing}]`; null if that can't be learned. */
async function participantsOf(room) {
  try {
    const rooms = await (await ask('/api/rooms')).json();
    return rooms.find(({ kind, id }) => kind === 'forwarding' && id === room)?.participants ?? null;
  } catch {
    return null;
  }
}
