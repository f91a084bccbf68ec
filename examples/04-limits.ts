/**
 * Tenants that share threads: a flood of one neither holds up another nor runs faster than it may.
 *
 *     node 04-limits.js [DATA]
 */
import { openRuntime } from 'millrace';
import type * as tasks from './04-limits-tasks.js';

const runtime = await openRuntime<typeof tasks>({
  backend: process.argv[2] ?? './data',
  tasks: new URL('./04-limits-tasks.js', import.meta.url),
  threads: 2,
  // Over what the definition says: two tenants that pay for more, and a bound for all of them together.
  limits: {
    tasks: {
      thumbnail: {
        keys: { acme: { weight: 3, tokenBucket: { capacity: 100, refillPerSec: 1_000 } } },
        total: { quota: { limit: 10_000, perMs: 86_400_000 } },
      },
    },
  },
});
const done: string[] = [];
const one = async (id: string, file: string): Promise<void> => {
  await runtime.run('thumbnail', { tenant: { id }, file });
  done.push(id);
};

const flood = Array.from({ length: 30 }, (_, at) => one('flood', `${at}`));
await one('lone', 'first');
console.log(`lone: after ${done.filter((id) => id === 'flood').length} of the flood`);

const begin = performance.now();
await Promise.all(Array.from({ length: 60 }, (_, at) => one('acme', `${at}`)));
console.log(`acme: 60 within its burst, ${done.filter((id) => id === 'flood').length} of the flood by then`);

// Holds at once, and after a restart, until `limits.remove` takes it back.
await runtime.limits.set(
  { task: 'thumbnail', key: 'flood' },
  { tokenBucket: { capacity: 50, refillPerSec: 500 } },
);
await Promise.all(flood);
console.log(
  `flood: done, ${(performance.now() - begin) < 5_000 ? 'soon' : 'late'} after its limit was raised`,
);
await runtime.limits.remove({ task: 'thumbnail', key: 'flood' });
await runtime.stop();
