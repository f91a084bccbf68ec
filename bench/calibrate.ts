/** How much of `work` makes a millisecond here. */
import { work } from './tasks.js';

/** Rounds of `work` that take 1 ms on this thread: by the fastest of some tries, as noise only adds. */
export function calibrate(): number {
  const rounds = 1_000_000;
  let fastestMs = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < 20; attempt++) {
    const start = performance.now();
    work(rounds);
    fastestMs = Math.min(fastestMs, performance.now() - start);
  }
  return rounds / fastestMs;
}
