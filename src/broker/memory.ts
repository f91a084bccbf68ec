/** `memory:`: the reference backend. Complete, and gone with the process. */

import { randomBytes } from 'node:crypto';
import type { Backend } from './broker.js';
import { openEmbedded } from './embedded/broker.js';
import type { IntakeLimits } from './embedded/intake.js';
import { memoryTables } from './embedded/memory-tables.js';

export interface MemoryOptions {
  readonly limits: IntakeLimits;
  readonly now: () => number;
  readonly windowTasks?: number;
}

export function openMemory({ limits, now, windowTasks }: MemoryOptions): Backend {
  return openEmbedded({
    kind: 'memory',
    lacks: { durable: 'memory: promises nothing after the process ends; use a path for a durable store' },
    tables: memoryTables(),
    where: 'memory:',
    storeNumber: randomBytes(4).readUInt32BE(),
    limits,
    now,
    windowTasks: windowTasks ?? Number.POSITIVE_INFINITY,
    windowBytes: Number.POSITIVE_INFINITY,
  });
}
