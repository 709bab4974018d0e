// A module that imports another one: send it a number, and it answers with the primes up to there.

import { primesUpTo } from '/console/workers/sieve.mjs';

const MOST = 1_000_000;

onmessage = ({ data }) => {
  const limit = Number(data);
  if (!(limit >= 0 && limit <= MOST)) throw new RangeError(`send a number from 0 to ${MOST}`);
  const start = performance.now();
  const primes = primesUpTo(limit);
  const milliseconds = Math.round(performance.now() - start);
  postMessage({ limit, count: primes.length, last: primes.slice(-5), milliseconds });
};
