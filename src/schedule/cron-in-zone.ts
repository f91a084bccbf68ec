/**
 * Cron in a time zone: which instants the local times of an expression stand for.
 *
 *   - Where the clocks go forward, local times are skipped: a fixed one fires at the first instant after the
 *     gap, once for all of them.
 *   - Where they go back, local times come twice: a fixed one fires the first time only.
 *   - What runs through its values (`*`, steps) keeps its interval: it fires neither for skipped times nor
 *     less often in repeated ones. Looked at is the field that the change moves: hours where the clocks
 *     change by whole hours, minutes where by half an hour, days where a day is skipped.
 */
import type { EpochMs } from '../clock.js';
import type { Cron, CronField } from './cron.js';
import type { Zone } from './zone.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
/** A change of the clocks reaches no further: zones have skipped and repeated whole days. */
const REACH_MS = 26 * HOUR_MS;
/** Each step ends, crosses a change of the clocks, or leaps over a stretch without fires. */
const MAX_STEPS = 64;

/** The first instant strictly after this one; `undefined` when there is none in some decades. */
export function nextInZone(cron: Cron, zone: Zone, after: EpochMs): EpochMs | undefined {
  let instant = after;
  let offset = zone.offsetAt(instant);
  /** All local times up to here are done. */
  let local = Math.max(instant + offset, repeatedUntil(cron, zone, after) - 1);
  for (let step = 0; step < MAX_STEPS; step++) {
    const next = cron.after(local);
    if (next === undefined) return undefined;
    const isFar = next - offset > instant + 3 * REACH_MS;
    const change = zone.changeIn(instant, isFar ? instant + REACH_MS : next - offset);
    if (change === undefined) {
      if (!isFar) return next - offset;
      // Nothing fires before, whatever the clocks do on the way.
      instant = next - offset - REACH_MS;
      offset = zone.offsetAt(instant);
      continue;
    }
    const changed = zone.offsetAt(change);
    const isInterval = cron.isInterval(movedField(changed - offset));
    const isSkipped = next >= change + offset && next < change + changed;
    if (isSkipped && !isInterval) return change;
    // From here on by the new clocks: after the gap; in an overlap again from its begin, or after it.
    const isRepeated = changed < offset && !isInterval;
    local = change + (isRepeated ? offset : changed) - 1;
    [instant, offset] = [change, changed];
  }
  return undefined;
}

/** The end of the local times that come for the second time now and are not to fire again. */
function repeatedUntil(cron: Cron, zone: Zone, now: EpochMs): number {
  const change = zone.changeIn(now - REACH_MS, now);
  if (change === undefined) return Number.NEGATIVE_INFINITY;
  const offset = zone.offsetAt(change - 1);
  const changeMs = zone.offsetAt(change) - offset;
  return changeMs > 0 || cron.isInterval(movedField(changeMs)) ? Number.NEGATIVE_INFINITY : change + offset;
}

/** The field of the clock face that skips or repeats its values when the clocks change by this. */
function movedField(changeMs: number): CronField {
  if (changeMs % DAY_MS === 0) return 'day';
  if (changeMs % HOUR_MS === 0) return 'hour';
  return changeMs % MINUTE_MS === 0 ? 'minute' : 'second';
}
