// What the user does, as the messages of the `input-channel` and of `device-control`.

/** Keys that stay with the browser: Tab must lead out of the picture. */
const BROWSER_KEYS = new Set(['Tab', 'F5', 'F11', 'F12']);
/** Wheel events count lines or pages in some browsers; this many pixels each. */
const WHEEL_UNIT = [1, 16, 400];

/**
 * Where a point of the page lies in the video, in video pixels: `{x, y, inside}`, `x` and `y` clamped
 * to the picture. Null before the first frame. The picture is centred in the element with its own
 * aspect ratio (`object-fit: contain`).
 */
export function toVideoPixels(video, clientX, clientY) {
  const { videoWidth, videoHeight } = video;
  if (!videoWidth || !videoHeight) return null;
  const box = video.getBoundingClientRect();
  const scale = Math.min(box.width / videoWidth, box.height / videoHeight);
  if (!(scale > 0)) return null;
  const x = (clientX - box.left - (box.width - videoWidth * scale) / 2) / scale;
  const y = (clientY - box.top - (box.height - videoHeight * scale) / 2) / scale;
  return {
    x: Math.floor(Math.min(Math.max(x, 0), videoWidth - 1)),
    y: Math.floor(Math.min(Math.max(y, 0), videoHeight - 1)),
    inside: x >= 0 && y >= 0 && x < videoWidth && y < videoHeight,
  };
}

/** Sends touches, mouse and pen on a picture as `multi-touch` of `label`, and its wheel as `wheel`. */
export function attachPointer(screen, video, label, send) {
  const held = new Map();

  const touch = (slot, { x, y }, down) =>
    send({ type: 'multi-touch', id: [slot], x: [x], y: [y], down, device_label: label });

  screen.addEventListener('pointerdown', (event) => {
    const point = toVideoPixels(video, event.clientX, event.clientY);
    if (event.button !== 0 || !point?.inside) return;
    screen.focus({ preventScroll: true });
    screen.setPointerCapture(event.pointerId);
    const slot = freeSlot(held);
    held.set(event.pointerId, { slot, x: point.x, y: point.y });
    touch(slot, point, 1);
    event.preventDefault();
  });
  screen.addEventListener('pointermove', (event) => {
    const finger = held.get(event.pointerId);
    const point = finger && toVideoPixels(video, event.clientX, event.clientY);
    if (!point || (point.x === finger.x && point.y === finger.y)) return;
    finger.x = point.x;
    finger.y = point.y;
    touch(finger.slot, point, 1);
  });
  const release = (event) => {
    const finger = held.get(event.pointerId);
    if (!finger) return;
    held.delete(event.pointerId);
    touch(finger.slot, finger, 0);
  };
  for (const end of ['pointerup', 'pointercancel', 'lostpointercapture']) screen.addEventListener(end, release);

  screen.addEventListener('contextmenu', (event) => event.preventDefault());
  screen.addEventListener('wheel', (event) => {
    event.preventDefault();
    const pixels = Math.round(event.deltaY * WHEEL_UNIT[event.deltaMode]);
    if (pixels !== 0) send({ type: 'wheel', pixels });
  }, { passive: false });
}

/** Sends the keyboard as `keyboard` while the picture has the focus. */
export function attachKeyboard(screen, send) {
  const held = new Set();

  const key = (code, type) => send({ type: 'keyboard', keycode: code, event_type: type });

  screen.addEventListener('keydown', (event) => {
    if (!event.code || BROWSER_KEYS.has(event.key) || event.metaKey) return;
    event.preventDefault();
    // Devices repeat held keys by themselves.
    if (event.repeat) return;
    held.add(event.code);
    key(event.code, 'keydown');
  });
  screen.addEventListener('keyup', (event) => {
    if (!held.delete(event.code)) return;
    event.preventDefault();
    key(event.code, 'keyup');
  });
  screen.addEventListener('blur', () => {
    for (const code of held) key(code, 'keyup');
    held.clear();
  });
}

/** Calls `send` with `down` and `up` while a button is held, by pointer or by keyboard. */
export function attachHold(button, send) {
  let down = false;
  const press = () => {
    if (!down) send('down');
    down = true;
  };
  const release = () => {
    if (down) send('up');
    down = false;
  };
  button.addEventListener('pointerdown', (event) => {
    if (event.button === 0) press();
  });
  for (const end of ['pointerup', 'pointercancel', 'pointerleave', 'blur']) button.addEventListener(end, release);
  const isPress = (event) => event.key === 'Enter' || event.key === ' ';
  button.addEventListener('keydown', (event) => {
    if (!isPress(event)) return;
    event.preventDefault();
    press();
  });
  button.addEventListener('keyup', (event) => isPress(event) && release());
  // A click without a pointer or a key comes from assistive technology.
  button.addEventListener('click', (event) => {
    if (event.detail !== 0 || down) return;
    press();
    release();
  });
}

/** The lowest number that no finger on the picture has. */
function freeSlot(held) {
  const taken = new Set([...held.values()].map((finger) => finger.slot));
  let slot = 0;
  while (taken.has(slot)) slot += 1;
  return slot;
}
