// What is around every picture on the stage: title, state, notices, the end in words, statistics.

import { byId, element, icon, setIcon, setText, toggleFullscreen } from './dom.js';
import { describe } from './stats.js';

/** What a living page may show, depending on its kind and state. */
const EXTRAS = ['player-notice', 'sound', 'sound-on', 'microphone', 'camera', 'publish', 'screen', 'hang-up', 'show-chat', 'chat', 'keys', 'alone'];

/** The frame of one page, until `close()`. */
export class Frame {
  #listeners = new AbortController();
  #isLate = false;

  /** `kind` is `device`, `call`, `mesh`, `room` or `gecko`; `again()` starts the page over. */
  constructor(kind, title, again) {
    byId('player').dataset.kind = kind;
    delete byId('player').dataset.end;
    setText(byId('player-title'), title);
    for (const id of [...EXTRAS, 'failure']) byId(id).hidden = true;
    for (const id of ['keys', 'displays', 'tiles']) byId(id).replaceChildren();
    byId('microphone').setAttribute('aria-pressed', 'false');
    setIcon(byId('microphone'), 'microphone');
    byId('fullscreen').hidden = !document.fullscreenEnabled;
    this.statistics(null, null);
    this.on('retry', again);
    this.on('notice-retry', again);
    this.on('fullscreen', () => toggleFullscreen(byId(kind === 'device' ? 'displays' : 'tiles')));
  }

  /** Listens to clicks on an element for as long as the page is there. */
  on(id, action) {
    byId(id).addEventListener('click', action, { signal: this.#listeners.signal });
  }

  /** The signal that ends with the page. */
  get signal() {
    return this.#listeners.signal;
  }

  /** Shows a state: its word on the pill, its tone, and what the curtain says while it is down. */
  state([word, tone, text]) {
    byId('player-state').dataset.state = tone;
    setText(byId('player-state'), word);
    setText(byId('progress-text'), text);
  }

  /** Lowers or raises the curtain with the spinner. */
  progress(shown) {
    byId('progress').hidden = !shown;
  }

  notice(text, canRetry = false) {
    setText(byId('notice-text'), text);
    byId('notice-retry').hidden = !canRetry;
    byId('player-notice').hidden = false;
  }

  clearNotice() {
    byId('player-notice').hidden = true;
  }

  /** Says why media doesn't come, and takes that back (`null`) when it does. */
  late(found) {
    if (found) this.notice([found.what, found.advice].join(' '));
    else if (this.#isLate) this.clearNotice();
    this.#isLate = found !== null;
  }

  /** Shows the end: its name for style and tests, and what it means in words. */
  end(name, { title, text, advice, tried, retry = 'Reconnect' }) {
    byId('player').dataset.end = name;
    byId('player-state').dataset.state = 'lost';
    setText(byId('player-state'), 'Not connected');
    for (const id of [...EXTRAS, 'progress']) byId(id).hidden = true;
    setText(byId('failure-title'), title);
    setText(byId('failure-text'), text);
    byId('failure-advice').hidden = !advice;
    setText(byId('failure-advice'), advice ?? '');
    byId('failure-details').hidden = !tried?.length;
    byId('failure-tried').replaceChildren(...(tried ?? []).map((line) => element('li', { textContent: line })));
    byId('retry').replaceChildren(icon('retry'), retry);
    byId('failure').hidden = false;
  }

  /**
   * Shows statistics; null for none yet. All rows from the start: a picture that moves when numbers
   * come would lead touches astray.
   */
  statistics(numbers, firstFrameMs) {
    const rows = describe(numbers, firstFrameMs).map(([label, text]) =>
      element('div', {}, element('dt', { textContent: label }), element('dd', { textContent: text })));
    byId('stats').replaceChildren(...rows);
  }

  close() {
    this.#listeners.abort();
  }
}
