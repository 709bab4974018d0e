// Scripts on a gecko: write one or name one, run it, talk with it.

import { ask } from './access.js';
import { announce, byId, element, setText } from './dom.js';
import { Frame } from './frame.js';
import { IceServers } from './ice.js';
import { Sound } from './sound.js';
import { Meter } from './stats.js';
import { Tile } from './tile.js';
import { JSON_PROTOCOL, RemoteWorker } from './worker.js';

const STATS_MS = 1_000;
/** Lines of the log that are kept; the oldest go. */
const MOST_LINES = 500;
/** How long a line waits for more, to be shown with them. */
const LINES_MS = 50;
/** Letters of one line that are shown. */
const MOST_LETTERS = 4_000;
/** Bytes of a binary message that are shown. */
const MOST_BYTES = 48;
/** The largest file that is sent: a data channel takes about that much in one message. */
const MOST_FILE_BYTES = 256 * 1024;
/** Where the samples are. */
const SAMPLES = '/console/workers/';
/** What a token looks like where the server checks none: each is an account of its own. */
const OWN_TOKEN = `console-${crypto.getRandomValues(new Uint32Array(2)).join('-')}`;

/** The state's word on the pill, its tone, and the line in the log. */
const STATES = {
  ready: ['Nothing runs', 'waiting', ''],
  preparing: ['Starting', 'waiting', ''],
  asking: ['Starting', 'waiting', 'Asking the server for a gecko'],
  starting: ['Starting', 'waiting', 'A gecko fetches the script and starts it'],
  connecting: ['Connecting', 'waiting', 'Opening the connection to the gecko'],
  running: ['Running', 'live', 'It runs'],
  interrupted: ['Interrupted', 'lost', 'The connection to the gecko is interrupted'],
};

/** What each errno means: what happened, and what to do. */
const ERRNOS = {
  101: ['No token was sent', 'This server asks for a token: put one into the field Token.'],
  102: ['The token was refused', 'It is wrong, too old, or for another purpose. Get a new one.'],
  201: ['The gecko could not fetch the script', 'It must be able to reach the address from where it is, and may fetch from this site: look at its --allow-origin.'],
  202: ['The script has a syntax error', 'Correct it, and run it again.'],
  203: ['The script failed while it started', 'It threw an exception, or took too long. Correct it, and run it again.'],
  301: ['No gecko is there', 'Start one, and run the script again.'],
  302: ['The gecko did not answer in time', 'It may be overloaded, or cannot reach this browser. Try again, and look at its log.'],
  303: ['The gecko has gone', 'It left while it started the script. Run it again on another one.'],
  304: ['The gecko said something that the server does not understand', 'It may be of another version. Look at its log.'],
  400: ['The server did not understand this page', 'Reload the page: the server may be of another version.'],
  404: ['The server does not know what this page wants', 'Reload the page: the server may be of another version.'],
  413: ['The message was too large', 'The server takes less in one message.'],
  429: ['Too much at once', 'The gecko or the server has all that it takes. Try again in a moment.'],
  500: ['The server failed', 'Its log says why.'],
  503: ['The token could not be checked', 'The server could not reach the authority that knows the tokens. Try again in a moment.'],
};

/** The other ends: what happened, and what to do. */
const ENDS = {
  unreachable: ['The server does not answer', 'No connection to the server could be opened.'],
  lost: ['The server ended the connection', 'It did so before the worker was there.'],
  failed: ['No connection to the gecko', 'The script runs, but nothing could get through between this browser and the gecko.'],
  broken: ['The connection to the gecko was lost', 'The gecko, or the network to it, has gone.'],
  unpublished: ['The script could not be put on the server', ''],
};

/** What was written in the editor stays while the page is open. */
let draft = { script: null, sample: 'echo.js' };

/** Runs scripts on geckos, one after the other, until `close()`. */
export class GeckoPage {
  #frame;
  #sound;
  #worker = null;
  #tile = null;
  #meter = new Meter();
  #statsTimer;
  #numbers = null;
  #state = 'ready';
  #errno = null;
  #workerId = null;
  #protocol = JSON_PROTOCOL;
  #run = 0;
  #ice = new IceServers();
  #lines = [];
  #linesTimer = 0;

  /** `id` is the gecko that was chosen in the list, which the server need not choose. */
  constructor(id, { soundIsOn, again }) {
    this.#frame = new Frame('gecko', 'Run a script', again);
    this.#sound = new Sound(this.#frame, soundIsOn);
    this.#statsTimer = setInterval(() => this.#measure(), STATS_MS);
    this.#frame.progress(false);
    setText(byId('setup-gecko'), `The server chooses the gecko: the one that your account was on before, else the one with the least to do. It need not be ${id}.`);
    for (const part of ['setup', 'talk']) byId(part).hidden = false;
    this.#listen();
    this.#showEditor();
    this.#showSource();
    this.#showState('ready');
    askForToken();
    byId('talk-log').replaceChildren();
    byId('talk-error').hidden = true;
  }

  get soundIsOn() {
    return this.#sound.isOn;
  }

  /** The last statistics of the media, the state, the last errno, and the worker's id. */
  get numbers() {
    return { ...this.#numbers, state: this.#state, errno: this.#errno, worker: this.#workerId, end: null };
  }

  close() {
    this.#stop();
    clearTimeout(this.#linesTimer);
    this.#ice.close();
    clearInterval(this.#statsTimer);
    for (const part of ['setup', 'talk']) byId(part).hidden = true;
    this.#frame.close();
  }

  // The form -------------------------------------------------------------------------------------

  #listen() {
    const { signal } = this.#frame;
    const on = (id, event, action) => byId(id).addEventListener(event, action, { signal });
    on('setup', 'submit', (event) => {
      event.preventDefault();
      this.#start();
    });
    on('setup-stop', 'click', () => this.#stopByUser());
    on('setup-kind', 'change', () => this.#showSource());
    on('setup-sample', 'change', () => this.#loadSample());
    on('setup-script', 'input', () => this.#edited());
    on('talk-form', 'submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    on('talk-kind', 'change', () => this.#showInput());
    on('talk-clear', 'click', () => {
      this.#lines = [];
      byId('talk-log').replaceChildren();
    });
    this.#showInput();
  }

  #showSource() {
    const kind = chosenKind();
    for (const one of ['script', 'address', 'pipeline']) byId(`setup-${one}-part`).hidden = one !== kind;
    byId('setup-protocol-part').hidden = kind === 'pipeline';
    byId('setup-url').required = kind === 'address';
    byId('setup-pipeline').required = kind === 'pipeline';
    if (kind === 'pipeline' && kinds().length === 0) byId('setup-video').checked = true;
  }

  #showEditor() {
    byId('setup-sample').value = draft.sample;
    if (draft.script === null) this.#loadSample();
    else byId('setup-script').value = draft.script;
  }

  async #loadSample() {
    const sample = byId('setup-sample').value;
    if (!sample) return;
    draft = { script: null, sample };
    try {
      const answer = await fetch(SAMPLES + sample);
      if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
      const text = await answer.text();
      if (draft.sample !== sample || draft.script !== null) return;
      byId('setup-script').value = text;
      byId('setup-module').checked = sample.endsWith('.mjs');
    } catch (error) {
      this.#say('error', `The sample ${sample} cannot be loaded: ${error.message}`);
    }
  }

  /** What was changed is no sample any more. */
  #edited() {
    draft = { script: byId('setup-script').value, sample: '' };
    byId('setup-sample').value = '';
  }

  // Running --------------------------------------------------------------------------------------

  async #start() {
    this.#stop();
    const run = this.#run;
    byId('talk-error').hidden = true;
    this.#errno = this.#workerId = null;
    this.#showState('preparing');
    const [source] = await Promise.all([this.#source(), this.#ice.fetch(accountToken())]);
    if (run !== this.#run || source === null) return;
    this.#say('state', `Source: ${source}`);
    const talks = chosenKind() !== 'pipeline';
    this.#protocol = byId('setup-protocol').value;
    this.#worker = new RemoteWorker(
      { source, token: token(), protocol: this.#protocol, talks, kinds: kinds(), iceServers: this.#ice.list },
      this.#handlers(),
    );
  }

  /** Where the gecko finds what shall run; null if that failed. */
  async #source() {
    const kind = chosenKind();
    if (kind === 'address') return new URL(byId('setup-url').value, location.href).href;
    if (kind === 'pipeline') return `pipeline:${byId('setup-pipeline').value.trim()}`;
    const isModule = byId('setup-module').checked;
    if (draft.sample && draft.sample.endsWith('.mjs') === isModule) return new URL(SAMPLES + draft.sample, location.href).href;
    try {
      return await publish(byId('setup-script').value, isModule);
    } catch (error) {
      this.#ended({ why: 'unpublished', reason: error.message });
      return null;
    }
  }

  #handlers() {
    return {
      state: (state) => this.#showState(state),
      id: (id) => (this.#workerId = id),
      message: (data) => this.#received(data),
      control: (text) => this.#told(text),
      media: (stream) => this.#showMedia(stream),
      late: (found) => this.#frame.late(found),
      ended: (end) => this.#ended(end),
    };
  }

  #stopByUser() {
    if (!this.#worker && this.#state === 'ready') return;
    this.#stop();
    this.#say('state', 'Stopped');
    this.#showState('ready');
  }

  /** Ends the present run, silently. */
  #stop() {
    this.#run += 1;
    this.#worker?.stop();
    this.#worker = null;
    this.#removeMedia();
  }

  #ended({ why, errno, reason, what, tried, advice }) {
    const wasRunning = ['running', 'interrupted'].includes(this.#state);
    this.#stop();
    this.#errno = errno ?? null;
    this.#showState('ready');
    if (why === 'over') {
      this.#say('state', 'The worker has ended');
      announce('The worker has ended');
      return;
    }
    const [title, text] = ERRNOS[errno] ?? ENDS[why === 'failed' && wasRunning ? 'broken' : why] ?? ['The script was refused', ''];
    this.#showError(errno, title, [text, what, advice].filter(Boolean).join(' '), reason, tried);
  }

  #showError(errno, title, text, reason, tried) {
    const heading = errno ? `${title} (error ${errno})` : title;
    const parts = [element('strong', { textContent: heading })];
    if (text) parts.push(element('p', { textContent: text }));
    if (errno === 301) parts.push(element('pre', {}, element('code', { textContent: `switchboard gecko ${geckoUrl()}` })));
    if (reason) parts.push(element('p', { class: 'why', textContent: reason.slice(0, MOST_LETTERS) }));
    if (tried?.length) parts.push(element('ul', {}, ...tried.map((line) => element('li', { textContent: line }))));
    byId('talk-error').replaceChildren(...parts);
    byId('talk-error').hidden = false;
    this.#say('error', [heading, reason].filter(Boolean).join(': '));
  }

  #showState(state) {
    this.#state = state;
    this.#frame.state(STATES[state]);
    if (STATES[state][2]) this.#say('state', STATES[state][2]);
    const talks = state === 'running' && chosenKind() !== 'pipeline';
    for (const id of ['talk-text', 'talk-file', 'talk-send']) byId(id).disabled = !talks;
    byId('setup-stop').disabled = state === 'ready';
    byId('setup-run').lastChild.textContent = state === 'ready' ? 'Run' : 'Run again';
  }

  // Talking --------------------------------------------------------------------------------------

  #showInput() {
    const isFile = byId('talk-kind').value === 'file';
    byId('talk-text-part').hidden = isFile;
    byId('talk-file-part').hidden = !isFile;
    byId('talk-text').placeholder = { json: '{"hello": "world"}', text: 'Some text', binary: '01 02 ff' }[byId('talk-kind').value] ?? '';
  }

  async #send() {
    try {
      const data = await this.#outgoing();
      const problem = this.#worker ? this.#worker.send(data) : 'nothing runs';
      if (problem) throw new Error(problem);
      this.#say('out', describe(data));
      byId('talk-text').value = '';
    } catch (error) {
      this.#say('error', `Not sent: ${error.message}`);
    }
  }

  /** What the form says, as it goes onto the channel. */
  async #outgoing() {
    const kind = byId('talk-kind').value;
    const text = byId('talk-text').value;
    if (kind === 'binary') return parseHex(text);
    if (kind === 'file') return readFile(byId('talk-file').files[0]);
    if (kind === 'json') return JSON.stringify(JSON.parse(text));
    return this.#protocol === JSON_PROTOCOL ? JSON.stringify(text) : text;
  }

  #received(data) {
    this.#say('in', describe(data));
  }

  /** A line of the worker's console, or an error in it. */
  #told(text) {
    let told;
    try {
      told = JSON.parse(text);
    } catch {
      told = null;
    }
    if (told?.type === 'console') this.#say(told.level === 'error' ? 'error' : 'console', `${told.level}: ${told.message}`);
    else if (told?.type === 'error') this.#say('error', errorOf(told));
    else this.#say('console', text);
  }

  #say(kind, text) {
    const shown = text.length > MOST_LETTERS ? `${text.slice(0, MOST_LETTERS)} …` : text;
    const line = element('li', { class: kind },
      element('time', { textContent: timeOfDay() }),
      element('span', { class: 'mark', textContent: MARKS[kind][0], title: MARKS[kind][1] }),
      element('span', { class: 'unseen', textContent: `${MARKS[kind][1]}: ` }),
      element('span', { class: 'said', textContent: shown }));
    this.#lines.push(line);
    if (this.#lines.length > MOST_LINES) this.#lines.shift();
    this.#linesTimer ||= setTimeout(() => this.#showLines(), LINES_MS);
  }

  /** All at once: a worker may say more than a page can lay out line by line. */
  #showLines() {
    this.#linesTimer = 0;
    const log = byId('talk-log');
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(...this.#lines.splice(0));
    while (log.children.length > MOST_LINES) log.firstChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  // Media ----------------------------------------------------------------------------------------

  #showMedia(stream) {
    if (!this.#tile) {
      this.#tile = new Tile('gecko', 'Gecko');
      this.#tile.say('Waiting for the picture');
      byId('player').dataset.media = '';
    }
    if (stream.getVideoTracks().length === 0) this.#tile.say('Sends no picture');
    this.#tile.show(stream);
    this.#sound.add(this.#tile.video);
  }

  #removeMedia() {
    if (this.#tile) this.#sound.remove(this.#tile.video);
    this.#tile?.remove();
    this.#tile = null;
    this.#numbers = null;
    delete byId('player').dataset.media;
  }

  async #measure() {
    if (!this.#tile || this.#worker?.peer.connectionState !== 'connected') return;
    const numbers = await this.#meter.read(this.#worker.peer);
    if (!this.#tile) return;
    this.#numbers = numbers;
    this.#frame.statistics(numbers, null);
  }
}

/** The mark of each kind of line, and its name in words. */
const MARKS = {
  in: ['←', 'Received'],
  out: ['→', 'Sent'],
  console: ['›', 'Console'],
  error: ['!', 'Error'],
  state: ['·', 'State'],
};

const chosenKind = () => byId('setup').elements.kind.value;

const kinds = () => ['video', 'audio'].filter((kind) => byId(`setup-${kind}`).checked);

/** The token of the user's account, where the server asks for one. */
const accountToken = () => (byId('setup-token-part').hidden ? '' : byId('setup-token').value.trim());

const token = () => (byId('setup-token-part').hidden ? OWN_TOKEN : accountToken());

/** Shows the field for a token where the server asks for one. */
async function askForToken() {
  try {
    byId('setup-token-part').hidden = !(await fetch('/v1/fxa-oauth/params')).ok;
  } catch {
    byId('setup-token-part').hidden = true;
  }
}

/** Puts a script on the server, so that a gecko can fetch it. Gives its address. */
async function publish(script, isModule) {
  const headers = { 'content-type': 'text/javascript' };
  const answer = await ask(`/api/scripts?module=${isModule}`, { method: 'POST', headers, body: script });
  const { url, error } = await answer.json().catch(() => ({}));
  if (!answer.ok || !url) throw new Error(error ?? `the server answers ${answer.status}`);
  return new URL(url, location.href).href;
}

/** Bytes from digits, with or without blanks between them. */
function parseHex(text) {
  const digits = text.replace(/0x|[\s,:]/gi, '');
  if (digits.length === 0 || digits.length % 2 !== 0 || /[^0-9a-f]/i.test(digits)) {
    throw new Error('write bytes as pairs of hexadecimal digits, such as 01 02 ff');
  }
  return Uint8Array.from(digits.match(/../g), (pair) => parseInt(pair, 16)).buffer;
}

async function readFile(file) {
  if (!file) throw new Error('choose a file');
  if (file.size > MOST_FILE_BYTES) throw new Error(`the file has more than ${MOST_FILE_BYTES / 1024} KiB`);
  return file.arrayBuffer();
}

/** A message in one line. */
function describe(data) {
  if (typeof data === 'string') return data;
  const bytes = new Uint8Array(data);
  const shown = [...bytes.subarray(0, MOST_BYTES)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
  return `${bytes.length} bytes: ${shown}${bytes.length > MOST_BYTES ? ' …' : ''}`;
}

function errorOf({ message, file, line, fatal }) {
  const place = file ? ` (${file}${line ? `, line ${line}` : ''})` : '';
  return `${fatal ? 'The worker was ended: ' : 'Uncaught: '}${message}${place}`;
}

/** Hours to milliseconds, as `12:34:56.789`. */
function timeOfDay() {
  const now = new Date();
  return new Date(now.getTime() - now.getTimezoneOffset() * 60_000).toISOString().slice(11, 23);
}

const geckoUrl = () => `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}`;
