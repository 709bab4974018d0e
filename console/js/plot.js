// A small line of the last minutes.

const SVG = 'http://www.w3.org/2000/svg';
/** The size of the drawing, which the page stretches. */
const [WIDTH, HEIGHT] = [120, 28];

/** How much of the past is shown, and how much at least: a line that has just begun is to be seen. */
export const SPAN_MS = 300_000;
const LEAST_MS = 60_000;
/** Without a point for so long the line breaks. */
const GAP_MS = 12_000;

/** An empty drawing; `draw` fills it. */
export function makePlot() {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('class', 'plot');
  svg.setAttribute('aria-hidden', 'true');
  svg.append(document.createElementNS(SVG, 'path'));
  return svg;
}

/** Draws points `{at, value}`, the newest at the right edge; from zero up to the greatest. */
export function draw(svg, points, now) {
  const known = points.filter(({ value }) => Number.isFinite(value));
  const most = known.reduce((top, { value }) => Math.max(top, value), 0) || 1;
  const span = Math.max(LEAST_MS, now - (points[0]?.at ?? now));
  let path = '';
  let before = null;
  for (const { at, value } of known) {
    const x = WIDTH * (1 - (now - at) / span);
    const y = (HEIGHT - 2) * (1 - value / most) + 1;
    path += `${before === null || at - before > GAP_MS ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`;
    before = at;
  }
  svg.firstElementChild.setAttribute('d', path);
}
