/**
 * Schedules over a backend: the scheduler of a runtime, which keeps each schedule as a fact, enqueues the
 * tasks of its fires together with it, and finds both again. Each look here is one of a scheduler that was
 * just started, and knows nothing but what is stored.
 */
import assert from 'node:assert/strict';
import type { EpochMs } from '../../clock.js';
import { type Logger, silentLogger } from '../../logger.js';
import type { CheckedRule } from '../../options/schedule-types.js';
import { validateScheduleOptions } from '../../options.js';
import {
  decodeSchedule,
  encodeSchedule,
  redefined,
  SCHEDULE_PREFIX,
  type StoredSchedule,
} from '../../run/schedules/fact.js';
import { Scheduler } from '../../run/schedules/scheduler.js';
import type { Probe } from './probe.js';
import { it, type Theme } from './suite.js';

const HOUR_MS = 3_600_000;
const HOURLY: CheckedRule = { everyMs: HOUR_MS };
const NEEDED = { has: ['atomicBatch'] } as const;
const DURABLE = { has: ['atomicBatch', 'durable'] } as const;
const SEEN = { has: ['atomicBatch', 'inspect'] } as const;
const CRASH = { has: ['atomicBatch', 'durable', 'inspect'], crash: true } as const;

/** What goes wrong fails the sentence. */
const strictLogger: Logger = { ...silentLogger, error: (facts) => assert.fail(JSON.stringify(facts)) };

function schedulerOver(probe: Probe, logger = strictLogger): Scheduler {
  const scheduler = new Scheduler({
    backend: probe.backend,
    options: { clock: probe.clock, logger, calendars: new Map() },
    front: {
      fromSchedule: ({ name, body }, schedule) => ({ ...probe.draft({ name, schedule }), body }),
    },
    gather: { apart: async (task) => task, flush() {}, drop() {} },
    telling: { fired() {}, decided() {} },
    due() {},
  });
  scheduler.cancel = (id) => probe.cancel(id);
  return scheduler;
}

/** Looks at all schedules once, and fires what is due. */
async function look(probe: Probe, logger?: Logger): Promise<void> {
  const scheduler = schedulerOver(probe, logger);
  await scheduler.poll();
  scheduler.stop();
}

async function make(probe: Probe, id: string, options: object = {}, rule = HOURLY): Promise<void> {
  const { plan } = validateScheduleOptions(options, 'options');
  const task = { name: 'task', body: Buffer.from(id) };
  for (let isStored = false; !isStored; ) {
    const fact = await probe.keyValue.get(SCHEDULE_PREFIX + id);
    const before = fact === undefined ? undefined : decodeSchedule(fact.value);
    const made = encodeSchedule(redefined({ rule, plan, task }, before, probe.now));
    const ifVersion = fact?.version ?? 0;
    isStored = (await probe.keyValue.put(SCHEDULE_PREFIX + id, made, { ifVersion })) !== undefined;
  }
}

async function read(probe: Probe, id: string): Promise<StoredSchedule | undefined> {
  const fact = await probe.keyValue.get(SCHEDULE_PREFIX + id);
  return fact === undefined ? undefined : decodeSchedule(fact.value);
}

/** Of the tasks that wait, in order: hours since `begin` of the fires that they are of. */
async function firesSince(probe: Probe, begin: EpochMs): Promise<number[]> {
  return (await probe.take()).map(({ schedule }) => (schedule!.fireAt - begin) / HOUR_MS);
}

/** Fires at 1, 2 and 3 passed while the store was closed. */
const AWAY = [
  ['skip', []],
  ['latest', [3]],
  ['all', [1, 2, 3]],
] as const;

export const scheduleFireThemes: readonly Theme[] = [
  {
    subject: 'a schedule',
    sentences: [
      it(
        'that fires has its task, and knows it, together',
        async (probe) => {
          await make(probe, 'a');
          await look(probe);
          assert.deepEqual(await probe.take(), []);
          probe.clock.advance(HOUR_MS);
          await look(probe);
          const { state, lastTaskId } = (await read(probe, 'a'))!;
          assert.deepEqual(state, { since: probe.now, runs: 1, lastFireAt: probe.now });
          const { schedule, body } = await probe.view(lastTaskId!);
          assert.deepEqual(schedule, { id: 'a', fireAt: probe.now });
          assert.equal(Buffer.from(body!).toString(), 'a');
        },
        SEEN,
      ),

      it(
        'fires each time once, however many schedulers look',
        async (probe) => {
          const begin = probe.now;
          await make(probe, 'a');
          await make(probe, 'b', { misfire: 'all' });
          probe.clock.advance(4 * HOUR_MS);
          await Promise.all(Array.from({ length: 5 }, () => look(probe)));
          await look(probe);
          assert.deepEqual(
            (await firesSince(probe, begin)).sort((a, b) => a - b),
            [1, 2, 3, 4, 4],
          );
          assert.deepEqual(
            [(await read(probe, 'a'))!.state.runs, (await read(probe, 'b'))!.state.runs],
            [1, 4],
          );
        },
        NEEDED,
      ),

      it(
        'that was deleted or changed while it fired is not fired by what it was',
        async (probe) => {
          const ids = Array.from({ length: 24 }, (_, at) => `s${at}`);
          for (const id of ids) await make(probe, id);
          probe.clock.advance(HOUR_MS);
          const rule = { at: probe.now + HOUR_MS };
          const changes = ids.map(async (id, at) => {
            for (let step = 0; step < at; step++) await undefined;
            if (at % 2 > 0) await make(probe, id, {}, rule);
            else await probe.keyValue.delete(SCHEDULE_PREFIX + id);
          });
          await Promise.all([look(probe), ...changes]);
          const fired = (await probe.take()).map(({ schedule }) => schedule!.id);
          for (const [at, id] of ids.entries()) {
            const found = await read(probe, id);
            const fires = fired.filter((each) => each === id).length;
            if (at % 2 > 0) assert.deepEqual([found?.rule, found?.state.runs], [rule, fires]);
            else assert.equal(found, undefined);
          }
        },
        NEEDED,
      ),

      it(
        'looks at the task of its last fire',
        async (probe) => {
          await make(probe, 'skips', { overlap: 'skip' });
          await make(probe, 'cancels', { overlap: 'cancel' });
          const runs = async (): Promise<unknown[]> => {
            const found = await Promise.all(['skips', 'cancels'].map((id) => read(probe, id)));
            return found.map((schedule) => schedule?.state.runs);
          };
          probe.clock.advance(HOUR_MS);
          await look(probe);
          const first = (await read(probe, 'cancels'))!.lastTaskId!;
          probe.clock.advance(HOUR_MS);
          await look(probe);
          assert.deepEqual(await runs(), [1, 2]);
          assert.equal(await probe.state(first), 'cancelled');
          await probe.drain();
          probe.clock.advance(HOUR_MS);
          await look(probe);
          assert.deepEqual(await runs(), [2, 3]);
        },
        SEEN,
      ),

      it(
        'for which there is no room goes on where it was, with nothing left out and nothing twice',
        async (probe) => {
          const begin = probe.now;
          await make(probe, 'a', { misfire: 'all' });
          probe.clock.advance(7 * HOUR_MS);
          const fires: number[] = [];
          const refusals: string[] = [];
          const logger = { ...silentLogger, error: (_: unknown, what: string) => refusals.push(what) };
          for (let looks = 0; looks < 7 && fires.length < 7; looks++) {
            await look(probe, logger);
            const claims = await probe.take();
            fires.push(...claims.map(({ schedule }) => (schedule!.fireAt - begin) / HOUR_MS));
            assert.equal((await read(probe, 'a'))!.state.runs, fires.length);
            await probe.complete(claims);
          }
          assert.deepEqual(fires, [1, 2, 3, 4, 5, 6, 7]);
          assert.ok(refusals.length > 0);
        },
        { ...NEEDED, maxPendingEnqueues: 2 },
      ),
    ],
  },
  {
    subject: 'a schedule whose store was closed',
    sentences: [
      it(
        'does not fire again what it fired, and comes back as it was',
        async (probe) => {
          const begin = probe.now;
          await make(probe, 'a', { maxRuns: 2 });
          await make(probe, 'b', {}, { cron: '30 0 * * *' });
          probe.clock.advance(HOUR_MS);
          await look(probe);
          const before = [await read(probe, 'a'), await read(probe, 'b')];
          await probe.reopen();
          await look(probe);
          assert.deepEqual([await read(probe, 'a'), await read(probe, 'b')], before);
          // A clock that went backwards fires nothing again either.
          probe.clock.stepWall(-2 * HOUR_MS);
          await look(probe);
          assert.deepEqual((await firesSince(probe, begin)).sort(), [0.5, 1]);
          probe.clock.stepWall(3 * HOUR_MS);
          await look(probe);
          assert.equal((await read(probe, 'a'))!.state.ended, 'maxRuns');
        },
        DURABLE,
      ),

      ...AWAY.map(([misfire, fires]) =>
        it(
          `makes up with ${misfire} ${fires.length} of three fires`,
          async (probe) => {
            const begin = probe.now;
            await make(probe, 'a', { misfire });
            await look(probe);
            await probe.reopen();
            probe.clock.advance(3.5 * HOUR_MS);
            await look(probe);
            assert.deepEqual(await firesSince(probe, begin), fires);
            const { state } = (await read(probe, 'a'))!;
            assert.equal(state.runs, fires.length);
            probe.clock.advance(HOUR_MS / 2);
            await look(probe);
            assert.deepEqual(await firesSince(probe, begin), [4]);
          },
          DURABLE,
        ),
      ),

      it(
        'by a sudden death has fired what its fact says, and fires the rest once',
        async (probe) => {
          const begin = probe.now;
          const count = 60;
          await make(probe, 'a', { misfire: 'all' });
          probe.clock.advance(count * HOUR_MS);
          // Fires go in parts, each after the one before was answered: it dies in the middle of them.
          const looking = look(probe, silentLogger);
          while ((await read(probe, 'a'))!.state.runs <= count / 2) await new Promise(setImmediate);
          await probe.crash();
          await looking;
          const { state, lastTaskId } = (await read(probe, 'a'))!;
          assert.ok(state.runs > 0 && state.runs < count, `${state.runs} of ${count}`);
          assert.equal((await probe.view(lastTaskId!)).schedule?.fireAt, state.lastFireAt);
          await look(probe);
          assert.deepEqual(
            await firesSince(probe, begin),
            Array.from({ length: count }, (_, at) => at + 1),
          );
        },
        CRASH,
      ),
    ],
  },
  {
    subject: 'schedules',
    sentences: [
      it(
        'are found by a scheduler that starts, however many, among other facts',
        async (probe) => {
          const ids = Array.from({ length: 60 }, (_, at) => `s${String(at).padStart(3, '0')}`);
          await Promise.all(ids.map((id) => make(probe, id)));
          for (const key of ['schedul', 'schedule', 'schedulf/a', 'a', 'z']) {
            await probe.keyValue.put(key, Buffer.from('no schedule'));
          }
          probe.clock.advance(HOUR_MS);
          await look(probe);
          const fired = (await probe.take()).map(({ schedule }) => schedule!.id);
          assert.deepEqual(fired.sort(), ids);
        },
        NEEDED,
      ),
    ],
  },
];
