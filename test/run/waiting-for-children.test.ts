/** What a look for work costs while very many lanes wait for a child process that is not there yet. */
import { setImmediate } from 'node:timers/promises';
import { expect, it } from 'vitest';
import type { Broker } from '#src/broker/broker.js';
import { openMemory } from '#src/broker/memory.js';
import { ManualClock } from '#src/clock.js';
import { silentLogger } from '#src/logger.js';
import { validateRuntimeOptions } from '#src/options.js';
import type { Slot } from '#src/pool/pool.js';
import { Coordinator } from '#src/run/coordinator.js';
import type { RunningItem } from '#src/run/running-item.js';
import { encodeValue } from '#src/task/codec.js';
import { limitLane } from '#src/task/lane.js';
import { SimulatedPool } from '../limit/simulated-pool.js';

const handlers = [
  { name: 'apart', pattern: false, options: { isolation: 'process' } as const },
  { name: 'free', pattern: false, options: {} },
];

/** Whose child never boots. */
class ChildlessPool extends SimulatedPool {
  override readonly children: readonly Slot<RunningItem>[] = [
    {
      ...{ index: 0, isolation: 'process', isReady: false, batches: [] },
      hand: () => {
        throw new Error('it is not ready');
      },
    },
  ];
}

/** What starts while a child boots for the tasks of so many lanes, and the most heads in one look. */
async function start(lanes: number) {
  const clock = new ManualClock();
  const options = validateRuntimeOptions(
    { backend: 'memory:', tasks: 'none', clock, logger: silentLogger, threads: 1 },
    { threads: () => 1, logger: silentLogger, clock },
  );
  const backend = openMemory({ limits: options, now: () => clock.now() });
  const broker: { -readonly [Key in keyof Broker]: Broker[Key] } = backend.broker;
  const claim = backend.broker.claim.bind(backend.broker);
  const looked = [0];
  broker.claim = (accept, max) => {
    looked.push(0);
    return claim((head) => {
      looked[looked.length - 1]!++;
      return accept(head);
    }, max);
  };
  const started: string[] = [];
  const outcome = { kind: 'completed', result: encodeValue(undefined).slice() } as const;
  const pool = new ChildlessPool(clock, 1, handlers, {
    started: ({ claim: { name } }) => {
      started.push(name);
      return { runMs: 1, outcome };
    },
    ended: () => {},
  });
  const coordinator = new Coordinator({
    ...{ backend, pool, options, codecs: new Map(), runsNothing: false, random: () => 0 },
  });
  await pool.start(coordinator.executor);
  coordinator.setHandlers(handlers);
  const task = { queue: 'default', level: 5, body: encodeValue(1).slice() };
  const apart = (key: number) => ({ ...task, name: 'apart', lane: limitLane('apart', `${key}`) });
  await backend.broker.enqueue(Array.from({ length: lanes }, (_, key) => apart(key))).accepted;
  await backend.broker.enqueue([{ ...task, name: 'free' }]).accepted;
  coordinator.start();
  for (let turn = 0; turn < 3; turn++) {
    clock.advance(1);
    await setImmediate();
  }
  coordinator.stopStarting();
  await backend.close();
  return { started, most: Math.max(...looked) };
}

it('lets other tasks go on, beside some hundred lanes', async () => {
  const { started, most } = await start(500);
  expect(started).toEqual(['free']);
  expect(most).toBe(501);
});

it('looks at a thousand of them and no more', async () => {
  const { started, most } = await start(2_000);
  expect(started).toEqual([]);
  expect(most).toBe(1_000);
});
