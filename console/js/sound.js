// What the page plays aloud, and the switch for it.

import { byId, setIcon } from './dom.js';

/** The sound of all elements on the stage together. */
export class Sound {
  #elements = new Set();
  #isOn;

  /** `frame` is the page's frame; `isOn` is what the user chose before. */
  constructor(frame, isOn) {
    this.#isOn = isOn;
    frame.on('sound', () => this.#set(!this.#isOn));
    frame.on('sound-on', () => this.#set(true));
  }

  get isOn() {
    return this.#isOn;
  }

  /** Plays an `audio` or `video` element, aloud if the user wants that and the browser lets it. */
  add(media) {
    this.#elements.add(media);
    byId('sound').hidden = false;
    byId('sound-on').hidden = this.#isOn;
    this.#set(this.#isOn);
  }

  remove(media) {
    this.#elements.delete(media);
    if (this.#elements.size === 0) byId('sound').hidden = byId('sound-on').hidden = true;
  }

  #set(on) {
    this.#isOn = on;
    for (const media of this.#elements) {
      media.muted = !on;
      media.play().catch((error) => {
        // Browsers play aloud only on pages that the user has touched.
        if (on && error.name === 'NotAllowedError') this.#refused();
      });
    }
    const button = byId('sound');
    button.setAttribute('aria-pressed', String(on));
    button.title = on ? 'Turn the sound off' : 'Turn the sound on';
    setIcon(button, on ? 'sound' : 'muted');
    if (on) byId('sound-on').hidden = true;
  }

  #refused() {
    if (!this.#isOn) return;
    this.#set(false);
    byId('sound-on').hidden = false;
  }
}
