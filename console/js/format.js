// Numbers as people read them.

/** A time span in whole, rounded units: `8 s`, `3 min`, `2 h`, `5 d`. */
export function span(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** Bits per second: `870 kbit/s`, `2.4 Mbit/s`. */
export function bitrate(bitsPerSecond) {
  if (bitsPerSecond < 1e6) return `${Math.round(bitsPerSecond / 1e3)} kbit/s`;
  return `${(bitsPerSecond / 1e6).toFixed(1)} Mbit/s`;
}

/** Milliseconds: `7 ms`, `1.3 s`. */
export function milliseconds(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** A count with its noun: `1 viewer`, `3 viewers`. */
export function count(number, noun) {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

/** A whole number: `12,345`. */
export function whole(number) {
  return Math.round(number).toLocaleString('en');
}

/** So many a second: `0.5/s`, `1,200/s`. */
export function rate(perSecond) {
  return `${perSecond > 0 && perSecond < 10 ? perSecond.toFixed(1) : whole(perSecond)}/s`;
}

/** Bytes: `870 kB`, `2.4 MB`. */
export function bytes(number) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let at = 0;
  let left = number;
  for (; left >= 999.5 && at + 1 < units.length; at += 1) left /= 1000;
  return `${at > 0 && left < 10 ? left.toFixed(1) : Math.round(left)} ${units[at]}`;
}

/** A share of one: `0.3 %`, `12 %`. */
export function percent(share) {
  const hundredths = share * 100;
  return `${hundredths > 0 && hundredths < 10 ? hundredths.toFixed(1) : Math.round(hundredths)} %`;
}
