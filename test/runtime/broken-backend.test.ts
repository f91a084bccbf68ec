/** A backend that fails for a moment: the host goes on, and nothing that was accepted is forgotten. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Backend } from '#src/broker/broker.js';
import { openMemory } from '#src/broker/memory.js';
import { ManualClock } from '#src/index.js';
import { validateRuntimeOptions } from '#src/options.js';
import { Owning } from '#src/owning.js';
import { createSameThreadPool } from '#src/pool/same-thread.js';
import { Coordinator } from '#src/run/coordinator.js';
import { KeepAlive } from '#src/run/keep-alive.js';
import type { RunningItem } from '#src/run/running-item.js';
import { Runtime } from '#src/runtime.js';

const clock = new ManualClock();
const errors: unknown[] = [];
const logger = { debug() {}, info() {}, warn() {}, error: (...line: unknown[]) => void errors.push(line) };
const open: Runtime[] = [];
afterEach(async () => {
  errors.length = 0;
  for (const runtime of open.splice(0)) await runtime.stop({ graceMs: 0, killMs: 0 });
});

/** A runtime on this thread over a backend whose broker the test has spoilt. */
async function openOver(spoil: (broker: Backend['broker']) => void): Promise<Runtime> {
  const options = validateRuntimeOptions(
    { backend: 'memory:', tasks: 'given', logger, clock },
    { threads: () => 1, logger, clock },
  );
  const pool = createSameThreadPool<RunningItem>({ modules: [{ echo: (value: unknown) => value }], clock });
  const backend = openMemory({ limits: options, now: () => clock.now() });
  spoil(backend.broker);
  const codecs = new Map();
  const coordinator = new Coordinator({ backend, pool, options, codecs, runsNothing: false });
  const parts = { backend, pool, coordinator, options };
  const standing = new Owning(parts);
  const runtime = new Runtime({ standing, options, codecs, keepAlive: new KeepAlive() });
  open.push(runtime);
  await standing.boot(pool.start(coordinator.executor));
  runtime.begin();
  return runtime;
}

/** Makes the next calls of a method throw. */
function failNext(broker: Backend['broker'], method: 'claim' | 'promote' | 'prune', times: number): void {
  const given = broker[method].bind(broker) as (...args: unknown[]) => never;
  let left = times;
  Object.assign(broker, {
    [method]: (...args: unknown[]) => {
      if (left-- > 0) throw new Error(`${method} failed`);
      return given(...args);
    },
  });
}

describe('a broker that throws', () => {
  it('when asked for tasks is asked again, and says so in the log', async () => {
    const runtime = await openOver((broker) => failNext(broker, 'claim', 1));
    const result = runtime.run('echo', 1);
    while (errors.length === 0) await new Promise(setImmediate);
    expect(JSON.stringify(errors)).toContain('claim failed');
    clock.advance(1_000);
    expect(await result).toBe(1);
  });

  it('when asked for what is due is asked again', async () => {
    const runtime = await openOver((broker) => failNext(broker, 'promote', 3));
    const result = runtime.run('echo', 1, { delayMs: 10 });
    await new Promise(setImmediate);
    for (let minute = 0; minute < 5; minute++) {
      clock.advance(60_000);
      await new Promise(setImmediate);
    }
    expect(await result).toBe(1);
  });

  it('when asked to prune is asked again', async () => {
    const runtime = await openOver((broker) => failNext(broker, 'prune', 2));
    const handle = await runtime.enqueue('echo', 1, { retentionMs: { completed: 1_000 } });
    await handle.result();
    for (let round = 0; round < 5; round++) {
      clock.advance(10_000);
      await new Promise(setImmediate);
    }
    expect(await runtime.get(handle.id)).toBeUndefined();
  });
});
