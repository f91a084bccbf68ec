/** When the watch over a busy thread looks. */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '#src/clock.js';
import { type Sighting, Watchdog } from '#src/pool/watchdog.js';

const BUSY: Sighting = {
  isIdle: false,
  hasChanged: false,
  dueInMs: Number.POSITIVE_INFINITY,
  leastTimeoutMs: Number.POSITIVE_INFINITY,
};

function watch(sightings: (at: number) => Partial<Sighting>) {
  const clock = new ManualClock();
  const looks: number[] = [];
  const watchdog = new Watchdog(clock, () => {
    looks.push(clock.monotonic());
    return { ...BUSY, ...sightings(clock.monotonic()) };
  });
  return { clock, looks, watchdog };
}

describe('the watchdog', () => {
  it('looks soon, and ever more seldom while nothing changes', () => {
    const { clock, looks, watchdog } = watch(() => ({}));
    watchdog.wake();
    clock.advance(400);
    expect(looks).toEqual([5, 15, 35, 75, 155, 235, 315, 395]);
  });

  it('looks often while items come and go', () => {
    const { clock, looks, watchdog } = watch(() => ({ hasChanged: true }));
    watchdog.wake();
    clock.advance(25);
    expect(looks).toEqual([5, 10, 15, 20, 25]);
  });

  it('looks at the instant of a deadline', () => {
    const { clock, looks, watchdog } = watch((at) => (at < 100 ? { dueInMs: 100 - at } : { isIdle: true }));
    watchdog.wake();
    clock.advance(1_000);
    expect(looks.at(-1)).toBe(100);
  });

  it('looks as often as the shortest timeout asks, since an item may start unseen', () => {
    const { clock, looks, watchdog } = watch(() => ({ leastTimeoutMs: 12 }));
    watchdog.wake();
    clock.advance(41);
    expect(looks).toEqual([5, 15, 27, 39]);
  });

  it('rests when nothing is handed over, and wakes again', () => {
    const { clock, looks, watchdog } = watch(() => ({ isIdle: true }));
    watchdog.wake();
    clock.advance(1_000);
    expect(looks).toEqual([5]);
    watchdog.wake();
    watchdog.wake();
    clock.advance(1_000);
    expect(looks).toEqual([5, 1_005]);
  });

  it('looks earlier when told, and never again when off', () => {
    const { clock, looks, watchdog } = watch(() => ({}));
    watchdog.within(50);
    watchdog.within(20);
    watchdog.within(30);
    clock.advance(20);
    expect(looks).toEqual([20]);
    watchdog.off();
    watchdog.wake();
    clock.advance(1_000);
    expect(looks).toEqual([20]);
  });
});
