/** What becomes of permits and rules when the store fails. */
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

async function open() {
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
  const told = { starts: 0 };
  const handlers = [{ name: 'one', pattern: false, options: {} }];
  const pool = new SimulatedPool(clock, 1, handlers, {
    started: () => {
      told.starts++;
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
  const settle = () => quiet(clock, () => coordinator.limiting.limits.whenTold());
  return { clock, backend, coordinator, desk, settle, told };
}

it.each([
  ['throws', false],
  ['rejects', true],
])('permits of a claim are there again when the broker %s', async (_, isLater) => {
  const { clock, backend, coordinator, desk, settle, told } = await open();
  breakOnce(backend.broker, isLater);
  coordinator.start();
  const enqueued = desk.enqueue('one', 1, {});
  await settle();
  await enqueued;
  await settle();
  clock.advance(1_000);
  await settle();
  expect(told.starts).toBe(1);
  coordinator.stopStarting();
  await coordinator.limiting.close();
});

it('a rule that could not be written does not hold, and one that could not be removed does', async () => {
  const { backend, desk } = await open();
  const { keyValue } = backend;
  const set = async () => (await desk.listLimits()).filter((each) => each.set !== undefined);
  const [put, remove] = [keyValue.put.bind(keyValue), keyValue.delete.bind(keyValue)];
  const [first, second] = [{ concurrency: 1 }, { concurrency: 2 }];
  const refuse = () => Promise.reject(BROKEN);
  keyValue.put = refuse;
  keyValue.delete = refuse;
  await expect(desk.setLimit('runtime', first)).rejects.toBe(BROKEN);
  expect(await set()).toEqual([]);
  keyValue.put = put;
  await desk.setLimit('runtime', first);
  keyValue.put = refuse;
  await expect(desk.setLimit('runtime', second)).rejects.toBe(BROKEN);
  await expect(desk.removeLimit('runtime')).rejects.toBe(BROKEN);
  expect(await set()).toEqual([{ scope: 'runtime', rule: first, set: first }]);
  keyValue.delete = remove;
  expect(await desk.removeLimit('runtime')).toBe(true);
  expect(await set()).toEqual([]);
});
