import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Asks again and again until the answer is true-ish, and returns it. The limit only keeps a broken test from
 * hanging: it is far beyond what anything here takes, on the slowest machine.
 *
 * @param {string} what for the error, e.g. "the session is gone"
 * @param {() => any} ask may be async
 */
export async function until(what, ask, { limitMs = 30_000, everyMs = 25 } = {}) {
  const end = Date.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited ${limitMs} ms in vain until ${what}`);
    await sleep(everyMs);
  }
}
