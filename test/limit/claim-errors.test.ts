/** Permits that were taken for a claim which the broker then did not give. */
import { expect, it } from 'vitest';
import type { Broker } from '#src/broker/broker.js';
import { openMemory } from '#src/broker/memory.js';
import { ManualClock } from '#src/clock.js';
import { silentLogger } from '#src/logger.js';
import { validateRuntimeOptions } from '#src/options.js';
import { Coordinator } from '#src/run/coordinator.js';
import { LocalDesk } from '#src/run/local-desk.js';
import { encodeValue } from '#src/task/codec.js';
import { quiet, SimulatedPool } from './simulated-pool.js';

const RESULT = encodeValue(undefined).slice();
const BROKEN = new Error('the disk is gone');

/** The broker fails once a head was accepted; one that answers later fails later. */
function breakOnce(broker: Broker, isLater: boolean): void {
  const claim = broker.claim.bind(broker);
  broker.claim = (accept, most) => {
    let isTaken = false;
    const claims = claim((head) => {
      const verdict = accept(head);
      isTaken ||= verdict === 'take';
      return isTaken ? 'stop' : verdict;
    }, most);
    if (!isTaken) return claims;
    broker.claim = claim;
    if (isLater) return Promise.reject(BROKEN);
    throw BROKEN;
  };
}

it.each([
  ['throws', false],
  ['rejects', true],
])('are there again when it %s', async (_, isLater) => {
  const clock = new ManualClock();
  const options = validateRuntimeOptions(
    {
      ...{ backend: 'memory:', tasks: 'none', clock, logger: silentLogger, threads: 1 },
      limits: {
        perRuntime: { concurrency: 1 },
        tasks: { one: { tokenBucket: { capacity: 1, refillPerSec: 0.001 } } },
      },
    },
    { threads: () => 1, logger: silentLogger, clock },
  );
  let starts = 0;
  const handlers = [{ name: 'one', pattern: false, options: {} }];
  const pool = new SimulatedPool(clock, 1, handlers, {
    started: () => {
      starts++;
      return { runMs: 0, outcome: { kind: 'completed', result: RESULT } };
    },
    ended: () => {},
  });
  const backend = openMemory({ limits: options, now: () => clock.now() });
  const parts = { backend, pool, options };
  const coordinator = new Coordinator({
    ...{ ...parts, codecs: new Map(), runsNothing: false, random: Math.random },
  });
  const desk = new LocalDesk({ ...parts, coordinator });
  await desk.load();
  await pool.start(coordinator.executor);
  coordinator.setHandlers(handlers);
  breakOnce(backend.broker, isLater);
  coordinator.start();
  const settle = () => quiet(clock, () => coordinator.limiting.limits.whenTold());
  const enqueued = desk.enqueue('one', 1, {});
  await settle();
  await enqueued;
  await settle();
  clock.advance(1_000);
  await settle();
  expect(starts).toBe(1);
  coordinator.stopStarting();
  await coordinator.limiting.close();
});
