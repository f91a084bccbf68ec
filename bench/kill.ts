/** How long a `for(;;)` outlives its deadline, and until its slot runs the next task. */
import { openRuntime } from 'millrace';
import { percentile } from './statistics.js';
import type * as tasks from './tasks.js';

const KILLS = 60;
/** As in `tasks.ts`. */
const TIMEOUT_MS = 20;

export interface KillResult {
  /** From the deadline to the settled task, ms. */
  readonly killed: { readonly p50: number; readonly p99: number };
  /** From the deadline to the result of the task behind it, ms. */
  readonly replaced: { readonly p50: number; readonly p99: number };
}

export async function measureKill(): Promise<KillResult> {
  const runtime = await openRuntime<typeof tasks>({
    backend: 'memory:',
    tasks: new URL('./tasks.js', import.meta.url),
    threads: 1,
  });
  const killed: number[] = [];
  const replaced: number[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    await runtime.run('noop', undefined as never);
    const start = performance.now();
    const runaway = runtime
      .run('runaway', undefined as never)
      .catch(() => performance.now() - start - TIMEOUT_MS);
    const next = runtime.run('noop', undefined as never).then(() => performance.now() - start - TIMEOUT_MS);
    killed.push(Number(await runaway));
    replaced.push(await next);
  }
  await runtime.stop();
  const of = (values: readonly number[]) => ({ p50: percentile(values, 50), p99: percentile(values, 99) });
  return { killed: of(killed), replaced: of(replaced) };
}
