/**
 * Numbers of segments, which are part of every id. A number is never given twice, not even when the process
 * died before anything with it was accepted: such a task may have run (eager start), and its id may be known
 * outside as an idempotency key. So every open passes over more numbers than can ever be unaccepted at once,
 * and notes the gap.
 *
 *     meta  next-segment         [u48]   the first free number, written with every commit
 *     meta  gap:[first u48]      [u48]   numbers from `first` to before this value were never accepted
 *
 * A staged batch sets numbers apart, and waits until that is flushed before the next one may. So at most one
 * such range is lost with a process, beside what waits for one flush.
 */
import { readU48, u48 } from './keys.js';
import type { Tables } from './tables.js';

const NEXT = 'next-segment';
const GAP = 'gap:';
/**
 * Far more than the 2^24 numbers of one staged batch and the segments that may wait for one flush
 * (`maxPendingEnqueues` and what the commit in flight holds) together.
 */
const GAP_NUMBERS = 2 ** 25;

/** The first free number; 1 in an empty store. */
export function readNext(tables: Tables): number {
  const next = tables.get('meta', NEXT);
  return next === undefined ? 1 : read(next);
}

export function putNext(tables: Tables, next: number): void {
  tables.put('meta', NEXT, Buffer.from(u48(next), 'latin1'));
}

/**
 * To be called and awaited once by every owner of a store that outlives processes, before the first id is
 * made.
 */
export async function passOverUnaccepted(tables: Tables): Promise<void> {
  const first = readNext(tables);
  const next = first + GAP_NUMBERS;
  putGap(tables, first, next);
  putNext(tables, next);
  await tables.commit();
}

/** Nothing with a number from `first` to before `end` was accepted, or will be. */
export function putGap(tables: Tables, first: number, end: number): void {
  tables.put('meta', GAP + u48(first), Buffer.from(u48(end), 'latin1'));
}

/** Whether a number below the next free one belongs to a gap: nothing with it was ever accepted. */
export function isInGap(tables: Tables, segment: number): boolean {
  const end = GAP + u48(segment + 1);
  const [gap] = tables.range('meta', { start: GAP, end, limit: 1, reverse: true });
  return gap !== undefined && segment < read(gap[1]);
}

function read(value: Uint8Array): number {
  return readU48(Buffer.from(value).toString('latin1'), 0);
}
