/**
 * The newest fires of a stretch of time, however many there are in it: a schedule that slept for a month of
 * seconds is not counted through.
 */
import type { EpochMs } from '../clock.js';
import type { Occurrences } from './occurrences.js';

export interface Newest {
  /** In order; at most as many as were asked for. */
  readonly fires: readonly EpochMs[];
  /** How many older ones in (from, to] were seen; there may be more. */
  readonly older: number;
}

/** Halvings of a stretch that ends at one millisecond, and some to spare. */
const MAX_HALVINGS = 64;

/**
 * The last `most` fires in (from, to].
 *
 * Looks at no more than some multiples of `most` fires: the begin of the stretch is moved on by halves until
 * what is left holds between `most` and twice as many.
 */
export function newestFires(occurrences: Occurrences, from: EpochMs, to: EpochMs, most: number): Newest {
  const enough = 2 * most;
  let seen = collect(occurrences, from, to, enough + 1);
  if (seen.length <= enough) return cut(seen, most, 0);
  // Too many behind `low`, too few behind `high`.
  let [low, high] = [from, to];
  for (let halving = 0; halving < MAX_HALVINGS && high - low > 1; halving++) {
    const middle = Math.floor((low + high) / 2);
    const found = collect(occurrences, middle, to, enough + 1);
    if (found.length < most) {
      high = middle;
      continue;
    }
    low = middle;
    seen = found;
    if (found.length <= enough) break;
  }
  return cut(seen, most, 1);
}

function collect(occurrences: Occurrences, from: EpochMs, to: EpochMs, most: number): EpochMs[] {
  const fires: EpochMs[] = [];
  for (let at = occurrences.after(from); at !== undefined && at <= to; at = occurrences.after(at)) {
    fires.push(at);
    if (fires.length === most) break;
  }
  return fires;
}

function cut(fires: readonly EpochMs[], most: number, before: number): Newest {
  const older = Math.max(0, fires.length - most);
  return { fires: fires.slice(older), older: older + before };
}
