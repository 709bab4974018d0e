// One person on the stage: picture, name, state, and what went wrong.

import { byId, element, onFirstFrame, setText } from './dom.js';

/** Up to so many tiles lie below each other on a phone that is held upright; more lie in pairs. */
const FEW = 3;

/** One tile in the grid, from its making until `remove()`. */
export class Tile {
  #figure;
  #cover;
  #words = element('p', {});
  #numbers = element('span', { class: 'tile-numbers' });
  #badge = element('span', { class: 'tile-state' });
  #hasFrame = false;
  #explanation = element('div', { class: 'explanation' });
  /** The element that plays the person's picture and sound. */
  video = element('video', { autoplay: true, playsInline: true, disablePictureInPicture: true });

  /** `firstFrame()` is called when the picture is on the screen. */
  constructor(id, name, firstFrame = () => {}) {
    this.#cover = element('div', { class: 'tile-cover' },
      element('span', { class: 'face', 'aria-hidden': 'true', textContent: [...name][0].toUpperCase() }), this.#words);
    const caption = element('figcaption', {}, element('span', { class: 'tile-name', textContent: name }), this.#badge, this.#numbers);
    this.#figure = element('figure', { class: 'tile' }, this.video, this.#cover, caption);
    this.#figure.dataset.member = id;
    this.video.setAttribute('aria-label', `Picture of ${name}`);
    onFirstFrame(this.video, () => {
      this.#hasFrame = true;
      this.#showCover();
      firstFrame();
    });
    byId('tiles').append(this.#figure);
    arrange();
  }

  /** Shows what this browser sends: silent, and mirrored, as people know themselves, but not a screen. */
  showSelf(stream, mirrored = true) {
    this.#figure.classList.toggle('self', mirrored);
    this.video.muted = true;
    this.show(stream);
  }

  show(stream) {
    if (this.video.srcObject !== stream) this.video.srcObject = stream;
    this.video.play().catch(() => {});
  }

  /** Whether a picture has come. */
  get hasFrame() {
    return this.#hasFrame;
  }

  /** Says a state in words; `badge` goes beside the name, even over a picture. */
  say(text, badge = '') {
    setText(this.#words, text);
    setText(this.#badge, badge);
    this.#showCover();
  }

  /** A line of statistics; empty for none. */
  sayNumbers(text) {
    setText(this.#numbers, text);
  }

  /** Shows the end of this person's media, and why. */
  fail({ error, what, tried, advice }) {
    this.#hasFrame = false;
    this.#figure.dataset.failed = '';
    this.video.srcObject = null;
    const text = error ? `The negotiation failed: ${error}` : what ?? 'No picture or sound could get through.';
    this.say('No media connection', 'No connection');
    this.#explain([text, advice], tried);
  }

  /** Says why media doesn't come yet, and takes that back (`null`) when it does. */
  late(found) {
    if (found) this.#explain([found.what, found.advice], found.tried);
    else this.#explanation.replaceChildren();
  }

  #explain(sentences, tried) {
    const parts = [element('p', { class: 'why', textContent: sentences.filter(Boolean).join(' ') })];
    if (tried?.length) {
      const lines = tried.map((line) => element('li', { textContent: line }));
      parts.push(element('details', {}, element('summary', { textContent: 'What was tried' }), element('ul', {}, ...lines)));
    }
    this.#explanation.replaceChildren(...parts);
    this.#cover.append(this.#explanation);
  }

  remove() {
    this.video.srcObject = null;
    this.#figure.remove();
    arrange();
  }

  #showCover() {
    this.#cover.hidden = this.#hasFrame;
  }
}

/** Lays the tiles out in rows that are about as many as the columns. */
function arrange() {
  const tiles = byId('tiles');
  const count = tiles.children.length;
  tiles.style.setProperty('--columns', Math.ceil(Math.sqrt(count)) || 1);
  tiles.style.setProperty('--columns-upright', count > FEW ? 2 : 1);
}
