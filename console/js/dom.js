// Small helpers for the page's elements.

const SVG = 'http://www.w3.org/2000/svg';

/** The element with an id that the page is known to have. */
export const byId = (id) => document.getElementById(id);

/** A new element with properties (`class` and `aria-…`, `data-…` as attributes) and children. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** One of the icons that index.html defines as `i-NAME`. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.setAttribute('aria-hidden', 'true');
  svg.append(use);
  return svg;
}

/** Changes the icon inside a button. */
export function setIcon(button, name) {
  button.querySelector('use').setAttribute('href', `#i-${name}`);
}

/** Sets text only where it changes, so that live regions stay silent otherwise. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Says something to a screen reader. */
export function announce(text) {
  setText(byId('announcer'), text);
}

/** Calls `action` when a video shows its first picture. */
export function onFirstFrame(video, action) {
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(action);
  else video.addEventListener('loadeddata', action, { once: true });
}

/** Shows an element on the whole screen, or ends that. */
export function toggleFullscreen(target) {
  if (document.fullscreenElement) document.exitFullscreen();
  else target.requestFullscreen().catch(() => {});
}
