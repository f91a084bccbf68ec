/**
 * What the compiler knows of `runtime.limits`: which scope may have which rule. Checked by
 * `tsc -p test/tsconfig.json`; nothing runs.
 */
import { expectTypeOf } from 'vitest';
import type { LimitInForce, Runtime } from '#src/index.js';

export async function limits(runtime: Runtime): Promise<void> {
  const rule = { concurrency: 5, quota: { limit: 5, perMs: 1_000 } };
  expectTypeOf(runtime.limits.set('runtime', rule)).toEqualTypeOf<Promise<void>>();
  await runtime.limits.set({ queue: 'images' }, { tokenBucket: { capacity: 5, refillPerSec: 1 } });
  await runtime.limits.set({ task: 'a' }, { ...rule, weight: 2, limitKey: 'tenant.id', total: rule });
  await runtime.limits.set({ task: 'a', key: 'b' }, { ...rule, weight: 2 });
  // @ts-expect-error a runtime has no weight
  await runtime.limits.set('runtime', { weight: 2 });
  // @ts-expect-error nor has a queue
  await runtime.limits.set({ queue: 'images' }, { weight: 2 });
  // @ts-expect-error of a key there is no other key
  await runtime.limits.set({ task: 'a', key: 'b' }, { limitKey: 'c' });
  // @ts-expect-error nor a whole
  await runtime.limits.set({ task: 'a', key: 'b' }, { total: rule });
  // @ts-expect-error a key is of a task
  await runtime.limits.set({ key: 'b' }, rule);
  // @ts-expect-error a bucket needs a rate
  await runtime.limits.set({ task: 'a' }, { tokenBucket: { capacity: 5 } });
  // @ts-expect-error misspelt
  await runtime.limits.set({ task: 'a' }, { concurency: 5 });
  expectTypeOf(await runtime.limits.remove({ task: 'a' })).toEqualTypeOf<boolean>();
  // @ts-expect-error not a scope
  await runtime.limits.remove('all');
  expectTypeOf(await runtime.limits.list()).toEqualTypeOf<readonly LimitInForce[]>();
}
