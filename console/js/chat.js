// A box for short messages over a data channel.

import { announce, byId, element } from './dom.js';

/** Messages that are kept; the oldest go. */
const MOST_MESSAGES = 200;
/** Letters of one message that are shown. */
const MOST_LETTERS = 4_000;

/** The chat box of one call. It appears when there is somebody to write to. */
export class Chat {
  #write;

  /** `frame` is the page's frame; `write(text)` sends a line and tells whether it could. */
  constructor(frame, write) {
    this.#write = write;
    byId('chat-log').replaceChildren();
    byId('chat-text').value = '';
    frame.on('show-chat', () => this.#show(byId('chat').hidden));
    byId('chat-form').addEventListener('submit', (event) => this.#submit(event), { signal: frame.signal });
    this.#show(false);
  }

  /** Opens the way to the other side, or closes it. */
  allow(can) {
    byId('chat-text').disabled = byId('chat-send').disabled = !can;
    if (!can || !byId('show-chat').hidden) return;
    byId('show-chat').hidden = false;
    if (matchMedia('(min-width: 56rem)').matches) this.#show(true);
  }

  /** Shows a message of the other side. */
  receive(name, text) {
    this.#add('theirs', name, text);
    announce(`${name}: ${text.slice(0, MOST_LETTERS)}`);
    byId('show-chat').classList.toggle('news', byId('chat').hidden);
  }

  #submit(event) {
    event.preventDefault();
    const text = byId('chat-text').value.trim();
    if (!text || !this.#write(text)) return;
    this.#add('ours', 'You', text);
    byId('chat-text').value = '';
  }

  #add(whose, name, text) {
    const log = byId('chat-log');
    const shown = text.length > MOST_LETTERS ? `${text.slice(0, MOST_LETTERS)} …` : text;
    log.append(element('li', { class: whose }, element('span', { class: 'chat-name', textContent: name }), shown));
    while (log.children.length > MOST_MESSAGES) log.firstChild.remove();
    log.scrollTop = log.scrollHeight;
  }

  #show(shown) {
    byId('chat').hidden = !shown;
    byId('show-chat').setAttribute('aria-pressed', String(shown));
    if (shown) byId('show-chat').classList.remove('news');
  }
}
