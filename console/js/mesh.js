// A room whose members send their media to each other.

import { CameraSwitches, openCamera } from './camera.js';
import { announce, byId, setText } from './dom.js';
import { Frame } from './frame.js';
import { IceServers } from './ice.js';
import { Link } from './link.js';
import { Registration, randomId } from './registration.js';
import { Sound } from './sound.js';
import { Meter, summary } from './stats.js';
import { Tile } from './tile.js';

const STATS_MS = 1_000;
/** Smaller than in a call: it is encoded once for each member. */
const CAMERA = { width: { ideal: 640 }, height: { ideal: 360 }, frameRate: { max: 30 } };
/** The close code with which the server refuses an id that is taken. */
const ID_TAKEN = 1002;
/** How often another random id is tried when one is taken. */
const MOST_IDS = 3;
/** How long to wait before the room is joined again, at first and at most. */
const REJOIN_MS = 1_000;
const SLOWEST_REJOIN_MS = 10_000;

/** The state's word on the pill, its tone, and what the curtain says. */
const STATES = {
  camera: ['Preparing', 'waiting', 'Asking for your camera and microphone'],
  joining: ['Joining', 'waiting', 'Joining the room'],
  away: ['Server away', 'lost', ''],
};

/** What a member's tile says while it has no picture, and beside the name. */
const MEMBER_STATES = {
  joined: ['Has joined', ''],
  negotiating: ['Waiting for an answer', ''],
  slow: ['No answer yet', ''],
  connecting: ['Opening the media connection', ''],
  live: ['Waiting for the picture', ''],
  interrupted: ['Media is interrupted', 'Interrupted'],
};

/** Is in one room, until `close()`. */
export class MeshPage {
  #room;
  #name;
  #id;
  #frame;
  #sound;
  #own = null;
  #switches = null;
  #camera = null;
  #ice = new IceServers();
  #registration = null;
  /** By id: `{link, tile, meter, numbers}`. */
  #members = new Map();
  #statsTimer;
  #rejoinTimer = 0;
  #rejoinMs = REJOIN_MS;
  #idsTried = 1;
  #wasIn = false;
  #isIn = false;
  #end = null;
  #over = false;

  /** `name` is the id to be known by, or null for any; `soundIsOn` and `again()` as in a call. */
  constructor(room, { name, soundIsOn, again }) {
    this.#room = room;
    this.#name = name;
    this.#id = name ?? randomId();
    this.#frame = new Frame('mesh', room, again);
    this.#sound = new Sound(this.#frame, soundIsOn);
    this.#statsTimer = setInterval(() => this.#measure(), STATS_MS);
    this.#frame.on('show-stats', () => this.#measure());
    this.#frame.state(STATES.camera);
    this.#frame.progress(true);
    this.#start();
  }

  get soundIsOn() {
    return this.#sound.isOn;
  }

  /** The statistics of every member by id, the own id, and the reason of the end or null. */
  get numbers() {
    const members = Object.fromEntries([...this.#members].map(([id, member]) => [id, member.numbers]));
    return { id: this.#id, members, end: this.#end };
  }

  close() {
    this.#over = true;
    this.#ice.close();
    this.#leave();
    this.#frame.close();
  }

  // The room -------------------------------------------------------------------------------------

  async #start() {
    const [camera] = await Promise.all([openCamera(CAMERA), this.#ice.fetch()]);
    this.#camera = camera.stream;
    this.#switches = new CameraSwitches(this.#frame, camera.stream);
    if (this.#over) return this.#switches.close();
    if (camera.problem) this.#frame.notice(`No camera and no microphone: ${camera.problem}. You see and hear the others, but not the other way round.`);
    this.#frame.state(STATES.joining);
    setText(byId('progress-text'), STATES.joining[2]);
    this.#register();
  }

  #register() {
    this.#registration = new Registration(this.#id, {
      registered: () => this.#registration.enter(this.#room),
      entered: (ids) => this.#entered(ids),
      joined: (id) => this.#joined(id),
      left: (id) => this.#left(id),
      message: (text, id) => this.#receive(id, text),
      refused: (error) => this.#refused(error),
      closed: (end) => this.#closed(end),
    });
  }

  #entered(ids) {
    if (this.#wasIn) this.#frame.clearNotice();
    this.#isIn = this.#wasIn = true;
    this.#rejoinMs = REJOIN_MS;
    // After the server was away, everyone begins anew.
    for (const id of [...this.#members.keys()]) this.#drop(id);
    this.#showSelf();
    byId('hang-up').hidden = false;
    this.#frame.progress(false);
    for (const id of ids) this.#add(id).link.offer();
    this.#showCount();
  }

  #showSelf() {
    if (this.#own) return;
    const blind = this.#camera.getVideoTracks().length === 0;
    this.#own = new Tile(this.#id, `You (${this.#id})`);
    this.#own.showSelf(this.#camera);
    this.#own.say(blind ? 'You send no picture' : '');
  }

  #joined(id) {
    this.#drop(id);
    // The newcomer offers.
    this.#add(id).tile.say(...MEMBER_STATES.joined);
    this.#showCount();
    announce(`${id} has joined`);
  }

  #left(id) {
    this.#drop(id);
    this.#showCount();
    announce(`${id} has left`);
  }

  #receive(id, text) {
    const member = this.#members.get(id);
    if (!member) return;
    if (member.link.isOver && /"type"\s*:\s*"offer"/.test(text)) {
      // A member whose media had failed tries again.
      this.#drop(id);
      this.#add(id).link.receive(text);
    } else {
      member.link.receive(text);
    }
  }

  // Members --------------------------------------------------------------------------------------

  #add(id) {
    const member = { tile: new Tile(id, id), meter: new Meter(), numbers: null };
    this.#members.set(id, member);
    member.link = new Link(this.#camera, this.#ice.list, {
      send: (message) => this.#registration.sendTo(id, message),
      state: (state) => this.#showMember(member, state),
      media: (stream) => {
        member.tile.show(stream);
        this.#sound.add(member.tile.video);
      },
      late: (found) => member.tile.late(found),
      failed: (details) => {
        this.#sound.remove(member.tile.video);
        member.tile.fail(details);
      },
    });
    return member;
  }

  #drop(id) {
    const member = this.#members.get(id);
    if (!member) return;
    this.#members.delete(id);
    member.link.close();
    this.#sound.remove(member.tile.video);
    member.tile.remove();
  }

  #showMember(member, state) {
    const [text, badge] = MEMBER_STATES[state];
    const isBlind = state === 'live' && !member.link.hasVideo;
    member.tile.say(isBlind ? 'Sends no picture' : text, badge);
  }

  #showCount() {
    const count = this.#members.size + 1;
    this.#frame.state([`${count} in the room`, 'live', '']);
    byId('alone').hidden = count > 1;
  }

  // Ends -----------------------------------------------------------------------------------------

  #refused(error) {
    // Once inside, errors are about members that left while something was on its way to them.
    if (this.#isIn) console.warn('The server says:', error);
    else this.#showEnd('refused', { title: 'The server does not open this room', text: `It says: ${error}` });
  }

  #closed({ code, reason, opened }) {
    this.#isIn = false;
    if (this.#wasIn) {
      this.#rejoin();
    } else if (!opened) {
      this.#showEnd('unreachable', { title: 'The server does not answer', text: 'No connection to the server could be opened.' });
    } else if (code !== ID_TAKEN) {
      this.#showEnd('lost', { title: 'The server closed the connection', text: reason ? `It says: ${reason}.` : 'It gave no reason.' });
    } else if (this.#name) {
      this.#showEnd('taken', { title: `The name ${this.#name} cannot be had`, text: 'Somebody else has it, or it has a blank in it. Leave, and join with another name.' });
    } else if (this.#idsTried < MOST_IDS) {
      this.#idsTried += 1;
      this.#id = randomId();
      this.#register();
    } else {
      this.#showEnd('taken', { title: 'The server has no place for another name', text: reason });
    }
  }

  /** Comes back when the server does. Until then the media goes on without it. */
  #rejoin() {
    this.#frame.state(STATES.away);
    this.#frame.notice('The connection to the server is lost. You see who is here already; this page joins the room again when the server answers.');
    this.#rejoinTimer = setTimeout(() => this.#register(), this.#rejoinMs);
    this.#rejoinMs = Math.min(this.#rejoinMs * 2, SLOWEST_REJOIN_MS);
  }

  #showEnd(name, words) {
    this.#end = name;
    this.#leave();
    this.#frame.end(name, { ...words, retry: 'Join again' });
  }

  #leave() {
    clearInterval(this.#statsTimer);
    clearTimeout(this.#rejoinTimer);
    this.#registration?.close();
    for (const id of [...this.#members.keys()]) this.#drop(id);
    this.#switches?.close();
    this.#own?.remove();
  }

  // Statistics -----------------------------------------------------------------------------------

  async #measure() {
    const shown = byId('show-stats').getAttribute('aria-pressed') === 'true';
    for (const member of this.#members.values()) {
      if (member.link.peer.connectionState !== 'connected') continue;
      member.numbers = await member.meter.read(member.link.peer);
      member.tile.sayNumbers(shown ? summary(member.numbers) : '');
    }
  }
}
