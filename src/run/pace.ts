/** What the threads are doing, for a broker that times its commits by it. */
import type { Broker, Pace } from '../broker/broker.js';
import type { Clock } from '../clock.js';
import type { Pool, Slot } from '../pool/pool.js';
import type { Executor } from './executor.js';
import type { RunningItem } from './running-item.js';

/** A batch handed over this recently may come back in time for the commit of its own tasks. */
const FRESH_MS = 0.3;

export function paceOf({ batches }: Executor, pool: Pool<RunningItem>, broker: Broker, clock: Clock): Pace {
  if (batches.size === 0) return 'idle';
  const busy = new Set<Slot<RunningItem>>();
  let handedLast = 0;
  for (const { batch } of batches) {
    busy.add(batch.slot);
    if (batch.handedAt > handedLast) handedLast = batch.handedAt;
  }
  if (busy.size >= pool.slots.length) return 'busy';
  return broker.backlog() === 0 && clock.monotonic() - handedLast < FRESH_MS ? 'fresh' : 'idle';
}
