// The sieve of Eratosthenes, for primes.mjs.

/** All primes up to a limit, the limit included. */
export function primesUpTo(limit) {
  const isComposite = new Uint8Array(limit + 1);
  const primes = [];
  for (let number = 2; number <= limit; number += 1) {
    if (isComposite[number]) continue;
    primes.push(number);
    for (let multiple = number * number; multiple <= limit; multiple += number) isComposite[multiple] = 1;
  }
  return primes;
}
