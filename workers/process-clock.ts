/** One clock for all threads of this process. */

/**
 * Milliseconds on a clock that all threads of this process share. `performance.now()` counts from the birth
 * of its thread, `process.hrtime` from the same instant everywhere.
 */
export function processClock(): () => number {
  let least = Infinity;
  let offset = 0;
  // The two clocks cannot be read at one instant; of a few tries the quickest is the truest.
  for (let attempt = 0; attempt < 5; attempt++) {
    const before = performance.now();
    const [seconds, nanoseconds] = process.hrtime();
    const after = performance.now();
    if (after - before >= least) continue;
    least = after - before;
    offset = seconds * 1_000 + nanoseconds / 1_000_000 - before;
  }
  return () => performance.now() + offset;
}
