/** Waiting with a bound, on the pool's clock. */
import type { Clock } from '../clock.js';

/** Resolves with true when `promise` settled, with false after `ms`. Never rejects. */
export function within(clock: Clock, ms: number, promise: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve) => {
    const disarm = clock.arm(ms, () => resolve(false));
    const settled = () => {
      disarm();
      resolve(true);
    };
    promise.then(settled, settled);
  });
}
