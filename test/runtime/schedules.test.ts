/** Schedules as callers see them, of a runtime and through a client: on a clock that the test moves. */
import { describe, expect, it } from 'vitest';
import { daily, ManualClock, type Runtime, type RuntimeEvent } from '#src/index.js';
import { BACKENDS, type BackendKind, Gate, open, rejection, type TestOptions } from './harness.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** 2026-01-01T00:00Z: where a manual clock begins. */
const BEGIN = new ManualClock().now();

type Fired = Extract<RuntimeEvent, { kind: 'fired' }>;

async function openAt(kind: BackendKind | string, options: TestOptions = {}) {
  const clock = new ManualClock();
  const runtime = await open(kind, { threads: 1, clock, ...options });
  return { clock, runtime, fires: await Fires.of(runtime, clock) };
}

/** What fires when the clock moves on. */
class Fires {
  readonly #events: AsyncIterableIterator<RuntimeEvent>;
  readonly #clock: ManualClock;

  private constructor(events: AsyncIterableIterator<RuntimeEvent>, clock: ManualClock) {
    this.#events = events;
    this.#clock = clock;
  }

  static async of(runtime: Pick<Runtime, 'events' | 'counts'>, clock: ManualClock): Promise<Fires> {
    const events = runtime.events({ kinds: ['fired'] });
    // By now an owner elsewhere knows that somebody listens.
    await runtime.counts();
    return new Fires(events, clock);
  }

  /** Moves the clock, and waits for so many fires. */
  async after(ms: number, count = 1): Promise<Fired[]> {
    this.#clock.advance(ms);
    const fired: Fired[] = [];
    while (fired.length < count) fired.push((await this.#events.next()).value as Fired);
    return fired;
  }
}

describe.each(BACKENDS)('a schedule (%s)', (kind) => {
  it('enqueues a task at each fire, which says where it comes from', async () => {
    const gate = new Gate();
    const { runtime, fires } = await openAt(kind, { services: gate.services });
    const made = await runtime.schedule('nightly', daily('03:00'), 'hold', 'door', { priority: 'high' });
    expect(made).toMatchObject({
      ...{ id: 'nightly', isNew: true, state: 'active', name: 'hold', payload: 'door', runs: 0 },
      ...{ rule: { cron: '0 3 * * *' }, options: { priority: 'high' }, misfire: 'latest' },
      nextFires: [3, 27, 51, 75, 99].map((hours) => BEGIN + hours * HOUR),
    });
    const [fired] = await fires.after(3 * HOUR);
    expect(fired).toMatchObject({ scheduleId: 'nightly', fireAt: BEGIN + 3 * HOUR, name: 'hold' });
    await gate.reached('door');
    const schedule = { id: 'nightly', fireAt: BEGIN + 3 * HOUR };
    expect(await runtime.get(fired!.taskId)).toMatchObject({ state: 'running', priority: 7, schedule });
    expect(await runtime.schedules.get('nightly')).toMatchObject({
      ...{ runs: 1, lastFireAt: BEGIN + 3 * HOUR, lastTaskId: fired!.taskId },
    });
    gate.open('door');
    expect(await runtime.handle(fired!.taskId).result()).toBe('door');
    const again = [...(await fires.after(DAY)), ...(await fires.after(DAY))];
    expect(again.map(({ fireAt }) => fireAt)).toEqual([BEGIN + 27 * HOUR, BEGIN + 51 * HOUR]);
  });

  it('tells its handler which fire it is of', async () => {
    const { runtime, fires } = await openAt(kind);
    await runtime.schedule('a', { everyMs: HOUR }, 'fireOf', undefined);
    const [fired] = await fires.after(HOUR);
    const schedule = { id: 'a', fireAt: BEGIN + HOUR };
    expect(await runtime.handle(fired!.taskId).result()).toEqual({ schedule, pid: process.pid });
    expect(await runtime.run('fireOf', undefined)).toEqual({ schedule: undefined, pid: process.pid });
  });

  it('may be said again at each start: nothing is new, nothing fires twice', async () => {
    const { runtime, fires } = await openAt(kind);
    const say = (payload = 'x') => runtime.schedule('a', { everyMs: HOUR }, 'echo', payload);
    expect((await say()).isNew).toBe(true);
    await fires.after(HOUR);
    const before = await runtime.schedules.get('a');
    const again = await say();
    expect(again).toMatchObject({ isNew: false, runs: 1, lastFireAt: BEGIN + HOUR });
    expect(again.changedAt).toBe(before!.changedAt);
    const changed = await say('y');
    expect(changed).toMatchObject({ isNew: false, runs: 1, changedAt: BEGIN + HOUR, payload: 'y' });
    const [fired] = await fires.after(HOUR);
    expect(fired!.fireAt).toBe(BEGIN + 2 * HOUR);
    expect(await runtime.handle(fired!.taskId).result()).toBe('y');
  });

  it('is the same in whatever order it is written, and as it was when it was given', async () => {
    const { clock, runtime } = await openAt(kind);
    const rule = { cron: '0 9 * * *', timeZone: 'Europe/Berlin' };
    const options = { misfire: 'all' as const, unique: { key: 'k', forMs: 5 } };
    const payload = { data: new Uint8Array(3) };
    const given = runtime.schedule('a', rule, 'bytes', payload, options);
    [rule.cron, rule.timeZone, options.unique.forMs, payload.data[0]] = ['0 10 * * *', 'Asia/Tokyo', 6, 7];
    const made = await given;
    expect(made.rule).toEqual({ cron: '0 9 * * *', timeZone: 'Europe/Berlin' });
    expect([made.options?.unique?.forMs, made.payload]).toEqual([5, { data: new Uint8Array(3) }]);
    clock.advance(1);
    const again = await runtime.schedule(
      'a',
      { timeZone: 'Europe/Berlin', cron: '0 9 * * *' },
      'bytes',
      { data: new Uint8Array(3) },
      { unique: { forMs: 5, key: 'k' }, misfire: 'all' },
    );
    expect(again.changedAt).toBe(made.changedAt);
  });

  it('that gets another rule begins with it now, and keeps its course', async () => {
    const { runtime, fires } = await openAt(kind);
    await runtime.schedule('a', { everyMs: HOUR }, 'echo', 1);
    await fires.after(HOUR);
    const made = await runtime.schedule('a', daily('00:30'), 'echo', 1);
    // Half past midnight has passed today: under the new rule it is not missed.
    expect(made).toMatchObject({ isNew: false, runs: 1, lastFireAt: BEGIN + HOUR });
    expect(made.nextFires[0]).toBe(BEGIN + DAY + HOUR / 2);
    expect((await fires.after(DAY)).map(({ fireAt }) => fireAt)).toEqual([BEGIN + DAY + HOUR / 2]);
  });

  it('that many change at once fires by the rule that is stored in the end', async () => {
    const { runtime, fires } = await openAt(kind);
    const changes = Array.from({ length: 30 }, (_, at) =>
      runtime.schedule('a', { everyMs: HOUR, anchorAt: (30 - at) * 60_000 }, 'echo', at),
    );
    expect((await Promise.all(changes)).filter(({ isNew }) => isNew)).toHaveLength(1);
    const { nextFires, payload } = (await runtime.schedules.get('a'))!;
    const [fired] = await fires.after(nextFires[0]! - BEGIN);
    expect(fired!.fireAt).toBe(nextFires[0]);
    expect(await runtime.handle(fired!.taskId).result()).toBe(payload);
  });

  it('that is paused does not fire, and what falls into the pause is not made up', async () => {
    const { clock, runtime, fires } = await openAt(kind);
    await runtime.schedule('a', { everyMs: HOUR }, 'echo', 1, { misfire: 'all' });
    await runtime.schedules.pause('a');
    await runtime.schedules.pause('a');
    expect(await runtime.schedules.get('a')).toMatchObject({
      ...{ state: 'paused', pausedAt: BEGIN, nextFires: [] },
    });
    // Said again, it is still paused.
    await runtime.schedule('a', { everyMs: HOUR }, 'echo', 2, { misfire: 'all' });
    clock.advance(3.5 * HOUR);
    await runtime.schedules.resume('a');
    const found = await runtime.schedules.get('a');
    expect(found).toMatchObject({ state: 'active', runs: 0 });
    expect(found!.pausedAt).toBeUndefined();
    expect((await fires.after(HOUR / 2)).map(({ fireAt }) => fireAt)).toEqual([BEGIN + 4 * HOUR]);
  });

  it('that is deleted does not fire, and its id is free', async () => {
    const { clock, runtime, fires } = await openAt(kind);
    await runtime.schedule('a', { everyMs: HOUR }, 'echo', 1);
    await runtime.schedule('b', { everyMs: 2 * HOUR }, 'echo', 2);
    expect(await runtime.schedules.delete('a')).toBe(true);
    expect(await runtime.schedules.delete('a')).toBe(false);
    expect(await runtime.schedules.get('a')).toBeUndefined();
    clock.advance(HOUR);
    expect((await fires.after(HOUR)).map(({ scheduleId }) => scheduleId)).toEqual(['b']);
    expect((await runtime.schedule('a', { everyMs: HOUR }, 'echo', 1)).isNew).toBe(true);
  });

  it('can be fired by hand, which changes nothing of its course', async () => {
    const { runtime, fires } = await openAt(kind);
    await runtime.schedule('a', { everyMs: HOUR }, 'echo', 'by hand', { maxRuns: 1 });
    const handle = await runtime.schedules.runNow('a');
    expect(await handle.result()).toBe('by hand');
    expect(await runtime.schedules.get('a')).toMatchObject({ runs: 0, state: 'active' });
    await fires.after(HOUR);
    expect(await runtime.schedules.get('a')).toMatchObject({ runs: 1, state: 'ended', ended: 'maxRuns' });
  });

  it('is listed by id, page by page, without its payload', async () => {
    const { runtime } = await openAt(kind);
    expect(await runtime.schedules.list()).toEqual({ schedules: [] });
    const ids = Array.from({ length: 60 }, (_, at) => `s${String(at).padStart(3, '0')}`);
    await Promise.all(ids.map((id) => runtime.schedule(id, { everyMs: HOUR }, 'echo', id)));
    const found: string[] = [];
    let after: string | undefined;
    do {
      const page = await runtime.schedules.list(after === undefined ? { limit: 25 } : { limit: 25, after });
      expect(page.schedules.length).toBeLessThanOrEqual(25);
      for (const { id, payload, nextFires } of page.schedules) {
        expect([payload, nextFires[0]]).toEqual([undefined, BEGIN + HOUR]);
        found.push(id);
      }
      after = page.after;
    } while (after !== undefined);
    expect(found).toEqual(ids);
    expect((await runtime.schedules.list({ limit: 1_000 })).schedules).toHaveLength(60);
  });

  it('hides the payload of a sensitive task', async () => {
    const { runtime } = await openAt(kind);
    expect((await runtime.schedule('a', { everyMs: HOUR }, 'secret', 'word')).payload).toBeUndefined();
    await runtime.schedule('b', { everyMs: HOUR }, 'echo', 'word', { sensitive: true });
    expect((await runtime.schedules.get('b'))!.payload).toBeUndefined();
    const handle = await runtime.schedules.runNow('a');
    expect(await handle.result()).toBe('word');
  });

  it('takes a payload of 256 KiB, and none above', async () => {
    const { runtime, fires } = await openAt(kind);
    const data = new Uint8Array(262_143).fill(7);
    await runtime.schedule('a', { everyMs: HOUR }, 'bytes', { data: data.subarray(0, 262_000) });
    const [fired] = await fires.after(HOUR);
    expect(await runtime.handle(fired!.taskId).result()).toEqual({ total: 262_000 * 7 });
    expect(await rejection(runtime.schedule('b', { everyMs: HOUR }, 'bytes', { data }))).toMatchObject({
      ...{ code: 'ERR_MILLRACE_TOO_LARGE', maxBytes: 262_144 },
    });
    expect(await runtime.schedules.get('b')).toBeUndefined();
  });

  it('stores what the schema of the host makes of its payload', async () => {
    const validate = {
      '~standard': {
        ...({ version: 1, vendor: 'test' } as const),
        validate: (value: unknown) =>
          typeof value === 'string' ? { value: value.length } : { issues: [{ message: 'must be a text' }] },
      },
    };
    const { runtime, fires } = await openAt(kind, { hooks: { echo: { validate } } });
    expect(await rejection(runtime.schedule('a', { everyMs: HOUR }, 'echo', 5))).toMatchObject({
      code: 'ERR_MILLRACE_INVALID_PAYLOAD',
    });
    await runtime.schedule('a', { everyMs: HOUR }, 'echo', 'four');
    const [fired] = await fires.after(HOUR);
    expect(await runtime.handle(fired!.taskId).result()).toBe(4);
  });

  it('that fires once at a past instant fires at once, and has ended', async () => {
    const { runtime } = await openAt(kind);
    const made = await runtime.schedule('a', { at: new Date(BEGIN - HOUR) }, 'echo', 'late');
    expect(made).toMatchObject({ state: 'ended', ended: 'finished', runs: 1, nextFires: [] });
    expect(await runtime.handle(made.lastTaskId!).result()).toBe('late');
    expect(await runtime.schedule('a', { at: BEGIN - HOUR }, 'echo', 'late')).toMatchObject({ runs: 1 });
  });
});

describe('the handler of a fire in a child process', () => {
  it('knows which fire it is of', async () => {
    const { runtime, fires } = await openAt('lmdb');
    await runtime.schedule('a', { everyMs: HOUR }, 'fireOf', undefined, { isolation: 'process' });
    const [fired] = await fires.after(HOUR);
    const told = await runtime.handle<'fireOf'>(fired!.taskId).result();
    expect(told.schedule).toEqual({ id: 'a', fireAt: BEGIN + HOUR });
    expect(told.pid).not.toBe(process.pid);
  });
});

const cron = '0 9 * * *';
const every = { everyMs: 1_000 };
/** What is refused, with which code, and what the error names. */
const REFUSED: readonly [what: string, call: readonly unknown[], code: string, field?: string][] = [
  ['no id', ['', every, 'echo', 1], 'INVALID_NAME'],
  ['an id with a slash', ['a/b', every, 'echo', 1], 'INVALID_NAME'],
  ['a task without a name', ['a', every, '', 1], 'INVALID_NAME'],
  ['no rule', ['a', undefined, 'echo', 1], 'INVALID_ARGUMENT', 'schedule'],
  ['an empty rule', ['a', {}, 'echo', 1], 'INVALID_ARGUMENT', 'schedule'],
  ['a rule as text', ['a', cron, 'echo', 1], 'INVALID_ARGUMENT', 'schedule'],
  ['two rules', ['a', { cron, ...every }, 'echo', 1], 'INVALID_ARGUMENT', 'schedule'],
  ['an empty expression', ['a', { cron: '' }, 'echo', 1], 'INVALID_ARGUMENT', 'schedule.cron'],
  ['four fields', ['a', { cron: '* * * *' }, 'echo', 1], 'INVALID_ARGUMENT', 'schedule.cron'],
  ['what never fires', ['a', { cron: '0 0 31 6 *' }, 'echo', 1], 'INVALID_ARGUMENT', 'schedule.cron'],
  ['a bad zone', ['a', { cron, timeZone: 'A/B' }, 'echo', 1], 'INVALID_ARGUMENT', 'schedule.timeZone'],
  [
    'a zone of no use',
    ['a', { ...every, timeZone: 'UTC' }, 'echo', 1],
    'INVALID_ARGUMENT',
    'schedule.timeZone',
  ],
  ['an anchor of no use', ['a', { cron, anchorAt: 1 }, 'echo', 1], 'INVALID_ARGUMENT', 'schedule.anchorAt'],
  ['too often', ['a', { everyMs: 99 }, 'echo', 1], 'INVALID_ARGUMENT', 'schedule.everyMs'],
  ['a bad instant', ['a', { at: new Date(Number.NaN) }, 'echo', 1], 'INVALID_ARGUMENT', 'schedule.at'],
  ['a calendar that is not there', ['a', { next: 'bank' }, 'echo', 1], 'INVALID_ARGUMENT', 'schedule.next'],
  ['a misspelt rule', ['a', { corn: cron }, 'echo', 1], 'UNKNOWN_OPTION'],
  ['an unknown policy', ['a', every, 'echo', 1, { misfire: 'never' }], 'INVALID_ARGUMENT', 'options.misfire'],
  ['a misspelt option', ['a', every, 'echo', 1, { missfire: 'all' }], 'UNKNOWN_OPTION'],
  ['a run time', ['a', every, 'echo', 1, { runAt: 5 }], 'UNKNOWN_OPTION'],
  ['moved buffers', ['a', every, 'echo', 1, { transfer: [] }], 'UNKNOWN_OPTION'],
  ['a signal', ['a', every, 'echo', 1, { signal: AbortSignal.timeout(1) }], 'UNKNOWN_OPTION'],
  ['what to do without room', ['a', every, 'echo', 1, { whenFull: 'shed' }], 'UNKNOWN_OPTION'],
  ['what is no limit key', ['a', every, 'limited', { key: {} }], 'INVALID_ARGUMENT', 'payload.key'],
  [
    'an end before the start',
    ['a', every, 'echo', 1, { startAt: 9, endAt: 8 }],
    'INVALID_ARGUMENT',
    'options.endAt',
  ],
  [
    'a unique key that would throw',
    ['a', every, 'echo', 1, { unique: { key: 'k', onConflict: 'reject' } }],
    ...(['INVALID_ARGUMENT', 'options.unique.onConflict'] as const),
  ],
  [
    'a bad option of the task',
    ['a', every, 'echo', 1, { maxAttempts: 0 }],
    'INVALID_ARGUMENT',
    'options.maxAttempts',
  ],
  ['a payload that cannot be stored', ['a', every, 'echo', { f: () => 1 }], 'NOT_ENCODABLE'],
  ['a codec that nobody knows', ['a', every, 'echo', 1, { codec: 'zip' }], 'UNKNOWN_CODEC'],
];

describe.each(BACKENDS)('what is refused (%s)', (kind) => {
  it('is refused with the field, and nothing is stored', async () => {
    const limits = { tasks: { limited: { concurrency: 1, limitKey: 'key' } } };
    const { runtime } = await openAt(kind, { limits });
    const schedule = runtime.schedule.bind(runtime) as (...call: readonly unknown[]) => Promise<unknown>;
    for (const [what, call, code, argument] of REFUSED) {
      const error = await rejection(schedule(...call));
      const named = argument === undefined ? {} : { argument };
      expect(error, what).toMatchObject({ code: `ERR_MILLRACE_${code}`, ...named });
    }
    for (const act of ['pause', 'resume', 'runNow'] as const) {
      expect(await rejection(runtime.schedules[act]('none')), act).toMatchObject({
        ...{ code: 'ERR_MILLRACE_UNKNOWN_SCHEDULE', message: 'There is no schedule "none"' },
      });
      expect(await rejection(runtime.schedules[act]('a/b'))).toMatchObject({
        code: 'ERR_MILLRACE_INVALID_NAME',
      });
    }
    for (const page of [{ limit: 0 }, { limit: 1_001 }, { size: 1 }, 5]) {
      await rejection(runtime.schedules.list(page as object));
    }
    expect(await runtime.schedules.list()).toEqual({ schedules: [] });
  });
});
