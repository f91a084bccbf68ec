/**
 * Schedules over restarts, jumps of the clock and tasks that take long; hundreds of them; and under an owner
 * that runs nothing.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type EventKind,
  type Logger,
  ManualClock,
  type Runtime,
  type RuntimeEvent,
  type ScheduleOptions,
} from '#src/index.js';
import { silentLogger } from '#src/logger.js';
import { LookHeap } from '#src/run/schedules/look-heap.js';
import {
  freshBackend,
  Gate,
  open,
  openTestClient,
  RUNTIMES,
  rejection,
  type TestOptions,
  type TestRuntime,
} from './harness.js';

const MINUTE = 60_000;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const BEGIN = new ManualClock().now();

async function openAt(where: string, clock: ManualClock, options: TestOptions = {}): Promise<TestRuntime> {
  return open(where, { threads: 1, clock, ...options });
}

/** Takes the next events of a kind as they come. */
function listen<Kind extends EventKind>(runtime: Pick<Runtime, 'events'>, kind: Kind) {
  const events = runtime.events({ kinds: [kind] });
  type Told = Extract<RuntimeEvent, { kind: Kind }>;
  return async (count = 1): Promise<Told[]> => {
    const told: Told[] = [];
    while (told.length < count) told.push((await events.next()).value as Told);
    return told;
  };
}

const hoursOf = (fires: readonly { readonly fireAt: number }[]): number[] =>
  fires.map(({ fireAt }) => (fireAt - BEGIN) / HOUR);

/** Its process was away from 0:30 to 3:30; fires at 1, 2 and 3 passed. */
const AWAY: readonly [misfire: NonNullable<ScheduleOptions['misfire']>, fires: number[]][] = [
  ['skip', []],
  ['latest', [3]],
  ['all', [1, 2, 3]],
];

describe('a schedule whose process slept through three fires', () => {
  it.each(AWAY)('with misfire %s makes up %o', async (misfire, fires) => {
    const backend = freshBackend('lmdb');
    const clock = new ManualClock();
    const first = await openAt(backend, clock);
    await first.schedule('a', { everyMs: HOUR }, 'echo', 1, { misfire });
    await first.stop();
    clock.advance(3.5 * HOUR);
    const second = await openAt(backend, clock, { autostart: false });
    const [fired, misfired] = [listen(second, 'fired'), listen(second, 'misfired')];
    second.start();
    const [late] = await misfired();
    expect(late).toMatchObject({ scheduleId: 'a', reason: 'late', missed: 3, madeUp: fires.length });
    expect(hoursOf(await fired(fires.length))).toEqual(fires);
    expect(await second.schedules.get('a')).toMatchObject({
      ...{ runs: fires.length, nextFires: [4, 5, 6, 7, 8].map((hour) => BEGIN + hour * HOUR) },
    });
    clock.advance(HOUR / 2);
    expect(hoursOf(await fired())).toEqual([4]);
  });

  it('and whose program says it again at its start is not robbed of them', async () => {
    const backend = freshBackend('lmdb');
    const clock = new ManualClock();
    const say = (runtime: TestRuntime) =>
      runtime.schedule('a', { everyMs: HOUR }, 'echo', 1, { misfire: 'all' });
    const first = await openAt(backend, clock);
    await say(first);
    await first.stop();
    clock.advance(3.5 * HOUR);
    const second = await openAt(backend, clock, { autostart: false });
    expect(await say(second)).toMatchObject({ isNew: false, runs: 0 });
    const fired = listen(second, 'fired');
    second.start();
    expect(hoursOf(await fired(3))).toEqual([1, 2, 3]);
    await second.whenIdle();
    expect((await second.counts()).get('default')).toMatchObject({ completed: 3 });
  });
});

describe.each(RUNTIMES)('fires for which the store has no room at once (%s)', (kind) => {
  it('are enqueued one after the other, each once', async () => {
    const clock = new ManualClock();
    const runtime = await openAt(kind, clock, { autostart: false, maxPendingEnqueues: 1 });
    await runtime.schedule('a', { everyMs: HOUR }, 'echo', 1, { misfire: 'all', catchUpFires: 12 });
    clock.advance(12 * HOUR);
    const fired = listen(runtime, 'fired');
    runtime.start();
    const all: number[] = [];
    while (all.length < 12) {
      all.push(...hoursOf(await fired()));
      // The rest comes when it looks again, a second later.
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
      clock.advance(1_000);
    }
    expect(all).toEqual(Array.from({ length: 12 }, (_, at) => at + 1));
    expect(await runtime.schedules.get('a')).toMatchObject({ runs: 12, lastFireAt: BEGIN + 12 * HOUR });
  });
});

describe.each(RUNTIMES)('a fire while the task of the last one runs (%s)', (kind) => {
  async function overlapping(overlap: NonNullable<ScheduleOptions['overlap']>) {
    const clock = new ManualClock();
    const gate = new Gate();
    const runtime = await openAt(kind, clock, { services: gate.services });
    const fired = listen(runtime, 'fired');
    await runtime.schedule('a', { everyMs: HOUR }, 'obeys', 'door', { overlap, maxAttempts: 1 });
    clock.advance(HOUR);
    const [first] = await fired();
    await gate.reached('door');
    return { clock, gate, runtime, fired, first: first!.taskId };
  }

  it('is enqueued beside it with allow', async () => {
    const { clock, runtime, fired, first } = await overlapping('allow');
    clock.advance(HOUR);
    const [second] = await fired();
    expect(await runtime.get(first)).toMatchObject({ state: 'running' });
    expect(await runtime.schedules.get('a')).toMatchObject({ runs: 2, lastTaskId: second!.taskId });
  });

  it('is passed over with skip, until that task is final', async () => {
    const { clock, gate, runtime, fired, first } = await overlapping('skip');
    const misfired = listen(runtime, 'misfired');
    clock.advance(HOUR);
    expect(await misfired()).toMatchObject([{ reason: 'overlap', missed: 1, madeUp: 0 }]);
    expect(await runtime.schedules.get('a')).toMatchObject({ runs: 1, lastFireAt: BEGIN + HOUR });
    await runtime.cancel(first);
    await rejection(runtime.handle(first).result());
    clock.advance(HOUR);
    expect(hoursOf(await fired())).toEqual([3]);
    await gate.reached('door', 2);
  });

  it('cancels it with cancel', async () => {
    const { clock, gate, runtime, fired, first } = await overlapping('cancel');
    clock.advance(HOUR);
    expect(hoursOf(await fired())).toEqual([2]);
    expect(await rejection(runtime.handle(first).result())).toMatchObject({
      code: 'ERR_MILLRACE_TASK_CANCELLED',
    });
    await gate.reached('door', 2);
  });
});

describe.each(RUNTIMES)('a clock that jumps (%s)', (kind) => {
  it('backwards fires nothing twice, and forwards what was missed', async () => {
    const clock = new ManualClock();
    const runtime = await openAt(kind, clock);
    const fired = listen(runtime, 'fired');
    await runtime.schedule('a', { everyMs: HOUR }, 'echo', 1, { misfire: 'latest' });
    clock.advance(HOUR);
    await fired();
    clock.stepWall(-2 * HOUR);
    // It passes 1:00 for the second time; the timer looks again at least once a minute.
    for (let minute = 0; minute < 150; minute++) {
      clock.advance(MINUTE);
      await new Promise(setImmediate);
    }
    expect(await runtime.schedules.get('a')).toMatchObject({ runs: 1, lastFireAt: BEGIN + HOUR });
    clock.stepWall(3 * DAY);
    clock.advance(MINUTE);
    const [late] = await fired();
    expect(late!.fireAt).toBe(BEGIN + 3 * DAY + HOUR);
    expect(await runtime.schedules.get('a')).toMatchObject({ runs: 2 });
  });
});

describe('a clock that was ahead by years', () => {
  it('does not keep a schedule waiting that could not fire then', async () => {
    const clock = new ManualClock();
    let isBroken = true;
    const bank = (after: number): number => {
      if (isBroken && after > BEGIN) throw new Error('no holidays known');
      return after + HOUR;
    };
    const runtime = await openAt('memory', clock, { calendars: { bank } });
    const fired = listen(runtime, 'fired');
    await runtime.schedule('a', { next: 'bank' }, 'echo', 1);
    clock.stepWall(3_650 * DAY);
    clock.advance(MINUTE);
    while ((await runtime.schedules.get('a'))!.error === undefined) await new Promise(setImmediate);
    clock.stepWall(-3_650 * DAY);
    isBroken = false;
    for (let minute = 0; minute < 60; minute++) {
      clock.advance(MINUTE);
      await new Promise(setImmediate);
    }
    expect(hoursOf(await fired())).toEqual([1]);
  });
});

describe.each(RUNTIMES)('the course of a schedule (%s)', (kind) => {
  it('ends with its maximum of runs, or at its end', async () => {
    const clock = new ManualClock();
    const runtime = await openAt(kind, clock);
    const fired = listen(runtime, 'fired');
    await runtime.schedule('runs', { everyMs: HOUR }, 'echo', 1, { maxRuns: 2 });
    await runtime.schedule('end', { everyMs: HOUR }, 'echo', 1, { endAt: BEGIN + HOUR });
    clock.advance(HOUR);
    await fired(2);
    clock.advance(HOUR);
    await fired();
    expect(await runtime.schedules.get('runs')).toMatchObject({ state: 'ended', ended: 'maxRuns', runs: 2 });
    expect(await runtime.schedules.get('end')).toMatchObject({ state: 'ended', ended: 'endAt', runs: 1 });
    // It may run once more, from now on.
    const more = await runtime.schedule('runs', { everyMs: HOUR }, 'echo', 1, { maxRuns: 3 });
    expect(more).toMatchObject({ state: 'active', runs: 2, nextFires: [BEGIN + 3 * HOUR] });
  });
});

describe.each(RUNTIMES)('a schedule that is changed while it fires (%s)', (kind) => {
  it('goes on by its new rule, at whatever step of the fire that was', async () => {
    const clock = new ManualClock();
    const runtime = await openAt(kind, clock);
    const fired = listen(runtime, 'fired');
    const ids = Array.from({ length: 40 }, (_, at) => `s${at}`);
    for (const id of ids) await runtime.schedule(id, { everyMs: HOUR }, 'noop', undefined);
    clock.advance(HOUR);
    const changes = ids.map(async (id, at) => {
      for (let step = 0; step < at; step++) await undefined;
      await runtime.schedule(id, { everyMs: HOUR, anchorAt: HOUR / 2 }, 'noop', undefined);
    });
    await Promise.all(changes);
    // Those that were changed before they fired begin now.
    const before = (await runtime.schedules.list()).schedules.reduce((sum, { runs }) => sum + runs, 0);
    await fired(before);
    expect(before).toBeGreaterThan(0);
    clock.advance(HOUR / 2);
    expect(new Set(hoursOf(await fired(ids.length)))).toEqual(new Set([1.5]));
  });
});

describe.each(RUNTIMES)('a schedule that is deleted and made anew while it fires (%s)', (kind) => {
  it('is the new one, at whatever step of the fire that was', async () => {
    const clock = new ManualClock();
    const runtime = await openAt(kind, clock);
    // Payloads that are written to files: their fires take some turns of the event loop.
    const data = new Uint8Array(20_000);
    const ids = Array.from({ length: 24 }, (_, at) => `s${at}`);
    await Promise.all(ids.map((id) => runtime.schedule(id, { everyMs: HOUR }, 'bytes', { data })));
    clock.advance(HOUR);
    const changes = ids.map(async (id, at) => {
      for (let step = 0; step < at; step++) await (at < 12 ? undefined : new Promise(setImmediate));
      const deleted = runtime.schedules.delete(id);
      const made = await runtime.schedule(id, { everyMs: DAY }, 'noop', undefined);
      expect([await deleted, made.isNew]).toEqual([true, true]);
    });
    await Promise.all(changes);
    for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
    const found = await runtime.schedules.list();
    for (const { rule, runs } of found.schedules) expect([rule, runs]).toEqual([{ everyMs: DAY }, 0]);
    expect(found.schedules).toHaveLength(ids.length);
  });
});

describe('the jitter of a schedule', () => {
  it('keeps those that are due at once apart', async () => {
    const clock = new ManualClock();
    const runtime = await openAt('memory', clock);
    const fired = listen(runtime, 'fired');
    const options = { jitterMs: HOUR / 2 };
    for (const id of ['a', 'b', 'c', 'd']) await runtime.schedule(id, { everyMs: HOUR }, 'echo', 1, options);
    const delays: Record<string, number> = {};
    clock.advance(HOUR - 1);
    for (let minute = 0; minute <= 30; minute++) {
      clock.advance(MINUTE);
      await new Promise(setImmediate);
    }
    for (const { scheduleId, fireAt, at } of await fired(4)) {
      expect(fireAt).toBe(BEGIN + HOUR);
      delays[scheduleId] = at - fireAt;
    }
    expect(new Set(Object.values(delays)).size).toBeGreaterThan(2);
    expect(Math.max(...Object.values(delays))).toBeLessThanOrEqual(31 * MINUTE);
  });
});

describe('a calendar of the host', () => {
  it('says when to fire; when it throws, its schedule waits and says so', async () => {
    const clock = new ManualClock();
    const errors: unknown[] = [];
    const logger: Logger = { ...silentLogger, error: (facts: object) => errors.push(facts) };
    let isBroken = false;
    const bank = (after: number): Date => {
      if (isBroken) throw new Error('no holidays known');
      return new Date(Math.floor(after / DAY) * DAY + DAY + 9 * HOUR);
    };
    const runtime = await openAt('lmdb', clock, { calendars: { bank }, logger });
    const fired = listen(runtime, 'fired');
    const made = await runtime.schedule('a', { next: 'bank' }, 'echo', 1);
    expect(made.nextFires.slice(0, 2)).toEqual([BEGIN + 33 * HOUR, BEGIN + 57 * HOUR]);
    isBroken = true;
    clock.advance(33 * HOUR);
    while (errors.length === 0) await new Promise(setImmediate);
    const error = 'calendar "bank" threw: no holidays known';
    expect(errors).toEqual([{ schedule: 'a', error }]);
    expect(await runtime.schedules.get('a')).toMatchObject({ state: 'active', error, nextFires: [] });
    expect(await runtime.run('echo', 'the host goes on')).toBe('the host goes on');
    isBroken = false;
    clock.advance(MINUTE);
    expect(hoursOf(await fired())).toEqual([33]);
    expect((await runtime.schedules.get('a'))!.error).toBeUndefined();
  });

  it('that the next runtime does not have keeps the schedule waiting', async () => {
    const backend = freshBackend('lmdb');
    const clock = new ManualClock();
    const first = await openAt(backend, clock, { calendars: { bank: (after) => after + HOUR } });
    await first.schedule('a', { next: 'bank' }, 'echo', 1);
    await first.stop();
    const second = await openAt(backend, clock);
    while ((await second.schedules.get('a'))!.error === undefined) await new Promise(setImmediate);
    expect(await second.schedules.get('a')).toMatchObject({ error: 'this runtime has no calendar "bank"' });
  });
});

describe('a limit that comes after a schedule', () => {
  it('and finds no key in its payload keeps it waiting, with the reason, until it goes', async () => {
    const clock = new ManualClock();
    const errors: object[] = [];
    const logger: Logger = { ...silentLogger, error: (facts: object) => errors.push(facts) };
    const runtime = await openAt('memory', clock, { logger });
    const fired = listen(runtime, 'fired');
    await runtime.schedule('a', { everyMs: HOUR }, 'echo', { key: {} });
    await runtime.limits.set({ task: 'echo' }, { concurrency: 1, limitKey: 'key' });
    clock.advance(HOUR);
    while (errors.length === 0) await new Promise(setImmediate);
    const { error, runs } = (await runtime.schedules.get('a'))!;
    expect([error, runs]).toEqual([expect.stringContaining('its task cannot be made: payload.key'), 0]);
    expect(errors).toEqual([{ schedule: 'a', error }]);
    await runtime.limits.remove({ task: 'echo' });
    clock.advance(MINUTE);
    expect(hoursOf(await fired())).toEqual([1]);
    expect((await runtime.schedules.get('a'))!.error).toBeUndefined();
  });
});

describe('an owner without threads', () => {
  it('keeps schedules and fires none; the runtime that comes fires them', async () => {
    const backend = freshBackend('lmdb');
    const clock = new ManualClock();
    const client = await openTestClient(backend, { clock });
    expect(await client.schedule('a', { everyMs: HOUR }, 'echo', 'later')).toMatchObject({ isNew: true });
    // Whether there is such a calendar, the runtime will know.
    await client.schedule('b', { next: 'bank' }, 'echo', 1);
    await client.schedules.pause('b');
    clock.advance(HOUR);
    expect(await client.schedules.get('a')).toMatchObject({ runs: 0, state: 'active' });
    const runtime = await openAt(backend, clock, { autostart: false, ifLocked: 'wait' });
    const fired = listen(runtime, 'fired');
    runtime.start();
    const [fire] = await fired();
    expect(await client.handle(fire!.taskId).result()).toBe('later');
    expect((await client.schedules.list()).schedules.map(({ id, state }) => [id, state])).toEqual([
      ['a', 'active'],
      ['b', 'paused'],
    ]);
  });
});

describe('a schedule that is due again as soon as it has fired', () => {
  it('keeps nobody from changing another', async () => {
    const clock = new ManualClock();
    let isFast = true;
    const fast = (after: number): number => {
      if (isFast) clock.stepWall(200);
      return after + 100;
    };
    const runtime = await openAt('memory', clock, { calendars: { fast } });
    await runtime.pause('default');
    const fired = listen(runtime, 'fired');
    const first = runtime.schedule('a', { next: 'fast' }, 'noop', undefined);
    await fired(2);
    const second = await runtime.schedule('b', { at: BEGIN }, 'noop', undefined);
    expect(second).toMatchObject({ runs: 1, state: 'ended' });
    await first;
    await runtime.schedules.pause('a');
    expect((await runtime.schedules.get('a'))!.runs).toBeGreaterThan(1);
    isFast = false;
  });
});

describe('hundreds of schedules', () => {
  it('fire each once, and the host goes on meanwhile', async () => {
    const count = 600;
    const clock = new ManualClock();
    const runtime = await openAt('lmdb', clock, { autostart: false });
    const rules = [{ cron: '0 2 * * *', timeZone: 'Europe/Berlin' }, { everyMs: 30 * DAY }];
    const ids = Array.from({ length: count }, (_, at) => `s${at}`);
    await Promise.all(
      ids.map((id, at) => runtime.schedule(id, rules[at % 3 === 0 ? 0 : 1]!, 'noop', undefined)),
    );
    const fired = listen(runtime, 'fired');
    runtime.start();
    clock.advance(2 * HOUR);
    // Turns of the event loop from the first fire to the last: they come in slices.
    await fired();
    let turns = 0;
    let isOver = false;
    const watch = (): void => {
      turns++;
      if (!isOver) setImmediate(watch);
    };
    watch();
    const fires = await fired(count / 3 - 1);
    isOver = true;
    expect(new Set(fires.map(({ scheduleId }) => scheduleId)).size).toBe(count / 3 - 1);
    expect(turns).toBeGreaterThan(count / 3 / 25 - 1);
    await runtime.whenIdle();
    expect((await runtime.counts()).get('default')).toMatchObject({ completed: count / 3 });
  });
});

describe('the heap of looks', () => {
  it('gives back what a sorted list gives back', () => {
    const step = fc.oneof(
      fc.record({ id: fc.integer({ min: 0, max: 30 }), at: fc.option(fc.integer({ min: 0, max: 99 })) }),
      fc.record({ now: fc.integer({ min: 0, max: 99 }), most: fc.integer({ min: 1, max: 5 }) }),
      fc.record({ all: fc.integer({ min: 0, max: 99 }) }),
    );
    const property = fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const heap = new LookHeap();
      const model = new Map<string, number>();
      const earliest = () => Math.min(...model.values(), Number.POSITIVE_INFINITY);
      for (const each of steps) {
        if ('all' in each) {
          heap.setAll(each.all);
          for (const id of model.keys()) model.set(id, each.all);
        } else if ('id' in each) {
          heap.set(`${each.id}`, each.at ?? undefined);
          if (each.at === null) model.delete(`${each.id}`);
          else model.set(`${each.id}`, each.at);
        } else {
          for (const id of heap.takeDue(each.now, each.most)) {
            expect(model.get(id)).toBe(earliest());
            expect(model.get(id)).toBeLessThanOrEqual(each.now);
            model.delete(id);
          }
        }
        expect(heap.nextAt ?? Number.POSITIVE_INFINITY).toBe(earliest());
      }
    });
    fc.assert(property, { numRuns: 200 });
  });

  it('does not grow with schedules that are put in again and again', () => {
    const heap = new LookHeap();
    for (let at = 0; at < 100_000; at++) heap.set(`s${at % 10}`, at);
    expect(heap.takeDue(Number.POSITIVE_INFINITY, 1_000_000)).toHaveLength(10);
    expect(heap.nextAt).toBeUndefined();
  });
});
